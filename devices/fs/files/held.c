/* SPDX-License-Identifier: BSD-2-Clause */

/* The parts of a file that each owner has locked. An inode has a list of owners; each has an open file description,
 * by which the host's kernel knows its locks, and a record of the locked parts, which are joined and split as the
 * kernel does. A request that waits for a lock keeps its owner, even after the inode has gone. */

#include "devices/fs/files/held.h"

#include "base/fd.h"
#include "devices/fs/core/state.h"

#include <stdlib.h>

/* One set can add two entries: the rest of one that it splits, and itself. */
#define MORE 2

struct held_lock held_from(const struct flock *range, uint32_t pid)
{
        return (struct held_lock){
                .start = (uint64_t)range->l_start,
                .last = range->l_len == 0 ? (uint64_t)INT64_MAX : (uint64_t)(range->l_start + range->l_len - 1),
                .type = range->l_type,
                .pid = pid,
        };
}

int held_make_room(struct held_locks *held)
{
        if (held->room - held->n >= MORE)
                return 0;

        size_t room = 2 * held->room + MORE;
        struct held_lock *items = reallocarray(held->items, room, sizeof(*items));

        if (!items)
                return -ENOMEM;
        held->items = items;
        held->room = room;
        return 0;
}

static bool held_overlap(const struct held_lock *a, const struct held_lock *b)
{
        return a->start <= b->last && b->start <= a->last;
}

static void leave_out(struct held_locks *held, size_t i)
{
        held->items[i] = held->items[--held->n];
}

/* Removes all that overlaps @lock. */
static void make_place(struct held_locks *held, const struct held_lock *lock)
{
        for (size_t i = 0; i < held->n;) {
                struct held_lock *item = &held->items[i], behind = *item;
                bool begins = item->start < lock->start;
                bool ends = item->last > lock->last;

                if (!held_overlap(item, lock)) {
                        i++;
                        continue;
                }
                if (ends) {
                        behind.start = lock->last + 1;
                        if (begins)
                                held->items[held->n++] = behind;
                        else
                                *item = behind;
                }
                if (begins)
                        item->last = lock->start - 1;
                if (begins || ends)
                        i++;
                else
                        leave_out(held, i);
        }
}

/* Joins neighbours as the kernel does, so that there are no more entries than it has. */
static void held_join(struct held_locks *held, struct held_lock *lock)
{
        for (size_t i = 0; i < held->n;) {
                const struct held_lock *item = &held->items[i];

                if (item->type == lock->type && item->last + 1 == lock->start)
                        lock->start = item->start;
                else if (item->type == lock->type && lock->last + 1 == item->start)
                        lock->last = item->last;
                else {
                        i++;
                        continue;
                }
                leave_out(held, i);
        }
}

void held_set(struct held_locks *held, struct held_lock lock)
{
        make_place(held, &lock);
        if (lock.type == F_UNLCK)
                return;
        held_join(held, &lock);
        held->items[held->n++] = lock;
}

void held_clear(struct held_locks *held)
{
        free(held->items);
        *held = (struct held_locks){0};
}

const struct held_lock *held_conflict(const struct held_locks *held, const struct held_lock *wanted)
{
        for (size_t i = 0; i < held->n; i++) {
                const struct held_lock *item = &held->items[i];

                if (held_overlap(item, wanted) && (item->type == F_WRLCK || wanted->type == F_WRLCK))
                        return item;
        }
        return NULL;
}

const struct held_lock *held_find(const struct held_locks *held, const struct held_lock *lock)
{
        for (size_t i = 0; i < held->n; i++) {
                const struct held_lock *item = &held->items[i];

                if (item->start == lock->start && item->last == lock->last && item->type == lock->type)
                        return item;
        }
        return NULL;
}

void lock_owner_put(struct lock_owner *owner)
{
        if (!owner || atomic_fetch_sub(&owner->refs, 1) > 1)
                return;
        fd_close(owner->fd);
        held_clear(&owner->held);
        pthread_mutex_destroy(&owner->order);
        pthread_mutex_lock(&owner->fs->lock);
        owner->fs->held_fds--;
        pthread_mutex_unlock(&owner->fs->lock);
        free(owner);
}

void lock_owners_free(struct lock_owner *list)
{
        if (!list)
                return;
        /* Clears the inode in all of them before the first one is freed: a waiting request may still have any of
         * them, and the search for deadlocks goes from there to the inode, and on to the other owners. */
        pthread_mutex_lock(&list->fs->lock);
        for (struct lock_owner *owner = list; owner; owner = owner->next)
                owner->inode = NULL;
        pthread_mutex_unlock(&list->fs->lock);
        while (list) {
                struct lock_owner *owner = list;

                list = owner->next;
                lock_owner_put(owner);
        }
}
