/* SPDX-License-Identifier: BSD-2-Clause */

/* The guest memory table, which never changes. Each function that adds or removes a region, or changes the IOTLB,
 * allocates a new table, which shares the regions of the old one: tables, regions and IOTLBs are counted by references,
 * and the last reference to a region unmaps it. So queue threads translate by a table without a lock, and a popped
 * buffer keeps its table, and with it its spans, valid. A table has two sorted arrays of its regions, by guest address
 * and by user address, in which no two overlap. The caller swaps the new table for the old one (use_memory() of the
 * back-end, under each queue's lock). */

#include "base/fd.h"
#include "base/guard.h"
#include "base/range.h"
#include "memory/iotlb.h"
#include "memory/region.h"
#include "memory/table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A table with room for @n regions. Takes @iotlb over on success. */
static struct oriel_memory *memory_alloc(unsigned max_regions, unsigned n, struct iotlb *iotlb)
{
        struct oriel_memory *memory = malloc(sizeof(*memory) + 2 * (size_t)n * sizeof(memory->places[0]));

        if (!memory)
                return NULL;
        *memory = (struct oriel_memory){.references = 1, .max_regions = max_regions, .iotlb = iotlb};
        memory->by_guest = memory->places;
        memory->by_user = memory->places + n;
        return memory;
}

int oriel_memory_new(unsigned max_regions, int iommu, struct oriel_memory **out)
{
        struct iotlb *iotlb = NULL;

        if (!out)
                return -EINVAL;
        *out = NULL;
        if (iommu && iotlb_new(&iotlb) < 0)
                return -ENOMEM;
        *out = memory_alloc(max_regions, 0, iotlb);
        if (*out)
                return 0;
        iotlb_unref(iotlb);
        return -ENOMEM;
}

struct oriel_memory *oriel_memory_ref(struct oriel_memory *memory)
{
        atomic_fetch_add_explicit(&memory->references, 1, memory_order_relaxed);
        return memory;
}

void oriel_memory_unref(struct oriel_memory *memory)
{
        /* As in region_unref(): acquire what all other holders did before the table is freed. */
        if (!memory || atomic_fetch_sub_explicit(&memory->references, 1, memory_order_acq_rel) > 1)
                return;
        for (unsigned i = 0; i < memory->n; i++)
                region_unref(memory->by_guest[i].region);
        iotlb_unref(memory->iotlb);
        free(memory);
}

/* Copies the @n sorted places of @from to @to, without @gone and with @added, either of which may be empty. */
static void places_copy(struct place *to, const struct place *from, unsigned n, const struct region *gone,
                        struct place added)
{
        for (unsigned i = 0; i < n; i++) {
                if (from[i].region == gone)
                        continue;
                if (added.region && added.range.start < from[i].range.start) {
                        *to++ = added;
                        added.region = NULL;
                }
                *to++ = from[i];
        }
        if (added.region)
                *to = added;
}

/* A copy of @old without @gone and with @added, either of which may be NULL. Takes a reference to @added. */
static int memory_change(const struct oriel_memory *old, const struct region *gone, struct region *added,
                         struct oriel_memory **out)
{
        struct place guest = {.region = added}, user = {.region = added};
        struct oriel_memory *memory;

        memory = memory_alloc(old->max_regions, old->n + (added != NULL) - (gone != NULL), iotlb_ref(old->iotlb));
        if (!memory) {
                iotlb_unref(old->iotlb);
                return -ENOMEM;
        }
        if (added) {
                guest.range = region_guest(added);
                user.range = region_user(added);
        }
        places_copy(memory->by_guest, old->by_guest, old->n, gone, guest);
        places_copy(memory->by_user, old->by_user, old->n, gone, user);
        memory->n = old->n + (added != NULL) - (gone != NULL);
        for (unsigned i = 0; i < memory->n; i++)
                region_ref(memory->by_guest[i].region);
        *out = memory;
        return 0;
}

static int memory_check_added(const struct oriel_memory *old, const struct oriel_memory_region *row)
{
        struct oriel_range guest = {row->guest_address, row->size}, user = {row->user_address, row->size};
        int r = region_check(row);

        if (r < 0)
                return r;
        if (places_overlap(old->by_guest, old->n, guest) || places_overlap(old->by_user, old->n, user))
                return -EEXIST;
        return old->n < old->max_regions ? 0 : -ENOSPC;
}

int oriel_memory_add(struct oriel_memory *old, const struct oriel_memory_region *row, int fd, struct oriel_memory **out)
{
        _cleanup_(region_unrefp) struct region *region = NULL;
        int r = fd_check(fd);

        if (r == 0)
                r = memory_check_added(old, row);
        if (r < 0)
                return r;
        r = region_new_file(row, fd, &region);
        return r < 0 ? r : memory_change(old, NULL, region, out);
}

int oriel_memory_add_mapped(struct oriel_memory *old, const struct oriel_memory_region *row, void *host,
                            enum oriel_access access, struct oriel_memory **out)
{
        _cleanup_(region_unrefp) struct region *region = NULL;
        int r = memory_check_added(old, row);

        if (r < 0)
                return r;
        r = region_new_mapped(row, host, access, &region);
        return r < 0 ? r : memory_change(old, NULL, region, out);
}

int oriel_memory_remove(struct oriel_memory *old, const struct oriel_memory_region *row, struct oriel_memory **out)
{
        const struct place *place = place_find(old->by_guest, old->n, row->guest_address);

        if (!place || place->range.start != row->guest_address || place->range.size != row->size ||
            place->region->row.user_address != row->user_address)
                return -ENOENT;
        return memory_change(old, place->region, NULL, out);
}

/* A copy of @old with @iotlb as its IOTLB. Takes @iotlb over, also on failure. */
static int memory_change_iotlb(const struct oriel_memory *old, struct iotlb *iotlb, struct oriel_memory **out)
{
        int r = memory_change(old, NULL, NULL, out);

        if (r < 0) {
                iotlb_unref(iotlb);
                return r;
        }
        iotlb_unref((*out)->iotlb);
        (*out)->iotlb = iotlb;
        return 0;
}

int oriel_memory_iotlb_update(struct oriel_memory *old, struct oriel_range iova, uint64_t user_address,
                              enum oriel_access access, struct oriel_memory **out)
{
        struct iotlb_entry entry = {.iova = iova, .user_address = user_address, .access = access};
        struct oriel_range user = {user_address, iova.size};
        const struct place *place;
        struct iotlb *iotlb;
        int r;

        if (!old->iotlb || !range_valid(iova) || !range_valid(user) || access == ORIEL_ACCESS_NONE ||
            access > ORIEL_ACCESS_READ_WRITE)
                return -EINVAL;
        place = place_find(old->by_user, old->n, user_address);
        if (!place || !range_contains(place->range, user))
                return -EFAULT;
        r = iotlb_replace(old->iotlb, iova, &entry, &iotlb);
        return r < 0 ? r : memory_change_iotlb(old, iotlb, out);
}

int oriel_memory_iotlb_invalidate(struct oriel_memory *old, struct oriel_range iova, struct oriel_memory **out)
{
        struct iotlb *iotlb;
        int r;

        /* The size 2^64 does not fit the message's field: QEMU sends 0 for it. */
        if (iova.start == 0 && iova.size == 0)
                iova.size = UINT64_MAX;
        if (!old->iotlb || !range_valid(iova))
                return -EINVAL;
        r = iotlb_replace(old->iotlb, iova, NULL, &iotlb);
        return r < 0 ? r : memory_change_iotlb(old, iotlb, out);
}

unsigned oriel_memory_count(const struct oriel_memory *memory)
{
        return memory->n;
}

void oriel_memory_get(const struct oriel_memory *memory, unsigned index, struct oriel_memory_region *row, void **host)
{
        const struct region *region = index < memory->n ? memory->by_guest[index].region : NULL;

        *row = region ? region->row : (struct oriel_memory_region){0};
        if (host)
                *host = region ? region->host : NULL;
}

int oriel_memory_survive_sigbus(void)
{
        return guard_install();
}
