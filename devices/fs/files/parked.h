/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_PARKED_H
#define DEVICES_FS_FILES_PARKED_H

#include <stdbool.h>
#include <stdint.h>

struct fs;
struct inode;

/* A limit whatever the limit of descriptors. */
#define PARKED_MAX 16384

/* Files that the guest has closed and may open again soon, as compilers do with headers: still open, for reading
 * only. One for each inode; the oldest makes room for a new one. */
struct parked {
        struct parked_file {
                uint64_t nodeid; /* 0: empty */
                int fd;
                bool seen; /* by parked_expire() */
        } * places;        /* unused entries take no memory */
        unsigned max, n, next;
        /* The last result of is_local(), and the file system it is for: a share has few, and mostly one. */
        uint64_t device, mount;
        bool is_local;
};

struct fs_options;
struct handle;

/* Sets the limit to that of @options, and at most a quarter of the descriptors that the guest may hold. -ENOMEM. */
int parked_init(struct parked *parked, const struct fs_options *options);

/* Parks the descriptor of @handle, which is plain and was released, for the next open of its file; if that should
 * not be done, it stays in the handle. True: it was parked, and has to be closed some time: call expiring_wake(). */
bool parked_add(struct fs *fs, struct handle *handle);
/* Returns a parked fd, which becomes the caller's, or -1. */
int parked_take(struct fs *fs, struct inode *inode);
/* Closes all. Returns whether that has made room: the guest's own files come first. */
bool parked_clear(struct fs *fs);
/* Closes those that were parked at the last call already. Returns whether others are left. */
bool parked_expire(struct fs *fs);
void parked_done(struct parked *parked);

#endif
