/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_HANDLE_H
#define DEVICES_FS_FILES_HANDLE_H

#include "base/cleanup.h"
#include "devices/fs/files/inode.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum handle_kind {
        HANDLE_FILE,
        HANDLE_DIRECTORY,
};

/* An open file or directory. The table has one reference until RELEASE, each operation in progress another. */
struct handle {
        atomic_uint refs;
        uint64_t fh;
        int fd;
        enum handle_kind kind;
        uint64_t nodeid; /* the node by which it was opened */
        struct inode_key file;
        bool is_plain;        /* open for reading only: interchangeable with another */
        bool is_direct;       /* O_DIRECT */
        pthread_mutex_t lock; /* of a directory's position, from when it is set until it has been used */
};

/* Adds @fd, which is @node opened with @flags, to the table, and takes it even on failure. */
int handle_add(struct fs *fs, int fd, enum handle_kind kind, int flags, const struct node *node, uint64_t *fh);

/* Returns a reference, or NULL if there is no such handle of this kind. */
struct handle *handle_get(struct fs *fs, uint64_t fh, enum handle_kind kind);
/* Returns the table's reference: the guest can't use @fh any more. */
struct handle *handle_remove(struct fs *fs, uint64_t fh, enum handle_kind kind);
/* After handle_remove(): whether only the caller uses it. */
bool handle_is_unused(struct handle *handle);
void handle_put(struct handle *handle); /* NULL is accepted */
DEFINE_CLEANUP(struct handle *, handle_put);

/* Removes all handles, as if the guest had released them. */
void handles_reset(struct fs *fs);
void handles_done(struct fs *fs);

#endif
