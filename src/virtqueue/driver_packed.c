/* SPDX-License-Identifier: BSD-2-Clause */

/* The driver's side of packed rings: what struct driver_format needs of them. A chain is stored behind the last one,
 * and becomes available by the flags of its head, which are stored last. Buffer ids come from a free list of this
 * process and are independent of slots. A used descriptor is recognized by its flags and the wrap counter; how many
 * slots to advance by is known from the buffer's record and not read from the ring. */

#include "virtqueue/driver_queue.h"

#include <errno.h>

static struct vring_packed_desc *driver_packed_ring(const struct oriel_driver_queue *queue)
{
        return (struct vring_packed_desc *)queue->parts[RING_DESCRIPTOR].host;
}

static void packed_store(struct vring_packed_desc *to, uint64_t address, uint32_t size, uint16_t id)
{
        store64(&to->addr, address);
        store32(&to->len, size);
        store16(&to->id, id);
}

static uint64_t packed_fill_table(struct oriel_driver_queue *queue, uint16_t id, const struct driver_pieces *pieces)
{
        uint64_t guest;
        struct vring_packed_desc *table = driver_indirect_table(queue, id, &guest);

        for (unsigned i = 0; i < pieces->n; i++) {
                const struct oriel_buffer *piece = driver_piece(pieces, i);

                packed_store(&table[i], piece->address, piece->size, 0);
                store16(&table[i].flags, driver_piece_writable(pieces, i) ? VRING_DESC_F_WRITE : 0);
        }
        return guest;
}

/* Stores all but the head's flags, which make the chain available, and returns those. */
static uint16_t packed_store_chain(struct oriel_driver_queue *queue, const struct driver_pieces *pieces, uint16_t id)
{
        struct vring_packed_desc *ring = driver_packed_ring(queue);
        uint16_t head_flags = 0;

        for (unsigned i = 0; i < pieces->n; i++) {
                const struct oriel_buffer *piece = driver_piece(pieces, i);
                uint16_t flags = packed_available_flags(queue->available.wrap);

                if (driver_piece_writable(pieces, i))
                        flags |= VRING_DESC_F_WRITE;
                if (i + 1 < pieces->n)
                        flags |= VRING_DESC_F_NEXT;
                packed_store(&ring[queue->available.index], piece->address, piece->size, id);
                if (i == 0)
                        head_flags = flags;
                else
                        store16(&ring[queue->available.index].flags, flags);
                queue->available = packed_advance(queue->available, 1, queue->ring.size);
        }
        return head_flags;
}

static uint16_t packed_store_indirect(struct oriel_driver_queue *queue, const struct driver_pieces *pieces, uint16_t id)
{
        uint16_t flags = packed_available_flags(queue->available.wrap) | VRING_DESC_F_INDIRECT;

        packed_store(&driver_packed_ring(queue)[queue->available.index], packed_fill_table(queue, id, pieces),
                     pieces->n * (uint32_t)sizeof(struct vring_packed_desc), id);
        queue->available = packed_advance(queue->available, 1, queue->ring.size);
        return flags;
}

static uint16_t driver_packed_put(struct oriel_driver_queue *queue, const struct driver_pieces *pieces, bool indirect)
{
        struct vring_packed_desc *head = &driver_packed_ring(queue)[queue->available.index];
        uint16_t id = queue->free_first, flags;

        queue->free_first = queue->free[id];
        flags = indirect ? packed_store_indirect(queue, pieces, id) : packed_store_chain(queue, pieces, id);
        /* Release pairs with the device's acquire of the flags: the chain and its buffers were written before. */
        store16_release(&head->flags, flags);
        queue->put_since_kick += indirect ? 1 : pieces->n;
        return id;
}

static int packed_look(struct oriel_driver_queue *queue, uint32_t *id, uint32_t *written, uint32_t *count)
{
        const struct vring_packed_desc *descriptor = &driver_packed_ring(queue)[queue->used.index];
        /* Acquire pairs with the device's release of the flags: id and length are visible. */
        uint16_t flags = load16_acquire(&descriptor->flags);

        if (!packed_flags_are(flags, packed_used_flags(queue->used.wrap)))
                return 0;
        *id = load16(&descriptor->id);
        /* VIRTIO 1.2, 2.8.5: without WRITE the length has no meaning. QEMU writes a length and never sets WRITE, so it
         * is used. */
        *written = load32(&descriptor->len);
        *count = queue->in_use;
        return 1;
}

static void packed_retire(struct oriel_driver_queue *queue, uint16_t id)
{
        if (queue->in_use + 1 == queue->ring.size)
                queue->free_first = id;
        else
                queue->free[queue->free_last] = id;
        queue->free_last = id;
        queue->used = packed_advance(queue->used, queue->buffers[id].slots, queue->ring.size);
}

static bool packed_wants_kick(const struct oriel_driver_queue *queue)
{
        const struct vring_packed_desc_event *event = (const void *)queue->parts[RING_DEVICE].host;

        return packed_wants_event(event, queue->event_idx, queue->available, queue->put_since_kick, queue->ring.size);
}

static void packed_want_call(struct oriel_driver_queue *queue, bool want)
{
        packed_set_event((void *)queue->parts[RING_DRIVER].host, queue->event_idx, want, queue->used);
}

static bool packed_has_used(const struct oriel_driver_queue *queue)
{
        return packed_flags_are(load16(&driver_packed_ring(queue)[queue->used.index].flags),
                                packed_used_flags(queue->used.wrap));
}

static uint32_t packed_base(const struct oriel_driver_queue *queue)
{
        return packed_pack(queue->used) | (uint32_t)packed_pack(queue->used) << 16;
}

const struct driver_format driver_packed = {
        .put = driver_packed_put,
        .look = packed_look,
        .retire = packed_retire,
        .wants_kick = packed_wants_kick,
        .want_call = packed_want_call,
        .has_used = packed_has_used,
        .base = packed_base,
};
