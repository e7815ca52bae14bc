/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VIRTQUEUE_DRIVER_QUEUE_H
#define VIRTQUEUE_DRIVER_QUEUE_H

#include "virtqueue/ring.h"

/* The record of a buffer, by its id: the index of its first descriptor, or the packed buffer id. It is never read back
 * from the ring, where the device could have changed it. */
struct driver_buffer {
        void *token; /* NULL: not in use */
        uint64_t writable;
        uint64_t sequence; /* in order of submission */
        uint16_t slots;    /* descriptors of the ring */
};

struct driver_pieces {
        const struct oriel_buffer *readable, *writable;
        unsigned n_readable, n;
};

/* The operations that differ between split and packed rings. */
struct driver_format {
        /* Makes a buffer available, by an indirect table if @indirect, and returns its id. The caller has checked for
         * room. */
        uint16_t (*put)(struct oriel_driver_queue *queue, const struct driver_pieces *pieces, bool indirect);
        /* The next used entry: 1, 0 or an error. @count: the most buffers that it may complete. */
        int (*look)(struct oriel_driver_queue *queue, uint32_t *id, uint32_t *written, uint32_t *count);
        /* After buffer @id was collected: frees its descriptors and goes past its used entry. */
        void (*retire)(struct oriel_driver_queue *queue, uint16_t id);
        bool (*wants_kick)(const struct oriel_driver_queue *queue);
        void (*want_call)(struct oriel_driver_queue *queue, bool want);
        bool (*has_used)(const struct oriel_driver_queue *queue);
        uint32_t (*base)(const struct oriel_driver_queue *queue);
};

extern const struct driver_format driver_split, driver_packed;

struct oriel_driver_queue {
        const struct driver_format *format;
        struct oriel_ring ring;
        bool event_idx, in_order;
        struct ring_failure failure;
        struct oriel_memory *memory;
        struct memory_piece parts[RING_PARTS];

        struct memory_piece indirect; /* with the size of all tables; 0: none */
        unsigned indirect_entries;

        struct driver_buffer *buffers;
        unsigned in_use;
        uint64_t sequence; /* of the next buffer */
        uint16_t *order;   /* IN_ORDER: ids, by sequence modulo the ring's size */

        /* Free descriptors (split) or ids (packed), first in first out: with IN_ORDER they are then used in ring order,
         * as VIRTIO 1.2, 2.7.9 requires. */
        uint16_t *free;
        uint16_t free_first, free_last;
        unsigned free_slots;

        /* The used entry being collected; with IN_ORDER it completes all buffers up to its own. */
        bool batch;
        uint16_t batch_id;
        uint32_t batch_written;

        uint32_t put_since_kick;

        uint16_t next_available, next_used;     /* split */
        struct packed_position available, used; /* packed */
};

static inline const struct oriel_buffer *driver_piece(const struct driver_pieces *pieces, unsigned i)
{
        return i < pieces->n_readable ? &pieces->readable[i] : &pieces->writable[i - pieces->n_readable];
}

static inline bool driver_piece_writable(const struct driver_pieces *pieces, unsigned i)
{
        return i >= pieces->n_readable;
}

/* The indirect table of buffer @id: its host memory and its guest address. */
static inline void *driver_indirect_table(const struct oriel_driver_queue *queue, uint16_t id, uint64_t *guest)
{
        size_t offset = (size_t)id * queue->indirect_entries * sizeof(struct vring_desc);

        *guest = queue->indirect.guest + offset;
        return queue->indirect.host + offset;
}

#endif
