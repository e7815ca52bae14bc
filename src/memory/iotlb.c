/* SPDX-License-Identifier: BSD-2-Clause */

/* The IOTLB of a memory table: IOVA ranges with the user addresses they stand for, in a sorted array that is searched
 * by bisection. Like the table it never changes and is counted by references; iotlb_replace() makes a copy with one
 * entry more, or with those in a range removed. The dispatching thread makes copies, for each IOTLB update and
 * invalidation of the front-end; any thread with a reference looks entries up, without a lock. At most
 * IOTLB_ENTRIES_MAX are kept. The age of an entry is the value of a counter of changes when it was added. */

#include "memory/iotlb.h"

#include "base/range.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct iotlb {
        atomic_uint references;
        unsigned n;
        uint64_t clock;
        struct iotlb_entry entries[]; /* by IOVA */
};

static struct iotlb *iotlb_alloc(unsigned n)
{
        struct iotlb *iotlb = malloc(sizeof(*iotlb) + n * sizeof(iotlb->entries[0]));

        if (iotlb)
                *iotlb = (struct iotlb){.references = 1};
        return iotlb;
}

int iotlb_new(struct iotlb **out)
{
        *out = iotlb_alloc(0);
        return *out ? 0 : -ENOMEM;
}

struct iotlb *iotlb_ref(struct iotlb *iotlb)
{
        if (iotlb)
                atomic_fetch_add_explicit(&iotlb->references, 1, memory_order_relaxed);
        return iotlb;
}

void iotlb_unref(struct iotlb *iotlb)
{
        if (iotlb && atomic_fetch_sub_explicit(&iotlb->references, 1, memory_order_acq_rel) == 1)
                free(iotlb);
}

/* The number of entries that lie wholly below @address. */
static unsigned iotlb_below(const struct iotlb *iotlb, uint64_t address)
{
        unsigned low = 0, high = iotlb->n;

        while (low < high) {
                unsigned middle = low + (high - low) / 2;

                if (range_last(iotlb->entries[middle].iova) < address)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* Most front-ends add entries only after a miss. So a full IOTLB drops its oldest entry: if it refused the new one, the
 * same miss would be reported again without end. */
static void iotlb_evict_oldest(struct iotlb *iotlb)
{
        unsigned oldest = 0;

        for (unsigned i = 1; i < iotlb->n; i++)
                if (iotlb->entries[i].age < iotlb->entries[oldest].age)
                        oldest = i;
        iotlb->n--;
        memmove(iotlb->entries + oldest, iotlb->entries + oldest + 1, (iotlb->n - oldest) * sizeof(iotlb->entries[0]));
}

int iotlb_replace(const struct iotlb *old, struct oriel_range gone, const struct iotlb_entry *added, struct iotlb **out)
{
        unsigned first = iotlb_below(old, gone.start), after = first;
        struct iotlb *iotlb = iotlb_alloc(old->n + 1);

        if (!iotlb)
                return -ENOMEM;
        while (after < old->n && old->entries[after].iova.start <= range_last(gone))
                after++;

        iotlb->clock = old->clock + 1;
        memcpy(iotlb->entries, old->entries, first * sizeof(old->entries[0]));
        iotlb->n = first;
        if (added) {
                iotlb->entries[iotlb->n] = *added;
                iotlb->entries[iotlb->n++].age = iotlb->clock;
        }
        memcpy(iotlb->entries + iotlb->n, old->entries + after, (old->n - after) * sizeof(old->entries[0]));
        iotlb->n += old->n - after;
        if (iotlb->n > IOTLB_ENTRIES_MAX)
                iotlb_evict_oldest(iotlb);
        *out = iotlb;
        return 0;
}

const struct iotlb_entry *iotlb_find(const struct iotlb *iotlb, uint64_t address)
{
        unsigned i = iotlb_below(iotlb, address);

        return i < iotlb->n && iotlb->entries[i].iova.start <= address ? &iotlb->entries[i] : NULL;
}
