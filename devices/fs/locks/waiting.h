/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_LOCKS_WAITING_H
#define DEVICES_FS_LOCKS_WAITING_H

#include "devices/fs/core/cursor.h"
#include "devices/fs/core/fs.h"
#include "devices/fs/locks/lock.h"

#define REMEMBERED_INTERRUPTS 64

/* Requests that wait for a lock. */
struct waiting_locks {
        pthread_mutex_t lock;
        struct waiting_lock *first, **last;
        int wake_fd;
        /* Requests that were interrupted before they began to wait: two queues, or two threads, may be that far
         * apart. */
        uint64_t interrupted[REMEMBERED_INTERRUPTS];
        unsigned n_interrupted;
};

int waiting_init(struct waiting_locks *waiting);
void waiting_done(struct waiting_locks *waiting);

/* Makes request @unique wait for @wanted, whose references it takes on success. -EINTR: it was interrupted already;
 * -EDEADLK: an owner of what it wants waits, possibly through others, for what @wanted's owner has; -ENOLCK: too
 * many wait already, see options.may_wait; -ENOMEM. */
int waiting_add(struct fs *fs, const struct lock_wanted *wanted, uint64_t unique, struct cursor answer,
                struct fs_token token);
void waiting_interrupt(struct fs *fs, uint64_t unique);
/* Call it when a lock may be free. */
void waiting_wake(struct waiting_locks *waiting);

#endif
