/* SPDX-License-Identifier: BSD-2-Clause */
#include "virtqueue/inflight.h"

#include "base/syscalls.h"

#include <stdlib.h>

/* qsort() calls it to find out how much memory it may allocate. */
USES_SYSCALLS(SYSCALL(sysinfo));

#define INFLIGHT_REGION_ALIGN 64

size_t oriel_inflight_region_size(uint16_t queue_size, bool packed)
{
        size_t size = packed ? sizeof(struct inflight_packed_region) + queue_size * sizeof(struct inflight_packed_entry)
                             : sizeof(struct inflight_split_region) + queue_size * sizeof(struct inflight_split_entry);

        return (size + INFLIGHT_REGION_ALIGN - 1) & ~(size_t)(INFLIGHT_REGION_ALIGN - 1);
}

void inflight_free(struct inflight *inflight)
{
        free(inflight->requests);
        free(inflight->next);
        free(inflight->last);
        free(inflight->copy);
}

static int request_compare(const void *a, const void *b)
{
        const struct inflight_request *one = a, *other = b;

        if (one->counter != other->counter)
                return one->counter < other->counter ? -1 : 1;
        return one->entry - other->entry;
}

void inflight_sort(struct inflight *inflight)
{
        qsort(inflight->requests, inflight->n_requests, sizeof(*inflight->requests), request_compare);
        if (inflight->n_requests > 0)
                inflight->counter = inflight->requests[inflight->n_requests - 1].counter + 1;
}

/* @version is at the same offset in both layouts. */
bool oriel_inflight_region_is_new(const void *region)
{
        static_assert(offsetof(struct inflight_split_region, version) ==
                              offsetof(struct inflight_packed_region, version),
                      "");
        return ((const struct inflight_split_region *)region)->version == 0;
}
