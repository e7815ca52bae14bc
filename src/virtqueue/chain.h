/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VIRTQUEUE_CHAIN_H
#define VIRTQUEUE_CHAIN_H

#include "virtqueue/ring.h"

/* A descriptor of either format, out of shared memory. */
struct descriptor {
        uint64_t address;
        uint32_t size;
        uint16_t flags;
        uint16_t id; /* split: next */
};

/* The descriptors of the buffer being popped: those of the ring, then those of the indirect table that the last of
 * them names. */
struct descriptors {
        struct descriptor *items;
        unsigned n, room;
};

int descriptors_add(struct descriptors *descriptors, struct descriptor item);

enum chain_state {
        CHAIN_OUT,     /* with the device */
        CHAIN_DONE,    /* pushed, held back until those before it are */
        CHAIN_DROPPED, /* stands in the way of those after it for ever, as the driver expects them in order */
        CHAIN_SPARE,   /* given back, and kept for a buffer to come */
};

struct oriel_chain {
        struct oriel_device_queue *queue; /* NULL when it is gone */
        struct oriel_chain *previous, *next;
        enum chain_state state;
        uint16_t id;
        uint16_t slots;  /* entries of the ring that it takes */
        uint16_t entry;  /* where in-flight tracking has it */
        bool recovered;  /* it was in flight when the back-end before this one ended */
        uint64_t number; /* of the pops of this queue, from 1 */
        uint32_t written;
        struct oriel_memory *memory;

        struct iovec *spans; /* readable ones first */
        uint64_t *guests;    /* the guest physical address of each */
        unsigned n_readable, n, room;
        size_t readable_size, writable_size;
};

int chain_new(struct oriel_chain **out);
void chain_free(struct oriel_chain *chain);
/* Find all that @descriptors name in @memory, which is referenced. Nothing of @chain's former contents remains.
 * -EAGAIN: @fault waits for the IOTLB. -EPROTO: @failure was set. -ENOMEM. */
int chain_fill(struct oriel_chain *chain, const struct descriptors *descriptors, struct oriel_memory *memory,
               unsigned max_spans, struct oriel_fault *fault, struct failure *failure);
/* What it was popped with is no longer needed. */
void chain_release_memory(struct oriel_chain *chain);
void chain_mark_dirty(const struct oriel_chain *chain, struct oriel_dirty_log *log);

#endif
