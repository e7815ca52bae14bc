/* SPDX-License-Identifier: BSD-2-Clause */

/* Closes descriptors that are held for the guest but not open in it, when the host may want the files back.
 *
 * A deleted file keeps its space as long as a descriptor of it is open. A guest may know a file for a day, and does
 * not tell when it stops using it: so known files are checked now and then, and those without a link are given up.
 * Their nodes stay, and are ESTALE. Parked files are closed after a second or two, because they also keep others
 * from taking a lease, and delay the event that the file was closed. */

#include "devices/fs/files/expire.h"

#include "base/fd.h"
#include "base/syscalls.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/inode.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <sys/stat.h>

USES_SYSCALLS(SYSCALL_AT(statx, 0), SYSCALL(eventfd2));

enum {
        OFTEN_MS = 1000,
        SELDOM_MS = 5000,
        ROUNDS = 12,    /* until all inodes have been checked: a minute */
        AT_LEAST = 256, /* in a round */
};

int expiring_init(struct expiring *expiring)
{
        *expiring = (struct expiring){
                .wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), .seldom = true, .next_slot = FUSE_ROOT_ID + 1};
        return expiring->wake_fd < 0 ? -errno : 0;
}

void expiring_done(struct expiring *expiring)
{
        fd_close(expiring->wake_fd);
}

void expiring_wake(struct expiring *expiring)
{
        if (atomic_exchange(&expiring->seldom, false))
                fd_event_wake(expiring->wake_fd);
}

/* With the lock. Directories take little space, and a process of the guest may be in one. */
static bool may_be_given_up(const struct inode *inode)
{
        return inode->fd >= 0 && S_ISREG(inode->type) && inode->handles == 0 && !inode->owners && !inode->links_unknown;
}

/* Returns a reference to the next inode that is to be checked, at most @left slots further on. NULL: there is none,
 * or the table has ended. */
static struct inode *next_to_look_at(struct fs *fs, uint32_t *left)
{
        struct inode *inode = NULL;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);
        while (*left > 0 && !inode) {
                const uint32_t before = fs->expiring.next_slot;

                inode = ids_next(&fs->inodes, &fs->expiring.next_slot);
                if (!inode) {
                        fs->expiring.next_slot = FUSE_ROOT_ID + 1;
                        break;
                }
                *left -= MIN(*left, fs->expiring.next_slot - before);
                if (!may_be_given_up(inode))
                        inode = NULL;
        }
        if (inode)
                atomic_fetch_add(&inode->refs, 1);
        return inode;
}

/* By what this host knows of it: a remote file system is not asked. */
static bool has_no_link(const struct inode *inode)
{
        struct statx stat;

        return statx(inode->fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_NLINK, &stat) == 0 &&
               stat.stx_mask & STATX_NLINK && stat.stx_nlink == 0;
}

/* Gives the inode up unless it is used: the table has one reference, the caller another. If the guest has forgotten
 * it meanwhile, the table has none. */
static void give_up_unused(struct fs *fs, struct inode *inode)
{
        int fd = -1;

        fd_close(parked_take(fs, inode));
        pthread_mutex_lock(&fs->lock);
        if (ids_find(&fs->inodes, inode->nodeid) == inode && may_be_given_up(inode) && atomic_load(&inode->refs) == 2)
                fd = inode_give_up(fs, inode);
        pthread_mutex_unlock(&fs->lock);
        fd_close(fd);
}

static void look_at_inodes(struct fs *fs)
{
        pthread_mutex_lock(&fs->lock);

        uint32_t left = MAX(fs->inodes.n_slots / ROUNDS, (uint32_t)AT_LEAST);

        pthread_mutex_unlock(&fs->lock);
        for (struct inode *inode; (inode = next_to_look_at(fs, &left));) {
                if (has_no_link(inode))
                        give_up_unused(fs, inode);
                inode_put(fs, inode);
        }
}

int fs_expire(struct fs *fs)
{
        bool parked;

        /* Before checking whether there is work: a session that begins, or a file that is parked, from then on wakes
         * this again. */
        atomic_store(&fs->expiring.seldom, true);
        if (!fs->ready)
                return -1;
        look_at_inodes(fs);
        parked = parked_expire(fs);
        if (parked)
                atomic_store(&fs->expiring.seldom, false);
        return parked ? OFTEN_MS : SELDOM_MS;
}

int fs_expire_fd(const struct fs *fs)
{
        return fs->expiring.wake_fd;
}
