/* SPDX-License-Identifier: BSD-2-Clause */

/* Makes room for descriptors of files that the guest opens.
 *
 * A file that is known by a descriptor takes two system calls less in each request than one that is known by its
 * handle, so files that are looked up get descriptors as long as there are plenty (fs_saves_descriptors() in
 * state.h). When none is left for a file that the guest opens, descriptors are taken back from files that have a
 * handle too, some at a time. The node stays, and everything that the guest knows of it. */

#include "devices/fs/files/room.h"

#include "base/fd.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/attributes.h"
#include "devices/fs/files/inode.h"
#include "devices/fs/files/mounts.h"
#include "devices/fs/files/parked.h"

/* Taken back at once, enough for a while. */
#define ENOUGH 64
/* Inodes that are checked while others wait for the lock. */
#define LOOKS 4096

/* With the lock. The root's descriptor stays. */
static bool has_descriptor(const struct inode *inode)
{
        return inode->fd >= 0 && inode->nodeid != FUSE_ROOT_ID;
}

/* Returns a reference to the next inode that has a descriptor, at most @left inodes further on. NULL: there is none
 * among those checked in one turn. */
static struct inode *next_with_descriptor(struct fs *fs, uint32_t *left)
{
        struct inode *inode = NULL;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);
        for (unsigned looks = LOOKS; *left > 0 && looks > 0 && !inode; --*left, --looks) {
                inode = ids_next(&fs->inodes, &fs->room.next_slot);
                if (!inode)
                        fs->room.next_slot = 0;
                else if (!has_descriptor(inode))
                        inode = NULL;
        }
        if (inode)
                atomic_fetch_add(&inode->refs, 1);
        return inode;
}

/* Takes its descriptor back, unless the inode is used. */
static bool spare_descriptor(struct fs *fs, struct inode *inode)
{
        struct mount_point *mount = NULL;
        struct file_id file;
        struct statx stat;
        int fd = -1;

        /* A file without a name could not be opened by its handle when its last descriptor is closed. */
        if (file_id_of(inode->fd, &file) == 0 && attributes_read(fs, inode->fd, "", &stat) == 0 &&
            (stat.stx_nlink > 0 || inode->links_unknown))
                mount = mount_ref(fs, inode->fd, &stat);
        if (!mount)
                return false;
        pthread_mutex_lock(&fs->lock);
        /* The table has one reference, the caller another. If the guest has forgotten the inode meanwhile, the table
         * has none. */
        if (ids_find(&fs->inodes, inode->nodeid) == inode && has_descriptor(inode) && atomic_load(&inode->refs) == 2)
                fd = inode_know_by_handle(fs, inode, &file, &mount);
        pthread_mutex_unlock(&fs->lock);
        mount_unref(fs, mount);
        fd_close(fd);
        return fd >= 0;
}

static bool spare_descriptors(struct fs *fs)
{
        unsigned spared = 0;

        if (fs->options.file_handles != FS_HANDLES_PREFER)
                return false;
        pthread_mutex_lock(&fs->room.lock);
        pthread_mutex_lock(&fs->lock);

        bool room = fs_has_room(fs);
        uint32_t left = fs->inodes.n_slots + 1;

        pthread_mutex_unlock(&fs->lock);

        while (!room && left > 0 && spared < ENOUGH) {
                struct inode *inode = next_with_descriptor(fs, &left);

                if (inode)
                        spared += spare_descriptor(fs, inode);
                inode_put(fs, inode);
        }
        pthread_mutex_unlock(&fs->room.lock);
        return room || spared > 0;
}

bool room_make(struct fs *fs)
{
        return parked_clear(fs) || spare_descriptors(fs);
}
