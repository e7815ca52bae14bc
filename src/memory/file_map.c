/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/file_map.h"

#include "base/guard.h"
#include "base/range.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(fstat), SYSCALL(fstatfs), SYSCALL_FCNTL(F_GET_SEALS));

/* hugetlbfs maps only whole huge pages. */
static int file_page_size(int fd, uint64_t *out)
{
        struct statfs fs;
        struct stat st;

        *out = (uint64_t)sysconf(_SC_PAGESIZE);
        /* Only files in memory have seals. Others are not asked by fstatfs(): a file system's server may not answer. */
        if (fcntl(fd, F_GET_SEALS) < 0)
                return 0;
        if (fstatfs(fd, &fs) < 0)
                return -errno;
        if (fs.f_type != HUGETLBFS_MAGIC)
                return 0;
        if (fstat(fd, &st) < 0)
                return -errno;
        *out = (uint64_t)st.st_blksize;
        return 0;
}

int file_map(int fd, uint64_t offset, uint64_t size, int protection, struct file_map *out, uint8_t **host)
{
        uint64_t page, start, end;
        void *address;
        int r;

        r = file_page_size(fd, &page);
        if (r < 0)
                return r;
        if (size == 0 || !checked_add(offset, size, &end) || !checked_round_up(end, page, &end) || end > INT64_MAX ||
            end > SIZE_MAX)
                return -EINVAL;
        start = offset & ~(page - 1);

        address = mmap(NULL, (size_t)(end - start), protection, MAP_SHARED | MAP_NORESERVE, fd, (off_t)start);
        if (address == MAP_FAILED)
                return -errno;
        r = guard_add(address, (size_t)(end - start));
        if (r < 0) {
                munmap(address, (size_t)(end - start));
                return r;
        }
        *out = (struct file_map){.address = address, .size = (size_t)(end - start)};
        *host = (uint8_t *)address + (offset - start);
        return 0;
}

void file_unmap(struct file_map *map)
{
        if (map->size > 0) {
                guard_remove(map->address);
                munmap(map->address, map->size);
        }
        *map = (struct file_map){0};
}
