/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_QUEUE_H
#define GUEST_QUEUE_H

#include "guest.h"

/* The driver's side of a virtqueue that is polled: split (virtio 1.2, 2.7) or packed (2.8). */

enum { QUEUE_SIZE = 64, QUEUE_BYTES = 4096 };

struct buffer {
        uint64_t address;
        uint32_t size;
        bool device_writes;
};

/* The driver's record of each buffer that is out. */
struct out {
        void *cookie;
        uint16_t n;    /* descriptors */
        uint16_t next; /* in the list of those that are free */
};

struct virtqueue {
        _Alignas(4096) uint8_t memory[QUEUE_BYTES];
        uint16_t size;
        bool packed;
        uint64_t notify; /* where to write @index, 0: nowhere yet */
        uint16_t index;

        uint16_t free, n_free; /* split: descriptors; packed: ids, with n_free for descriptors */
        uint16_t next, used;   /* what is made available, and looked for, next */
        bool next_wrap, used_wrap;
        struct out out[QUEUE_SIZE];
};

void queue_init(struct virtqueue *queue, uint16_t index, uint16_t size, bool packed);
/* Where its three parts are: descriptors, driver's, device's. */
void queue_parts(const struct virtqueue *queue, uint64_t parts[3]);

/* From now on the device is to interrupt; before, it was asked not to. */
void queue_want_interrupts(struct virtqueue *queue);

/* @cookie comes back when the device has used it. False: there is no room. */
bool queue_add(struct virtqueue *queue, const struct buffer *buffers, unsigned n, void *cookie);
/* Tell the device, if it wants to be told. */
void queue_kick(const struct virtqueue *queue);
/* The next buffer that the device has used, or NULL. */
void *queue_take(struct virtqueue *queue, uint32_t *written);

#endif
