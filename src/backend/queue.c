/* SPDX-License-Identifier: BSD-2-Clause */
#include "backend/backend.h"
#include "base/fd.h"
#include "base/log.h"
#include "channel/channel.h"

#include <errno.h>

#define PATIENCE_MS 50

unsigned oriel_backend_queue_index(const struct oriel_backend_queue *queue)
{
        return queue->index;
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

/* In-band, a notification is over when the front-end has answered it: "In-band notifications". */
static void notify_inband(struct oriel_backend_queue *queue, enum oriel_backend_request request)
{
        struct oriel_backend *backend = queue->backend;
        struct vhost_vring_state state = {queue->index, 0};
        uint64_t ticket;

        if (requests_submit(&backend->requests, request, &state, sizeof(state), -1, &ticket) == 0)
                requests_wait(&backend->requests, ticket, NULL);
}

/* With the lock held. Whether this is the first time that the ring is seen to be broken. */
static bool first_report(struct oriel_backend_queue *queue, int error)
{
        bool first = !queue->reported;

        if (first)
                log_error(&queue->backend->log, "vring %u is broken (%d): %s", queue->index, error,
                          oriel_device_queue_why(queue->ring));
        queue->reported = true;
        return first;
}

static void report_broken(struct oriel_backend_queue *queue, int error)
{
        int err_fd = -1;

        pthread_mutex_lock(&queue->lock);

        bool first = first_report(queue, error);

        if (first && queue->err_fd >= 0) {
                fd_event_signal(queue->err_fd);
                err_fd = queue->err_fd;
        }
        pthread_mutex_unlock(&queue->lock);
        if (first && err_fd < 0)
                notify_inband(queue, ORIEL_BACKEND_VRING_ERR);
}

static void send_miss(struct oriel_backend_queue *queue, const struct oriel_fault *fault)
{
        struct vhost_iotlb_msg miss = {
                .iova = fault->address,
                .size = fault->size,
                .perm = (uint8_t)fault->access,
                .type = VHOST_IOTLB_MISS,
        };

        requests_submit(&queue->backend->requests, ORIEL_BACKEND_IOTLB_MSG, &miss, sizeof(miss), -1, NULL);
}

/* With the lock held. A driver may know of memory before this end does: a front-end answers the request that makes a
 * window show a file, and tells the other back-ends of it then. So what is not in memory is looked for again and again
 * for a moment, as if the driver kicked. */
static bool may_come(struct oriel_backend_queue *queue, int r)
{
        if (r != -EFAULT) {
                queue->patience_ms = 0;
                return false;
        }

        int64_t now = now_ms();

        if (queue->patience_ms == 0)
                queue->patience_ms = now + PATIENCE_MS;
        if (now < queue->patience_ms) {
                if (queue->kick_fd >= 0)
                        fd_event_signal(queue->kick_fd);
                return true;
        }
        oriel_device_queue_set_patient(queue->ring, false);
        return false;
}

int oriel_backend_queue_pop(struct oriel_backend_queue *queue, struct oriel_chain **out)
{
        struct oriel_fault fault = {0};

        pthread_mutex_lock(&queue->lock);

        int r = oriel_device_queue_pop(queue->ring, out);
        bool again = may_come(queue, r);

        if (r == -EFAULT && !again)
                r = oriel_device_queue_pop(queue->ring, out);
        if (r == -EAGAIN)
                oriel_device_queue_fault(queue->ring, &fault);
        pthread_mutex_unlock(&queue->lock);

        if (again)
                return -EAGAIN;
        if (r == -EAGAIN)
                send_miss(queue, &fault);
        else if (r < 0 && r != -ENOMEM)
                report_broken(queue, r);
        return r;
}

int oriel_backend_queue_push(struct oriel_backend_queue *queue, struct oriel_chain *chain, size_t written)
{
        pthread_mutex_lock(&queue->lock);

        int r = oriel_device_queue_push(queue->ring, chain, written);

        pthread_mutex_unlock(&queue->lock);
        if (r < 0)
                report_broken(queue, r);
        return r;
}

void oriel_backend_queue_notify(struct oriel_backend_queue *queue)
{
        bool inband = false;

        pthread_mutex_lock(&queue->lock);
        if (oriel_device_queue_needs_call(queue->ring)) {
                /* With the lock, so that it is this queue's still. */
                if (queue->call_fd >= 0)
                        fd_event_signal(queue->call_fd);
                else
                        inband = true;
        }
        pthread_mutex_unlock(&queue->lock);
        if (inband)
                notify_inband(queue, ORIEL_BACKEND_VRING_CALL);
}

bool oriel_backend_queue_sleep(struct oriel_backend_queue *queue)
{
        if (queue->kick_fd >= 0)
                fd_event_clear(queue->kick_fd);
        return oriel_backend_queue_want_kick(queue);
}

bool oriel_backend_queue_want_kick(struct oriel_backend_queue *queue)
{
        pthread_mutex_lock(&queue->lock);

        bool more = oriel_device_queue_want_kick(queue->ring, true);

        pthread_mutex_unlock(&queue->lock);
        return more;
}
