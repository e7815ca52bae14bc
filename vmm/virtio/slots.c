/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/virtio/slots.h"

#include <stdlib.h>

static struct slot_count *find_count(struct slots *slots, const void *owner)
{
        for (unsigned i = 0; i < slots->n_counts; i++)
                if (slots->counts[i].owner == owner)
                        return &slots->counts[i];
        return NULL;
}

bool slots_take(struct slots *slots, const void *owner, unsigned shares)
{
        const uint64_t of_guest_memory = 2;
        uint64_t part = slots->max > of_guest_memory ? (slots->max - of_guest_memory) / shares : 0;
        struct slot_count *count = find_count(slots, owner);

        if (!count) {
                struct slot_count *counts = reallocarray(slots->counts, slots->n_counts + 1, sizeof(*counts));

                if (!counts)
                        return false;
                slots->counts = counts;
                count = &counts[slots->n_counts++];
                *count = (struct slot_count){.owner = owner};
        }
        if (count->n >= (part > 0 ? part : 1))
                return false;
        count->n++;
        return true;
}

void slots_give_back(struct slots *slots, const void *owner)
{
        struct slot_count *count = find_count(slots, owner);

        if (count && count->n > 0)
                count->n--;
}

void slots_clear(struct slots *slots)
{
        free(slots->counts);
        slots->counts = NULL;
        slots->n_counts = 0;
}
