/* SPDX-License-Identifier: BSD-2-Clause */

/* A started queue of a back-end, as its device uses it: pop, push, notify and kicks. Each call takes the queue's lock,
 * so any thread may make it, and finds ring == NULL once the queue was stopped (vring.c). After a broken rule the ring
 * stays broken: this is logged once, and the err descriptor signalled. A buffer in memory that the back-end does not
 * have yet, or an IOTLB miss, is -EAGAIN; use_memory() wakes the queue after the next change of the table. In-band
 * notifications and misses are sent to the front-end after the lock was released. */

#include "backend/backend.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

unsigned oriel_backend_queue_index(const struct oriel_backend_queue *queue)
{
        return queue->index;
}

struct oriel_backend *oriel_backend_queue_backend(const struct oriel_backend_queue *queue)
{
        return queue->backend;
}

void oriel_backend_queue_set_userdata(struct oriel_backend_queue *queue, void *userdata)
{
        queue->userdata = userdata;
}

void *oriel_backend_queue_userdata(const struct oriel_backend_queue *queue)
{
        return queue->userdata;
}

uint16_t oriel_backend_queue_size(const struct oriel_backend_queue *queue)
{
        return queue->layout.size;
}

bool oriel_backend_queue_resumed(const struct oriel_backend_queue *queue)
{
        return queue->resumed;
}

int oriel_backend_queue_kick_fd(const struct oriel_backend_queue *queue)
{
        return queue->kick_fd;
}

/* An in-band notification is complete when the front-end has answered it: "In-band notifications". */
static void notify_inband(struct oriel_backend_queue *queue, enum oriel_backend_request request)
{
        struct oriel_backend *backend = queue->backend;
        struct vhost_vring_state state = {queue->index, 0};
        uint64_t ticket;

        if (requests_submit(&backend->requests, request, &state, sizeof(state), -1, &ticket) == 0)
                requests_wait(&backend->requests, ticket, NULL);
}

/* With the lock held. Signals each failed look at the ring, so that a front-end can kick it to ask whether the error
 * persists. Returns whether the front-end has to be told in-band, which is done once. */
static bool signal_error(struct oriel_backend_queue *queue)
{
        bool first = !queue->reported;

        queue->reported = true;
        if (queue->err_fd >= 0)
                fd_event_signal(queue->err_fd);
        return first && queue->err_fd < 0;
}

static void report_broken(struct oriel_backend_queue *queue, int error)
{
        pthread_mutex_lock(&queue->lock);
        if (queue->ring && !queue->broken)
                log_within(&queue->backend->log_budget, &queue->backend->log, ORIEL_LOG_ERROR,
                           "vring %u is broken (%d): %s", queue->index, error, oriel_device_queue_why(queue->ring));
        queue->broken = queue->ring != NULL;

        bool inband = queue->ring && signal_error(queue);

        pthread_mutex_unlock(&queue->lock);
        if (inband)
                notify_inband(queue, ORIEL_BACKEND_VRING_ERR);
}

int oriel_backend_iotlb_miss(struct oriel_backend *backend, const struct oriel_fault *fault)
{
        if (!fault)
                return -EINVAL;

        struct vhost_iotlb_msg miss;

        /* The structure has padding, which is sent. */
        memset(&miss, 0, sizeof(miss));
        miss.iova = fault->address;
        miss.size = fault->size;
        miss.perm = (uint8_t)fault->access;
        miss.type = VHOST_IOTLB_MISS;
        return requests_submit(&backend->requests, ORIEL_BACKEND_IOTLB_MSG, &miss, sizeof(miss), -1, NULL);
}

/* With the lock held. A driver may know of memory before this end does: a front-end answers SHMEM_MAP first, and then
 * tells the other back-ends of the mapping. The buffer is valid however late that is, so the queue waits for its
 * memory, and signals an error: a front-end that has told of all memory knows then that there is none. */
static bool wait_for_memory(struct oriel_backend_queue *queue)
{
        struct oriel_fault fault;

        oriel_device_queue_fault(queue->ring, &fault);
        if (!queue->reported)
                log_within(&queue->backend->log_budget, &queue->backend->log, ORIEL_LOG_INFO,
                           "vring %u: a buffer at 0x%" PRIx64 " is in no memory: waits for it", queue->index,
                           fault.address);
        return signal_error(queue);
}

int oriel_backend_queue_pop(struct oriel_backend_queue *queue, struct oriel_chain **out)
{
        struct oriel_fault fault = {0};
        bool inband = false;

        pthread_mutex_lock(&queue->lock);
        if (!queue->ring) {
                pthread_mutex_unlock(&queue->lock);
                return -ESHUTDOWN;
        }
        /* While the queue waits, its kick means to look again; the signal has to be cleared here. */
        if ((queue->waits || queue->broken) && queue->kick_fd >= 0)
                fd_event_clear(queue->kick_fd);

        int r = oriel_device_queue_pop(queue->ring, out);

        queue->waits = r == -EFAULT || r == -EAGAIN;
        if (r == -EAGAIN)
                oriel_device_queue_fault(queue->ring, &fault);
        else if (r == -EFAULT)
                inband = wait_for_memory(queue);
        pthread_mutex_unlock(&queue->lock);

        if (inband)
                notify_inband(queue, ORIEL_BACKEND_VRING_ERR);
        if (r == -EAGAIN)
                oriel_backend_iotlb_miss(queue->backend, &fault);
        else if (r < 0 && r != -ENOMEM && r != -EFAULT)
                report_broken(queue, r);
        return r == -EFAULT ? -EAGAIN : r;
}

/* Pushes, fills or unpops @chain by @how, which also frees the chain of a ring that was stopped. */
static int queue_give_back(struct oriel_backend_queue *queue, struct oriel_chain *chain, size_t written,
                           int (*how)(struct oriel_device_queue *ring, struct oriel_chain *chain, size_t written))
{
        pthread_mutex_lock(&queue->lock);

        int r = how(queue->ring, chain, written);
        bool broken = queue->ring && r < 0 && r == oriel_device_queue_error(queue->ring);

        pthread_mutex_unlock(&queue->lock);
        if (broken)
                report_broken(queue, r);
        return r;
}

int oriel_backend_queue_push(struct oriel_backend_queue *queue, struct oriel_chain *chain, size_t written)
{
        return queue_give_back(queue, chain, written, oriel_device_queue_push);
}

int oriel_backend_queue_fill(struct oriel_backend_queue *queue, struct oriel_chain *chain, size_t written)
{
        return queue_give_back(queue, chain, written, oriel_device_queue_fill);
}

static int queue_unpop(struct oriel_device_queue *ring, struct oriel_chain *chain, size_t written)
{
        return oriel_device_queue_unpop(ring, chain);
}

int oriel_backend_queue_unpop(struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        return queue_give_back(queue, chain, 0, queue_unpop);
}

void oriel_backend_queue_notify(struct oriel_backend_queue *queue)
{
        bool inband = false;

        pthread_mutex_lock(&queue->lock);
        if (queue->ring && oriel_device_queue_needs_call(queue->ring)) {
                /* With the lock held, so that the descriptor is still this queue's. */
                if (queue->call_fd >= 0)
                        fd_event_signal(queue->call_fd);
                else
                        inband = true;
        }
        pthread_mutex_unlock(&queue->lock);
        if (inband)
                notify_inband(queue, ORIEL_BACKEND_VRING_CALL);
}

bool oriel_backend_queue_rearm(struct oriel_backend_queue *queue)
{
        if (queue->kick_fd >= 0)
                fd_event_clear(queue->kick_fd);
        return oriel_backend_queue_want_kick(queue);
}

bool oriel_backend_queue_want_kick(struct oriel_backend_queue *queue)
{
        pthread_mutex_lock(&queue->lock);

        bool more = queue->ring && oriel_device_queue_want_kick(queue->ring, true);

        pthread_mutex_unlock(&queue->lock);
        return more;
}
