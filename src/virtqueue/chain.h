/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VIRTQUEUE_CHAIN_H
#define VIRTQUEUE_CHAIN_H

#include "virtqueue/ring.h"

/* A descriptor of either format, copied out of shared memory. */
struct descriptor {
        uint64_t address;
        uint32_t size;
        uint16_t flags;
        uint16_t id; /* split: next */
};

/* The descriptors of the buffer being popped: those of the ring, then those of the indirect table that the last one
 * refers to. */
struct descriptors {
        struct descriptor *items;
        unsigned n, room;
};

int descriptors_add(struct descriptors *descriptors, struct descriptor item);

enum chain_state {
        CHAIN_OUT,     /* with the device */
        CHAIN_DONE,    /* pushed, but not written to the ring until those before it are */
        CHAIN_DROPPED, /* never returned: as the driver expects buffers in order, those after it can't be either */
        CHAIN_SPARE,   /* not in use, kept for the next buffer */
};

struct oriel_chain {
        struct oriel_device_queue *queue; /* NULL when the queue was freed */
        struct oriel_chain *previous, *next;
        enum chain_state state;
        uint16_t id;
        uint16_t slots;  /* number of entries of the ring that it takes */
        uint16_t entry;  /* its entry in the in-flight region */
        bool recovered;  /* it was in flight when the last back-end ended */
        uint64_t number; /* number of its pop in this queue, from 1 */
        uint32_t written;
        struct oriel_memory *memory;

        struct iovec *spans; /* readable ones first */
        uint64_t *guests;    /* the guest physical address of each */
        unsigned n_readable, n, room;
        size_t readable_size, writable_size;
};

int chain_new(struct oriel_chain **out);
void chain_free(struct oriel_chain *chain);
/* Translates all @descriptors by @memory, of which it takes a reference. The chain's former contents are dropped.
 * -EAGAIN: @fault waits for the IOTLB. -EPROTO: @failure was set. -ENOMEM. */
int chain_fill(struct oriel_chain *chain, const struct descriptors *descriptors, struct oriel_memory *memory,
               unsigned max_spans, struct oriel_fault *fault, struct ring_failure *failure);
/* Drops the reference to the memory that the chain was popped with. */
void chain_release_memory(struct oriel_chain *chain);
void chain_mark_dirty(const struct oriel_chain *chain, struct oriel_dirty_log *log);

#endif
