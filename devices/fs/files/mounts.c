/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/files/mounts.h"

#include "base/fd.h"
#include "devices/fs/core/proc_fd.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/inode.h"

#include <fcntl.h>

/* With the lock. */
static struct mount_point *mounts_find(struct fs *fs, uint64_t id)
{
        struct mount_point *mount = LIST_FIRST(&fs->mounts.points);

        while (mount && mount->id != id)
                mount = LIST_NEXT(mount, entry);
        return mount;
}

/* With the lock; takes @fd. */
static struct mount_point *mounts_add(struct fs *fs, uint64_t id, int *fd)
{
        struct mount_point *mount = malloc(sizeof(*mount));

        if (!mount)
                return NULL;
        *mount = (struct mount_point){.id = id, .fd = fd_take(fd)};
        LIST_INSERT_HEAD(&fs->mounts.points, mount, entry);
        return mount;
}

struct mount_point *mount_ref(struct fs *fs, int fd, const struct statx *stat)
{
        _cleanup_(fd_closep) int mount_fd = -1;

        pthread_mutex_lock(&fs->lock);

        struct mount_point *mount = mounts_find(fs, stat->stx_mnt_id);

        if (!mount && (S_ISREG(stat->stx_mode) || S_ISDIR(stat->stx_mode))) {
                pthread_mutex_unlock(&fs->lock);
                mount_fd = fs_reopen(fs, fd, O_RDONLY);
                pthread_mutex_lock(&fs->lock);
                mount = mounts_find(fs, stat->stx_mnt_id);
                if (!mount && mount_fd >= 0)
                        mount = mounts_add(fs, stat->stx_mnt_id, &mount_fd);
        }
        if (mount)
                mount->inodes++;
        pthread_mutex_unlock(&fs->lock);
        return mount;
}

void mount_unref(struct fs *fs, struct mount_point *mount)
{
        bool last;

        if (!mount)
                return;
        pthread_mutex_lock(&fs->lock);
        last = --mount->inodes == 0;
        if (last)
                LIST_REMOVE(mount, entry);
        pthread_mutex_unlock(&fs->lock);
        if (!last)
                return;
        fd_close(mount->fd);
        free(mount);
}
