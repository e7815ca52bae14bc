/* SPDX-License-Identifier: BSD-2-Clause */

/* mmap() with MAP_FIXED takes away what was there before it asks the file, and no Linux puts that back where the file
 * then refuses (a file of /proc, one of hugetlbfs without pages, one of FUSE with direct I/O; and memory that is
 * accounted, before 6.12). What is left is a gap, into which the next mmap() of another thread may go: the other side
 * of a session would see that memory, and a hole put back would be mapped over it. So a mapping is made elsewhere,
 * where it may fail, and moved, which replaces what was there in one step: mremap() checks all it can fail at before it
 * takes anything away, but for the few bytes that the kernel needs for a mapping of its own. Nothing was touched yet,
 * so there are no pages to move. Of hugetlbfs a mapping can be moved since Linux 5.16 (file_check_mappable()). */

#include "base/map.h"
#include "base/syscalls.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

USES_SYSCALLS(SYSCALL(mremap), SYSCALL(munmap));

/* Where a mapping is made first, if there is room: far away from all others, in step with where it goes to. Then it has
 * no part of a page table in common with a neighbour, which would be copied entry by entry. NULL: anywhere. */
static void *place_elsewhere(void *address)
{
        const uint64_t distance = UINT64_C(64) << 30;

        return (uintptr_t)address > 2 * distance ? (uint8_t *)address - distance : NULL;
}

int map_over(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
        void *elsewhere = mmap(place_elsewhere(address), size, protection, flags, fd, offset);

        if (elsewhere == MAP_FAILED)
                return -errno;
        if (mremap(elsewhere, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, address) != MAP_FAILED)
                return 0;

        int r = -errno;

        munmap(elsewhere, size);
        return r;
}
