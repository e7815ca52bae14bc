/* SPDX-License-Identifier: BSD-2-Clause */

/* The device's side of packed rings: what struct device_format needs of them. A position is an index with a wrap
 * counter, and a descriptor is available or used by its two flags in relation to that counter. The driver releases a
 * whole chain by the flags of its head; the device likewise withholds the flags of the first used descriptor until
 * publish, so that the driver, which goes from one to the next, sees them all at once. slots_out limits how far the
 * device may read ahead of what it has returned. */

#include "virtqueue/device_queue.h"

#include <errno.h>

static struct vring_packed_desc *device_packed_ring(const struct oriel_device_queue *queue)
{
        return (struct vring_packed_desc *)queue->parts[RING_DESCRIPTOR].host;
}

/* -EINVAL also where the two positions can't belong to one ring. */
static int packed_set_base(struct oriel_device_queue *queue, uint32_t base)
{
        struct packed_position available = packed_unpack((uint16_t)base), used = packed_unpack((uint16_t)(base >> 16));
        uint16_t size = queue->ring.size;
        int ahead = available.index - used.index;

        if (available.wrap != used.wrap)
                ahead += size;
        if (available.index >= size || used.index >= size || ahead < 0 || ahead > size)
                return -EINVAL;
        queue->available = available;
        queue->used = used;
        queue->slots_out = (uint16_t)ahead;
        return 0;
}

static uint32_t packed_get_base(const struct oriel_device_queue *queue)
{
        return packed_pack(queue->available) | (uint32_t)packed_pack(queue->used) << 16;
}

static bool packed_was_used(const struct oriel_device_queue *queue)
{
        const struct vring_packed_desc *ring = device_packed_ring(queue);

        for (unsigned i = 0; i < queue->ring.size; i++)
                if (load16_acquire(&ring[i].flags) & 1 << VRING_PACKED_DESC_F_USED)
                        return true;
        return false;
}

/* Some front-ends that only know split rings set the base of a new ring to 0 (user-mode Linux does), though a new
 * packed ring has wrap counters of 1. A true base of 0 means that the device has gone round the ring with a counter of
 * 1, which leaves descriptors marked as used, even where the driver has used them again. So base 0 without any such
 * descriptor is taken for a new ring. */
static void packed_start(struct oriel_device_queue *queue)
{
        if (packed_get_base(queue) == 0 && !packed_was_used(queue))
                queue->available.wrap = queue->used.wrap = true;
}

static bool packed_is_available(uint16_t flags, struct packed_position position)
{
        return packed_flags_are(flags, packed_available_flags(position.wrap));
}

/* The descriptor at @at, with @flags that were read before. */
static struct descriptor packed_load(const struct vring_packed_desc *at, uint16_t flags)
{
        return (struct descriptor){
                .address = load64(&at->addr),
                .size = load32(&at->len),
                .flags = flags,
                .id = load16(&at->id),
        };
}

static int packed_check_id(struct oriel_device_queue *queue, uint16_t id)
{
        if (id >= queue->ring.size)
                return failure_set(&queue->failure, "buffer id %u in a ring of %u", id, queue->ring.size);
        if (queue->busy[id])
                return failure_set(&queue->failure, "buffer id %u is in flight", id);
        return 0;
}

static int packed_fetch(struct oriel_device_queue *queue, struct next_buffer *out)
{
        const struct vring_packed_desc *ring = device_packed_ring(queue);
        struct packed_position at = queue->available;
        unsigned room = queue->ring.size - queue->slots_out;
        struct descriptor descriptor;
        /* Acquire pairs with the driver's release of the head's flags: the whole chain is visible. */
        uint16_t flags = load16_acquire(&ring[at.index].flags);
        int r;

        if (!packed_is_available(flags, at))
                return 0;
        for (;;) {
                if (queue->descriptors.n == room)
                        return failure_set(&queue->failure, "a chain at %u of more than the %u free descriptors",
                                           queue->available.index, room);
                descriptor = packed_load(&ring[at.index], flags);
                r = descriptors_add(&queue->descriptors, descriptor);
                if (r < 0)
                        return r;
                if (!(flags & VRING_DESC_F_NEXT))
                        break;
                if (flags & VRING_DESC_F_INDIRECT)
                        return failure_set(&queue->failure, "descriptor %u is indirect and has a next", at.index);
                at = packed_advance(at, 1, queue->ring.size);
                flags = load16(&ring[at.index].flags);
        }
        *out = (struct next_buffer){.id = descriptor.id, .slots = (uint16_t)queue->descriptors.n};
        r = packed_check_id(queue, descriptor.id);
        return r < 0 ? r : 1;
}

static int packed_fetch_recovered(struct oriel_device_queue *queue, uint16_t entry, struct next_buffer *out)
{
        int r = inflight_packed_fetch(queue, entry);

        if (r < 0)
                return r;
        *out = (struct next_buffer){
                .id = queue->descriptors.items[queue->descriptors.n - 1].id,
                .slots = (uint16_t)queue->descriptors.n,
                .entry = entry,
                .recovered = true,
        };
        return 1;
}

/* VIRTIO 1.2, 2.8.7: only WRITE has a meaning here, and all entries of the table are used. */
static int packed_fetch_table(struct oriel_device_queue *queue, unsigned n)
{
        const struct vring_packed_desc *table = (const struct vring_packed_desc *)(const void *)queue->table;

        for (unsigned i = 0; i < n; i++) {
                struct descriptor descriptor = packed_load(&table[i], load16(&table[i].flags));
                int r;

                if (descriptor.flags & VRING_DESC_F_INDIRECT)
                        return failure_set(&queue->failure, "an indirect descriptor in an indirect table");
                r = descriptors_add(&queue->descriptors, descriptor);
                if (r < 0)
                        return r;
        }
        return 0;
}

static void packed_take(struct oriel_device_queue *queue, const struct next_buffer *buffer)
{
        queue->available = packed_advance(queue->available, buffer->slots, queue->ring.size);
        queue->slots_out = (uint16_t)(queue->slots_out + buffer->slots);
}

static void packed_untake(struct oriel_device_queue *queue, uint16_t slots)
{
        queue->available = packed_retreat(queue->available, slots, queue->ring.size);
        queue->slots_out = (uint16_t)(queue->slots_out - slots);
}

static void device_packed_put(struct oriel_device_queue *queue, const struct oriel_chain *chain)
{
        struct packed_position at = queue->used;
        struct vring_packed_desc *descriptor = &device_packed_ring(queue)[at.index];
        uint16_t flags = packed_used_flags(at.wrap);

        if (chain->written > 0)
                flags |= VRING_DESC_F_WRITE;
        store16(&descriptor->id, chain->id);
        store32(&descriptor->len, chain->written);
        /* The driver goes from one to the next, so the flags of the first, which are stored last, publish them all. */
        if (queue->unpublished > 0) {
                store16_release(&descriptor->flags, flags);
        } else {
                queue->first_put = at.index;
                queue->first_put_flags = flags;
        }
        queue->used = packed_advance(at, chain->slots, queue->ring.size);
        queue->slots_out = (uint16_t)(queue->slots_out - chain->slots);
        device_log_ring(queue, RING_DESCRIPTOR, at.index * sizeof(*descriptor), sizeof(*descriptor));
}

static void packed_publish(struct oriel_device_queue *queue)
{
        struct vring_packed_desc *descriptor = &device_packed_ring(queue)[queue->first_put];

        /* Release pairs with the driver's acquire of the flags: id, length and the buffer's bytes were written
         * before. */
        store16_release(&descriptor->flags, queue->first_put_flags);
        device_log_ring(queue, RING_DESCRIPTOR, queue->first_put * sizeof(*descriptor), sizeof(*descriptor));
}

static bool packed_wants_call(const struct oriel_device_queue *queue)
{
        const struct vring_packed_desc_event *event = (const void *)queue->parts[RING_DRIVER].host;

        return packed_wants_event(event, queue->event_idx, queue->used, queue->put_since_call, queue->ring.size);
}

static void packed_want_kick(struct oriel_device_queue *queue, bool want)
{
        struct vring_packed_desc_event *event = (void *)queue->parts[RING_DEVICE].host;

        packed_set_event(event, queue->event_idx, want, queue->available);
        device_log_ring(queue, RING_DEVICE, 0, sizeof(*event));
}

static bool packed_has_buffers(const struct oriel_device_queue *queue)
{
        return packed_is_available(load16(&device_packed_ring(queue)[queue->available.index].flags), queue->available);
}

const struct device_format device_packed = {
        .access = {ORIEL_ACCESS_READ_WRITE, ORIEL_ACCESS_READ, ORIEL_ACCESS_WRITE},
        .set_base = packed_set_base,
        .get_base = packed_get_base,
        .start = packed_start,
        .fetch = packed_fetch,
        .fetch_recovered = packed_fetch_recovered,
        .fetch_table = packed_fetch_table,
        .take = packed_take,
        .untake = packed_untake,
        .put = device_packed_put,
        .publish = packed_publish,
        .wants_call = packed_wants_call,
        .want_kick = packed_want_kick,
        .has_buffers = packed_has_buffers,
        .inflight_start = inflight_packed_start,
        .inflight_pop = inflight_packed_pop,
        .inflight_unpop = inflight_packed_unpop,
        .inflight_push = inflight_packed_push,
        .inflight_pushed = inflight_packed_pushed,
};
