/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VIRTQUEUE_RING_H
#define VIRTQUEUE_RING_H

/* Shared by both sides of a virtqueue: where the ring is, how its fields are read and written, how a queue ends. */

#include "memory/piece.h"

#include <endian.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/virtqueue.h>

/* Not in the kernel's headers: VIRTIO 1.2, 2.8.10. */
#define PACKED_EVENT_OFFSET_MASK 0x7fff

enum ring_part {
        RING_DESCRIPTOR,
        RING_DRIVER,
        RING_DEVICE,
        RING_PARTS,
};

/* The reason why a queue ended; error is 0 while it has not. */
struct ring_failure {
        int error;
        bool absent; /* an address is not in memory, and may be added later */
        char why[160];
};

/* Ends the queue with -EPROTO, which is returned. An earlier error is kept, and returned instead. */
int failure_set(struct ring_failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same, for an address that is not in memory. */
int failure_set_absent(struct ring_failure *failure, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with another error. */
int failure_set_error(struct ring_failure *failure, int error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* Copies @in and checks it. -EINVAL, -E2BIG. */
int ring_check(const struct oriel_ring *in, struct oriel_ring *out);
bool ring_has(const struct oriel_ring *ring, unsigned feature);

/* Finds the parts of @ring; @access has the rights that each needs. -EFAULT: a part is not in @memory, not contiguous
 * or not aligned there. -EAGAIN: @fault waits for the IOTLB. @parts is written only on success. */
int ring_find(const struct oriel_ring *ring, const struct oriel_memory *memory,
              const enum oriel_access access[RING_PARTS], struct memory_piece parts[RING_PARTS],
              struct oriel_fault *fault);

/* All accesses to fields of a ring use these: a single access that the compiler can't repeat or tear. */
static inline uint16_t load16(const uint16_t *at)
{
        return le16toh(__atomic_load_n(at, __ATOMIC_RELAXED));
}

static inline uint16_t load16_acquire(const uint16_t *at)
{
        return le16toh(__atomic_load_n(at, __ATOMIC_ACQUIRE));
}

static inline uint32_t load32(const uint32_t *at)
{
        return le32toh(__atomic_load_n(at, __ATOMIC_RELAXED));
}

static inline uint64_t load64(const __u64 *at)
{
        return le64toh(__atomic_load_n(at, __ATOMIC_RELAXED));
}

static inline void store16(uint16_t *at, uint16_t value)
{
        __atomic_store_n(at, htole16(value), __ATOMIC_RELAXED);
}

static inline void store16_release(uint16_t *at, uint16_t value)
{
        __atomic_store_n(at, htole16(value), __ATOMIC_RELEASE);
}

static inline void store32(uint32_t *at, uint32_t value)
{
        __atomic_store_n(at, htole32(value), __ATOMIC_RELAXED);
}

static inline void store64(__u64 *at, uint64_t value)
{
        __atomic_store_n(at, htole64(value), __ATOMIC_RELAXED);
}

/* Orders a store before a later load: of two threads that each store, call this, and load, one sees the other's
 * store. */
static inline void full_barrier(void)
{
#ifdef __SANITIZE_THREAD__
        /* gcc's thread sanitizer does not support fences; a locked instruction is one on its architectures. */
        static unsigned fence;

        __atomic_fetch_add(&fence, 1, __ATOMIC_SEQ_CST);
#else
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* A position in a packed ring. */
struct packed_position {
        uint16_t index;
        bool wrap;
};

/* The position @count entries, at most @size, after @from. */
static inline struct packed_position packed_advance(struct packed_position from, uint16_t count, uint16_t size)
{
        uint32_t index = (uint32_t)from.index + count;

        if (index < size)
                return (struct packed_position){(uint16_t)index, from.wrap};
        return (struct packed_position){(uint16_t)(index - size), !from.wrap};
}

/* The position @count entries before @from. */
static inline struct packed_position packed_retreat(struct packed_position from, uint16_t count, uint16_t size)
{
        if (count <= from.index)
                return (struct packed_position){(uint16_t)(from.index - count), from.wrap};
        return (struct packed_position){(uint16_t)(from.index + size - count), !from.wrap};
}

static inline uint16_t packed_available_flags(bool wrap)
{
        return wrap ? 1 << VRING_PACKED_DESC_F_AVAIL : 1 << VRING_PACKED_DESC_F_USED;
}

static inline uint16_t packed_used_flags(bool wrap)
{
        return wrap ? 1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED : 0;
}

static inline bool packed_flags_are(uint16_t flags, uint16_t wanted)
{
        return (flags & (1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED)) == wanted;
}

/* The encoding of event suppression areas and of SET_VRING_BASE. */
static inline uint16_t packed_pack(struct packed_position position)
{
        return (uint16_t)(position.index | position.wrap << VRING_PACKED_EVENT_F_WRAP_CTR);
}

static inline struct packed_position packed_unpack(uint16_t value)
{
        return (struct packed_position){
                .index = value & PACKED_EVENT_OFFSET_MASK,
                .wrap = value >> VRING_PACKED_EVENT_F_WRAP_CTR,
        };
}

/* Whether the other side, whose event suppression area is @event, wants a notification for the @count entries before
 * @now. */
bool packed_wants_event(const struct vring_packed_desc_event *event, bool event_idx, struct packed_position now,
                        uint32_t count, uint16_t size);
/* Requests, in one's own @event, a notification for the entry at @at, or none. */
void packed_set_event(struct vring_packed_desc_event *event, bool event_idx, bool want, struct packed_position at);

#endif
