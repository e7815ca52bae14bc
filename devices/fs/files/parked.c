/* SPDX-License-Identifier: BSD-2-Clause */

/* Descriptors of files that the guest has released, kept in an array of places. An inode remembers its last place
 * (inode->parked), so taking a descriptor is one comparison of node IDs; a new one goes to that place if it is empty,
 * otherwise to the next one in turn, whose descriptor is closed. A place owns its descriptor, which counts in
 * fs->held_fds.
 *
 * fs->lock covers the places. It is released before any close(2), which a remote file system can make wait. Only
 * file systems known to be local are parked. */

#include "devices/fs/files/parked.h"

#include "base/fd.h"
#include "base/syscalls.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <sys/param.h>
#include <sys/vfs.h>

USES_SYSCALLS(SYSCALL(fstatfs));

int parked_init(struct parked *parked, const struct fs_options *options)
{
        unsigned most = options->max_parked ? options->max_parked : PARKED_MAX,
                 max = MIN(MAX(options->max_open / 4, 1u), MIN(most, (unsigned)PARKED_MAX));

        /* Every inode has a place, so there is at least one. */
        parked->places = calloc(max, sizeof(*parked->places));
        if (!parked->places)
                return -ENOMEM;
        parked->max = max;
        return 0;
}

void parked_done(struct parked *parked)
{
        free(parked->places);
}

/* With the lock: takes the descriptor at @place; -1 if that is not @nodeid's. */
static int take_from(struct fs *fs, unsigned place, uint64_t nodeid)
{
        if (fs->parked.places[place].nodeid != nodeid)
                return -1;
        fs->parked.places[place].nodeid = 0;
        fs->parked.n--;
        fs->held_fds--;
        return fs->parked.places[place].fd;
}

/* With the lock: its last place, if that is empty, so that a file that is opened again and again displaces no other. */
static unsigned choose_place(struct parked *parked, const struct inode *inode)
{
        unsigned place = parked->places[inode->parked].nodeid ? parked->next : inode->parked;

        if (place == parked->next)
                parked->next = (place + 1) % parked->max;
        return place;
}

/* On other file systems an open file is renamed instead of removed (NFS, FUSE), or an open has to check that the
 * file is still the same. */
static bool is_local(int fd)
{
        static const unsigned long types[] = {
                EXT4_SUPER_MAGIC,      XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,    F2FS_SUPER_MAGIC,  TMPFS_MAGIC,
                OVERLAYFS_SUPER_MAGIC, SQUASHFS_MAGIC,  EROFS_SUPER_MAGIC_V1, ISOFS_SUPER_MAGIC,
        };
        struct statfs stat;

        if (fstatfs(fd, &stat) < 0)
                return false;
        for (size_t i = 0; i < ARRAY_SIZE(types); i++)
                if ((unsigned long)stat.f_type == types[i])
                        return true;
        return false;
}

static bool can_be_parked(struct fs *fs, const struct handle *handle)
{
        struct parked *parked = &fs->parked;

        pthread_mutex_lock(&fs->lock);

        bool known = parked->device == handle->file.device && parked->mount == handle->file.mount,
             local = parked->is_local;

        pthread_mutex_unlock(&fs->lock);
        if (known)
                return local;
        local = is_local(handle->fd);
        pthread_mutex_lock(&fs->lock);
        parked->device = handle->file.device;
        parked->mount = handle->file.mount;
        parked->is_local = local;
        pthread_mutex_unlock(&fs->lock);
        return local;
}

bool parked_add(struct fs *fs, struct handle *handle)
{
        if (fs->options.no_parked || !can_be_parked(fs, handle))
                return false;

        const uint64_t nodeid = handle->nodeid;
        int fd = fd_take(&handle->fd), gone = fd;

        pthread_mutex_lock(&fs->lock);

        struct inode *inode = ids_find(&fs->inodes, nodeid);

        /* A descriptor that is parked already does as well. */
        if (inode && fs_has_room(fs) && fs->parked.places[inode->parked].nodeid != nodeid) {
                unsigned place = choose_place(&fs->parked, inode);

                gone = fs->parked.places[place].nodeid ? take_from(fs, place, fs->parked.places[place].nodeid) : -1;
                fs->parked.places[place] = (struct parked_file){.nodeid = nodeid, .fd = fd};
                fs->parked.n++;
                fs->held_fds++;
                inode->parked = place;
        }
        pthread_mutex_unlock(&fs->lock);
        fd_close(gone);
        return gone != fd;
}

int parked_take(struct fs *fs, struct inode *inode)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        return take_from(fs, inode->parked, inode->nodeid);
}

/* Closes all, or those that were here at the last call already. Returns whether any was closed. */
static bool close_parked(struct fs *fs, bool all)
{
        bool some = false;

        pthread_mutex_lock(&fs->lock);
        for (unsigned i = 0; i < fs->parked.max && fs->parked.n > 0; i++) {
                struct parked_file *file = &fs->parked.places[i];
                int fd = file->nodeid && (all || file->seen) ? take_from(fs, i, file->nodeid) : -1;

                file->seen = true;
                if (fd < 0)
                        continue;
                some = true;
                pthread_mutex_unlock(&fs->lock);
                fd_close(fd);
                pthread_mutex_lock(&fs->lock);
        }
        pthread_mutex_unlock(&fs->lock);
        return some;
}

bool parked_clear(struct fs *fs)
{
        return close_parked(fs, true);
}

bool parked_expire(struct fs *fs)
{
        close_parked(fs, false);
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        return fs->parked.n > 0;
}
