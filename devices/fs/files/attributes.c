/* SPDX-License-Identifier: BSD-2-Clause */

/* Attributes for the guest: statx(2) results translated to FUSE attributes, and how long it may cache them.
 * attributes_read() reads twice if there are shadows: it merges them with the file first, so that times and sizes
 * include the guest's stores, and merges again up to the size that is then told. Everything else here only converts,
 * takes no lock, and applies the maps of --translate-uid and --translate-gid to owners. */

#include "devices/fs/files/attributes.h"

#include "base/range.h"
#include "base/syscalls.h"
#include "devices/fs/core/idmap.h"
#include "devices/fs/core/state.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

USES_SYSCALLS(SYSCALL_AT(statx, 0));

static const uint64_t a_day = 86400;

uint64_t names_valid(const struct fs *fs)
{
        static const uint64_t seconds[] = {
                [FS_CACHE_AUTO] = 1,
                [FS_CACHE_ALWAYS] = a_day,
                [FS_CACHE_METADATA] = a_day,
                [FS_CACHE_NEVER] = 0,
        };

        return seconds[fs->options.cache];
}

uint64_t attributes_valid(const struct fs *fs, const struct statx *stat)
{
        return S_ISREG(stat->stx_mode) && stat->stx_mode & (S_ISUID | S_ISGID) ? 0 : names_valid(fs);
}

static int read_now(int fd, const char *name, struct statx *stat)
{
        const int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;

        return sys_result(statx(fd, name, flags, STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID, stat));
}

static void tell_shadows(struct fs *fs, const struct statx *stat)
{
        shadows_tell(&fs->window.shadows, makedev(stat->stx_dev_major, stat->stx_dev_minor), stat->stx_ino);
}

int attributes_read(struct fs *fs, int fd, const char *name, struct statx *stat)
{
        int r = read_now(fd, name, stat);

        if (r < 0 || !fs->window.shadows.enabled)
                return r;
        tell_shadows(fs, stat);
        r = read_now(fd, name, stat);
        if (r == 0)
                tell_shadows(fs, stat);
        return r;
}

/* A device number as on the wire: 12 bits of major between the minor's lower 8 and upper 12 bits. */
static uint32_t encode_device(uint32_t major, uint32_t minor)
{
        return (minor & 0xff) | (major & 0xfff) << 8 | (minor & 0xfff00) << 12;
}

/* Whether to mark the file for a guest that asks which files to map (dax=inode). A file that would need a shadow is
 * better read. */
static bool is_mapped(const struct fs *fs, const struct statx *stat)
{
        if (!fs->window.usable || !S_ISREG(stat->stx_mode) || stat->stx_size < fs->options.dax_from)
                return false;
        return !fs->window.limits.whole_pages_only ||
               (stat->stx_size > 0 && is_aligned(stat->stx_size, fs->window.page));
}

struct fuse_attr attributes_of(const struct fs *fs, const struct statx *stat)
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
                .uid = id_to_guest(fs->options.uids, stat->stx_uid),
                .gid = id_to_guest(fs->options.gids, stat->stx_gid),
                .rdev = encode_device(stat->stx_rdev_major, stat->stx_rdev_minor),
                .blksize = stat->stx_blksize,
                .flags = is_mapped(fs, stat) ? FUSE_ATTR_DAX : 0,
        };
}

static struct fuse_sx_time time_of(const struct statx_timestamp *time)
{
        return (struct fuse_sx_time){.tv_sec = time->tv_sec, .tv_nsec = time->tv_nsec};
}

struct fuse_statx attributes_all(const struct fs *fs, const struct statx *stat)
{
        return (struct fuse_statx){
                .mask = stat->stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
                .blksize = stat->stx_blksize,
                .attributes = stat->stx_attributes,
                .nlink = stat->stx_nlink,
                .uid = id_to_guest(fs->options.uids, stat->stx_uid),
                .gid = id_to_guest(fs->options.gids, stat->stx_gid),
                .mode = stat->stx_mode,
                .ino = stat->stx_ino,
                .size = stat->stx_size,
                .blocks = stat->stx_blocks,
                .attributes_mask = stat->stx_attributes_mask,
                .atime = time_of(&stat->stx_atime),
                .btime = time_of(&stat->stx_btime),
                .ctime = time_of(&stat->stx_ctime),
                .mtime = time_of(&stat->stx_mtime),
                .rdev_major = stat->stx_rdev_major,
                .rdev_minor = stat->stx_rdev_minor,
                .dev_major = stat->stx_dev_major,
                .dev_minor = stat->stx_dev_minor,
        };
}
