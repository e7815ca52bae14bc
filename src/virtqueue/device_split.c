/* SPDX-License-Identifier: BSD-2-Clause */

/* The device's side of split rings: what struct device_format needs of them. The available ring gives heads of chains
 * in the descriptor table; its index is read once for all entries that it shows (available_seen). A chain is followed
 * with a count, so that a loop ends, and an index outside of the table is a broken rule. Used entries are written
 * behind the used index, and publish stores that index. Each field of shared memory is loaded once, into a local,
 * before it is checked. */

#include "virtqueue/device_queue.h"

#include <errno.h>

static const struct vring_desc *device_split_table(const struct oriel_device_queue *queue)
{
        return (const struct vring_desc *)queue->parts[RING_DESCRIPTOR].host;
}

static const struct vring_avail *device_split_available(const struct oriel_device_queue *queue)
{
        return (const struct vring_avail *)queue->parts[RING_DRIVER].host;
}

static struct vring_used *device_split_used(const struct oriel_device_queue *queue)
{
        return (struct vring_used *)queue->parts[RING_DEVICE].host;
}

static int split_set_base(struct oriel_device_queue *queue, uint32_t base)
{
        if (base > UINT16_MAX)
                return -EINVAL;
        queue->next_available = queue->available_seen = (uint16_t)base;
        return 0;
}

static uint32_t split_get_base(const struct oriel_device_queue *queue)
{
        return queue->next_available;
}

static void split_start(struct oriel_device_queue *queue)
{
        queue->next_used = load16(&device_split_used(queue)->idx);
}

static struct descriptor split_load(const struct vring_desc *at)
{
        return (struct descriptor){
                .address = load64(&at->addr),
                .size = load32(&at->len),
                .flags = load16(&at->flags),
                .id = load16(&at->next),
        };
}

/* Reads the chain from descriptor @first on, in @table of @n: an indirect table or the ring's. */
static int split_follow(struct oriel_device_queue *queue, const struct vring_desc *table, unsigned n, unsigned first,
                        bool indirect)
{
        struct ring_failure *failure = &queue->failure;

        for (unsigned count = 0, i = first;; count++) {
                struct descriptor descriptor;
                int r;

                if (count == n)
                        return failure_set(failure, "the descriptor chain from %u on loops", first);
                descriptor = split_load(&table[i]);
                if (descriptor.flags & VRING_DESC_F_INDIRECT) {
                        if (indirect)
                                return failure_set(failure, "an indirect descriptor in an indirect table");
                        if (descriptor.flags & VRING_DESC_F_NEXT)
                                return failure_set(failure, "descriptor %u is indirect and has a next", i);
                }
                r = descriptors_add(&queue->descriptors, descriptor);
                if (r < 0)
                        return r;
                if (!(descriptor.flags & VRING_DESC_F_NEXT))
                        return 0;
                if (descriptor.id >= n)
                        return failure_set(failure, "descriptor %u has next %u in a table of %u", i, descriptor.id, n);
                i = descriptor.id;
        }
}

static int split_fetch_recovered(struct oriel_device_queue *queue, uint16_t head, struct next_buffer *out)
{
        int r = split_follow(queue, device_split_table(queue), queue->ring.size, head, false);

        *out = (struct next_buffer){.id = head, .slots = 1, .entry = head, .recovered = true};
        return r < 0 ? r : 1;
}

/* Whether there is a buffer; those up to available_seen are known without reading the index. */
static int device_split_look(struct oriel_device_queue *queue)
{
        uint16_t ahead, index;

        if (queue->next_available != queue->available_seen)
                return 1;
        /* Acquire pairs with the driver's release of the index: the entries below it, and their chains, are visible. */
        index = load16_acquire(&device_split_available(queue)->idx);
        ahead = (uint16_t)(index - queue->next_available);
        if (ahead > queue->ring.size)
                return failure_set(&queue->failure, "the available index %u is %u ahead in a ring of %u", index, ahead,
                                   queue->ring.size);
        queue->available_seen = index;
        return ahead > 0;
}

static int split_fetch(struct oriel_device_queue *queue, struct next_buffer *out)
{
        unsigned size = queue->ring.size;
        uint16_t head;
        int r = device_split_look(queue);

        if (r <= 0)
                return r;
        head = load16(&device_split_available(queue)->ring[queue->next_available & (size - 1)]);
        if (head >= size)
                return failure_set(&queue->failure, "available entry %u names descriptor %u in a table of %u",
                                   queue->next_available, head, size);
        if (queue->busy[head])
                return failure_set(&queue->failure, "available entry %u names descriptor %u, which is in flight",
                                   queue->next_available, head);
        r = split_follow(queue, device_split_table(queue), size, head, false);
        *out = (struct next_buffer){.id = head, .slots = 1, .entry = head};
        return r < 0 ? r : 1;
}

static int split_fetch_table(struct oriel_device_queue *queue, unsigned n)
{
        return split_follow(queue, queue->table, n, 0, true);
}

static void split_take(struct oriel_device_queue *queue, const struct next_buffer *buffer)
{
        queue->next_available++;
}

static void split_untake(struct oriel_device_queue *queue, uint16_t slots)
{
        queue->next_available--;
}

static void device_split_put(struct oriel_device_queue *queue, const struct oriel_chain *chain)
{
        unsigned slot = queue->next_used & (queue->ring.size - 1U);
        struct vring_used *used = device_split_used(queue);

        store32(&used->ring[slot].id, chain->id);
        store32(&used->ring[slot].len, chain->written);
        queue->next_used++;
        device_log_ring(queue, RING_DEVICE, offsetof(struct vring_used, ring) + slot * sizeof(used->ring[0]),
                        sizeof(used->ring[0]));
}

static void split_publish(struct oriel_device_queue *queue)
{
        struct vring_used *used = device_split_used(queue);

        /* Release pairs with the driver's acquire of the index: the entries and the buffers' bytes were written
         * before. */
        store16_release(&used->idx, queue->next_used);
        device_log_ring(queue, RING_DEVICE, offsetof(struct vring_used, idx), sizeof(used->idx));
}

static bool split_wants_call(const struct oriel_device_queue *queue)
{
        const struct vring_avail *available = device_split_available(queue);
        uint16_t before = (uint16_t)(queue->next_used - queue->put_since_call);

        if (!queue->event_idx)
                return !(load16(&available->flags) & VRING_AVAIL_F_NO_INTERRUPT);
        return queue->put_since_call > UINT16_MAX ||
               vring_need_event(load16(&available->ring[queue->ring.size]), queue->next_used, before);
}

static void split_want_kick(struct oriel_device_queue *queue, bool want)
{
        struct vring_used *used = device_split_used(queue);
        uint16_t *event = (uint16_t *)(void *)&used->ring[queue->ring.size];

        if (!queue->event_idx) {
                store16(&used->flags, want ? 0 : VRING_USED_F_NO_NOTIFY);
                device_log_ring(queue, RING_DEVICE, offsetof(struct vring_used, flags), sizeof(used->flags));
                return;
        }
        /* EVENT_IDX has no value for "never", so the index farthest away is taken. */
        store16(event, want ? queue->next_available : (uint16_t)(queue->next_available + 0x8000));
        device_log_ring(queue, RING_DEVICE, (uint64_t)((uint8_t *)event - (uint8_t *)used), sizeof(*event));
}

static bool split_has_buffers(const struct oriel_device_queue *queue)
{
        return load16(&device_split_available(queue)->idx) != queue->next_available;
}

const struct device_format device_split = {
        /* The device reads its used ring's index, at the start. */
        .access = {ORIEL_ACCESS_READ, ORIEL_ACCESS_READ, ORIEL_ACCESS_READ_WRITE},
        .set_base = split_set_base,
        .get_base = split_get_base,
        .start = split_start,
        .fetch = split_fetch,
        .fetch_recovered = split_fetch_recovered,
        .fetch_table = split_fetch_table,
        .take = split_take,
        .untake = split_untake,
        .put = device_split_put,
        .publish = split_publish,
        .wants_call = split_wants_call,
        .want_kick = split_want_kick,
        .has_buffers = split_has_buffers,
        .inflight_start = inflight_split_start,
        .inflight_pop = inflight_split_pop,
        .inflight_unpop = inflight_split_unpop,
        .inflight_push = inflight_split_push,
        .inflight_pushed = inflight_split_pushed,
};
