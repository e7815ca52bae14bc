/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VIRTQUEUE_DEVICE_QUEUE_H
#define VIRTQUEUE_DEVICE_QUEUE_H

#include "base/range.h"
#include "virtqueue/chain.h"
#include "virtqueue/inflight.h"

/* The next buffer; its descriptors are in queue->descriptors. */
struct next_buffer {
        uint16_t id;
        uint16_t slots;
        uint16_t entry; /* entry in the in-flight region, of a recovered one */
        bool recovered;
};

/* The operations that differ between split and packed rings. */
struct device_format {
        enum oriel_access access[RING_PARTS];
        /* Sets the positions from a base of SET_VRING_BASE. -EINVAL. */
        int (*set_base)(struct oriel_device_queue *queue, uint32_t base);
        uint32_t (*get_base)(const struct oriel_device_queue *queue);
        /* Called when the ring was found for the first time. */
        void (*start)(struct oriel_device_queue *queue);
        /* Looks for a new buffer and reads its descriptors: 1, 0 or an error. Consumes nothing. */
        int (*fetch)(struct oriel_device_queue *queue, struct next_buffer *out);
        int (*fetch_recovered)(struct oriel_device_queue *queue, uint16_t entry, struct next_buffer *out);
        /* Reads the @n descriptors of the indirect table in queue->table. */
        int (*fetch_table)(struct oriel_device_queue *queue, unsigned n);
        /* Consumes the buffer that fetch() found. */
        void (*take)(struct oriel_device_queue *queue, const struct next_buffer *buffer);
        /* Undoes the latest take(), which was for @slots. */
        void (*untake)(struct oriel_device_queue *queue, uint16_t slots);
        /* Writes a used entry that the driver does not see yet. */
        void (*put)(struct oriel_device_queue *queue, const struct oriel_chain *chain);
        /* Makes the entries since the last call visible. */
        void (*publish)(struct oriel_device_queue *queue);
        bool (*wants_call)(const struct oriel_device_queue *queue);
        void (*want_kick)(struct oriel_device_queue *queue, bool want);
        bool (*has_buffers)(const struct oriel_device_queue *queue);

        int (*inflight_start)(struct oriel_device_queue *queue, const char **why);
        void (*inflight_pop)(struct oriel_device_queue *queue, struct oriel_chain *chain);
        void (*inflight_unpop)(struct oriel_device_queue *queue, const struct oriel_chain *chain);
        void (*inflight_push)(struct oriel_device_queue *queue, const struct oriel_chain *chain);
        void (*inflight_pushed)(struct oriel_device_queue *queue, const struct oriel_chain *chain);
};

extern const struct device_format device_split, device_packed;

struct oriel_device_queue {
        const struct device_format *format;
        struct oriel_ring ring;
        bool event_idx, in_order;
        struct ring_failure failure;

        struct oriel_memory *memory;      /* for the buffers popped from now on */
        struct oriel_memory *ring_memory; /* for the ring */
        struct memory_piece parts[RING_PARTS];
        bool started; /* parts are set */
        bool waiting; /* until the IOTLB has the ring's addresses */
        bool kick_wanted;
        bool patient; /* an address that is not in memory is waited for */
        struct oriel_fault fault;

        struct oriel_dirty_log *log;
        bool log_all;

        struct oriel_chain *first, *last; /* chains out, oldest first */
        struct oriel_chain *spare;
        unsigned n_spare, in_use;
        bool *busy;    /* by id: popped, not pushed */
        uint64_t pops; /* new buffers popped, less those unpopped */

        struct descriptors descriptors;
        struct vring_desc *table; /* a copy of an indirect table */
        unsigned table_room;

        uint32_t unpublished;    /* used ring entries (split) or ring slots (packed) that the driver does not see yet */
        uint32_t put_since_call; /* those that it sees, since the last call */
        bool call_owed;

        /* split */
        uint16_t next_available, available_seen, next_used;
        /* packed */
        struct packed_position available, used;
        uint16_t slots_out;                  /* popped, not pushed */
        uint16_t first_put, first_put_flags; /* the descriptor that publishes the others, and its flags */

        struct inflight inflight;
};

/* The longest chain that is accepted; rings of any size may use an indirect table of this many. */
#define CHAIN_DESCRIPTORS_MAX 1024
/* Additional pieces of such a chain: each descriptor can cross into another region, or a page of an IOMMU. */
#define CHAIN_SPANS_MORE 1024

/* Marks what the device has written to its ring in the dirty log. */
static inline void device_log_ring(struct oriel_device_queue *queue, enum ring_part part, uint64_t offset,
                                   uint64_t size)
{
        uint64_t address;

        if (!queue->log)
                return;
        /* log_address is where the device's area is logged; a packed descriptor ring is logged by its own guest
         * address. */
        if (part == RING_DESCRIPTOR && (queue->ring.log_used || queue->log_all))
                oriel_dirty_log_mark(queue->log,
                                     (struct oriel_range){queue->parts[RING_DESCRIPTOR].guest + offset, size});
        else if (part == RING_DEVICE && queue->ring.log_used && checked_add(queue->ring.log_address, offset, &address))
                memory_mark_dirty(queue->ring_memory, queue->log, (struct oriel_range){address, size});
}

#endif
