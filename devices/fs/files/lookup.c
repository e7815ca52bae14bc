/* SPDX-License-Identifier: BSD-2-Clause */

/* Turns a name into an inode: the file is opened (O_PATH), never through a symbolic link, and counted in the table
 * of inodes. A file that is in the table with a descriptor needs no other, so if that is likely only its attributes
 * are read. If the guest's descriptors are used up, room is made for one more. */

#include "base/fd.h"
#include "base/syscalls.h"
#include "devices/fs/core/proc_fd.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/attributes.h"
#include "devices/fs/files/inode.h"
#include "devices/fs/files/mounts.h"
#include "devices/fs/files/room.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL_AT(openat2, 0), SYSCALL_AT(openat, 0));

/* Whether the guest is told that a submount begins here. A btrfs subvolume has the mount of its parent, but a device
 * number and inode numbers of its own. */
static bool is_submount(const struct fs *fs, const struct statx *stat, const struct inode_key *parent)
{
        const struct inode_key key = inode_key_of(stat);

        return fs->features & FUSE_SUBMOUNTS && S_ISDIR(stat->stx_mode) &&
               (key.mount != parent->mount || key.device != parent->device);
}

static bool has_room_for_new(struct fs *fs, unsigned handles)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        return fs_held(fs) + handles + !fs_saves_descriptors(fs) <= fs->options.max_open;
}

int inode_room_for_new(struct fs *fs, unsigned handles)
{
        return has_room_for_new(fs, handles) || (room_make(fs) && has_room_for_new(fs, handles)) ? 0 : -ENFILE;
}

static void tell_entry(struct fs *fs, const struct statx *stat, const struct inode_key *parent, uint64_t nodeid,
                       struct fuse_entry_out *entry)
{
        *entry = (struct fuse_entry_out){
                .nodeid = nodeid,
                .entry_valid = names_valid(fs),
                .attr_valid = attributes_valid(fs, stat),
                .attr = attributes_of(fs, stat),
        };
        if (is_submount(fs, stat, parent))
                entry->attr.flags |= FUSE_ATTR_SUBMOUNT;
}

/* Takes @path_fd, which is O_PATH. */
static int lookup_enter(struct fs *fs, int path_fd, const struct inode_key *parent, struct fuse_entry_out *entry)
{
        struct statx stat;
        struct inode_found found = {.fd = path_fd, .stat = &stat};
        uint64_t nodeid = 0;
        int r = attributes_read(fs, path_fd, "", &stat);

        if (r == 0) {
                found.submount = is_submount(fs, &stat, parent);
                r = inode_count_found(fs, &found, &nodeid);
        }
        if (r == -ENFILE && room_make(fs))
                r = inode_count_found(fs, &found, &nodeid);
        mount_unref(fs, found.mount);
        fd_close(found.fd);
        if (r == 0)
                tell_entry(fs, &stat, parent, nodeid, entry);
        return r;
}

/* A guess, by the last lookups. */
static bool may_be_new(struct fs *fs)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        return fs->known < 0;
}

/* A file that is known by a descriptor needs no other one. For any other file this is a needless system call. */
static int look_up_known(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name,
                         struct fuse_entry_out *entry)
{
        struct statx stat;
        uint64_t nodeid;

        if (fs->options.file_handles == FS_HANDLES_MANDATORY || fs->window.shadows.enabled || may_be_new(fs))
                return -EAGAIN;

        int r = attributes_read(fs, directory_fd, name, &stat);

        if (r < 0)
                return r;
        if (!inode_count_known(fs, &(struct inode_id){.key = inode_key_of(&stat)}, &nodeid))
                return -EAGAIN;
        tell_entry(fs, &stat, directory, nodeid, entry);
        return 0;
}

static int look_up(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name,
                   struct fuse_entry_out *entry)
{
        /* A single name can't leave the directory; having the kernel refuse links and parents as well costs nothing. */
        const struct open_how how = {
                .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        };
        int r = look_up_known(fs, directory_fd, directory, name, entry);

        if (r != -EAGAIN)
                return r;

        int fd = (int)syscall(SYS_openat2, directory_fd, name, &how, sizeof(how));

        return fd < 0 ? -errno : lookup_enter(fs, fd, directory, entry);
}

/* Notes a file that was found by a name and has no link: the name was removed meanwhile, or the file system does not
 * count links, as many in user space. */
static void note_no_link(struct fs *fs, int directory_fd, const char *name, uint64_t nodeid)
{
        struct statx stat;

        if (attributes_read(fs, directory_fd, name, &stat) < 0 || stat.stx_nlink > 0)
                return;

        const struct inode_key found = inode_key_of(&stat);

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        struct inode *inode = ids_find(&fs->inodes, nodeid);

        if (inode && inode_key_compare(&inode->id.key, &found) == 0)
                inode->links_unknown = true;
}

int inode_lookup(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name,
                 struct fuse_entry_out *entry)
{
        int r = look_up(fs, directory_fd, directory, name, entry);

        if (r == 0 && entry->attr.nlink == 0)
                note_no_link(fs, directory_fd, name, entry->nodeid);
        return r;
}

int inode_check_no_submount(struct fs *fs, int directory_fd, const struct inode_key *directory, const char *name)
{
        struct statx stat;

        if (!(fs->features & FUSE_SUBMOUNTS) || attributes_read(fs, directory_fd, name, &stat) < 0)
                return 0;
        return is_submount(fs, &stat, directory) ? -EBUSY : 0;
}

int inode_lookup_open(struct fs *fs, int fd, const struct inode_key *directory, struct fuse_entry_out *entry)
{
        int path_fd = openat(fs->proc_fd, fd_name(fd).text, O_PATH | O_CLOEXEC);

        return path_fd < 0 ? -errno : lookup_enter(fs, path_fd, directory, entry);
}
