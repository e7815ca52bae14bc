/* SPDX-License-Identifier: BSD-2-Clause */
#include "shmem/mapping.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/struct.h"

#include <stdlib.h>

struct oriel_mapping *mapping_new(struct oriel_range range, uint64_t fd_offset, enum oriel_access access)
{
        struct oriel_mapping *mapping = calloc(1, sizeof(*mapping));

        if (!mapping)
                return NULL;
        mapping->range = range;
        mapping->fd_offset = fd_offset;
        mapping->access = access;
        mapping->fd = -1;
        mapping->created_ms = coarse_now_ns() / 1000000;
        atomic_init(&mapping->live, false);
        atomic_init(&mapping->references, 1);
        return mapping;
}

struct oriel_mapping *oriel_mapping_ref(struct oriel_mapping *mapping)
{
        atomic_fetch_add_explicit(&mapping->references, 1, memory_order_relaxed);
        return mapping;
}

void oriel_mapping_unref(struct oriel_mapping *mapping)
{
        if (!mapping || atomic_fetch_sub_explicit(&mapping->references, 1, memory_order_acq_rel) > 1)
                return;
        fd_close(mapping->fd);
        free(mapping);
}

struct oriel_range oriel_mapping_range(const struct oriel_mapping *mapping)
{
        return mapping->range;
}

int oriel_mapping_fd(const struct oriel_mapping *mapping)
{
        return mapping->fd;
}

void *oriel_mapping_data(const struct oriel_mapping *mapping)
{
        return mapping->data;
}

void oriel_mapping_set_data(struct oriel_mapping *mapping, void *data)
{
        mapping->data = data;
}

int oriel_mapping_get_info(struct oriel_mapping *mapping, struct oriel_mapping_info *out)
{
        const struct oriel_mapping_info info = {
                .range = mapping->range,
                .fd_offset = mapping->fd_offset,
                .access = mapping->access,
                .device = mapping->device,
                .inode = mapping->inode,
                .created_ms = mapping->created_ms,
                .references = atomic_load(&mapping->references),
                .live = atomic_load(&mapping->live),
                .orphan = atomic_load(&mapping->orphan),
        };

        return STRUCT_GIVE(out, &info, ORIEL_MAPPING_INFO_LEAST);
}
