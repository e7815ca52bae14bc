/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_LOCKS_HELD_H
#define DEVICES_FS_LOCKS_HELD_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

#endif
