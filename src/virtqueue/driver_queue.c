/* SPDX-License-Identifier: BSD-2-Clause */

/* The driver's side of a virtqueue, for split and packed rings, whose differences are in struct driver_format. Nothing
 * that the device could have changed is trusted: tokens, lengths and free descriptors are kept in arrays of this
 * process, and a used id is checked against them. With IN_ORDER one used entry completes all buffers up to its own, and
 * collect returns them one by one. One thread at a time: the caller has the lock. Barriers pair with those of
 * device_queue.c. */

#include "virtqueue/driver_queue.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE_MAX (UINT64_C(1) << 32) /* VIRTIO 1.2, 2.7.4.2 */

DEFINE_CLEANUP(struct oriel_driver_queue *, oriel_driver_queue_free);

static int driver_find_indirect(struct oriel_driver_queue *queue, uint64_t address, unsigned entries)
{
        uint64_t size;

        if (!ring_has(&queue->ring, VIRTIO_RING_F_INDIRECT_DESC) || entries == 0)
                return 0;
        if (!is_aligned(address, sizeof(struct vring_desc)) ||
            !checked_mul((uint64_t)queue->ring.size * sizeof(struct vring_desc), entries, &size))
                return -EINVAL;
        if (memory_find_whole(queue->memory, ORIEL_ADDRESS_GUEST, (struct oriel_range){address, size},
                              ORIEL_ACCESS_READ_WRITE, &queue->indirect, NULL) < 0 ||
            !is_aligned((uintptr_t)queue->indirect.host, sizeof(struct vring_desc)))
                return -EFAULT;
        /* The ring needs the address as the device knows it: an IOVA where there is an IOMMU. */
        queue->indirect.guest = address;
        queue->indirect_entries = entries;
        return 0;
}

static int driver_alloc(struct oriel_driver_queue *queue)
{
        uint16_t size = queue->ring.size;

        queue->buffers = calloc(size, sizeof(*queue->buffers));
        queue->order = calloc(size, sizeof(*queue->order));
        queue->free = calloc(size, sizeof(*queue->free));
        if (!queue->buffers || !queue->order || !queue->free)
                return -ENOMEM;
        for (uint16_t i = 0; i < size; i++)
                queue->free[i] = (uint16_t)(i + 1);
        queue->free_last = (uint16_t)(size - 1);
        queue->free_slots = size;
        return 0;
}

static int driver_find_ring(struct oriel_driver_queue *queue)
{
        static const enum oriel_access access[RING_PARTS] = {ORIEL_ACCESS_READ_WRITE, ORIEL_ACCESS_READ_WRITE,
                                                             ORIEL_ACCESS_READ_WRITE};
        size_t sizes[RING_PARTS];

        if (ring_find(&queue->ring, queue->memory, access, queue->parts, NULL) < 0)
                return -EFAULT;
        oriel_ring_sizes(queue->ring.size, ring_has(&queue->ring, VIRTIO_F_RING_PACKED), sizes);
        for (unsigned i = 0; i < RING_PARTS; i++)
                /* ring_find() has filled all parts. NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker) */
                memset(queue->parts[i].host, 0, sizes[i]);
        return 0;
}

int oriel_driver_queue_new(const struct oriel_ring *options, struct oriel_memory *memory, uint64_t indirect,
                           unsigned indirect_entries, struct oriel_driver_queue **out)
{
        _cleanup_(oriel_driver_queue_freep) struct oriel_driver_queue *queue = NULL;
        struct oriel_ring ring;

        if (!out)
                return -EINVAL;
        *out = NULL;

        int r = ring_check(options, &ring);

        if (r < 0)
                return r;
        queue = calloc(1, sizeof(*queue));
        if (!queue)
                return -ENOMEM;
        queue->ring = ring;
        queue->format = ring_has(&ring, VIRTIO_F_RING_PACKED) ? &driver_packed : &driver_split;
        queue->event_idx = ring_has(&ring, VIRTIO_RING_F_EVENT_IDX);
        queue->in_order = ring_has(&ring, VIRTIO_F_IN_ORDER);
        queue->available.wrap = queue->used.wrap = true;
        queue->memory = oriel_memory_ref(memory);
        r = driver_alloc(queue);
        if (r == 0)
                r = driver_find_indirect(queue, indirect, indirect_entries);
        if (r == 0)
                r = driver_find_ring(queue);
        if (r < 0)
                return r;
        *out = steal(queue);
        return 0;
}

void oriel_driver_queue_free(struct oriel_driver_queue *queue)
{
        if (!queue)
                return;
        oriel_memory_unref(queue->memory);
        free(queue->buffers);
        free(queue->order);
        free(queue->free);
        free(queue);
}

static bool driver_sizes(const struct driver_pieces *pieces, uint64_t *writable)
{
        uint64_t total = 0;

        *writable = 0;
        for (unsigned i = 0; i < pieces->n; i++) {
                uint32_t size = driver_piece(pieces, i)->size;

                if (size == 0)
                        return false;
                total += size;
                if (driver_piece_writable(pieces, i))
                        *writable += size;
        }
        return total <= BUFFER_SIZE_MAX;
}

int oriel_driver_queue_submit(struct oriel_driver_queue *queue, const struct oriel_buffer *readable,
                              unsigned n_readable, const struct oriel_buffer *writable, unsigned n_writable,
                              void *token)
{
        struct driver_pieces pieces = {readable, writable, n_readable, 0};
        bool indirect;
        uint64_t size;
        uint16_t id;

        if (queue->failure.error)
                return queue->failure.error;
        if (!token || __builtin_add_overflow(n_readable, n_writable, &pieces.n) || pieces.n == 0)
                return -EINVAL;
        indirect = pieces.n > 1 && pieces.n <= queue->indirect_entries;
        if ((!indirect && pieces.n > queue->ring.size) || !driver_sizes(&pieces, &size))
                return -EINVAL;
        if (queue->free_slots < (indirect ? 1 : pieces.n))
                return -EAGAIN;

        id = queue->format->put(queue, &pieces, indirect);
        queue->buffers[id] = (struct driver_buffer){
                .token = token,
                .writable = size,
                .sequence = queue->sequence,
                .slots = (uint16_t)(indirect ? 1 : pieces.n),
        };
        queue->order[queue->sequence++ % queue->ring.size] = id;
        queue->free_slots -= queue->buffers[id].slots;
        queue->in_use++;
        return 0;
}

bool oriel_driver_queue_needs_kick(struct oriel_driver_queue *queue)
{
        bool wanted;

        if (queue->failure.error || queue->put_since_kick == 0)
                return false;
        /* Available buffers are stored before the device's event suppression is read; pairs with the barrier in
         * oriel_device_queue_want_kick(). */
        full_barrier();
        wanted = queue->format->wants_kick(queue);
        queue->put_since_kick = 0;
        return wanted;
}

static uint64_t driver_oldest(const struct oriel_driver_queue *queue)
{
        return queue->sequence - queue->in_use;
}

/* Looks for a used entry, which becomes the batch being collected. */
static int driver_next_batch(struct oriel_driver_queue *queue)
{
        uint32_t id, written, count;
        int r = queue->format->look(queue, &id, &written, &count);

        if (r <= 0)
                return r;
        if (id >= queue->ring.size || !queue->buffers[id].token)
                return failure_set(&queue->failure, "used id %" PRIu32 ", which is not out", id);
        if (queue->in_order && queue->buffers[id].sequence - driver_oldest(queue) >= count)
                return failure_set(&queue->failure, "used id %" PRIu32 " ends a batch longer than what is used", id);
        queue->batch = true;
        queue->batch_id = (uint16_t)id;
        queue->batch_written = written;
        return 1;
}

int oriel_driver_queue_collect(struct oriel_driver_queue *queue, void **token, uint32_t *written)
{
        struct driver_buffer *buffer;
        uint16_t id;

        if (queue->failure.error)
                return queue->failure.error;
        if (!queue->batch) {
                int r = driver_next_batch(queue);

                if (r <= 0)
                        return r;
        }
        id = queue->in_order ? queue->order[driver_oldest(queue) % queue->ring.size] : queue->batch_id;
        buffer = &queue->buffers[id];
        /* VIRTIO 1.2, 2.7.9: buffers of a batch before its last were used completely. */
        *written = buffer->writable > UINT32_MAX ? UINT32_MAX : (uint32_t)buffer->writable;
        if (id == queue->batch_id) {
                if (queue->batch_written > buffer->writable)
                        return failure_set(&queue->failure, "used id %u: %" PRIu32 " bytes written to %" PRIu64, id,
                                           queue->batch_written, buffer->writable);
                *written = queue->batch_written;
                queue->batch = false;
        }
        *token = buffer->token;
        buffer->token = NULL;
        queue->free_slots += buffer->slots;
        queue->in_use--;
        queue->format->retire(queue, id);
        return 1;
}

bool oriel_driver_queue_want_call(struct oriel_driver_queue *queue, bool want)
{
        if (queue->failure.error)
                return false;
        queue->format->want_call(queue, want);
        /* The request for a call is stored before the ring is read; pairs with the barrier in
         * oriel_device_queue_needs_call(). */
        full_barrier();
        return queue->batch || queue->format->has_used(queue);
}

unsigned oriel_driver_queue_in_use(const struct oriel_driver_queue *queue)
{
        return queue->in_use;
}

void *oriel_driver_queue_forget(struct oriel_driver_queue *queue)
{
        for (unsigned i = 0; i < queue->ring.size && queue->in_use > 0; i++) {
                if (!queue->buffers[i].token)
                        continue;
                failure_set_error(&queue->failure, -ESHUTDOWN, "buffers were taken back");
                queue->in_use--;
                return steal(queue->buffers[i].token);
        }
        return NULL;
}

uint32_t oriel_driver_queue_base(const struct oriel_driver_queue *queue)
{
        return queue->format->base(queue);
}

int oriel_driver_queue_error(const struct oriel_driver_queue *queue)
{
        return queue->failure.error;
}

const char *oriel_driver_queue_why(const struct oriel_driver_queue *queue)
{
        return queue->failure.why;
}
