/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_LOCKS_LOCK_H
#define DEVICES_FS_LOCKS_LOCK_H

#include "devices/fs/files/held.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>

struct fs;
struct handle;
struct inode;
struct node;

/* The owner @number of locks on @node's file, which is made if there is none yet and @make says so. NULL without an
 * error: there is none. */
int lock_owner_get(const struct node *node, uint64_t number, bool make, struct lock_owner **out);
/* It holds no lock any more; what it waits for it gets all the same. False: there is none. After true, others may get
 * what they wait for: waiting_wake(). */
bool lock_owner_drop(struct fs *fs, struct inode *inode, uint64_t number);
/* The open file @fh is closed for good. What was locked by way of it goes: the locks of an open file (F_OFD_SETLK), of
 * which no FLUSH tells; a process's have gone already by then, as it has closed the file itself before that. Returns
 * what lock_owner_drop() does. */
bool lock_owners_close(struct fs *fs, struct inode *inode, uint64_t fh);
/* @owner locks by way of @fh. */
void lock_owner_uses(struct lock_owner *owner, uint64_t fh);
/* A lock to be had: a part of the file for an owner, or all of it for a handle (flock). */
struct lock_wanted {
        struct lock_owner *owner;
        struct handle *handle;
        struct flock range;
        uint32_t pid; /* of the guest's process */
        int operation;
};

/* Without waiting: -EAGAIN if somebody else has it. */
int lock_try(const struct lock_wanted *wanted);

/* A lock of somebody else's that keeps owner @number from one of @range, as fcntl(2) says it (F_GETLK). Its l_pid is
 * that of a process of the guest, or 0. */
int lock_find(const struct node *node, uint64_t number, struct flock *range);

#endif
