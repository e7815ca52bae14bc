/* SPDX-License-Identifier: BSD-2-Clause */

/* In-flight tracking of packed rings (vhost-user, "Inflight I/O tracking"). The device may overwrite a descriptor of
 * the ring by a used one of another buffer, so each entry of the region has a copy of its descriptor; free entries are
 * in a list. free_head and used have an old value beside the new one, so that a back-end that ends between two stores
 * leaves either the state before the operation or the one after: packed_settle_last_batch() decides by the ring which
 * one. Recovery checks a copy of the region and then works with that copy only. One thread at a time, with the queue's
 * lock. */

#include "base/cleanup.h"
#include "virtqueue/device_queue.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* As in inflight_split.c: the stores must stay in program order, for which the compiler needs to be told. */
#define store_ordered(at, value) __atomic_store_n((at), (value), __ATOMIC_RELEASE)
#define store_plain(at, value)   __atomic_store_n((at), (value), __ATOMIC_RELAXED)

static struct inflight_packed_region *packed_region(const struct oriel_device_queue *queue)
{
        return queue->inflight.region;
}

/* Stores the position and the one before it at once: an index with the wrap counter of another would be a lap off. */
static void packed_store_used(struct inflight_packed_region *region, struct packed_position now,
                              struct packed_position old)
{
        union inflight_packed_used used = {
                .index = now.index, .wrap = now.wrap, .old_index = old.index, .old_wrap = old.wrap};

        store_ordered(&region->used.word, used.word);
}

static void packed_make(struct oriel_device_queue *queue)
{
        struct inflight_packed_region *region = packed_region(queue);
        uint16_t size = queue->ring.size;

        memset(region, 0, sizeof(*region) + size * sizeof(region->desc[0]));
        for (uint16_t i = 0; i < size; i++)
                region->desc[i].next = queue->inflight.next[i] = (uint16_t)(i + 1);
        region->desc_num = size;
        packed_store_used(region, queue->used, queue->used);
        /* Stored last: until then the region counts as unused. */
        store_ordered(&region->version, INFLIGHT_VERSION);
}

/* If the last batch was interrupted, completes or undoes it, depending on whether the driver has seen it. */
static void packed_settle_last_batch(const struct oriel_device_queue *queue, struct inflight_packed_region *copy)
{
        const struct vring_packed_desc *ring = (const void *)queue->parts[RING_DESCRIPTOR].host;
        union inflight_packed_used used = copy->used;
        uint16_t flags = load16_acquire(&ring[used.old_index].flags);
        /* A batch as large as the ring moves only the wrap counter. */
        bool half_done = used.index != used.old_index || used.wrap != used.old_wrap;

        if (half_done && !packed_flags_are(flags, packed_available_flags(used.old_wrap))) {
                copy->used = (union inflight_packed_used){
                        .index = used.index, .wrap = used.wrap, .old_index = used.index, .old_wrap = used.wrap};
                copy->old_free_head = copy->free_head;
                return;
        }
        copy->used = (union inflight_packed_used){
                .index = used.old_index, .wrap = used.old_wrap, .old_index = used.old_index, .old_wrap = used.old_wrap};
        copy->free_head = copy->old_free_head;
}

/* Walks the free list; its entries are not in flight, whatever their flag says. @seen: the entries on the list. */
static const char *packed_check_free(struct inflight_packed_region *copy, bool *seen, unsigned *count)
{
        uint16_t i = copy->free_head;

        for (; i < copy->desc_num; i = copy->desc[i].next) {
                if (seen[i])
                        return "the list of free entries loops";
                seen[i] = true;
                copy->desc[i].inflight = 0;
                ++*count;
        }
        return i == copy->desc_num ? NULL : "the list of free entries leads outside the queue";
}

/* Checks the descriptors of request @head. */
static const char *packed_check_request(struct inflight_packed_region *copy, uint16_t head, bool *seen, bool *ids,
                                        unsigned *count)
{
        unsigned num = copy->desc[head].num;
        uint16_t i = head;

        if (num == 0 || num > copy->desc_num)
                return "a request's number of descriptors is not one";
        for (unsigned n = 1;; n++) {
                if (seen[i])
                        return "a descriptor is free or in two requests";
                seen[i] = true;
                ++*count;
                if (n == num)
                        break;
                i = copy->desc[i].next;
                if (i >= copy->desc_num)
                        return "a request's descriptors lead outside the queue";
        }
        if (copy->desc[head].last != i)
                return "a request's last descriptor is not the last";
        if (copy->desc[i].id >= copy->desc_num || ids[copy->desc[i].id])
                return "a buffer id is outside the queue or in two requests";
        ids[copy->desc[i].id] = true;
        return NULL;
}

static const char *packed_check_header(const struct oriel_device_queue *queue,
                                       const struct inflight_packed_region *copy)
{
        const union inflight_packed_used *used = &copy->used;

        if (copy->version != INFLIGHT_VERSION || copy->features != 0)
                return "a version or feature that is not known";
        if (copy->desc_num != queue->ring.size)
                return "it was made for another queue size";
        if (used->index >= copy->desc_num || used->old_index >= copy->desc_num || used->wrap > 1 || used->old_wrap > 1)
                return "a used index or wrap counter is outside the queue";
        return NULL;
}

/* Checks all of @copy, and completes or undoes the last batch in it. */
static const char *packed_check(const struct oriel_device_queue *queue, struct inflight_packed_region *copy, bool *seen,
                                bool *ids)
{
        const char *why = packed_check_header(queue, copy);
        unsigned count = 0;

        if (why)
                return why;
        packed_settle_last_batch(queue, copy);
        why = packed_check_free(copy, seen, &count);
        for (uint16_t i = 0; i < copy->desc_num && !why; i++)
                if (copy->desc[i].inflight)
                        why = packed_check_request(copy, i, seen, ids, &count);
        if (!why && count != copy->desc_num)
                why = "an entry is neither free nor in flight";
        return why;
}

static void packed_recover(struct oriel_device_queue *queue, const struct inflight_packed_region *copy)
{
        struct inflight_packed_region *region = packed_region(queue);
        struct inflight *inflight = &queue->inflight;
        unsigned slots = 0;

        inflight->free_head = copy->free_head;
        for (uint16_t i = 0; i < copy->desc_num; i++) {
                const struct inflight_packed_entry *entry = &copy->desc[i];

                inflight->next[i] = entry->next;
                inflight->last[i] = entry->last;
                store_plain(&region->desc[i].inflight, entry->inflight);
                if (!entry->inflight)
                        continue;
                inflight->requests[inflight->n_requests++] =
                        (struct inflight_request){.counter = entry->counter, .entry = i};
                queue->busy[copy->desc[entry->last].id] = true;
                slots += entry->num;
        }
        inflight_sort(inflight);
        queue->used = (struct packed_position){copy->used.index, copy->used.wrap};
        queue->slots_out = (uint16_t)slots;
        /* Every slot that was taken is used or in flight. */
        queue->available = packed_advance(queue->used, queue->slots_out, queue->ring.size);
        /* The lists are stored first: until the positions agree, the next recovery takes the same decision as this
         * one. */
        store_ordered(&region->free_head, copy->free_head);
        store_ordered(&region->old_free_head, copy->free_head);
        packed_store_used(region, queue->used, queue->used);
}

static int packed_alloc(struct inflight *inflight, uint16_t size)
{
        inflight->requests = calloc(size, sizeof(*inflight->requests));
        inflight->next = calloc(size, sizeof(*inflight->next));
        inflight->last = calloc(size, sizeof(*inflight->last));
        return inflight->requests && inflight->next && inflight->last ? 0 : -ENOMEM;
}

int inflight_packed_start(struct oriel_device_queue *queue, const char **why)
{
        uint16_t size = queue->ring.size;
        size_t bytes = sizeof(struct inflight_packed_region) + size * sizeof(struct inflight_packed_entry);
        _cleanup_(freep) struct inflight_packed_region *copy = malloc(bytes);
        _cleanup_(freep) bool *seen = calloc(size, sizeof(*seen)), *ids = calloc(size, sizeof(*ids));

        if (!copy || !seen || !ids || packed_alloc(&queue->inflight, size) < 0)
                return -ENOMEM;
        memcpy(copy, queue->inflight.region, bytes);
        /* Only the copy is checked and used: shared memory is not read again. */
        __asm__ volatile("" ::: "memory");
        if (copy->version == 0) {
                packed_make(queue);
                return 0;
        }
        *why = packed_check(queue, copy, seen, ids);
        if (*why)
                return -EPROTO;
        packed_recover(queue, copy);
        queue->inflight.copy = steal(copy);
        return 0;
}

int inflight_packed_fetch(struct oriel_device_queue *queue, uint16_t head)
{
        const struct inflight_packed_region *copy = queue->inflight.copy;
        uint16_t i = head;

        for (unsigned n = copy->desc[head].num; n > 0; n--, i = copy->desc[i].next) {
                const struct inflight_packed_entry *entry = &copy->desc[i];
                int r = descriptors_add(&queue->descriptors, (struct descriptor){
                                                                     .address = entry->addr,
                                                                     .size = entry->len,
                                                                     .flags = entry->flags,
                                                                     .id = entry->id,
                                                             });

                if (r < 0)
                        return r;
        }
        return 0;
}

void inflight_packed_pop(struct oriel_device_queue *queue, struct oriel_chain *chain)
{
        struct inflight_packed_region *region = packed_region(queue);
        struct inflight *inflight = &queue->inflight;
        uint16_t head = inflight->free_head, i = head, last = head;

        store_plain(&region->desc[head].counter, inflight->counter++);
        store_plain(&region->desc[head].num, chain->slots);
        for (unsigned n = 0; n < chain->slots; n++) {
                const struct descriptor *from = &queue->descriptors.items[n];
                struct inflight_packed_entry *to = &region->desc[i];

                store_plain(&to->addr, from->address);
                store_plain(&to->len, from->size);
                store_plain(&to->flags, from->flags);
                store_plain(&to->id, from->id);
                last = i;
                i = inflight->next[i];
        }
        store_plain(&region->desc[head].last, last);
        inflight->last[head] = last;
        inflight->free_head = i;
        chain->entry = head;
        /* Until old_free_head is stored, these entries are in the free list, and so not in flight. */
        store_ordered(&region->desc[head].inflight, 1);
        store_ordered(&region->free_head, i);
        store_ordered(&region->old_free_head, i);
}

/* Puts the entries of @chain at the front of the free list. */
static void packed_free_entries(struct oriel_device_queue *queue, const struct oriel_chain *chain)
{
        struct inflight_packed_region *region = packed_region(queue);
        struct inflight *inflight = &queue->inflight;
        uint16_t last = inflight->last[chain->entry];

        store_plain(&region->desc[last].next, inflight->free_head);
        inflight->next[last] = inflight->free_head;
        inflight->free_head = chain->entry;
        store_ordered(&region->free_head, chain->entry);
}

void inflight_packed_unpop(struct oriel_device_queue *queue, const struct oriel_chain *chain)
{
        struct inflight_packed_region *region = packed_region(queue);

        packed_free_entries(queue, chain);
        /* From here on the entries are in the free list, and so not in flight: the reverse of pop. */
        store_ordered(&region->old_free_head, chain->entry);
        store_ordered(&region->desc[chain->entry].inflight, 0);
}

void inflight_packed_push(struct oriel_device_queue *queue, const struct oriel_chain *chain)
{
        struct inflight_packed_region *region = packed_region(queue);

        packed_free_entries(queue, chain);
        packed_store_used(region, packed_advance(queue->used, chain->slots, queue->ring.size), queue->used);
}

void inflight_packed_pushed(struct oriel_device_queue *queue, const struct oriel_chain *chain)
{
        struct inflight_packed_region *region = packed_region(queue);

        store_ordered(&region->desc[chain->entry].inflight, 0);
        store_ordered(&region->old_free_head, chain->entry);
        packed_store_used(region, queue->used, queue->used);
}
