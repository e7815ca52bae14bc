/* SPDX-License-Identifier: BSD-2-Clause */

/* Functions for both sides of a virtqueue: the check of a ring's options, the search for its three parts in guest
 * memory, the reason why a queue ended, and event suppression of packed rings. The first failure is kept, later ones
 * change nothing. Parts must be contiguous and aligned in this process's memory, not only by their guest addresses.
 * packed_set_event() and packed_wants_event() are the two ends of one release and acquire pair on the flags. */

#include "virtqueue/ring.h"

#include "base/range.h"
#include "base/struct.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define RING_SIZE_MAX 32768 /* VIRTIO 1.2, 2.7 and 2.8 */

static const size_t split_alignment[RING_PARTS] = {VRING_DESC_ALIGN_SIZE, VRING_AVAIL_ALIGN_SIZE,
                                                   VRING_USED_ALIGN_SIZE};
static const size_t packed_alignment[RING_PARTS] = {VRING_DESC_ALIGN_SIZE, sizeof(uint32_t), sizeof(uint32_t)};

static void failure_write(struct ring_failure *failure, int error, const char *format, va_list args)
{
        if (failure->error)
                return;
        failure->error = error;
        vsnprintf(failure->why, sizeof(failure->why), format, args);
}

int failure_set(struct ring_failure *failure, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        failure_write(failure, -EPROTO, format, args);
        va_end(args);
        return failure->error;
}

int failure_set_absent(struct ring_failure *failure, const char *format, ...)
{
        va_list args;

        failure->absent = failure->error == 0;
        va_start(args, format);
        failure_write(failure, -EPROTO, format, args);
        va_end(args);
        return failure->error;
}

int failure_set_error(struct ring_failure *failure, int error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        failure_write(failure, error, format, args);
        va_end(args);
        return failure->error;
}

bool ring_has(const struct oriel_ring *ring, unsigned feature)
{
        return ring->features >> feature & 1;
}

static const size_t *ring_alignment(const struct oriel_ring *ring)
{
        return ring_has(ring, VIRTIO_F_RING_PACKED) ? packed_alignment : split_alignment;
}

int ring_check(const struct oriel_ring *in, struct oriel_ring *out)
{
        struct oriel_ring ring;
        const size_t *alignment;
        int r = STRUCT_TAKE(&ring, in, ORIEL_RING_LEAST);

        if (r < 0)
                return r;
        if (ring.size == 0 || ring.size > RING_SIZE_MAX)
                return -EINVAL;
        if (!ring_has(&ring, VIRTIO_F_RING_PACKED) && (ring.size & (ring.size - 1)) != 0)
                return -EINVAL;
        alignment = ring_alignment(&ring);
        if (!is_aligned(ring.descriptor, alignment[RING_DESCRIPTOR]) ||
            !is_aligned(ring.driver, alignment[RING_DRIVER]) || !is_aligned(ring.device, alignment[RING_DEVICE]))
                return -EINVAL;
        *out = ring;
        return 0;
}

void oriel_ring_sizes(uint16_t size, bool packed, size_t sizes[3])
{
        sizes[RING_DESCRIPTOR] = size * sizeof(struct vring_desc);
        sizes[RING_DRIVER] = packed ? sizeof(struct vring_packed_desc_event)
                                    : sizeof(struct vring_avail) + (size + 1U) * sizeof(uint16_t);
        sizes[RING_DEVICE] =
                packed ? sizeof(struct vring_packed_desc_event)
                       : sizeof(struct vring_used) + size * sizeof(struct vring_used_elem) + sizeof(uint16_t);
}

int ring_find(const struct oriel_ring *ring, const struct oriel_memory *memory,
              const enum oriel_access access[RING_PARTS], struct memory_piece parts[RING_PARTS],
              struct oriel_fault *fault)
{
        const uint64_t addresses[RING_PARTS] = {ring->descriptor, ring->driver, ring->device};
        struct memory_piece found[RING_PARTS];
        size_t sizes[RING_PARTS];

        oriel_ring_sizes(ring->size, ring_has(ring, VIRTIO_F_RING_PACKED), sizes);
        for (unsigned i = 0; i < RING_PARTS; i++) {
                struct oriel_range range = {addresses[i], sizes[i]};
                int r = memory_find_whole(memory, ring->space, range, access[i], &found[i], fault);

                if (r < 0)
                        return r == -EAGAIN ? r : -EFAULT;
                /* mmap_offset may have any value, so an aligned guest address does not make the host address
                 * aligned. */
                if (!is_aligned((uintptr_t)found[i].host, ring_alignment(ring)[i]))
                        return -EFAULT;
        }
        memcpy(parts, found, sizeof(found));
        return 0;
}

bool packed_wants_event(const struct vring_packed_desc_event *event, bool event_idx, struct packed_position now,
                        uint32_t count, uint16_t size)
{
        uint16_t flags = load16_acquire(&event->flags);
        struct packed_position wanted;
        uint16_t index;

        if (flags == VRING_PACKED_EVENT_FLAG_DISABLE)
                return false;
        if (flags != VRING_PACKED_EVENT_FLAG_DESC || !event_idx || count >= size)
                return true;
        wanted = packed_unpack(load16(&event->off_wrap));
        /* Indices of the previous lap are negative. */
        index = wanted.wrap == now.wrap ? wanted.index : (uint16_t)(wanted.index - size);
        return vring_need_event(index, now.index, (uint16_t)(now.index - count));
}

void packed_set_event(struct vring_packed_desc_event *event, bool event_idx, bool want, struct packed_position at)
{
        uint16_t flags = !want       ? VRING_PACKED_EVENT_FLAG_DISABLE
                         : event_idx ? VRING_PACKED_EVENT_FLAG_DESC
                                     : VRING_PACKED_EVENT_FLAG_ENABLE;

        if (want && event_idx)
                store16(&event->off_wrap, packed_pack(at));
        /* Release pairs with the acquire in the other side's packed_wants_event(): the flag says to look at off_wrap.
         */
        store16_release(&event->flags, flags);
}
