/* SPDX-License-Identifier: BSD-2-Clause */

/* mmap() with MAP_FIXED removes the old mapping before it asks the file, and no Linux restores it where the file then
 * refuses (a file of /proc, one of hugetlbfs without pages, one of FUSE with direct I/O; and memory that is accounted,
 * before 6.12). This leaves a gap, into which the next mmap() of another thread may go: the peer would see that memory,
 * and a hole put back would be mapped over it. So the mapping is made at another address, where it may fail, and then
 * moved, which replaces the old one in one step: mremap() checks nearly everything it can fail at before it unmaps
 * anything; the exception is the allocation of a VMA. No page was touched yet, so none is moved. Mappings of hugetlbfs
 * can be moved since Linux 5.16 (file_check_mappable()). */

#include "base/map.h"
#include "base/syscalls.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

USES_SYSCALLS(SYSCALL(mremap), SYSCALL(munmap));

/* The address for the temporary mapping: far from all others, and at a fixed distance from its destination, so that
 * both have the same alignment. It then shares no part of a page table with a neighbour, which mremap() would have to
 * copy entry by entry. NULL: anywhere. */
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
