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

/* Sets *@out to a reference to the owner @number of locks on @node's file, which is made if there is none and @make
 * is true. NULL without an error: there is none. */
int lock_owner_get(const struct node *node, uint64_t number, bool make, struct lock_owner **out);
/* Releases all locks of the owner; a request of it that waits still gets its lock. False: there is no such owner.
 * After true, others may get their locks: call waiting_wake(). */
bool lock_owner_drop(struct fs *fs, struct inode *inode, uint64_t number);
/* The open file @fh is closed for good: releases locks taken by it. These are locks of an open file (F_OFD_SETLK),
 * for which no FLUSH comes; those of a process are gone already, as it has closed the file before. Returns as
 * lock_owner_drop(). */
bool lock_owners_close(struct fs *fs, struct inode *inode, uint64_t fh);
/* Notes that @owner locks by @fh. */
void lock_owner_uses(struct lock_owner *owner, uint64_t fh);
/* A lock that is requested: a part of the file for an owner, or all of it for a handle (flock). */
struct lock_wanted {
        struct lock_owner *owner;
        struct handle *handle;
        struct flock range;
        uint32_t pid; /* of the guest's process */
        int operation;
};

/* Does not wait. -EAGAIN: another owner has it. */
int lock_try(const struct lock_wanted *wanted);

/* Finds a lock of another owner that conflicts with @range of owner @number, as F_GETLK of fcntl(2). Its l_pid is
 * that of a process of the guest, or 0. */
int lock_find(const struct node *node, uint64_t number, struct flock *range);

#endif
