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

/* Identifies a file among all that ever existed. */
struct inode_id {
        struct inode_key key;
        struct file_id *file; /* NULL: there is a descriptor, so the key is enough */
};

/* A process of the guest that was answered ESTALE, so that its path is looked up again. That takes a few requests,
 * but on a busy host, or in a guest that is paused meanwhile, these can take seconds. */
#define RETRY_NS INT64_C(30000000000)
struct retry {
        uint32_t pid;
        bool of_link;    /* for a link, not for what the link points to */
        int64_t told_ns; /* 0: none */
};

/* A file that the guest has looked up. It is in the table as long as the guest holds lookups of it, and the table
 * has one reference; each operation that uses it has another, so a FORGET meanwhile does no harm. */
struct inode {
        struct inode_id id; /* first: what the tree compares */
        uint64_t nodeid;
        uint64_t lookups; /* under the lock of struct fs */
        atomic_uint refs;
        int fd;                    /* O_PATH; -1: it is opened by its handle when needed, or was given up */
        mode_t type;               /* S_IFMT, which never changes */
        struct mount_point *mount; /* that the handle is opened on; otherwise NULL */
        struct lock_owner *owners; /* under the lock of struct fs, as is the next */
        unsigned handles;          /* the number of handles that the guest has */
        int64_t found_again_ns;    /* when it was looked up for a request that is repeated: see node_get_to_read() */
        atomic_bool links_unknown; /* it has names and a link count of 0: its file system does not count links */
        atomic_bool not_entered;   /* announced as a submount, and the guest has not requested anything in it */
        unsigned parked;           /* the place where a parked descriptor of it may be: see struct parked */
};

/* A file that is about to become an inode. */
struct inode_found {
        int fd; /* O_PATH, or -1 once the inode has it */
        const struct statx *stat;
        bool submount;
        struct file_id file;
        bool asked;                /* whether its handle was asked for */
        struct mount_point *mount; /* NULL: there is no handle that could replace the descriptor */
};

/* Counts a lookup of a file that has an inode. False: it has none. */
bool inode_count_known(struct fs *fs, const struct inode_id *id, uint64_t *nodeid);
/* Counts a lookup of @found, for which it makes an inode if there is none. -ENFILE: there is no room for one. */
int inode_count_found(struct fs *fs, struct inode_found *found, uint64_t *nodeid);
struct inode_key inode_key_of(const struct statx *stat);

/* Returns a reference to the inode of that number, or NULL. */
struct inode *inode_get(struct fs *fs, uint64_t nodeid);
void inode_put(struct fs *fs, struct inode *inode); /* NULL is accepted */
/* With the lock, when nobody uses it: its file, which has no name, is ESTALE from now on. The returned descriptor is
 * the caller's. */
int inode_give_up(struct fs *fs, struct inode *inode);

/* With the lock, when nobody uses it: the inode is known by its handle @file, on @mount, from now on. Takes *@mount.
 * The returned descriptor is the caller's. -ENOMEM. */
int inode_know_by_handle(struct fs *fs, struct inode *inode, const struct file_id *file, struct mount_point **mount);

/* Opens the root, which stays whatever the guest forgets. */
int inodes_init(struct fs *fs);
/* Removes all inodes but the root, as if the guest had forgotten them. */
void inodes_reset(struct fs *fs);
void inodes_done(struct fs *fs);

/* An inode in use: the one that a request names, and an O_PATH fd of it. */
struct node {
        struct fs *fs;
        struct inode *inode;
        int fd;
        int opened; /* the same fd, if it is to be closed; else -1 */
};

/* -ESTALE: there is no such node, or its file is gone. Call node_put() also on failure. */
int node_get(struct fs *fs, uint64_t nodeid, struct node *node);
/* The same for a request that comes by a path. -ESTALE also if the file has no name left and the guest has no handle
 * of it: the path then leads to another file by now. */
int node_get_linked(struct fs *fs, uint64_t nodeid, struct node *node);
/* The same for requests that only read. Linux looks a path up again once; a second ESTALE becomes the program's
 * error. If a name is given to one file after the other, the file found by the second lookup may be gone too: it is
 * then opened as if the request had come before that. This applies once, to the process that was answered ESTALE. */
int node_get_to_read(struct fs *fs, const struct fuse_in_header *request, struct node *node);
/* @r is the result of an operation on a name in @node. In a directory that was removed nothing is found or made:
 * -ENOENT becomes -ESTALE if the guest has no handle of the directory. */
int node_name_result(const struct node *node, int r);
void node_put(struct node *node);

/* Looks up @name, a checked single name, in @directory_fd, which is @directory's, without following a symbolic link.
 * Counts one lookup, which @entry tells the guest of. */
int inode_lookup(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name,
                 struct fuse_entry_out *entry);
/* The same for the file open as @fd, which stays the caller's. */
int inode_lookup_open(struct fs *fs, int fd, const struct inode_key *directory, struct fuse_entry_out *entry);
/* -EBUSY: another file system or subvolume begins at @name, and the guest was told so. It must not be removed or
 * renamed then: Linux 7.2 marks its inode of an announced submount that it has not entered as changed, and faults
 * when it writes that back. */
int inode_check_no_submount(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name);
/* Call it before making a file that will have an inode and @handles handles: a file of which the guest can't be told
 * should not be made. -ENFILE: there is no room for them. */
int inode_room_for_new(struct fs *fs, unsigned handles);
void inode_forget(struct fs *fs, uint64_t nodeid, uint64_t lookups);

/* Opens a regular file or a directory again with @flags. Returns an fd or a negative errno. Other types are never
 * opened: a fifo would block, and opening a device may have any effect. */
int node_open(const struct node *node, int flags);

/* Its attributes, and how long the guest may cache them. */
int node_attributes(const struct node *node, struct fuse_attr_out *out);
/* All that statx(2) returns for it. */
int node_statx(const struct node *node, struct fuse_statx_out *out);

#endif
