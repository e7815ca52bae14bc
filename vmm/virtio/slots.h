/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_VIRTIO_SLOTS_H
#define VMM_VIRTIO_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

/* The memory slots of one back-end (GET_MAX_MEM_SLOTS), divided among the windows whose mappings it is told of, so that
 * none uses up what another needs. Zero is empty. On the device's thread. */
struct slots {
        uint64_t max; /* of which guest memory takes two */
        struct slot_count {
                const void *owner; /* a window; only compared */
                unsigned n;
        } * counts;
        unsigned n_counts;
};

/* Another one for @owner, where there are @shares windows in all? False: it has its part, or there is no memory. */
bool slots_take(struct slots *slots, const void *owner, unsigned shares);
void slots_give_back(struct slots *slots, const void *owner);
/* None is taken any more. */
void slots_clear(struct slots *slots);

#endif
