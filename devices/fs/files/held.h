/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_HELD_H
#define DEVICES_FS_FILES_HELD_H

#include "base/cleanup.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fs;
struct inode;

/* Which parts of a file one owner has locked: what the kernel does not say of an open file description's locks. */

struct held_lock {
        uint64_t start, last; /* bytes */
        short type;           /* F_RDLCK, F_WRLCK */
        uint32_t pid;         /* of the guest's process that has locked it last */
};

struct held_locks {
        struct held_lock *items; /* none overlaps another, or could be joined with it */
        size_t n, room;
};

/* What fcntl(2) calls @range. */
struct held_lock held_from(const struct flock *range, uint32_t pid);

/* Make sure that the next held_set() has room. -ENOMEM. */
int held_make_room(struct held_locks *held);
/* @lock takes the place of what was locked there; F_UNLCK: nothing does. */
void held_set(struct held_locks *held, struct held_lock lock);
void held_clear(struct held_locks *held);

/* What would keep another owner from @wanted, or NULL. */
const struct held_lock *held_conflict(const struct held_locks *held, const struct held_lock *wanted);
/* The lock that is @lock, whoever's pid it has, or NULL. */
const struct held_lock *held_find(const struct held_locks *held, const struct held_lock *lock);

/* Who may lock parts of a file, in the guest's eyes (POSIX), as an open file description of its own: locks of the kind
 * F_OFD_SETLK are an open file description's, and go with it. */
struct lock_owner {
        struct lock_owner *next;
        struct fs *fs;
        atomic_uint refs; /* one of them is the inode's */
        uint64_t number;  /* by which the guest calls it */
        int fd;
        pthread_mutex_t order; /* so that what it has been given last is what is written down last */

        /* Under the lock of struct fs. */
        struct inode *inode; /* NULL: it has gone */
        uint64_t fh;         /* of the open file by which it has locked last */
        struct held_locks held;
};

void lock_owner_put(struct lock_owner *owner); /* NULL is accepted */
DEFINE_CLEANUP(struct lock_owner *, lock_owner_put);
/* All in @list, of an inode that is about to go. */
void lock_owners_free(struct lock_owner *list);

#endif
