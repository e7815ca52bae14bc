/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MEMORY_TABLE_H
#define MEMORY_TABLE_H

#include "base/range.h"
#include "memory/iotlb.h"
#include "memory/region.h"

#include <oriel/memory.h>
#include <stdatomic.h>

/* Where a region is in one of the two address spaces. */
struct place {
        struct oriel_range range;
        struct region *region;
};

struct oriel_memory {
        atomic_uint references;
        unsigned max_regions;
        unsigned n;
        struct iotlb *iotlb; /* NULL: guest addresses are not translated */
        struct place *by_guest, *by_user;
        struct place places[]; /* @by_guest and @by_user, each sorted by address */
};

/* Index of the first place that ends at or above @address; @n if none does. */
static inline unsigned places_from(const struct place *places, unsigned n, uint64_t address)
{
        unsigned low = 0, high = n;

        while (low < high) {
                unsigned middle = low + (high - low) / 2;

                if (range_last(places[middle].range) < address)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* The place with @address, or NULL. */
static inline const struct place *place_find(const struct place *places, unsigned n, uint64_t address)
{
        unsigned i = places_from(places, n, address);

        return i < n && places[i].range.start <= address ? &places[i] : NULL;
}

static inline bool places_overlap(const struct place *places, unsigned n, struct oriel_range range)
{
        unsigned i = places_from(places, n, range.start);

        return i < n && range_overlaps(places[i].range, range);
}

#endif
