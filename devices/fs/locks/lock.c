/* SPDX-License-Identifier: BSD-2-Clause */

/* The guest's locks are locks of the host. Each owner of POSIX locks in the guest gets an open file description of
 * its own here, so that F_OFD_SETLK keeps owners apart; a flock(2) lock belongs to the handle. Nothing waits here:
 * see waiting.c. Functions that release locks tell their caller, who wakes the requests that wait. */

#include "devices/fs/locks/lock.h"

#include "base/fd.h"
#include "base/syscalls.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"
#include "devices/fs/files/inode.h"

#include <sys/file.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(flock), SYSCALL_FCNTL(F_OFD_GETLK), SYSCALL_FCNTL(F_OFD_SETLK));

/* ---- owners ---- */

/* Not the number of any open file. */
#define NO_FILE UINT64_MAX

/* With the lock. */
static struct lock_owner *find_owner(struct inode *inode, uint64_t number)
{
        struct lock_owner *owner = inode->owners;

        while (owner && owner->number != number)
                owner = owner->next;
        return owner;
}

/* The guest's kernel has checked that its user may read or write, as the kind of lock needs; a query needs neither. */
static int open_for_locks(const struct node *node, bool to_take)
{
        static const int modes[] = {O_RDWR, O_RDONLY, O_WRONLY};
        int fd = -EACCES;

        for (size_t i = !to_take || node->fs->options.readonly; fd < 0 && i < ARRAY_SIZE(modes); i++)
                fd = node_open(node, modes[i]);
        return fd;
}

static struct lock_owner *lock_reference(struct lock_owner *owner)
{
        atomic_fetch_add(&owner->refs, 1);
        return owner;
}

/* Returns a reference to owner @number, or NULL. */
static struct lock_owner *get_owner(struct fs *fs, struct inode *inode, uint64_t number)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        struct lock_owner *owner = find_owner(inode, number);

        return owner ? lock_reference(owner) : NULL;
}

/* Two threads may make the same owner at once: the first one stays. */
static int lock_insert(struct fs *fs, struct inode *inode, struct lock_owner *owner, struct lock_owner **out)
{
        int r = 0;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        struct lock_owner *known = find_owner(inode, owner->number);

        if (known) {
                *out = lock_reference(known);
        } else if (fs_has_room(fs)) {
                owner->next = inode->owners;
                owner->inode = inode;
                inode->owners = owner;
                fs->held_fds++;
                *out = lock_reference(owner);
        } else {
                r = -ENOLCK;
        }
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

        int r = lock_insert(node->fs, node->inode, owner, out);

        if (r == -ENOLCK && room_make(node->fs))
                r = lock_insert(node->fs, node->inode, owner, out);
        if (r == 0 && *out == owner) {
                fd_take(&fd);
                owner = NULL;
        }
        return r;
}

int lock_owner_get(const struct node *node, uint64_t number, bool make, struct lock_owner **out)
{
        *out = get_owner(node->fs, node->inode, number);
        return *out || !make ? 0 : make_owner(node, number, out);
}

/* Removes it from the inode's list, unless anybody but the caller uses it. */
static bool detach_unused(struct fs *fs, struct inode *inode, const struct lock_owner *owner)
{
        struct lock_owner **at = &inode->owners;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);
        while (*at && *at != owner)
                at = &(*at)->next;

        bool unused = *at && atomic_load(&owner->refs) == 2;

        if (unused)
                *at = owner->next;
        return unused;
}

/* Needs no memory, so it can't fail for lack of it. */
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

bool lock_owner_drop(struct fs *fs, struct inode *inode, uint64_t number)
{
        struct lock_owner *owner = get_owner(fs, inode, number);

        if (!owner)
                return false;
        unlock_all(owner);
        /* If a request of this owner waits for a lock, the owner stays for that lock. */
        if (detach_unused(fs, inode, owner))
                lock_owner_put(owner);
        lock_owner_put(owner);
        return true;
}

/* With the lock. */
static struct lock_owner *find_user(struct inode *inode, uint64_t fh)
{
        struct lock_owner *owner = inode->owners;

        while (owner && owner->fh != fh)
                owner = owner->next;
        return owner;
}

bool lock_owners_close(struct fs *fs, struct inode *inode, uint64_t fh)
{
        for (bool some = false;; some = true) {
                pthread_mutex_lock(&fs->lock);

                struct lock_owner *owner = find_user(inode, fh);
                uint64_t number = owner ? owner->number : 0;

                if (owner)
                        owner->fh = NO_FILE;
                pthread_mutex_unlock(&fs->lock);
                if (!owner)
                        return some;
                lock_owner_drop(fs, inode, number);
        }
}

void lock_owner_uses(struct lock_owner *owner, uint64_t fh)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&owner->fs->lock);
        owner->fh = fh;
}

/* ---- locks ---- */

/* Returns the guest's process whose lock the kernel has found; 0: a host program's, or another guest's. */
static uint32_t find_pid(const struct node *node, uint64_t number, const struct flock *found)
{
        const struct held_lock wanted = held_from(found, 0);
        const struct held_lock *lock = NULL;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&node->fs->lock);
        for (const struct lock_owner *owner = node->inode->owners; owner && !lock; owner = owner->next)
                if (owner->number != number)
                        lock = held_find(&owner->held, &wanted);

        return lock ? lock->pid : 0;
}

/* An owner without locks here needs none to ask for those of others. */
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

static int lock_make_room(struct lock_owner *owner)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&owner->fs->lock);

        return held_make_room(&owner->held);
}

static int set_part(const struct lock_wanted *wanted)
{
        struct lock_owner *owner = wanted->owner;

        pthread_mutex_lock(&owner->order);

        int r = lock_make_room(owner);

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
