/* SPDX-License-Identifier: BSD-2-Clause */

/* The device's side of a virtqueue, for split and packed rings, whose differences are in struct device_format. pop
 * fetches the descriptors of the next buffer, copies them and checks them before it consumes anything; push writes the
 * used entry, in the order of pops where IN_ORDER was negotiated. One thread at a time: the caller has the lock.
 *
 * A chain that is out holds a reference to its memory and may outlive the queue, which then sets chain->queue to NULL;
 * push and drop free such a chain. A rule that the driver breaks ends the queue: failure.error stays, and every call
 * returns it. */

#include "virtqueue/device_queue.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define SPARE_CHAINS_MAX 256

DEFINE_CLEANUP(struct oriel_device_queue *, oriel_device_queue_free);

/* A front-end that only answers misses may not have sent the ring's IOTLB entries yet: the queue waits for them. */
static int device_find_ring(struct oriel_device_queue *queue)
{
        int r = ring_find(&queue->ring, queue->memory, queue->format->access, queue->parts, &queue->fault);

        queue->waiting = r == -EAGAIN;
        if (r == -EAGAIN)
                return 0;
        if (r < 0)
                return failure_set_error(&queue->failure, r, "the ring is not in memory");
        oriel_memory_unref(queue->ring_memory);
        queue->ring_memory = oriel_memory_ref(queue->memory);
        return 0;
}

/* Recovers the requests that were in flight. */
static int device_start_inflight(struct oriel_device_queue *queue)
{
        const char *why = "no memory";
        int r = queue->format->inflight_start(queue, &why);

        if (r < 0)
                return failure_set_error(&queue->failure, r, "in-flight buffer: %s", why);
        /* The last back-end may have ended between a push and its call. */
        queue->call_owed = true;
        return 0;
}

static int device_start(struct oriel_device_queue *queue)
{
        int r = 0;

        if (queue->waiting || queue->started)
                return 0;
        queue->started = true;
        queue->format->start(queue);
        if (queue->inflight.region)
                r = device_start_inflight(queue);
        queue->format->want_kick(queue, queue->kick_wanted);
        return r;
}

int oriel_device_queue_new(const struct oriel_ring *options, struct oriel_memory *memory, uint32_t base,
                           struct oriel_device_queue **out)
{
        _cleanup_(oriel_device_queue_freep) struct oriel_device_queue *queue = NULL;
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
        queue->busy = calloc(ring.size, sizeof(*queue->busy));
        if (!queue->busy)
                return -ENOMEM;
        queue->ring = ring;
        queue->format = ring_has(&ring, VIRTIO_F_RING_PACKED) ? &device_packed : &device_split;
        queue->event_idx = ring_has(&ring, VIRTIO_RING_F_EVENT_IDX);
        queue->in_order = ring_has(&ring, VIRTIO_F_IN_ORDER);
        queue->kick_wanted = true;
        queue->memory = oriel_memory_ref(memory);
        r = queue->format->set_base(queue, base);
        if (r == 0)
                r = device_find_ring(queue);
        if (r == 0)
                r = device_start(queue);
        if (r < 0)
                return r;
        *out = steal(queue);
        return 0;
}

static void device_unlink(struct oriel_device_queue *queue, struct oriel_chain *chain)
{
        *(chain->previous ? &chain->previous->next : &queue->first) = chain->next;
        *(chain->next ? &chain->next->previous : &queue->last) = chain->previous;
        chain->previous = chain->next = NULL;
}

static void device_append(struct oriel_device_queue *queue, struct oriel_chain *chain)
{
        chain->previous = queue->last;
        chain->next = NULL;
        *(queue->last ? &queue->last->next : &queue->first) = chain;
        queue->last = chain;
}

/* A spare chain keeps its arrays, and its reference to the memory table if that is still the current one. */
static void device_put_spare(struct oriel_device_queue *queue, struct oriel_chain *chain)
{
        if (queue->n_spare == SPARE_CHAINS_MAX) {
                chain_free(chain);
                return;
        }
        if (chain->memory != queue->memory)
                chain_release_memory(chain);
        chain->state = CHAIN_SPARE;
        chain->next = queue->spare;
        queue->spare = chain;
        queue->n_spare++;
}

static int device_get_spare(struct oriel_device_queue *queue, struct oriel_chain **out)
{
        if (!queue->spare)
                return chain_new(out);
        *out = queue->spare;
        queue->spare = (*out)->next;
        (*out)->next = NULL;
        queue->n_spare--;
        return 0;
}

void oriel_device_queue_free(struct oriel_device_queue *queue)
{
        struct oriel_chain *chain, *next;

        if (!queue)
                return;
        for (chain = queue->first; chain; chain = next) {
                next = chain->next;
                chain->queue = NULL;
                if (chain->state != CHAIN_OUT)
                        chain_free(chain);
        }
        while (queue->spare) {
                chain = queue->spare;
                queue->spare = chain->next;
                chain_free(chain);
        }
        inflight_free(&queue->inflight);
        oriel_dirty_log_unref(queue->log);
        oriel_memory_unref(queue->ring_memory);
        oriel_memory_unref(queue->memory);
        free(queue->descriptors.items);
        free(queue->table);
        free(queue->busy);
        free(queue);
}

int oriel_device_queue_set_memory(struct oriel_device_queue *queue, struct oriel_memory *memory)
{
        int r;

        if (queue->failure.error)
                return queue->failure.error;
        oriel_memory_ref(memory);
        oriel_memory_unref(queue->memory);
        queue->memory = memory;
        for (struct oriel_chain *chain = queue->spare; chain; chain = chain->next)
                chain_release_memory(chain);
        r = device_find_ring(queue);
        return r < 0 ? r : device_start(queue);
}

void oriel_device_queue_set_dirty_log(struct oriel_device_queue *queue, struct oriel_dirty_log *log, bool all)
{
        if (log)
                oriel_dirty_log_ref(log);
        oriel_dirty_log_unref(queue->log);
        queue->log = log;
        queue->log_all = all;
}

int oriel_device_queue_set_inflight(struct oriel_device_queue *queue, void *region, size_t size)
{
        bool packed = ring_has(&queue->ring, VIRTIO_F_RING_PACKED);

        if (queue->failure.error)
                return queue->failure.error;
        if (queue->inflight.region || queue->first || queue->put_since_call > 0 ||
            size < oriel_inflight_region_size(queue->ring.size, packed) ||
            !is_aligned((uintptr_t)region, sizeof(uint64_t)))
                return -EINVAL;
        queue->inflight.region = region;
        return queue->started ? device_start_inflight(queue) : 0;
}

static int device_room_for_table(struct oriel_device_queue *queue, unsigned n)
{
        struct vring_desc *table;

        if (n <= queue->table_room)
                return 0;
        table = reallocarray(queue->table, n, sizeof(*table));
        if (!table)
                return -ENOMEM;
        queue->table = table;
        queue->table_room = n;
        return 0;
}

static unsigned device_descriptors_max(const struct oriel_device_queue *queue)
{
        return queue->ring.size > CHAIN_DESCRIPTORS_MAX ? queue->ring.size : CHAIN_DESCRIPTORS_MAX;
}

/* Fetches the indirect table that the last descriptor refers to, if any. */
static int device_fetch_indirect(struct oriel_device_queue *queue)
{
        struct descriptor last = queue->descriptors.items[queue->descriptors.n - 1];
        struct oriel_range range = {last.address, last.size};
        unsigned n = last.size / (unsigned)sizeof(struct vring_desc);
        int r;

        if (!(last.flags & VRING_DESC_F_INDIRECT))
                return 0;
        if (!ring_has(&queue->ring, VIRTIO_RING_F_INDIRECT_DESC))
                return failure_set(&queue->failure, "an indirect descriptor, but INDIRECT_DESC was not negotiated");
        if (n == 0 || last.size % sizeof(struct vring_desc) != 0)
                return failure_set(&queue->failure, "an indirect table of %" PRIu32 " bytes", last.size);
        if (n > device_descriptors_max(queue))
                return failure_set(&queue->failure, "an indirect table of %u descriptors, more than %u", n,
                                   device_descriptors_max(queue));
        r = device_room_for_table(queue, n);
        if (r < 0)
                return r;
        r = memory_read(queue->memory, ORIEL_ADDRESS_GUEST, range, queue->table, &queue->fault);
        if (r == -EFAULT || r == -EINVAL)
                return failure_set_absent(&queue->failure,
                                          "an indirect table at %#" PRIx64 ", %" PRIu32 " bytes, is not in memory",
                                          last.address, last.size);
        return r < 0 ? r : queue->format->fetch_table(queue, n);
}

/* Fetches the descriptors of the next buffer: 1, 0 or an error. */
static int device_fetch(struct oriel_device_queue *queue, struct next_buffer *buffer)
{
        struct inflight *inflight = &queue->inflight;
        int r;

        queue->descriptors.n = 0;
        if (inflight->next_request < inflight->n_requests)
                r = queue->format->fetch_recovered(queue, inflight->requests[inflight->next_request].entry, buffer);
        else
                r = queue->format->fetch(queue, buffer);
        if (r <= 0)
                return r;
        r = device_fetch_indirect(queue);
        return r < 0 ? r : 1;
}

/* The buffer becomes the device's. */
static void device_take(struct oriel_device_queue *queue, struct oriel_chain *chain, const struct next_buffer *buffer)
{
        chain->queue = queue;
        chain->state = CHAIN_OUT;
        chain->id = buffer->id;
        chain->slots = buffer->slots;
        chain->entry = buffer->entry;
        chain->recovered = buffer->recovered;
        chain->written = 0;
        if (buffer->recovered) {
                queue->inflight.next_request++;
        } else {
                queue->busy[buffer->id] = true;
                queue->format->take(queue, buffer);
                chain->number = ++queue->pops;
                if (queue->inflight.region)
                        queue->format->inflight_pop(queue, chain);
        }
        device_append(queue, chain);
        queue->in_use++;
}

static int device_pop(struct oriel_device_queue *queue, struct oriel_chain **out)
{
        struct next_buffer buffer = {0};
        struct oriel_chain *chain;
        int r;

        if (queue->failure.error)
                return queue->failure.error;
        if (queue->waiting)
                return -EAGAIN;
        r = device_fetch(queue, &buffer);
        if (r <= 0)
                return r;
        r = device_get_spare(queue, &chain);
        if (r < 0)
                return r;
        r = chain_fill(chain, &queue->descriptors, queue->memory, device_descriptors_max(queue) + CHAIN_SPANS_MORE,
                       &queue->fault, &queue->failure);
        if (r < 0) {
                device_put_spare(queue, chain);
                return r;
        }
        device_take(queue, chain, &buffer);
        *out = chain;
        return 1;
}

int oriel_device_queue_pop(struct oriel_device_queue *queue, struct oriel_chain **out)
{
        int r = device_pop(queue, out);

        /* Nothing was consumed yet. */
        if (r < 0 && queue->patient && queue->failure.absent) {
                queue->failure = (struct ring_failure){0};
                return -EFAULT;
        }
        return r;
}

/* Whether @chain is the last one popped, apart from those that were unpopped since. */
static bool device_is_latest(const struct oriel_device_queue *queue, const struct oriel_chain *chain)
{
        const struct inflight *inflight = &queue->inflight;

        if (!chain->recovered)
                return chain->number == queue->pops;
        return queue->pops == 0 && inflight->requests[inflight->next_request - 1].entry == chain->entry;
}

void oriel_device_queue_set_patient(struct oriel_device_queue *queue, bool patient)
{
        queue->patient = patient;
}

void oriel_device_queue_fault(const struct oriel_device_queue *queue, struct oriel_fault *out)
{
        *out = queue->fault;
}

/* Makes the used entries visible to the driver. */
static void device_publish(struct oriel_device_queue *queue)
{
        if (queue->unpublished == 0)
                return;
        queue->format->publish(queue);
        if (__builtin_add_overflow(queue->put_since_call, queue->unpublished, &queue->put_since_call))
                queue->put_since_call = UINT32_MAX;
        queue->unpublished = 0;
}

/* Returns a completed buffer to the driver. In-flight tracking can describe only one buffer in this state, so with it
 * each is published at once. */
static void device_put(struct oriel_device_queue *queue, struct oriel_chain *chain)
{
        device_unlink(queue, chain);
        queue->busy[chain->id] = false;
        if (queue->inflight.region)
                queue->format->inflight_push(queue, chain);
        queue->format->put(queue, chain);
        queue->unpublished += chain->slots;
        if (queue->inflight.region) {
                device_publish(queue);
                queue->format->inflight_pushed(queue, chain);
        }
        device_put_spare(queue, chain);
}

/* 0 where @chain may be given back to @queue. */
static int device_check_chain(const struct oriel_device_queue *queue, struct oriel_chain *chain)
{
        if (!chain || chain->state != CHAIN_OUT)
                return -EINVAL;
        if (!chain->queue) {
                chain_free(chain);
                return -ESHUTDOWN;
        }
        return chain->queue == queue ? 0 : -EINVAL;
}

int oriel_device_queue_unpop(struct oriel_device_queue *queue, struct oriel_chain *chain)
{
        int r = device_check_chain(queue, chain);

        if (r < 0)
                return r;
        if (!device_is_latest(queue, chain))
                return -EINVAL;
        if (queue->failure.error) {
                oriel_chain_drop(chain);
                return queue->failure.error;
        }
        if (chain->recovered) {
                queue->inflight.next_request--;
        } else {
                queue->busy[chain->id] = false;
                queue->format->untake(queue, chain->slots);
                queue->pops--;
                if (queue->inflight.region)
                        queue->format->inflight_unpop(queue, chain);
        }
        queue->in_use--;
        device_unlink(queue, chain);
        device_put_spare(queue, chain);
        return 0;
}

int oriel_device_queue_fill(struct oriel_device_queue *queue, struct oriel_chain *chain, size_t written)
{
        int r = device_check_chain(queue, chain);

        if (r < 0)
                return r;
        if (queue->failure.error) {
                oriel_chain_drop(chain);
                return queue->failure.error;
        }
        if (written > chain->writable_size)
                written = chain->writable_size;
        chain->written = written > UINT32_MAX ? UINT32_MAX : (uint32_t)written;
        chain->state = CHAIN_DONE;
        queue->in_use--;
        if (queue->log && queue->log_all)
                chain_mark_dirty(chain, queue->log);

        if (!queue->in_order) {
                device_put(queue, chain);
                return 0;
        }
        while (queue->first && queue->first->state == CHAIN_DONE)
                device_put(queue, queue->first);
        return 0;
}

int oriel_device_queue_flush(struct oriel_device_queue *queue)
{
        if (queue->failure.error)
                return queue->failure.error;
        device_publish(queue);
        return 0;
}

int oriel_device_queue_push(struct oriel_device_queue *queue, struct oriel_chain *chain, size_t written)
{
        int r = oriel_device_queue_fill(queue, chain, written);

        return r < 0 ? r : oriel_device_queue_flush(queue);
}

void oriel_chain_drop(struct oriel_chain *chain)
{
        if (!chain || chain->state != CHAIN_OUT)
                return;

        struct oriel_device_queue *queue = chain->queue;

        if (!queue) {
                chain_free(chain);
                return;
        }
        queue->in_use--;
        if (queue->in_order) {
                chain_release_memory(chain);
                chain->state = CHAIN_DROPPED;
                return;
        }
        device_unlink(queue, chain);
        device_put_spare(queue, chain);
}

bool oriel_device_queue_needs_call(struct oriel_device_queue *queue)
{
        bool wanted = queue->call_owed;

        if (queue->failure.error || !queue->started)
                return false;
        device_publish(queue);
        if (queue->put_since_call > 0) {
                /* The used entries are stored before the driver's event suppression is read; pairs with the barrier in
                 * oriel_driver_queue_want_call(). */
                full_barrier();
                wanted = wanted || queue->format->wants_call(queue);
        }
        queue->put_since_call = 0;
        queue->call_owed = false;
        return wanted;
}

bool oriel_device_queue_want_kick(struct oriel_device_queue *queue, bool want)
{
        queue->kick_wanted = want;
        if (queue->failure.error || queue->waiting)
                return false;
        queue->format->want_kick(queue, want);
        /* The request for a kick is stored before the ring is read; pairs with the barrier in
         * oriel_driver_queue_needs_kick(). */
        full_barrier();
        return queue->inflight.next_request < queue->inflight.n_requests || queue->format->has_buffers(queue);
}

unsigned oriel_device_queue_in_use(const struct oriel_device_queue *queue)
{
        return queue->in_use;
}

uint32_t oriel_device_queue_base(const struct oriel_device_queue *queue)
{
        return queue->format->get_base(queue);
}

int oriel_device_queue_error(const struct oriel_device_queue *queue)
{
        return queue->failure.error;
}

const char *oriel_device_queue_why(const struct oriel_device_queue *queue)
{
        return queue->failure.why;
}
