/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/inode.h"

#include "base/fd.h"
#include "base/range.h"
#include "devices/fs/state.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <search.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static int compare(uint64_t a, uint64_t b)
{
        return (a > b) - (a < b);
}

int inode_key_compare(const struct inode_key *a, const struct inode_key *b)
{
        int order = compare(a->number, b->number);

        if (order == 0)
                order = compare(a->device, b->device);
        if (order == 0)
                order = compare(a->mount, b->mount);
        return order;
}

static int compare_keys(const void *a, const void *b)
{
        return inode_key_compare(a, b);
}

struct fd_name fd_name(int fd)
{
        struct fd_name name;

        snprintf(name.text, sizeof(name.text), "%d", fd);
        return name;
}

static int stat_fd(int fd, struct statx *stat)
{
        const int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

        return sys_result(statx(fd, "", flags, STATX_BASIC_STATS | STATX_MNT_ID, stat));
}

static void tell_shadows(struct fs *fs, const struct statx *stat)
{
        shadows_tell(&fs->window.shadows, makedev(stat->stx_dev_major, stat->stx_dev_minor), stat->stx_ino);
}

/* What is to be told to the guest: the times after what it has stored, and the size before the shadows know of it. */
static int stat_file(struct fs *fs, int fd, struct statx *stat)
{
        int r = stat_fd(fd, stat);

        if (r < 0 || !fs->window.shadows.enabled)
                return r;
        tell_shadows(fs, stat);
        r = stat_fd(fd, stat);
        tell_shadows(fs, stat);
        return r;
}

static struct inode_key key_of(const struct statx *stat)
{
        return (struct inode_key){
                .device = (uint64_t)stat->stx_dev_major << 32 | stat->stx_dev_minor,
                .number = stat->stx_ino,
                .mount = stat->stx_mnt_id,
        };
}

/* A device number as the guest's kernel has it on the wire: 12 bits of major between the minor's 8 and 12 bits. */
static uint32_t encode_device(uint32_t major, uint32_t minor)
{
        return (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12;
}

/* Where a shadow would be needed, a file is better read than mapped, for who asks us which to do (dax=inode). */
static bool is_mapped(const struct fs *fs, const struct statx *stat)
{
        if (!fs->window.usable || !S_ISREG(stat->stx_mode))
                return false;
        return !fs->window.limits.whole_pages_only ||
               (stat->stx_size > 0 && is_aligned(stat->stx_size, fs->window.page));
}

static struct fuse_attr attributes_of(const struct fs *fs, const struct statx *stat)
{
        return (struct fuse_attr){
                .ino = stat->stx_ino,
                .size = stat->stx_size,
                .blocks = stat->stx_blocks,
                .atime = (uint64_t)stat->stx_atime.tv_sec,
                .mtime = (uint64_t)stat->stx_mtime.tv_sec,
                .ctime = (uint64_t)stat->stx_ctime.tv_sec,
                .atimensec = stat->stx_atime.tv_nsec,
                .mtimensec = stat->stx_mtime.tv_nsec,
                .ctimensec = stat->stx_ctime.tv_nsec,
                .mode = stat->stx_mode,
                .nlink = stat->stx_nlink,
                .uid = stat->stx_uid,
                .gid = stat->stx_gid,
                .rdev = encode_device(stat->stx_rdev_major, stat->stx_rdev_minor),
                .blksize = stat->stx_blksize,
                .flags = is_mapped(fs, stat) ? FUSE_ATTR_DAX : 0,
        };
}

int inode_attributes(struct fs *fs, const struct inode *inode, struct fuse_attr_out *out)
{
        struct statx stat;
        int r = stat_file(fs, inode->fd, &stat);

        if (r < 0)
                return r;
        *out = (struct fuse_attr_out){
                .attr_valid = fs->options.cache_seconds,
                .attr = attributes_of(fs, &stat),
        };
        return 0;
}

void inode_put(struct inode *inode)
{
        if (!inode || atomic_fetch_sub(&inode->refs, 1) > 1)
                return;
        fd_close(inode->fd);
        free(inode);
}

struct inode *inode_get(struct fs *fs, uint64_t nodeid)
{
        pthread_mutex_lock(&fs->lock);

        struct inode *inode = ids_find(&fs->inodes, nodeid);

        if (inode)
                atomic_fetch_add(&inode->refs, 1);
        pthread_mutex_unlock(&fs->lock);
        return inode;
}

/* With the lock: a new inode in the table, which owns @fd from then on. */
static int insert(struct fs *fs, int *fd, const struct statx *stat, struct inode **out)
{
        if (!fs_has_room(fs))
                return -ENFILE;

        _cleanup_(freep) struct inode *inode = malloc(sizeof(*inode));

        if (!inode)
                return -ENOMEM;
        *inode = (struct inode){.key = key_of(stat), .refs = 1, .type = stat->stx_mode & S_IFMT};

        int r = ids_add(&fs->inodes, inode, &inode->nodeid);

        if (r < 0)
                return r;
        if (!tsearch(inode, &fs->inodes_by_key, compare_keys)) {
                ids_remove(&fs->inodes, inode->nodeid);
                return -ENOMEM;
        }
        inode->fd = fd_take(fd);
        *out = steal(inode);
        return 0;
}

/* With the lock: the table's reference becomes the caller's. */
static struct inode *detach(struct fs *fs, struct inode *inode)
{
        tdelete(inode, &fs->inodes_by_key, compare_keys);
        ids_remove(&fs->inodes, inode->nodeid);
        return inode;
}

/* Count one lookup of the file behind @fd, which the table takes if it has none for this file yet. */
static int count_lookup(struct fs *fs, int *fd, const struct statx *stat, uint64_t *nodeid)
{
        const struct inode_key key = key_of(stat);
        int r = 0;

        pthread_mutex_lock(&fs->lock);

        struct inode **known = tfind(&key, &fs->inodes_by_key, compare_keys);
        struct inode *inode = known ? *known : NULL;

        if (!inode)
                r = insert(fs, fd, stat, &inode);
        if (r == 0) {
                inode->lookups++;
                *nodeid = inode->nodeid;
        }
        pthread_mutex_unlock(&fs->lock);
        return r;
}

/* Takes @fd, which is O_PATH. */
static int enter(struct fs *fs, int path_fd, struct fuse_entry_out *entry)
{
        _cleanup_(fd_closep) int fd = path_fd;
        struct statx stat;
        uint64_t nodeid = 0;
        int r = stat_file(fs, fd, &stat);

        if (r == 0)
                r = count_lookup(fs, &fd, &stat, &nodeid);
        if (r < 0)
                return r;
        *entry = (struct fuse_entry_out){
                .nodeid = nodeid,
                .entry_valid = fs->options.cache_seconds,
                .attr_valid = fs->options.cache_seconds,
                .attr = attributes_of(fs, &stat),
        };
        return 0;
}

int inode_lookup(struct fs *fs, int directory_fd, const char *name, struct fuse_entry_out *entry)
{
        /* A single name can't lead astray; that the kernel refuses links and anything above as well costs nothing. */
        const struct open_how how = {
                .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
                .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        };
        int fd = (int)syscall(SYS_openat2, directory_fd, name, &how, sizeof(how));

        return fd < 0 ? -errno : enter(fs, fd, entry);
}

int inode_lookup_open(struct fs *fs, int fd, struct fuse_entry_out *entry)
{
        int path_fd = openat(fs->proc_fd, fd_name(fd).text, O_PATH | O_CLOEXEC);

        return path_fd < 0 ? -errno : enter(fs, path_fd, entry);
}

void inode_forget(struct fs *fs, uint64_t nodeid, uint64_t lookups)
{
        struct inode *gone = NULL;

        pthread_mutex_lock(&fs->lock);

        struct inode *inode = ids_find(&fs->inodes, nodeid);

        if (inode && nodeid != FUSE_ROOT_ID) {
                inode->lookups -= lookups < inode->lookups ? lookups : inode->lookups;
                if (inode->lookups == 0)
                        gone = detach(fs, inode);
        }
        pthread_mutex_unlock(&fs->lock);
        inode_put(gone);
}

int inode_open(struct fs *fs, const struct inode *inode, int flags)
{
        if (S_ISLNK(inode->type))
                return -ELOOP;
        if (!S_ISREG(inode->type) && !S_ISDIR(inode->type))
                return -ENXIO;
        return sys_result(openat(fs->proc_fd, fd_name(inode->fd).text, flags | O_CLOEXEC | O_NOCTTY));
}

int inodes_init(struct fs *fs)
{
        _cleanup_(fd_closep) int fd = open(fs->options.shared_dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
        struct statx stat;
        struct inode *root;

        if (fd < 0)
                return -errno;

        int r = stat_fd(fd, &stat);

        ids_init(&fs->inodes, true);
        /* The first id there is: FUSE_ROOT_ID. */
        return r < 0 ? r : insert(fs, &fd, &stat, &root);
}

static struct inode *detach_next(struct fs *fs, uint32_t *slot)
{
        pthread_mutex_lock(&fs->lock);

        struct inode *inode = ids_next(&fs->inodes, slot);

        if (inode)
                detach(fs, inode);
        pthread_mutex_unlock(&fs->lock);
        return inode;
}

void inodes_reset(struct fs *fs)
{
        uint32_t slot = FUSE_ROOT_ID + 1;
        struct inode *inode;

        while ((inode = detach_next(fs, &slot)))
                inode_put(inode);
}

void inodes_done(struct fs *fs)
{
        struct inode *root = ids_find(&fs->inodes, FUSE_ROOT_ID);

        inodes_reset(fs);
        if (root)
                inode_put(detach(fs, root));
        ids_done(&fs->inodes);
}
