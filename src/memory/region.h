/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MEMORY_REGION_H
#define MEMORY_REGION_H

#include "base/cleanup.h"
#include "memory/file_map.h"

#include <oriel/memory.h>
#include <stdatomic.h>

/* A memory region, shared by all tables that have it. Unmapped with its last reference. */
struct region {
        atomic_uint references;
        enum oriel_access access;
        struct oriel_memory_region row;
        uint8_t *host;       /* where row.guest_address is */
        struct file_map map; /* none where the caller mapped it */
};

/* -EINVAL: empty, or an address overflows. */
int region_check(const struct oriel_memory_region *row);
/* @row must have passed region_check(). */
int region_new_mapped(const struct oriel_memory_region *row, void *host, enum oriel_access access, struct region **out);
int region_new_file(const struct oriel_memory_region *row, int fd, struct region **out);
struct region *region_ref(struct region *region);
void region_unref(struct region *region);
DEFINE_CLEANUP(struct region *, region_unref);

static inline struct oriel_range region_guest(const struct region *region)
{
        return (struct oriel_range){region->row.guest_address, region->row.size};
}

static inline struct oriel_range region_user(const struct region *region)
{
        return (struct oriel_range){region->row.user_address, region->row.size};
}

#endif
