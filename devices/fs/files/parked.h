/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_PARKED_H
#define DEVICES_FS_FILES_PARKED_H

#include <stdbool.h>
#include <stdint.h>

struct fs;
struct inode;

/* However many descriptors there are. */
#define PARKED_MAX 16384

/* Files that the guest has closed and may open again soon, as compilers do with headers: still open, for reading only.
 * One for each inode; the oldest makes room for a new one. */
struct parked {
        struct parked_file {
                uint64_t nodeid; /* 0: nothing is here */
                int fd;
                bool seen; /* by parked_expire() */
        } * places;        /* memory that was never used takes no room */
        unsigned max, n, next;
        /* What was found out last, and of which: a share has few file systems, and mostly one. */
        uint64_t device, mount;
        bool is_local;
};

struct fs_options;
struct handle;

/* As many as @options say, and a quarter of the descriptors that the guest may hold at most. -ENOMEM. */
int parked_init(struct parked *parked, const struct fs_options *options);

/* Keep the descriptor of @handle, which is plain and has been released, for whoever opens its file next; where that is
 * not advisable, it stays in the handle. True: it is there, and to be closed some time: expiring_wake(). */
bool parked_add(struct fs *fs, struct handle *handle);
/* An fd that is the caller's, or -1. */
int parked_take(struct fs *fs, struct inode *inode);
/* All are closed: is there room now that there was not? They have no claim to what the guest itself may hold. */
bool parked_clear(struct fs *fs);
/* Those that nobody has opened again between the last call and this one are closed. Are there others? */
bool parked_expire(struct fs *fs);
void parked_done(struct parked *parked);

#endif
