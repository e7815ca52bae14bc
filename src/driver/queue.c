/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver's queues: each is set up in the memory that the driver shares with the device, given its eventfds, and
 * started, stopped and waited for here.  The rings themselves are those of oriel/virtqueue.h.
 */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "channel/channel.h"
#include "driver/driver.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* The number of pieces of one buffer in one call; larger buffers do not occur. */
#define MAX_PIECES       64
#define INDIRECT_ENTRIES 16

static bool queue_has(uint64_t features, unsigned bit)
{
        return features & ORIEL_FEATURE(bit);
}

static int place_rings(struct oriel_driver *driver, struct driver_queue *queue)
{
        size_t sizes[3];
        uint64_t *addresses[] = {&queue->layout.descriptor, &queue->layout.driver, &queue->layout.device};

        queue->layout = (struct oriel_ring){
                .struct_size = sizeof(queue->layout),
                .size = driver->options.queue_size,
                .features = driver->features,
                .space = ORIEL_ADDRESS_GUEST,
        };
        oriel_ring_sizes(queue->layout.size, queue_has(driver->features, VIRTIO_F_RING_PACKED), sizes);
        for (int i = 0; i < 3; i++) {
                *addresses[i] = memory_take(driver, sizes[i], 4096);
                if (*addresses[i] == UINT64_MAX)
                        return -ENOMEM;
        }
        return 0;
}

/* An empty ring in the queue's memory. */
static int new_ring(struct oriel_driver *driver, const struct driver_queue *queue, struct oriel_driver_queue **out)
{
        unsigned entries = queue_has(driver->features, VIRTIO_RING_F_INDIRECT_DESC) ? INDIRECT_ENTRIES : 0;

        return oriel_driver_queue_new(&queue->layout, driver->table, queue->indirect, entries, out);
}

enum { EVENT_CALL, EVENT_ERR, EVENT_FRONT, N_EVENTS };

/* The epoll that a wait sleeps on. Calls are edge-triggered, so that the eventfd need not be cleared. */
static int make_epoll(const struct oriel_driver *driver, const struct driver_queue *queue)
{
        const int fds[N_EVENTS] = {queue->call_fd, queue->err_fd, oriel_frontend_get_fd(driver->frontend)};
        _cleanup_(fd_closep) int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

        if (epoll_fd < 0)
                return -errno;
        for (unsigned i = 0; i < N_EVENTS; i++) {
                struct epoll_event event = {.events = EPOLLIN | (i == EVENT_CALL ? EPOLLET : 0), .data.u32 = i};

                if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fds[i], &event) < 0)
                        return -errno;
        }
        return fd_take(&epoll_fd);
}

static int create_queue(struct oriel_driver *driver, struct driver_queue *queue)
{
        bool indirect = queue_has(driver->features, VIRTIO_RING_F_INDIRECT_DESC);
        int r = place_rings(driver, queue);

        if (r == 0 && indirect) {
                queue->indirect = memory_take(
                        driver, (uint64_t)queue->layout.size * INDIRECT_ENTRIES * sizeof(struct vring_desc), 4096);
                r = queue->indirect == UINT64_MAX ? -ENOMEM : 0;
        }
        if (r == 0)
                r = new_ring(driver, queue, &queue->ring);
        if (r == -EINVAL)
                log_error(&driver->log, "a driver can't be made: no ring of its kind has %u entries (queue_size)",
                          queue->layout.size);
        if (r < 0)
                return r;
        queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        queue->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (queue->kick_fd < 0 || queue->call_fd < 0 || queue->err_fd < 0)
                return -errno;
        queue->epoll_fd = make_epoll(driver, queue);
        queue->base = oriel_driver_queue_base(queue->ring);
        return queue->epoll_fd < 0 ? queue->epoll_fd : 0;
}

int queues_create(struct oriel_driver *driver)
{
        int r = 0;

        driver->queues = calloc(driver->n_queues, sizeof(driver->queues[0]));
        if (!driver->queues)
                return -ENOMEM;
        for (unsigned i = 0; i < driver->n_queues; i++)
                driver->queues[i].kick_fd = driver->queues[i].call_fd = driver->queues[i].err_fd =
                        driver->queues[i].epoll_fd = -1;
        for (unsigned i = 0; r == 0 && i < driver->n_queues; i++)
                r = create_queue(driver, &driver->queues[i]);
        return r;
}

void queues_destroy(struct oriel_driver *driver)
{
        for (unsigned i = 0; driver->queues && i < driver->n_queues; i++) {
                struct driver_queue *queue = &driver->queues[i];

                oriel_driver_queue_free(queue->ring);
                free(queue->done);
                fd_close(queue->kick_fd);
                fd_close(queue->call_fd);
                fd_close(queue->err_fd);
                fd_close(queue->epoll_fd);
        }
        free(driver->queues);
}

/* "Memory access": ring addresses are user addresses unless GPA_ADDRESSES or VIRTIO_F_ACCESS_PLATFORM was
 * negotiated. */
static struct vhost_vring_addr ring_address(const struct oriel_driver *driver, unsigned index)
{
        const struct oriel_ring *layout = &driver->queues[index].layout;
        bool guest = queue_has(driver->protocol_features, ORIEL_PROTOCOL_F_GPA_ADDRESSES) ||
                     queue_has(driver->features, VIRTIO_F_ACCESS_PLATFORM);
        uint64_t base = guest ? 0 : (uintptr_t)driver->memory;

        return (struct vhost_vring_addr){
                .index = index,
                .desc_user_addr = base + layout->descriptor,
                .avail_user_addr = base + layout->driver,
                .used_user_addr = base + layout->device,
        };
}

static bool queue_inband(const struct oriel_driver *driver)
{
        return queue_has(driver->protocol_features, ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS);
}

/* ---- the start of a queue, one function for each request ---- */

/* Signals of the last back-end do not concern the next one; and if it has left the counter full, a call would cause no
 * edge. */
static int queue_forget_signals(struct oriel_driver *driver, unsigned index)
{
        struct driver_queue *queue = &driver->queues[index];

        fd_event_clear(queue->call_fd);
        fd_event_clear(queue->err_fd);
        queue->told_at_kick = driver->n_told;
        return 0;
}

static int queue_set_num(struct oriel_driver *driver, unsigned index)
{
        return oriel_frontend_set_vring_num(driver->frontend, index, driver->queues[index].layout.size);
}

static int queue_set_base(struct oriel_driver *driver, unsigned index)
{
        return oriel_frontend_set_vring_base(driver->frontend, index, driver->queues[index].base);
}

static int queue_set_addr(struct oriel_driver *driver, unsigned index)
{
        const struct vhost_vring_addr addr = ring_address(driver, index);

        return oriel_frontend_set_vring_addr(driver->frontend, &addr);
}

/* "Ring states": with protocol features a ring is disabled at first. */
static int queue_enable(struct oriel_driver *driver, unsigned index)
{
        return queue_has(oriel_frontend_device_features(driver->frontend), ORIEL_F_PROTOCOL_FEATURES)
                       ? oriel_frontend_set_vring_enable(driver->frontend, index, true)
                       : 0;
}

static int queue_set_call(struct oriel_driver *driver, unsigned index)
{
        return queue_inband(driver)
                       ? 0
                       : oriel_frontend_set_vring_call(driver->frontend, index, driver->queues[index].call_fd);
}

static int queue_set_err(struct oriel_driver *driver, unsigned index)
{
        return queue_inband(driver)
                       ? 0
                       : oriel_frontend_set_vring_err(driver->frontend, index, driver->queues[index].err_fd);
}

static int queue_set_kick(struct oriel_driver *driver, unsigned index)
{
        return queue_inband(driver)
                       ? 0
                       : oriel_frontend_set_vring_kick(driver->frontend, index, driver->queues[index].kick_fd);
}

/* "Ring states": some back-ends start only on a kick. */
static int queue_kick(struct oriel_driver *driver, unsigned index)
{
        return queue_inband(driver) ? oriel_frontend_vring_kick(driver->frontend, index)
                                    : fd_event_signal(driver->queues[index].kick_fd);
}

int queue_start(struct oriel_driver *driver, unsigned index)
{
        static int (*const steps[])(struct oriel_driver * driver, unsigned index) = {
                queue_forget_signals, queue_set_num, queue_set_base, queue_set_addr, queue_enable,
                queue_set_call,       queue_set_err, queue_set_kick, queue_kick,
        };
        int r = 0;

        while (r == 0 && driver->queue_step < ARRAY_SIZE(steps)) {
                r = steps[driver->queue_step](driver, index);
                if (r == 0)
                        driver->queue_step++;
        }
        if (r != -EINPROGRESS)
                driver->queue_step = 0;
        return r;
}

int queue_leave(struct oriel_driver *driver, unsigned index)
{
        struct driver_queue *queue = &driver->queues[index];
        struct driver_done *done, *next;
        int r;

        done = reallocarray(queue->done, queue->n_done + oriel_driver_queue_in_use(queue->ring) + 1, sizeof(*done));
        if (!done)
                return -ENOMEM;
        queue->done = done;
        next = done + queue->n_done;
        while ((r = oriel_driver_queue_collect(queue->ring, &next->token, &next->written)) == 1)
                next = done + ++queue->n_done;
        queue->base = oriel_driver_queue_base(queue->ring);
        return r;
}

int oriel_driver_start_queue(struct oriel_driver *driver, unsigned queue)
{
        return has_queue(driver, queue) ? queue_start(driver, queue) : -EINVAL;
}

int queue_stop(struct oriel_driver *driver, unsigned index)
{
        return oriel_frontend_get_vring_base(driver->frontend, index, &driver->queues[index].base);
}

int oriel_driver_stop_queue(struct oriel_driver *driver, unsigned queue)
{
        return has_queue(driver, queue) ? queue_stop(driver, queue) : -EINVAL;
}

/* Entries of a discarded ring must not be recovered on the next. The file belongs to the back-end, which may truncate
 * it, so it is written and not mapped. */
static int driver_queue_clear_inflight(struct oriel_driver *driver, unsigned index)
{
        static const uint8_t zeros[4096];
        size_t left = oriel_inflight_region_size(driver->options.queue_size,
                                                 queue_has(driver->features, VIRTIO_F_RING_PACKED));
        uint64_t at = driver->inflight.mmap_offset + index * left;

        while (driver->inflight_fd >= 0 && left > 0) {
                ssize_t n = pwrite(driver->inflight_fd, zeros, left < sizeof(zeros) ? left : sizeof(zeros), (off_t)at);

                if (n <= 0)
                        return n < 0 ? -errno : -EIO;
                at += (uint64_t)n;
                left -= (size_t)n;
        }
        return 0;
}

int oriel_driver_reset_queue(struct oriel_driver *driver, unsigned queue)
{
        if (!has_queue(driver, queue))
                return -EINVAL;
        if (!queue_has(driver->features, VIRTIO_F_RING_RESET))
                return -EOPNOTSUPP;

        struct driver_queue *reset = &driver->queues[queue];
        struct oriel_driver_queue *ring = NULL;
        int r = oriel_driver_stop_queue(driver, queue);

        if (r == 0)
                r = driver_queue_clear_inflight(driver, queue);
        if (r == 0)
                r = new_ring(driver, reset, &ring);
        if (r < 0)
                return r;
        oriel_driver_queue_free(reset->ring);
        reset->ring = ring;
        reset->base = oriel_driver_queue_base(ring);
        return queue_start(driver, queue);
}

/* ---- buffers ---- */

static int find_pieces(const struct oriel_driver *driver, const struct iovec *iov, unsigned n, struct oriel_buffer *out)
{
        for (unsigned i = 0; i < n; i++) {
                int r = iov[i].iov_len > UINT32_MAX
                                ? -EINVAL
                                : oriel_driver_address(driver, iov[i].iov_base, iov[i].iov_len, &out[i].address);

                if (r < 0)
                        return r;
                out[i].size = (uint32_t)iov[i].iov_len;
        }
        return 0;
}

int oriel_driver_submit(struct oriel_driver *driver, unsigned queue, const struct iovec *readable, unsigned n_readable,
                        const struct iovec *writable, unsigned n_writable, void *token)
{
        struct oriel_buffer pieces[MAX_PIECES];

        if (!has_queue(driver, queue) || n_readable > MAX_PIECES || n_writable > MAX_PIECES - n_readable)
                return -EINVAL;

        int r = find_pieces(driver, readable, n_readable, pieces);

        if (r == 0)
                r = find_pieces(driver, writable, n_writable, pieces + n_readable);
        if (r < 0)
                return r;
        return oriel_driver_queue_submit(driver->queues[queue].ring, pieces, n_readable, pieces + n_readable,
                                         n_writable, token);
}

int oriel_driver_kick(struct oriel_driver *driver, unsigned queue)
{
        if (!has_queue(driver, queue))
                return -EINVAL;
        if (!oriel_driver_queue_needs_kick(driver->queues[queue].ring))
                return 0;
        if (queue_inband(driver))
                return oriel_frontend_vring_kick(driver->frontend, queue);
        return fd_event_signal(driver->queues[queue].kick_fd);
}

static bool has_done(const struct driver_queue *queue)
{
        return queue->next_done < queue->n_done;
}

int oriel_driver_collect(struct oriel_driver *driver, unsigned queue, void **token, uint32_t *written)
{
        if (!has_queue(driver, queue) || !token || !written)
                return -EINVAL;

        struct driver_queue *from = &driver->queues[queue];

        if (!has_done(from))
                return oriel_driver_queue_collect(from->ring, token, written);
        *token = from->done[from->next_done].token;
        *written = from->done[from->next_done].written;
        if (++from->next_done == from->n_done)
                from->next_done = from->n_done = 0;
        return 1;
}

int oriel_driver_call_fd(const struct oriel_driver *driver, unsigned queue)
{
        return has_queue(driver, queue) ? driver->queues[queue].call_fd : -EINVAL;
}

/* Asks for a call, and then checks whether something is there already. */
static bool may_collect(struct driver_queue *queue)
{
        return oriel_driver_queue_want_call(queue->ring, true) || has_done(queue);
}

bool oriel_driver_rearm(struct oriel_driver *driver, unsigned queue)
{
        if (!has_queue(driver, queue))
                return true;
        fd_event_clear(driver->queues[queue].call_fd);
        return may_collect(&driver->queues[queue]);
}

/* The device has reported an error: a violation, or a buffer in a window that it had not been told of as memory yet. By
 * now it has been told of everything, so it is kicked to look again, unless it failed with the same mappings before.
 * Its error signal is cleared after it was told, as it may have looked at any time until then. */
static int look_again(struct oriel_driver *driver, struct driver_queue *queue)
{
        int r = oriel_frontend_dispatch(driver->frontend);
        uint64_t told = driver->n_told;
        bool more = queue->told_at_kick != told;

        if (r == 0 && more)
                r = oriel_frontend_await_memory(driver->frontend);
        if (r < 0)
                return r;
        if (fd_event_clear(queue->err_fd) <= 0)
                return 0;
        if (!more)
                return -EIO;
        queue->told_at_kick = told;
        if (queue_inband(driver))
                return oriel_frontend_vring_kick(driver->frontend, (unsigned)(queue - driver->queues));
        return fd_event_signal(queue->kick_fd);
}

/* One wait: 0 to check the ring again, or an error. */
static int wait_event(struct oriel_driver *driver, struct driver_queue *queue, int64_t deadline)
{
        struct epoll_event events[N_EVENTS];
        bool happened[N_EVENTS] = {false};

        if (!oriel_frontend_connected(driver->frontend))
                return -ENOTCONN;

        int n = epoll_wait(queue->epoll_fd, events, N_EVENTS, poll_timeout(deadline));

        if (n == 0)
                return -ETIMEDOUT;
        if (n < 0)
                return errno == EINTR ? 0 : -errno;
        for (int i = 0; i < n; i++)
                happened[events[i].data.u32] = true;
        if (happened[EVENT_ERR])
                return look_again(driver, queue);
        return happened[EVENT_FRONT] ? oriel_frontend_dispatch(driver->frontend) : 0;
}

int oriel_driver_wait(struct oriel_driver *driver, unsigned queue, int timeout_ms)
{
        int64_t deadline = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
        int r = 0;

        if (!has_queue(driver, queue))
                return -EINVAL;
        while (r == 0 && !may_collect(&driver->queues[queue])) {
                r = wait_event(driver, &driver->queues[queue], deadline);
                if (r == 0 && deadline >= 0 && now_ms() >= deadline && !may_collect(&driver->queues[queue]))
                        r = -ETIMEDOUT;
        }
        return r;
}
