/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory/region.h"

#include "base/range.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>

int region_check(const struct oriel_memory_region *row)
{
        uint64_t end;

        if (!range_valid((struct oriel_range){row->guest_address, row->size}) ||
            !range_valid((struct oriel_range){row->user_address, row->size}) ||
            !checked_add(row->mmap_offset, row->size, &end))
                return -EINVAL;
        return 0;
}

int region_new_mapped(const struct oriel_memory_region *row, void *host, enum oriel_access access, struct region **out)
{
        struct region *region = malloc(sizeof(*region));

        if (!region)
                return -ENOMEM;
        *region = (struct region){.references = 1, .access = access, .row = *row, .host = host};
        *out = region;
        return 0;
}

int region_new_file(const struct oriel_memory_region *row, int fd, struct region **out)
{
        _cleanup_(region_unrefp) struct region *region = NULL;
        int flags, protection, r;

        flags = fcntl(fd, F_GETFL);
        if (flags < 0)
                return -errno;
        protection = (flags & O_ACCMODE) == O_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE;
        r = region_new_mapped(row, NULL, protection & PROT_WRITE ? ORIEL_ACCESS_READ_WRITE : ORIEL_ACCESS_READ,
                              &region);
        if (r < 0)
                return r;
        r = file_map(fd, row->mmap_offset, row->size, protection, &region->map, &region->host);
        if (r < 0)
                return r;
        *out = steal(region);
        return 0;
}

struct region *region_ref(struct region *region)
{
        atomic_fetch_add_explicit(&region->references, 1, memory_order_relaxed);
        return region;
}

void region_unref(struct region *region)
{
        /* Release this holder's accesses to the memory, and acquire those of all others, before it is unmapped. */
        if (!region || atomic_fetch_sub_explicit(&region->references, 1, memory_order_acq_rel) > 1)
                return;
        file_unmap(&region->map);
        free(region);
}
