/* SPDX-License-Identifier: BSD-2-Clause */

/* SETLKW requests that can't have their lock yet. waiting_add() puts such a request into a list, and every release of a
 * lock signals wake_fd; the housekeeper then calls fs_retry_locks(), and again every 20 ms while requests wait, since
 * host programs release locks too. A search over owners and waiting requests refuses a request that would close a cycle
 * of POSIX locks.
 *
 * The lock of struct waiting_locks is taken before fs->lock. A request leaves the list only in waiting_finish(),
 * which writes its answer, drops its references and calls options.answered() with that lock held. */

#include "devices/fs/locks/waiting.h"

#include "base/fd.h"
#include "devices/fs/core/request.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"
#include "devices/fs/files/inode.h"

#include <stdlib.h>
#include <sys/eventfd.h>

/* The search for a deadlock visits at most this many locks and requests, which takes some milliseconds; beyond that
 * a guest may deadlock itself. */
#define MAX_LOOKED_AT 1000000

struct waiting_lock {
        struct waiting_lock *next;
        struct waiting_lock *below; /* on the stack of finds_cycle() */
        bool seen;
        struct lock_wanted wanted;
        uint64_t unique;
        struct cursor answer;
        struct fs_token token;
};

int waiting_init(struct waiting_locks *waiting)
{
        pthread_mutex_init(&waiting->lock, NULL);
        waiting->first = NULL;
        waiting->last = &waiting->first;
        waiting->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return waiting->wake_fd < 0 ? -errno : 0;
}

void waiting_done(struct waiting_locks *waiting)
{
        fd_close(waiting->wake_fd);
        pthread_mutex_destroy(&waiting->lock);
}

void waiting_wake(struct waiting_locks *waiting)
{
        fd_event_wake(waiting->wake_fd);
}

/* With the lock. The number of a request is not used again in its session, so a remembered one affects no other. */
static bool was_interrupted(const struct waiting_locks *waiting, uint64_t unique)
{
        for (size_t i = 0; i < REMEMBERED_INTERRUPTS && i < waiting->n_interrupted; i++)
                if (waiting->interrupted[i] == unique)
                        return true;
        return false;
}

/* The state of a search for a deadlock. */
struct search {
        const struct waiting_locks *waiting;
        struct waiting_lock *stack; /* requests that are still to be visited */
        size_t looked_at;
};

/* Pushes the requests that wait as owner @number, and were not seen before. */
static void push_requests(struct search *search, uint64_t number)
{
        for (struct waiting_lock *item = search->waiting->first; item; item = item->next) {
                search->looked_at++;
                if (item->seen || !item->wanted.owner || item->wanted.owner->number != number)
                        continue;
                item->seen = true;
                item->below = search->stack;
                search->stack = item;
        }
}

/* Whether owner @number has some of what is @wanted. Pushes the requests of other owners that have some of it. */
static bool keeps_from(struct search *search, uint64_t number, const struct lock_wanted *wanted)
{
        const struct held_lock range = held_from(&wanted->range, 0);
        const struct inode *inode = wanted->owner->inode;

        for (const struct lock_owner *owner = inode ? inode->owners : NULL; owner; owner = owner->next) {
                search->looked_at += 1 + owner->held.n;
                if (search->looked_at > MAX_LOOKED_AT)
                        return false;
                if (owner->number == wanted->owner->number || !held_conflict(&owner->held, &range))
                        continue;
                if (owner->number == number)
                        return true;
                push_requests(search, owner->number);
        }
        return false;
}

/* With both locks: whether the owners who have what is wanted, and what those wait for in turn, lead back to the
 * owner of @first. */
static bool finds_cycle(const struct waiting_locks *waiting, const struct lock_wanted *first)
{
        struct search search = {.waiting = waiting};
        const struct lock_wanted *wanted = first;

        while (search.looked_at <= MAX_LOOKED_AT) {
                if (keeps_from(&search, first->owner->number, wanted))
                        return true;
                if (!search.stack)
                        return false;
                wanted = &search.stack->wanted;
                search.stack = search.stack->below;
        }
        return false;
}

/* With the lock. Locks of flock(2) are not checked, as in Linux itself. */
static bool is_deadlock(struct fs *fs, const struct lock_wanted *wanted)
{
        if (!wanted->owner)
                return false;
        for (struct waiting_lock *item = fs->waiting.first; item; item = item->next)
                item->seen = false;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        return finds_cycle(&fs->waiting, wanted);
}

/* With the lock: 0, or the error by which it must not wait. */
static int refuse_wait(struct fs *fs, const struct waiting_lock *item)
{
        if (was_interrupted(&fs->waiting, item->unique))
                return -EINTR;
        if (is_deadlock(fs, &item->wanted))
                return -EDEADLK;
        if (fs->options.may_wait && !fs->options.may_wait(fs->options.answered_userdata, item->token))
                return -ENOLCK;
        return 0;
}

int waiting_add(struct fs *fs, const struct lock_wanted *wanted, uint64_t unique, struct cursor answer,
                struct fs_token token)
{
        struct waiting_locks *waiting = &fs->waiting;
        struct waiting_lock *item = malloc(sizeof(*item));

        if (!item)
                return -ENOMEM;
        *item = (struct waiting_lock){.wanted = *wanted, .unique = unique, .answer = answer, .token = token};
        pthread_mutex_lock(&waiting->lock);

        int r = refuse_wait(fs, item);

        if (r == 0) {
                *waiting->last = item;
                waiting->last = &item->next;
        }
        pthread_mutex_unlock(&waiting->lock);
        if (r < 0)
                free(item);
        else
                waiting_wake(waiting);
        return r;
}

/* With the lock: removes @at's item from the list, with @result as its answer. */
static void waiting_finish(struct fs *fs, struct waiting_lock **at, int result)
{
        struct waiting_lock *item = *at;

        *at = item->next;
        if (fs->waiting.last == &item->next)
                fs->waiting.last = at;

        size_t written = answer_write(&item->answer, item->unique, result);

        lock_owner_put(item->wanted.owner);
        handle_put(item->wanted.handle);
        fs->options.answered(fs->options.answered_userdata, item->token, written);
        free(item);
}

void waiting_interrupt(struct fs *fs, uint64_t unique)
{
        struct waiting_locks *waiting = &fs->waiting;
        struct waiting_lock **at = &waiting->first;

        pthread_mutex_lock(&waiting->lock);
        while (*at && (*at)->unique != unique)
                at = &(*at)->next;
        if (*at)
                waiting_finish(fs, at, -EINTR);
        else
                waiting->interrupted[waiting->n_interrupted++ % REMEMBERED_INTERRUPTS] = unique;
        pthread_mutex_unlock(&waiting->lock);
}

int fs_retry_locks(struct fs *fs)
{
        struct waiting_locks *waiting = &fs->waiting;

        /* Before the search, so that a lock released meanwhile causes another one. */
        fd_event_clear(waiting->wake_fd);
        pthread_mutex_lock(&waiting->lock);
        for (struct waiting_lock **at = &waiting->first; *at;) {
                int r = lock_try(&(*at)->wanted);

                if (r == -EAGAIN || r == -EINTR)
                        at = &(*at)->next;
                else
                        waiting_finish(fs, at, r);
        }

        int again_ms = waiting->first ? 20 : -1;

        pthread_mutex_unlock(&waiting->lock);
        return again_ms;
}

int fs_locks_fd(const struct fs *fs)
{
        return fs->waiting.wake_fd;
}

/* Not -EINTR, which Linux turns into -ERESTARTSYS: without a signal the program would see errno 512. */
void fs_give_up_locks(struct fs *fs, const void *queue)
{
        pthread_mutex_lock(&fs->waiting.lock);
        for (struct waiting_lock **at = &fs->waiting.first; *at;) {
                if (!queue || (*at)->token.queue == queue)
                        waiting_finish(fs, at, -ENOLCK);
                else
                        at = &(*at)->next;
        }
        /* This ends the session, and the next one may use the numbers of its requests again. */
        if (!queue)
                fs->waiting.n_interrupted = 0;
        pthread_mutex_unlock(&fs->waiting.lock);
}
