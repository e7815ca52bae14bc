/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_INODE_H
#define DEVICES_FS_INODE_H

#include "base/cleanup.h"

#include <linux/fuse.h>
#include <stdatomic.h>
#include <sys/stat.h>

struct fs;

/* Which file it is. An open fd keeps all three from being used again. */
struct inode_key {
        uint64_t device;
        uint64_t number;
        uint64_t mount;
};

int inode_key_compare(const struct inode_key *a, const struct inode_key *b);

/* A file the guest has looked up. It is in the table for as long as the guest holds lookups of it, and the table has
 * one of its references; each operation that uses it has another, so a FORGET at the same time does it no harm. */
struct inode {
        struct inode_key key; /* first: what the tree compares */
        uint64_t nodeid;
        uint64_t lookups; /* under the lock of struct fs */
        atomic_uint refs;
        int fd;      /* O_PATH */
        mode_t type; /* S_IFMT, which no file ever changes */
};

/* Open the root, which stays whatever the guest forgets. */
int inodes_init(struct fs *fs);
/* As if the guest had forgotten everything. */
void inodes_reset(struct fs *fs);
void inodes_done(struct fs *fs);

/* A reference on the inode of @nodeid: NULL if there is none. */
struct inode *inode_get(struct fs *fs, uint64_t nodeid);
void inode_put(struct inode *inode); /* NULL is accepted */
DEFINE_CLEANUP(struct inode *, inode_put);

/* Look @name, a checked single name, up in @directory_fd, never following a symbolic link. Counts one lookup, which
 * @entry tells the guest of. */
int inode_lookup(struct fs *fs, int directory_fd, const char *name, struct fuse_entry_out *entry);
/* The same for the file open as @fd, which stays the caller's. */
int inode_lookup_open(struct fs *fs, int fd, struct fuse_entry_out *entry);
void inode_forget(struct fs *fs, uint64_t nodeid, uint64_t lookups);

/* A regular file or a directory, opened anew with @flags. An fd or a negative errno. Nothing else is ever opened: a
 * fifo would block, and a device does whatever devices do. */
int inode_open(struct fs *fs, const struct inode *inode, int flags);

/* Its attributes, and how long they may be believed. */
int inode_attributes(struct fs *fs, const struct inode *inode, struct fuse_attr_out *out);

/* The name under which /proc/self/fd has @fd. */
struct fd_name {
        char text[12];
};
struct fd_name fd_name(int fd);

#endif
