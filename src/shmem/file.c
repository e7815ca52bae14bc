/* SPDX-License-Identifier: BSD-2-Clause */
#include "shmem/file.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/range.h"
#include "shmem/filesystem.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <sys/vfs.h>
#include <unistd.h>

static int check_mode(int fd, enum oriel_access access)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return -errno;
        if (flags & O_PATH)
                return -EBADF;
        if ((flags & O_ACCMODE) == O_WRONLY)
                return -EACCES;
        return access == ORIEL_ACCESS_READ_WRITE && (flags & O_ACCMODE) != O_RDWR ? -EACCES : 0;
}

static bool on_filesystem(int fd, unsigned long magic)
{
        struct statfs fs;

        return fstatfs(fd, &fs) == 0 && (unsigned long)fs.f_type == magic;
}

/* The kernel rounds a mapping of a hugetlbfs file up to whole huge pages, over whatever follows in the window. And
 * before 5.16 it can't move such a mapping, which map_over() needs. */
static int check_huge(int fd, const struct statx *stat, struct oriel_range range, uint64_t fd_offset)
{
        uint64_t huge = stat->stx_blksize;

        /* Only files in memory have seals; the kernel itself answers fstatfs() for them. */
        if (huge <= (uint64_t)sysconf(_SC_PAGESIZE) || fcntl(fd, F_GET_SEALS) < 0 ||
            !on_filesystem(fd, HUGETLBFS_MAGIC))
                return 0;
        if (!kernel_is_at_least(5, 16))
                return -ENODEV;
        return is_aligned(range.start | range.size | fd_offset, huge) ? 0 : -EINVAL;
}

/* A dmabuf is an inode without a type, like an eventfd. The kernel itself serves such inodes, so fstatfs() can't
 * hang. */
static bool is_dmabuf(int fd, const struct statx *stat)
{
        return (stat->stx_mode & S_IFMT) == 0 && on_filesystem(fd, DMA_BUF_MAGIC);
}

int file_check_mappable(int fd, struct oriel_range range, uint64_t fd_offset, enum oriel_access access, bool remote,
                        struct statx *stat)
{
        uint64_t end;
        int r = fd_look(fd, stat);

        if (r < 0)
                return r;
        if (!S_ISREG(stat->stx_mode) && !is_dmabuf(fd, stat))
                return -ENODEV;
        if (!checked_add(fd_offset, range.size, &end) || end > INT64_MAX)
                return -EINVAL;
        r = check_mode(fd, access);
        if (r == 0 && !remote && !filesystem_is_local(fd, stat))
                r = -EREMOTE;
        return r < 0 ? r : check_huge(fd, stat, range, fd_offset);
}
