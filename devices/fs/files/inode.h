/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_INODE_H
#define DEVICES_FS_FILES_INODE_H

#include "base/cleanup.h"
#include "devices/fs/core/abi.h"
#include "devices/fs/core/file_id.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>

struct fs;
struct lock_owner;

/* Which file it is, among all there ever were. */
struct inode_id {
        struct inode_key key;
        struct file_id *file; /* NULL: there is a descriptor, so the key is enough */
};

/* A process of the guest that was told ESTALE, so that its path is looked up anew. That takes a few requests; but on a
 * busy host or in a guest that is paused meanwhile these can take seconds. */
#define RETRY_NS INT64_C(30000000000)
struct retry {
        uint32_t pid;
        bool of_link;    /* it was told of a link, not of what it leads to */
        int64_t told_ns; /* 0: none */
};

/* A file the guest has looked up. It is in the table for as long as the guest holds lookups of it, and the table has
 * one of its references; each operation that uses it has another, so a FORGET at the same time does it no harm. */
struct inode {
        struct inode_id id; /* first: what the tree compares */
        uint64_t nodeid;
        uint64_t lookups; /* under the lock of struct fs */
        atomic_uint refs;
        int fd;                    /* O_PATH; -1: it is opened by its handle whenever it is needed, or given up */
        mode_t type;               /* S_IFMT, which no file ever changes */
        struct mount_point *mount; /* what the handle is opened on, NULL with a descriptor or without either */
        struct lock_owner *owners; /* under the lock of struct fs, as the next */
        unsigned handles;          /* how many the guest has */
        int64_t found_again_ns;    /* when it was looked up for a request that is made anew: see node_get_to_read() */
        atomic_bool links_unknown; /* has names, and a link count of 0: its file system counts none */
        atomic_bool not_entered;   /* announced as a submount, and the guest has asked for nothing in it */
        unsigned parked;           /* the place where a descriptor of it may be: see struct parked */
};

/* What is known of a file that is about to become an inode. */
struct inode_found {
        int fd; /* O_PATH, or -1 once the inode has it */
        const struct statx *stat;
        bool submount;
        struct file_id file;
        bool asked;                /* for its handle */
        struct mount_point *mount; /* NULL: there is no handle that could take the descriptor's place */
};

/* Count a lookup of a file that has an inode; false: it has none. */
bool inode_count_known(struct fs *fs, const struct inode_id *id, uint64_t *nodeid);
/* The same for @found, which has one then. -ENFILE: there is no room for it. */
int inode_count_found(struct fs *fs, struct inode_found *found, uint64_t *nodeid);
struct inode_key inode_key_of(const struct statx *stat);

/* A reference to the inode of that number, or NULL. */
struct inode *inode_get(struct fs *fs, uint64_t nodeid);
void inode_put(struct fs *fs, struct inode *inode); /* NULL is accepted */
/* With the lock, and with no user of it: its file, which has no name, is ESTALE from now on. The descriptor is the
 * caller's. */
int inode_give_up(struct fs *fs, struct inode *inode);

/* With the lock, and with no user of it: it is known by its handle @file, on @mount, from now on. Takes *@mount. The
 * descriptor is the caller's. -ENOMEM. */
int inode_know_by_handle(struct fs *fs, struct inode *inode, const struct file_id *file, struct mount_point **mount);

/* Open the root, which stays whatever the guest forgets. */
int inodes_init(struct fs *fs);
/* As if the guest had forgotten everything. */
void inodes_reset(struct fs *fs);
void inodes_done(struct fs *fs);

/* An inode in use: what a request names by number, and an O_PATH fd of it. */
struct node {
        struct fs *fs;
        struct inode *inode;
        int fd;
        int opened; /* the same fd, if it is to be closed; else -1 */
};

/* -ESTALE: there is no such node, or its file is gone. @node is to be put also on failure. */
int node_get(struct fs *fs, uint64_t nodeid, struct node *node);
/* The same for a request that comes by a path. -ESTALE also if the file has no name left and the guest has no handle of
 * it: then that path leads elsewhere by now. */
int node_get_linked(struct fs *fs, uint64_t nodeid, struct node *node);
/* The same for reading alone. Linux looks a path up anew but once, and then ESTALE is the program's error. Where a name
 * is given to one file after the other, the file that was found by that may be gone as well: it is opened as if that
 * had come before. That is for the process which was told, once. */
int node_get_to_read(struct fs *fs, const struct fuse_in_header *request, struct node *node);
/* @r, the result of an operation on a name in @node. Nothing is found or made in a directory that was removed: -ENOENT
 * becomes -ESTALE where it was, and the guest has no handle of it. */
int node_name_result(const struct node *node, int r);
void node_put(struct node *node);
/* One that is put when its scope ends. */

/* Look @name, a checked single name, up in @directory_fd, which is @directory's, never following a symbolic link.
 * Counts one lookup, which @entry tells the guest of. */
int inode_lookup(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name,
                 struct fuse_entry_out *entry);
/* The same for the file open as @fd, which stays the caller's. */
int inode_lookup_open(struct fs *fs, int fd, const struct inode_key *directory, struct fuse_entry_out *entry);
/* -EBUSY: @name is where another file system or subvolume begins, and the guest was told so. It is not to be removed or
 * renamed then: Linux 7.2 marks the inode that it has of an announced submount itself, and has not entered, as changed,
 * and faults when it writes that back. */
int inode_check_no_submount(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name);
/* Before a file is made, that will have an inode and so many @handles: what the guest can't be told of had better not
 * come to be. -ENFILE: there is no room for them. */
int inode_room_for_new(struct fs *fs, unsigned handles);
void inode_forget(struct fs *fs, uint64_t nodeid, uint64_t lookups);

/* A regular file or a directory, opened anew with @flags. An fd or a negative errno. Nothing else is ever opened: a
 * fifo would block, and a device does whatever devices do. */
int node_open(const struct node *node, int flags);

/* Its attributes, and how long they may be believed. */
int node_attributes(const struct node *node, struct fuse_attr_out *out);
/* All that statx(2) says of it. */
int node_statx(const struct node *node, struct fuse_statx_out *out);

#endif
