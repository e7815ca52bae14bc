/* SPDX-License-Identifier: BSD-2-Clause */

/* The table of open files and directories, by the fh that the guest has. fs->lock covers the table and
 * inode->handles; the reference count is atomic, and the last handle_put() closes the descriptor, without that lock
 * if its caller does not hold it. The guest can release a handle as soon as it is in the table, so handle_insert()
 * stores fh under the lock. If no descriptor is left, handle_add() calls room_make() once and tries again. */

#include "devices/fs/files/handle.h"

#include "base/fd.h"
#include "devices/fs/core/state.h"

#include <fcntl.h>

void handle_put(struct handle *handle)
{
        if (!handle || atomic_fetch_sub(&handle->refs, 1) > 1)
                return;
        fd_close(handle->fd);
        pthread_mutex_destroy(&handle->lock);
        free(handle);
}

/* Sets *@fh under the lock: the guest can release the handle as soon as it is in the table. */
static int handle_insert(struct fs *fs, struct handle *handle, struct inode *inode, uint64_t *fh)
{
        int r = -ENFILE;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);
        if (fs_has_room(fs))
                r = ids_add(&fs->handles, handle, &handle->fh);
        if (r == 0) {
                inode->handles++;
                *fh = handle->fh;
        }
        return r;
}

int handle_add(struct fs *fs, int fd, enum handle_kind kind, int flags, const struct node *node, uint64_t *fh)
{
        _cleanup_(fd_closep) int owned = fd;
        struct handle *handle = malloc(sizeof(*handle));

        if (!handle)
                return -ENOMEM;
        *handle = (struct handle){
                .refs = 1,
                .fd = fd_take(&owned),
                .kind = kind,
                .is_plain = flags == O_RDONLY,
                .is_direct = flags & O_DIRECT,
                .nodeid = node->inode->nodeid,
                .file = node->inode->id.key,
        };
        pthread_mutex_init(&handle->lock, NULL);

        int r = handle_insert(fs, handle, node->inode, fh);

        if (r == -ENFILE && room_make(fs))
                r = handle_insert(fs, handle, node->inode, fh);
        if (r < 0)
                handle_put(handle);
        return r;
}

struct handle *handle_get(struct fs *fs, uint64_t fh, enum handle_kind kind)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        struct handle *handle = ids_find(&fs->handles, fh);

        if (handle && handle->kind == kind)
                atomic_fetch_add(&handle->refs, 1);
        else
                handle = NULL;
        return handle;
}

/* With the lock: removes it from the table. The guest may have forgotten the node before. */
static void remove_from_table(struct fs *fs, const struct handle *handle)
{
        struct inode *inode = ids_find(&fs->inodes, handle->nodeid);

        ids_remove(&fs->handles, handle->fh);
        if (inode)
                inode->handles--;
}

struct handle *handle_remove(struct fs *fs, uint64_t fh, enum handle_kind kind)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        struct handle *handle = ids_find(&fs->handles, fh);

        if (handle && handle->kind == kind)
                remove_from_table(fs, handle);
        else
                handle = NULL;
        return handle;
}

bool handle_is_unused(struct handle *handle)
{
        return atomic_load(&handle->refs) == 1;
}

void handles_reset(struct fs *fs)
{
        struct handle *handle;
        uint32_t slot = 0;

        do {
                pthread_mutex_lock(&fs->lock);
                handle = ids_next(&fs->handles, &slot);
                if (handle)
                        remove_from_table(fs, handle);
                pthread_mutex_unlock(&fs->lock);
                handle_put(handle);
        } while (handle);
}

void handles_done(struct fs *fs)
{
        handles_reset(fs);
        ids_done(&fs->handles);
}
