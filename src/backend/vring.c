/* SPDX-License-Identifier: BSD-2-Clause */

/* The requests about vrings, and the start and stop of queues. A queue has settings (size, addresses, base, fds) and
 * two conditions, started and enabled; queue_update() makes it run when both hold, and stop when one does not. Starting
 * makes a device_queue from the settings and the memory table, and calls the device's start(); stopping calls stop(),
 * which returns when no thread of the device uses the queue, and reads the base back. Settings change only while the
 * queue is not started; SET_VRING_ADDR, which also switches logging, stops and restarts it. All on the dispatching
 * thread; members that the device's threads use are changed under the queue's lock. */

#include "backend/backend.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/eventfd.h>

USES_SYSCALLS(SYSCALL(eventfd2));

/* Time that a stopping queue's threads may wait for the front-end, which may itself be waiting for the stop. */
#define STOP_PATIENCE_MS 1000

#define RING_FEATURES                                                                       \
        (ORIEL_FEATURE(VIRTIO_F_RING_PACKED) | ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | \
         ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX) | ORIEL_FEATURE(VIRTIO_F_IN_ORDER))

int queue_init(struct oriel_backend *backend, unsigned index)
{
        struct oriel_backend_queue *queue = &backend->queues[index];

        queue->backend = backend;
        queue->index = index;
        queue->kick_fd = queue->call_fd = queue->err_fd = -1;
        return -pthread_mutex_init(&queue->lock, NULL);
}

static void vring_close_fds(struct oriel_backend_queue *queue)
{
        queue->kick_fd = fd_close(queue->kick_fd);
        queue->call_fd = fd_close(queue->call_fd);
        queue->err_fd = fd_close(queue->err_fd);
}

void queue_destroy(struct oriel_backend_queue *queue)
{
        vring_close_fds(queue);
        pthread_mutex_destroy(&queue->lock);
}

bool logs_all(const struct oriel_backend *backend)
{
        return backend->agreement.virtio_features & ORIEL_FEATURE(VHOST_F_LOG_ALL);
}

void queue_set_log(struct oriel_backend_queue *queue)
{
        pthread_mutex_lock(&queue->lock);
        if (queue->ring)
                oriel_device_queue_set_dirty_log(queue->ring, queue->backend->dirty_log, logs_all(queue->backend));
        pthread_mutex_unlock(&queue->lock);
}

static enum oriel_address_space ring_space(const struct agreement *agreement)
{
        bool guest = agreement->virtio_features & ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM) ||
                     agreed(agreement, ORIEL_PROTOCOL_F_GPA_ADDRESSES);

        return guest ? ORIEL_ADDRESS_GUEST : ORIEL_ADDRESS_USER;
}

/* A new ring starts at 0; a packed one with both wrap counters 1 (VIRTIO 1.2, 2.8.1), which some front-ends leave
 * out. */
static bool is_new(const struct oriel_backend_queue *queue, const void *inflight)
{
        bool packed = queue->layout.features & ORIEL_FEATURE(VIRTIO_F_RING_PACKED);

        return (queue->base == 0 || (packed && queue->base == 0x80008000)) &&
               (!inflight || oriel_inflight_region_is_new(inflight));
}

static int make_ring(struct oriel_backend_queue *queue, struct oriel_device_queue **out)
{
        struct oriel_backend *backend = queue->backend;
        struct oriel_device_queue *ring;

        queue->layout.struct_size = sizeof(queue->layout);
        queue->layout.features = backend->agreement.virtio_features & RING_FEATURES;
        queue->layout.space = ring_space(&backend->agreement);

        int r = oriel_device_queue_new(&queue->layout, backend->memory, queue->base, &ring);

        if (r < 0)
                return r;

        void *region = inflight_region(&backend->inflight, queue->index);

        queue->resumed = !is_new(queue, region);
        if (region)
                r = oriel_device_queue_set_inflight(ring, region, backend->inflight.region_size);
        if (r < 0) {
                oriel_device_queue_free(ring);
                return r;
        }
        *out = ring;
        return 0;
}

/* Ends the device's use of the queue, or the attempt to start it. */
static void vring_leave(struct oriel_backend_queue *queue)
{
        struct oriel_device_queue *ring;

        atomic_fetch_sub(&queue->backend->running, 1);
        queue->running = false;

        pthread_mutex_lock(&queue->lock);
        ring = queue->ring;
        queue->ring = NULL;
        pthread_mutex_unlock(&queue->lock);
        oriel_device_queue_flush(ring);
        queue->base = oriel_device_queue_base(ring);
        oriel_device_queue_free(ring);
}

static int vring_start(struct oriel_backend_queue *queue, struct complaint *why)
{
        struct oriel_backend *backend = queue->backend;
        struct oriel_device_queue *ring = NULL;
        int r = make_ring(queue, &ring);

        if (r < 0) {
                complain(why, "vring %u can't be started: %s", queue->index, strerror(-r));
                return r;
        }
        pthread_mutex_lock(&queue->lock);
        queue->ring = ring;
        queue->broken = queue->waits = queue->reported = false;
        oriel_device_queue_set_patient(ring, true);
        pthread_mutex_unlock(&queue->lock);
        queue_set_log(queue);
        queue->running = true;
        atomic_fetch_add(&backend->running, 1);

        r = backend->ops.start(backend->userdata, queue);
        if (r < 0) {
                complain(why, "vring %u: the device can't start it: %s", queue->index, strerror(-r));
                queue->started = false;
                vring_leave(queue);
        }
        return r;
}

static void vring_stop(struct oriel_backend_queue *queue)
{
        struct oriel_backend *backend = queue->backend;

        requests_give_up_at(&backend->requests, now_ms() + STOP_PATIENCE_MS);
        backend->ops.stop(backend->userdata, queue);
        requests_give_up_at(&backend->requests, -1);
        vring_leave(queue);
}

int queue_update(struct oriel_backend_queue *queue, struct complaint *why)
{
        bool run = queue->started && queue->enabled;

        if (run && !queue->running)
                return vring_start(queue, why);
        if (!run && queue->running)
                vring_stop(queue);
        return 0;
}

void queue_reset(struct oriel_backend_queue *queue, bool disconnect)
{
        queue->enabled = false;
        queue->started = false;
        queue_update(queue, NULL);
        queue->addressed = false;
        queue->base = 0;
        queue->layout = (struct oriel_ring){0};
        if (disconnect)
                vring_close_fds(queue);
}

static struct oriel_backend_queue *vring_find(struct oriel_backend *backend, uint64_t index,
                                              const struct message *request, struct complaint *why)
{
        if (index < backend->n_queues)
                return &backend->queues[index];
        complain(why, "%s: vring %u, but there are %u",
                 oriel_message_find(ORIEL_FROM_FRONTEND, request->header.request)->name, (unsigned)index,
                 backend->n_queues);
        return NULL;
}

/* A started ring keeps its settings: changes require a stop and a start. */
static int refuse_started(const struct oriel_backend_queue *queue, const char *name, struct complaint *why)
{
        complain(why, "%s: vring %u is started", name, queue->index);
        return -EBUSY;
}

int handle_set_vring_num(struct oriel_backend *backend, struct message *request, struct message *reply,
                         struct complaint *why)
{
        struct vhost_vring_state state = request->payload.vring_state;
        struct oriel_backend_queue *queue = vring_find(backend, state.index, request, why);

        if (!queue)
                return -EINVAL;
        if (queue->started)
                return refuse_started(queue, "SET_VRING_NUM", why);
        if (state.num == 0 || state.num > 32768) {
                complain(why, "SET_VRING_NUM: vring %u can't have %u entries", state.index, state.num);
                return -EINVAL;
        }
        queue->layout.size = (uint16_t)state.num;
        return 0;
}

int handle_set_vring_addr(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why)
{
        struct vhost_vring_addr addr = request->payload.vring_addr;
        struct oriel_backend_queue *queue = vring_find(backend, addr.index, request, why);

        if (!queue)
                return -EINVAL;
        if (addr.flags & ~(1u << VHOST_VRING_F_LOG)) {
                complain(why, "SET_VRING_ADDR: vring %u: flags 0x%x are unknown", addr.index, addr.flags);
                return -EINVAL;
        }

        /* The front-end turns logging on and off while the ring runs. */
        bool was_running = queue->running;

        if (was_running)
                vring_stop(queue);
        queue->layout.descriptor = addr.desc_user_addr;
        queue->layout.driver = addr.avail_user_addr;
        queue->layout.device = addr.used_user_addr;
        queue->layout.log_used = addr.flags & (1u << VHOST_VRING_F_LOG);
        queue->layout.log_address = addr.log_guest_addr;
        queue->addressed = true;
        return was_running ? queue_update(queue, why) : 0;
}

int handle_set_vring_base(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why)
{
        struct vhost_vring_state state = request->payload.vring_state;
        struct oriel_backend_queue *queue = vring_find(backend, state.index, request, why);

        if (!queue)
                return -EINVAL;
        if (queue->started)
                return refuse_started(queue, "SET_VRING_BASE", why);
        queue->base = state.num;
        return 0;
}

int handle_get_vring_base(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why)
{
        struct oriel_backend_queue *queue = vring_find(backend, request->payload.vring_state.index, request, why);

        if (!queue)
                return -EINVAL;
        queue->started = false;
        queue_update(queue, why);

        struct vhost_vring_state state = {queue->index, queue->base};

        message_set(reply, &state, sizeof(state));
        return 0;
}

int handle_set_vring_enable(struct oriel_backend *backend, struct message *request, struct message *reply,
                            struct complaint *why)
{
        struct vhost_vring_state state = request->payload.vring_state;
        struct oriel_backend_queue *queue = vring_find(backend, state.index, request, why);

        if (!queue)
                return -EINVAL;
        if (state.num > 1) {
                complain(why, "SET_VRING_ENABLE: vring %u: num %u is neither 0 nor 1", state.index, state.num);
                return -EINVAL;
        }
        queue->enabled = state.num;
        return queue_update(queue, why);
}

/* ---- notifications ---- */

/* Puts the fd of the request in @slot, -1 if it has none. Only an eventfd is accepted: other kinds may be readable
 * without end, block the writer, or end it by SIGPIPE. It is made non-blocking, because a device may read it itself. */
static int swap_event_fd(struct oriel_backend_queue *queue, int *slot, struct message *request, struct complaint *why)
{
        int fd = message_take_fd(request, 0);
        int r = fd < 0 ? 0 : fd_event_check(fd);

        if (r == 0 && fd >= 0)
                r = fd_set_nonblocking(fd, 1);

        if (r < 0) {
                complain(why, "%s: vring %u: the fd is no eventfd",
                         oriel_message_find(ORIEL_FROM_FRONTEND, request->header.request)->name, queue->index);
                fd_close(fd);
                return r;
        }

        pthread_mutex_lock(&queue->lock);

        int old = *slot;

        *slot = fd;
        pthread_mutex_unlock(&queue->lock);
        fd_close(old);
        return 0;
}

static int vring_begin(struct oriel_backend_queue *queue, const char *name, struct complaint *why)
{
        if (!queue->addressed || !queue->layout.size) {
                complain(why, "%s: vring %u has no %s yet", name, queue->index,
                         queue->addressed ? "size" : "addresses");
                return -EINVAL;
        }
        queue->started = true;

        int r = queue_update(queue, why);

        if (r < 0)
                queue->started = false;
        return r;
}

int handle_set_vring_kick(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why)
{
        struct oriel_backend_queue *queue =
                vring_find(backend, request->payload.u64 & ORIEL_VRING_FD_INDEX, request, why);

        if (!queue)
                return -EINVAL;

        queue->started = false;
        queue_update(queue, why);

        int r = swap_event_fd(queue, &queue->kick_fd, request, why);

        queue->polled = queue->kick_fd < 0;
        return r < 0 ? r : vring_begin(queue, "SET_VRING_KICK", why);
}

int handle_set_vring_call(struct oriel_backend *backend, struct message *request, struct message *reply,
                          struct complaint *why)
{
        struct oriel_backend_queue *queue =
                vring_find(backend, request->payload.u64 & ORIEL_VRING_FD_INDEX, request, why);

        return queue ? swap_event_fd(queue, &queue->call_fd, request, why) : -EINVAL;
}

int handle_set_vring_err(struct oriel_backend *backend, struct message *request, struct message *reply,
                         struct complaint *why)
{
        struct oriel_backend_queue *queue =
                vring_find(backend, request->payload.u64 & ORIEL_VRING_FD_INDEX, request, why);

        return queue ? swap_event_fd(queue, &queue->err_fd, request, why) : -EINVAL;
}

int handle_vring_kick(struct oriel_backend *backend, struct message *request, struct message *reply,
                      struct complaint *why)
{
        struct oriel_backend_queue *queue = vring_find(backend, request->payload.vring_state.index, request, why);
        int r = 0;

        if (!queue)
                return -EINVAL;
        if (queue->running && queue->kick_fd < 0)
                return 0;
        if (queue->kick_fd < 0) {
                queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
                if (queue->kick_fd < 0)
                        return -errno;
                queue->polled = false;
        }
        if (!queue->started)
                r = vring_begin(queue, "VRING_KICK", why);
        return r < 0 ? r : fd_event_signal(queue->kick_fd);
}
