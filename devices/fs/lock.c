/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/lock.h"

#include "base/fd.h"
#include "base/syscalls.h"
#include "devices/fs/handle.h"
#include "devices/fs/inode.h"
#include "devices/fs/operations.h"
#include "devices/fs/state.h"

#include <sys/eventfd.h>
#include <sys/file.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(flock), SYSCALL(fcntl));

/* ---- owners ---- */

/* The number of no open file. */
#define NO_FILE UINT64_MAX

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

/* With the lock. */
static struct lock_owner *find_owner(struct inode *inode, uint64_t number)
{
        struct lock_owner *owner = inode->owners;

        while (owner && owner->number != number)
                owner = owner->next;
        return owner;
}

/* The guest's kernel has checked that its user may read or write, as the kind of lock needs; asking needs neither. */
static int open_for_locks(const struct node *node, bool to_take)
{
        static const int modes[] = {O_RDWR, O_RDONLY, O_WRONLY};
        int fd = -EACCES;

        for (size_t i = !to_take || node->fs->options.readonly; fd < 0 && i < ARRAY_SIZE(modes); i++)
                fd = node_open(node, modes[i]);
        return fd;
}

static struct lock_owner *reference(struct lock_owner *owner)
{
        atomic_fetch_add(&owner->refs, 1);
        return owner;
}

/* Two threads may make the same owner at once: the first one stays. */
static int insert(struct fs *fs, struct inode *inode, struct lock_owner *owner, struct lock_owner **out)
{
        int r = 0;

        pthread_mutex_lock(&fs->lock);

        struct lock_owner *known = find_owner(inode, owner->number);

        if (known) {
                *out = reference(known);
        } else if (fs_has_room(fs)) {
                owner->next = inode->owners;
                owner->inode = inode;
                inode->owners = owner;
                fs->held_fds++;
                *out = reference(owner);
        } else {
                r = -ENOLCK;
        }
        pthread_mutex_unlock(&fs->lock);
        return r;
}

static int make_owner(const struct node *node, uint64_t number, struct lock_owner **out)
{
        _cleanup_(fd_closep) int fd = open_for_locks(node, true);
        _cleanup_(freep) struct lock_owner *owner = malloc(sizeof(*owner));

        if (fd < 0 || !owner)
                return fd < 0 ? fd : -ENOMEM;
        *owner = (struct lock_owner){.fs = node->fs, .refs = 1, .number = number, .fh = NO_FILE, .fd = fd};
        pthread_mutex_init(&owner->order, NULL);

        int r = insert(node->fs, node->inode, owner, out);

        if (r == -ENOLCK && parked_clear(node->fs))
                r = insert(node->fs, node->inode, owner, out);
        if (r == 0 && *out == owner) {
                fd_take(&fd);
                owner = NULL;
        }
        return r;
}

int lock_owner_get(const struct node *node, uint64_t number, bool make, struct lock_owner **out)
{
        pthread_mutex_lock(&node->fs->lock);

        struct lock_owner *known = find_owner(node->inode, number);

        *out = known ? reference(known) : NULL;
        pthread_mutex_unlock(&node->fs->lock);
        return known || !make ? 0 : make_owner(node, number, out);
}

/* Take it out of the inode's list, unless somebody but the caller uses it. */
static bool detach_unused(struct fs *fs, struct inode *inode, const struct lock_owner *owner)
{
        struct lock_owner **at = &inode->owners;

        pthread_mutex_lock(&fs->lock);
        while (*at && *at != owner)
                at = &(*at)->next;

        bool unused = *at && atomic_load(&owner->refs) == 2;

        if (unused)
                *at = owner->next;
        pthread_mutex_unlock(&fs->lock);
        return unused;
}

/* Needs no room, so that it can't fail for want of it. */
static void unlock_all(struct lock_owner *owner)
{
        struct flock all = {.l_type = F_UNLCK, .l_whence = SEEK_SET};

        pthread_mutex_lock(&owner->order);
        fcntl(owner->fd, F_OFD_SETLK, &all);
        pthread_mutex_lock(&owner->fs->lock);
        held_clear(&owner->held);
        pthread_mutex_unlock(&owner->fs->lock);
        pthread_mutex_unlock(&owner->order);
}

void lock_owner_drop(struct fs *fs, struct inode *inode, uint64_t number)
{
        pthread_mutex_lock(&fs->lock);

        struct lock_owner *owner = find_owner(inode, number);

        if (owner)
                reference(owner);
        pthread_mutex_unlock(&fs->lock);
        if (!owner)
                return;
        unlock_all(owner);
        /* A request of its that waits for a lock is to be its own when it gets that. */
        if (detach_unused(fs, inode, owner))
                lock_owner_put(owner);
        lock_owner_put(owner);
        waiting_wake(&fs->waiting);
}

/* With the lock. */
static struct lock_owner *find_user(struct inode *inode, uint64_t fh)
{
        struct lock_owner *owner = inode->owners;

        while (owner && owner->fh != fh)
                owner = owner->next;
        return owner;
}

void lock_owners_close(struct fs *fs, struct inode *inode, uint64_t fh)
{
        for (;;) {
                pthread_mutex_lock(&fs->lock);

                struct lock_owner *owner = find_user(inode, fh);
                uint64_t number = owner ? owner->number : 0;

                if (owner)
                        owner->fh = NO_FILE;
                pthread_mutex_unlock(&fs->lock);
                if (!owner)
                        return;
                lock_owner_drop(fs, inode, number);
        }
}

void lock_owner_uses(struct lock_owner *owner, uint64_t fh)
{
        pthread_mutex_lock(&owner->fs->lock);
        owner->fh = fh;
        pthread_mutex_unlock(&owner->fs->lock);
}

void lock_owners_free(struct lock_owner *list)
{
        while (list) {
                struct lock_owner *owner = list;

                list = owner->next;
                /* A request that waits may have it still. */
                pthread_mutex_lock(&owner->fs->lock);
                owner->inode = NULL;
                pthread_mutex_unlock(&owner->fs->lock);
                lock_owner_put(owner);
        }
}

/* ---- locks ---- */

/* Of which of the guest's processes it is what the kernel has found: 0 if it is a host program's, or another guest's.
 */
static uint32_t find_pid(const struct node *node, uint64_t number, const struct flock *found)
{
        struct held_lock first = held_from(found, 0);
        uint32_t pid = 0;

        /* One of its bytes, and whatever would be in the way of writing it. */
        first.last = first.start;
        first.type = F_WRLCK;
        pthread_mutex_lock(&node->fs->lock);
        for (const struct lock_owner *owner = node->inode->owners; owner && pid == 0; owner = owner->next) {
                const struct held_lock *lock = owner->number == number ? NULL : held_conflict(&owner->held, &first);

                if (lock && lock->type == found->l_type)
                        pid = lock->pid;
        }
        pthread_mutex_unlock(&node->fs->lock);
        return pid;
}

/* Who has no lock here needs none to ask for those of others. */
int lock_find(const struct node *node, uint64_t number, struct flock *range)
{
        _cleanup_(lock_owner_putp) struct lock_owner *owner = NULL;
        int r = lock_owner_get(node, number, false, &owner);

        if (r < 0)
                return r;

        _cleanup_(fd_closep) int fd = owner ? -1 : open_for_locks(node, false);

        if (!owner && fd < 0)
                return fd;
        r = sys_result(fcntl(owner ? owner->fd : fd, F_OFD_GETLK, range));
        if (r == 0 && range->l_type != F_UNLCK)
                range->l_pid = (pid_t)find_pid(node, number, range);
        return r;
}

static int make_room(struct lock_owner *owner)
{
        pthread_mutex_lock(&owner->fs->lock);

        int r = held_make_room(&owner->held);

        pthread_mutex_unlock(&owner->fs->lock);
        return r;
}

static int set_part(const struct lock_wanted *wanted)
{
        struct lock_owner *owner = wanted->owner;

        pthread_mutex_lock(&owner->order);

        int r = make_room(owner);

        if (r == 0)
                r = sys_result(fcntl(owner->fd, F_OFD_SETLK, &wanted->range));
        if (r == 0) {
                pthread_mutex_lock(&owner->fs->lock);
                held_set(&owner->held, held_from(&wanted->range, wanted->pid));
                pthread_mutex_unlock(&owner->fs->lock);
        }
        pthread_mutex_unlock(&owner->order);
        return r;
}

int lock_try(const struct lock_wanted *wanted)
{
        int r = wanted->handle ? sys_result(flock(wanted->handle->fd, wanted->operation | LOCK_NB)) : set_part(wanted);

        return r == -EACCES || r == -EWOULDBLOCK ? -EAGAIN : r;
}

/* ---- who waits ---- */

/* So many who wait are looked at for a deadlock; a guest that brings more together has what it is in for. */
#define MAX_LOOKED_AT 1000

struct waiting_lock {
        struct waiting_lock *next;
        struct waiting_lock *below; /* on the stack of comes_back() */
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
        fd_event_signal(waiting->wake_fd);
}

/* With the lock. A request's number is not used again in its session, so what is remembered harms no other. */
static bool was_interrupted(const struct waiting_locks *waiting, uint64_t unique)
{
        for (size_t i = 0; i < REMEMBERED_INTERRUPTS && i < waiting->n_interrupted; i++)
                if (waiting->interrupted[i] == unique)
                        return true;
        return false;
}

/* Those who wait for something as owner @number, and were not seen before, come onto @stack. */
static struct waiting_lock *push_requests(const struct waiting_locks *waiting, uint64_t number,
                                          struct waiting_lock *stack)
{
        for (struct waiting_lock *item = waiting->first; item; item = item->next)
                if (!item->seen && item->wanted.owner && item->wanted.owner->number == number) {
                        item->seen = true;
                        item->below = stack;
                        stack = item;
                }
        return stack;
}

/* With both locks: whether following who has what is wanted, and what they want in turn, leads back to the one who
 * wants @first. */
static bool comes_back(const struct waiting_locks *waiting, const struct lock_wanted *first)
{
        struct waiting_lock *stack = NULL;
        const struct lock_wanted *wanted = first;

        for (unsigned i = 0; i < MAX_LOOKED_AT; i++) {
                const struct held_lock range = held_from(&wanted->range, 0);
                const struct inode *inode = wanted->owner->inode;

                for (const struct lock_owner *owner = inode ? inode->owners : NULL; owner; owner = owner->next) {
                        if (owner->number == wanted->owner->number || !held_conflict(&owner->held, &range))
                                continue;
                        if (owner->number == first->owner->number)
                                return true;
                        stack = push_requests(waiting, owner->number, stack);
                }
                if (!stack)
                        return false;
                wanted = &stack->wanted;
                stack = stack->below;
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
        pthread_mutex_lock(&fs->lock);

        bool found = comes_back(&fs->waiting, wanted);

        pthread_mutex_unlock(&fs->lock);
        return found;
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

        int r = was_interrupted(waiting, unique) ? -EINTR : is_deadlock(fs, wanted) ? -EDEADLK : 0;

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
static void finish(struct fs *fs, struct waiting_lock **at, int result)
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

static void remember(struct waiting_locks *waiting, uint64_t unique)
{
        waiting->interrupted[waiting->n_interrupted++ % REMEMBERED_INTERRUPTS] = unique;
}

void waiting_interrupt(struct fs *fs, uint64_t unique)
{
        struct waiting_locks *waiting = &fs->waiting;
        struct waiting_lock **at = &waiting->first;

        pthread_mutex_lock(&waiting->lock);
        while (*at && (*at)->unique != unique)
                at = &(*at)->next;
        if (*at)
                finish(fs, at, -EINTR);
        else
                remember(waiting, unique);
        pthread_mutex_unlock(&waiting->lock);
}

bool fs_retry_locks(struct fs *fs)
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
                        finish(fs, at, r);
        }

        bool some = waiting->first;

        pthread_mutex_unlock(&waiting->lock);
        return some;
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
                        finish(fs, at, -ENOLCK);
                else
                        at = &(*at)->next;
        }
        /* With everything a session ends, and the next one may use the numbers of its requests again. */
        if (!queue)
                fs->waiting.n_interrupted = 0;
        pthread_mutex_unlock(&fs->waiting.lock);
}
