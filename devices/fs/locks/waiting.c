/* SPDX-License-Identifier: BSD-2-Clause */

/* SETLKW requests that can't have their lock yet. waiting_add() keeps such a request in a list, and whoever frees a
 * lock signals wake_fd; the housekeeper calls fs_retry_locks() then, and every 20 ms while some wait, since host
 * programs free locks too. A search over owners and waiting requests refuses one that would close a cycle of POSIX
 * locks.
 *
 * The lock of struct waiting_locks is taken before fs->lock. A request leaves the list in waiting_finish() alone, which
 * writes its answer, gives its references back and calls options.answered() with that lock held. */

#include "devices/fs/locks/waiting.h"

#include "base/fd.h"
#include "devices/fs/core/request.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"
#include "devices/fs/files/inode.h"

#include <stdlib.h>
#include <sys/eventfd.h>

/* So many locks and requests are looked at for a deadlock, which takes some milliseconds; a guest that brings more
 * together has what it is in for. */
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

/* With the lock. A request's number is not used again in its session, so what is remembered harms no other. */
static bool was_interrupted(const struct waiting_locks *waiting, uint64_t unique)
{
        for (size_t i = 0; i < REMEMBERED_INTERRUPTS && i < waiting->n_interrupted; i++)
                if (waiting->interrupted[i] == unique)
                        return true;
        return false;
}

/* What a search for a deadlock has come to. */
struct search {
        const struct waiting_locks *waiting;
        struct waiting_lock *stack; /* who is to be looked at */
        size_t looked_at;
};

/* Those who wait for something as owner @number, and were not seen before. */
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

/* Whether owner @number has some of what is @wanted; others who have some of it are to be looked at. */
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

/* With both locks: whether following who has what is wanted, and what they want in turn, leads back to the one who
 * wants @first. */
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

/* With the lock. Of flock(2) there is none, as with Linux itself. */
static bool is_deadlock(struct fs *fs, const struct lock_wanted *wanted)
{
        if (!wanted->owner)
                return false;
        for (struct waiting_lock *item = fs->waiting.first; item; item = item->next)
                item->seen = false;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        return finds_cycle(&fs->waiting, wanted);
}

/* With the lock: 0 or why it is not to wait. */
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

/* With the lock: @at's item leaves the list with @result as its answer. */
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

        /* Before the looking, so that what is freed meanwhile is looked for again. */
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

/* Not -EINTR, which Linux makes -ERESTARTSYS: without a signal, that comes to the program as errno 512. */
void fs_give_up_locks(struct fs *fs, const void *queue)
{
        pthread_mutex_lock(&fs->waiting.lock);
        for (struct waiting_lock **at = &fs->waiting.first; *at;) {
                if (!queue || (*at)->token.queue == queue)
                        waiting_finish(fs, at, -ENOLCK);
                else
                        at = &(*at)->next;
        }
        /* With everything a session ends, and the next one may use the numbers of its requests again. */
        if (!queue)
                fs->waiting.n_interrupted = 0;
        pthread_mutex_unlock(&fs->waiting.lock);
}
