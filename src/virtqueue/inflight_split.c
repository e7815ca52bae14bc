/* SPDX-License-Identifier: BSD-2-Clause */

/* In-flight tracking of split rings (vhost-user, "Inflight I/O tracking"). The region has an entry for each descriptor:
 * whether a chain with this head is in flight, and a counter for the order of pops. A push links the head to that of
 * the previous one before the used index moves, and clears its flag afterwards; used_idx of the region follows. So
 * where it differs from the ring's index, recovery knows which heads the driver has seen as used. Recovery checks a
 * copy of the region and then works with that copy only. One thread at a time, with the queue's lock. */

#include "base/cleanup.h"
#include "virtqueue/device_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The process that recovers runs after the writer has ended, and so sees its stores in program order: only the compiler
 * could reorder them, which a release store prevents. */
#define store_ordered(at, value) __atomic_store_n((at), (value), __ATOMIC_RELEASE)

static struct inflight_split_region *split_region(const struct oriel_device_queue *queue)
{
        return queue->inflight.region;
}

static void split_make(struct oriel_device_queue *queue)
{
        struct inflight_split_region *region = split_region(queue);

        memset(region, 0, sizeof(*region) + queue->ring.size * sizeof(region->desc[0]));
        region->desc_num = queue->ring.size;
        region->used_idx = queue->next_used;
        /* Stored last: until then the region counts as unused. */
        store_ordered(&region->version, INFLIGHT_VERSION);
}

/* If the back-end ended after the used ring's index had moved, the buffers below the index are no longer in flight. The
 * copy's padding marks the entries visited. */
static const char *split_forget_last_batch(const struct oriel_device_queue *queue, struct inflight_split_region *copy)
{
        uint16_t batch = (uint16_t)(queue->next_used - copy->used_idx);
        uint16_t i = copy->last_batch_head;

        if (batch > queue->ring.size)
                return "used_idx is further from the ring's than the ring is large";
        for (; batch > 0; batch--) {
                if (i >= queue->ring.size)
                        return "an entry of the last batch is outside the queue";
                if (copy->desc[i].padding[0])
                        return "the list of the last batch loops";
                copy->desc[i].padding[0] = 1;
                copy->desc[i].inflight = 0;
                i = copy->desc[i].next;
        }
        return NULL;
}

static const char *split_check(const struct oriel_device_queue *queue, struct inflight_split_region *copy)
{
        if (copy->version != INFLIGHT_VERSION || copy->features != 0)
                return "a version or feature that is not known";
        if (copy->desc_num != queue->ring.size)
                return "it was made for another queue size";
        for (unsigned i = 0; i < queue->ring.size; i++) {
                if (copy->desc[i].inflight > 1)
                        return "an in-flight flag is neither 0 nor 1";
                copy->desc[i].padding[0] = 0;
        }
        return split_forget_last_batch(queue, copy);
}

static void split_recover(struct oriel_device_queue *queue, const struct inflight_split_region *copy)
{
        struct inflight_split_region *region = split_region(queue);
        struct inflight *inflight = &queue->inflight;

        for (uint16_t i = 0; i < queue->ring.size; i++) {
                __atomic_store_n(&region->desc[i].inflight, copy->desc[i].inflight, __ATOMIC_RELAXED);
                if (!copy->desc[i].inflight)
                        continue;
                inflight->requests[inflight->n_requests++] =
                        (struct inflight_request){.counter = copy->desc[i].counter, .entry = i};
                queue->busy[i] = true;
        }
        store_ordered(&region->used_idx, queue->next_used);
        inflight->last_batch_head = copy->last_batch_head;
        inflight_sort(inflight);
        /* Every buffer that was taken is used or in flight. */
        queue->next_available = (uint16_t)(queue->next_used + inflight->n_requests);
        queue->available_seen = queue->next_available;
}

int inflight_split_start(struct oriel_device_queue *queue, const char **why)
{
        size_t size = sizeof(struct inflight_split_region) + queue->ring.size * sizeof(struct inflight_split_entry);
        _cleanup_(freep) struct inflight_split_region *copy = malloc(size);

        queue->inflight.requests = calloc(queue->ring.size, sizeof(*queue->inflight.requests));
        if (!copy || !queue->inflight.requests)
                return -ENOMEM;
        memcpy(copy, queue->inflight.region, size);
        /* Only the copy is checked and used: shared memory is not read again. */
        __asm__ volatile("" ::: "memory");
        if (copy->version == 0) {
                split_make(queue);
                return 0;
        }
        *why = split_check(queue, copy);
        if (*why)
                return -EPROTO;
        split_recover(queue, copy);
        return 0;
}

void inflight_split_pop(struct oriel_device_queue *queue, struct oriel_chain *chain)
{
        struct inflight_split_entry *entry = &split_region(queue)->desc[chain->id];

        __atomic_store_n(&entry->counter, queue->inflight.counter++, __ATOMIC_RELAXED);
        store_ordered(&entry->inflight, 1);
}

void inflight_split_unpop(struct oriel_device_queue *queue, const struct oriel_chain *chain)
{
        store_ordered(&split_region(queue)->desc[chain->id].inflight, 0);
}

void inflight_split_push(struct oriel_device_queue *queue, const struct oriel_chain *chain)
{
        struct inflight_split_region *region = split_region(queue);

        __atomic_store_n(&region->desc[chain->id].next, queue->inflight.last_batch_head, __ATOMIC_RELAXED);
        queue->inflight.last_batch_head = chain->id;
        store_ordered(&region->last_batch_head, chain->id);
}

void inflight_split_pushed(struct oriel_device_queue *queue, const struct oriel_chain *chain)
{
        struct inflight_split_region *region = split_region(queue);

        store_ordered(&region->desc[chain->id].inflight, 0);
        store_ordered(&region->used_idx, queue->next_used);
}
