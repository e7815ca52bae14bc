/* SPDX-License-Identifier: BSD-2-Clause */

/* The driver's side of split rings: what struct driver_format needs of them. A chain takes free descriptors of the
 * table, or one that refers to an indirect table, and its head is put into the available ring, whose index is stored
 * last. Free descriptors are linked in an array of this process, since the device could change the `next` fields in the
 * ring. A used entry gives the head of the chain, which the caller checks against its records. */

#include "virtqueue/driver_queue.h"

#include <errno.h>

static struct vring_desc *driver_split_table(const struct oriel_driver_queue *queue)
{
        return (struct vring_desc *)queue->parts[RING_DESCRIPTOR].host;
}

static struct vring_avail *driver_split_available(const struct oriel_driver_queue *queue)
{
        return (struct vring_avail *)queue->parts[RING_DRIVER].host;
}

static const struct vring_used *driver_split_used(const struct oriel_driver_queue *queue)
{
        return (const struct vring_used *)queue->parts[RING_DEVICE].host;
}

static void split_store(struct vring_desc *to, uint64_t address, uint32_t size, unsigned flags, uint16_t next)
{
        store64(&to->addr, address);
        store32(&to->len, size);
        store16(&to->flags, (uint16_t)flags);
        store16(&to->next, next);
}

static void split_store_piece(struct vring_desc *to, const struct driver_pieces *pieces, unsigned i, uint16_t next)
{
        const struct oriel_buffer *piece = driver_piece(pieces, i);
        unsigned flags = driver_piece_writable(pieces, i) ? VRING_DESC_F_WRITE : 0;

        if (i + 1 < pieces->n)
                flags |= VRING_DESC_F_NEXT;
        split_store(to, piece->address, piece->size, flags, next);
}

static uint16_t split_take_free(struct oriel_driver_queue *queue)
{
        uint16_t index = queue->free_first;

        queue->free_first = queue->free[index];
        return index;
}

static uint64_t split_fill_table(struct oriel_driver_queue *queue, uint16_t id, const struct driver_pieces *pieces)
{
        uint64_t guest;
        struct vring_desc *table = driver_indirect_table(queue, id, &guest);

        for (unsigned i = 0; i < pieces->n; i++)
                split_store_piece(&table[i], pieces, i, (uint16_t)(i + 1));
        return guest;
}

static uint16_t driver_split_put(struct oriel_driver_queue *queue, const struct driver_pieces *pieces, bool indirect)
{
        struct vring_avail *available = driver_split_available(queue);
        struct vring_desc *table = driver_split_table(queue);
        uint16_t head = queue->free_first;

        if (indirect) {
                uint16_t index = split_take_free(queue);

                split_store(&table[index], split_fill_table(queue, index, pieces),
                            pieces->n * (uint32_t)sizeof(struct vring_desc), VRING_DESC_F_INDIRECT, 0);
        }
        for (unsigned i = 0; i < pieces->n && !indirect; i++) {
                uint16_t index = split_take_free(queue);

                split_store_piece(&table[index], pieces, i, queue->free_first);
        }
        store16(&available->ring[queue->next_available & (queue->ring.size - 1U)], head);
        /* Release pairs with the device's acquire of the index: the chain and its buffers were written before. */
        store16_release(&available->idx, ++queue->next_available);
        queue->put_since_kick++;
        return head;
}

static int driver_split_look(struct oriel_driver_queue *queue, uint32_t *id, uint32_t *written, uint32_t *count)
{
        const struct vring_used *used = driver_split_used(queue);
        /* Acquire pairs with the device's release of the index: the entries below it are visible. */
        uint16_t index = load16_acquire(&used->idx), ahead = (uint16_t)(index - queue->next_used);
        unsigned slot = queue->next_used & (queue->ring.size - 1U);

        if (ahead > queue->in_use)
                return failure_set(&queue->failure, "the used index %u is %u ahead of %u buffers out", index, ahead,
                                   queue->in_use);
        *id = load32(&used->ring[slot].id);
        *written = load32(&used->ring[slot].len);
        *count = ahead;
        return ahead > 0;
}

static void split_retire(struct oriel_driver_queue *queue, uint16_t id)
{
        uint16_t last = id;

        for (unsigned i = 1; i < queue->buffers[id].slots; i++)
                last = queue->free[last];
        if (queue->free_slots == queue->buffers[id].slots)
                queue->free_first = id;
        else
                queue->free[queue->free_last] = id;
        queue->free_last = last;
        queue->next_used++;
}

static bool split_wants_kick(const struct oriel_driver_queue *queue)
{
        const struct vring_used *used = driver_split_used(queue);
        const uint16_t *event = (const uint16_t *)(const void *)&used->ring[queue->ring.size];
        uint16_t before = (uint16_t)(queue->next_available - queue->put_since_kick);

        if (!queue->event_idx)
                return !(load16(&used->flags) & VRING_USED_F_NO_NOTIFY);
        return queue->put_since_kick > UINT16_MAX || vring_need_event(load16(event), queue->next_available, before);
}

static void split_want_call(struct oriel_driver_queue *queue, bool want)
{
        struct vring_avail *available = driver_split_available(queue);

        if (!queue->event_idx)
                store16(&available->flags, want ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
        else /* As in the device's want_kick: the index farthest away stands for "never". */
                store16(&available->ring[queue->ring.size],
                        want ? queue->next_used : (uint16_t)(queue->next_used + 0x8000));
}

static bool split_has_used(const struct oriel_driver_queue *queue)
{
        return load16(&driver_split_used(queue)->idx) != queue->next_used;
}

static uint32_t split_base(const struct oriel_driver_queue *queue)
{
        return queue->next_used;
}

const struct driver_format driver_split = {
        .put = driver_split_put,
        .look = driver_split_look,
        .retire = split_retire,
        .wants_kick = split_wants_kick,
        .want_call = split_want_call,
        .has_used = split_has_used,
        .base = split_base,
};
