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

/* The parts of a file that one owner has locked, which the kernel does not tell for an open file description. */

struct held_lock {
        uint64_t start, last; /* bytes */
        short type;           /* F_RDLCK, F_WRLCK */
        uint32_t pid;         /* the guest's process that has locked it last */
};

struct held_locks {
        struct held_lock *items; /* none overlaps another, or could be joined with another */
        size_t n, room;
};

/* Converts @range of fcntl(2). */
struct held_lock held_from(const struct flock *range, uint32_t pid);

/* Makes sure that the next held_set() has room. -ENOMEM. */
int held_make_room(struct held_locks *held);
/* Replaces what was locked in the range of @lock; F_UNLCK: by nothing. */
void held_set(struct held_locks *held, struct held_lock lock);
void held_clear(struct held_locks *held);

/* Returns a lock that keeps another owner from getting @wanted, or NULL. */
const struct held_lock *held_conflict(const struct held_locks *held, const struct held_lock *wanted);
/* Returns the lock with range and type of @lock, whatever its pid, or NULL. */
const struct held_lock *held_find(const struct held_locks *held, const struct held_lock *lock);

/* An owner of locks on parts of a file, as the guest sees it (POSIX), with an open file description of its own:
 * locks of the kind F_OFD_SETLK belong to that, and end with it. */
struct lock_owner {
        struct lock_owner *next;
        struct fs *fs;
        atomic_uint refs; /* one of them is the inode's */
        uint64_t number;  /* by which the guest names it */
        int fd;
        pthread_mutex_t order; /* keeps @held in the order in which the kernel has granted locks */

        /* Under the lock of struct fs. */
        struct inode *inode; /* NULL: the inode has gone */
        uint64_t fh;         /* of the open file by which it has locked last */
        struct held_locks held;
};

void lock_owner_put(struct lock_owner *owner); /* NULL is accepted */
DEFINE_CLEANUP(struct lock_owner *, lock_owner_put);
/* Frees all in @list, of an inode that is about to go. */
void lock_owners_free(struct lock_owner *list);

#endif
