/* SPDX-License-Identifier: BSD-2-Clause */

/* The calls on a virtio device from outside: creation, plugging, quitting, reset, zero-filling, queries. The device's
 * own thread (session.c) speaks to the back-end; these functions leave a wanted state under virtio->lock, wake that
 * thread, and never wait for the back-end, but for virtio_wait() and, up to a deadline, virtio_join() and
 * virtio_finish_reset(). name_cut() shuts a duplicate of the connection down, so that what the thread waits for fails.
 * After virtio_join() the thread's own fields are virtio_free()'s. */

#include "vmm/virtio/virtio.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "base/thread.h"
#include "vmm/virtio/device.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

/* How long a thread has for a reset once its connection has been cut, before the machine goes on without it. */
#define CUT_MS 2000

DEFINE_CLEANUP(struct virtio *, virtio_free);

static int virtio_make_event(int *out)
{
        *out = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        return *out < 0 ? -errno : 0;
}

int virtio_new(const struct virtio_options *options, struct virtio **out)
{
        _cleanup_(virtio_freep) struct virtio *virtio = calloc(1, sizeof(*virtio));

        if (!virtio)
                return -ENOMEM;
        pthread_mutex_init(&virtio->lock, NULL);
        pthread_cond_init(&virtio->changed, NULL);
        virtio->wake_fd = virtio->config_fd = virtio->err_fd = virtio->inflight_fd = virtio->connection_fd = -1;
        for (unsigned i = 0; i < MAX_QUEUES; i++)
                virtio->queues[i].kick_fd = virtio->queues[i].call_fd = -1;
        virtio->options = *options;
        if (options->events)
                virtio->events = *options->events;
        device_log_init(&virtio->device_log, options->log);
        virtio->log = device_log_get(&virtio->device_log);
        virtio->name = strdup(options->device.name);
        if (!virtio->name)
                return -ENOMEM;

        int r = virtio_make_event(&virtio->wake_fd);

        if (r == 0)
                r = virtio_make_event(&virtio->config_fd);
        if (r == 0)
                r = virtio_make_event(&virtio->err_fd);
        if (r == 0)
                r = thread_start(&virtio->thread, session_run, virtio);
        if (r < 0)
                return r;
        virtio->has_thread = true;
        *out = steal(virtio);
        return 0;
}

int virtio_wait(struct virtio *virtio, char *why, size_t why_size)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);
        while (virtio->phase == BRINGING_UP)
                pthread_cond_wait(&virtio->changed, &virtio->lock);

        int r = virtio->phase == READY ? 0 : -EIO;

        snprintf(why, why_size, "%s", virtio->why);
        return r;
}

static int virtio_make_queues(struct virtio *virtio)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < virtio->n_queues; i++) {
                r = virtio_make_event(&virtio->queues[i].kick_fd);
                if (r == 0)
                        r = virtio_make_event(&virtio->queues[i].call_fd);
        }
        return r;
}

int virtio_plug(struct virtio *virtio, struct pci *pci, char *why, size_t why_size)
{
        int r = virtio_make_queues(virtio);

        if (r == 0)
                r = function_build(virtio);
        if (r == -ENOSPC) {
                snprintf(why, why_size,
                         "it has %u shared memory regions, more than its PCI configuration space has room"
                         " for",
                         virtio->n_windows);
                return r;
        }
        if (r == 0) {
                pthread_mutex_lock(&virtio->lock);
                registers_reset(virtio);
                pthread_mutex_unlock(&virtio->lock);
                virtio->plugged = true;
                r = pci_add(pci, &virtio->function);
        }
        if (r < 0)
                snprintf(why, why_size, "%s",
                         r == -ENOSPC ? "no number on the PCI bus, or no address for its shared"
                                        " memory regions: make them smaller"
                                      : strerror(-r));
        return r;
}

/* With the lock: what the thread waits for at its back-end fails at once. */
static void name_cut(struct virtio *virtio)
{
        if (virtio->connection_fd >= 0)
                shutdown(virtio->connection_fd, SHUT_RDWR);
}

void virtio_quit(struct virtio *virtio)
{
        pthread_mutex_lock(&virtio->lock);
        virtio->quit = true;
        device_log_hush(&virtio->device_log);
        name_cut(virtio);
        pthread_mutex_unlock(&virtio->lock);
        session_wake(virtio);
}

bool virtio_join(struct virtio *virtio, int64_t deadline_ms)
{
        if (virtio->has_thread && thread_join(virtio->thread, deadline_ms))
                virtio->has_thread = false;
        return !virtio->has_thread;
}

void virtio_free(struct virtio *virtio)
{
        if (!virtio)
                return;
        function_destroy(virtio);
        running_lost(virtio);
        net_stop(virtio);
        oriel_frontend_free(virtio->frontend);
        for (unsigned i = 0; i < virtio->n_windows; i++)
                guest_window_free(virtio->windows[i].window);
        for (unsigned i = 0; i < MAX_QUEUES; i++) {
                fd_close(virtio->queues[i].kick_fd);
                fd_close(virtio->queues[i].call_fd);
        }
        fd_close(virtio->wake_fd);
        fd_close(virtio->config_fd);
        fd_close(virtio->err_fd);
        fd_close(virtio->inflight_fd);
        fd_close(virtio->connection_fd);
        device_log_done(&virtio->device_log);
        slots_clear(&virtio->slots);
        pthread_cond_destroy(&virtio->changed);
        pthread_mutex_destroy(&virtio->lock);
        free(virtio->name);
        free(virtio);
}

void virtio_begin_reset(struct virtio *virtio)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);
        virtio->reset_wanted = true;
        virtio->reset_late = false;
        session_wake(virtio);
}

void virtio_finish_reset(struct virtio *virtio, int64_t deadline_ms)
{
        const struct timespec pause = {0, 1000 * 1000};

        pthread_mutex_lock(&virtio->lock);
        while (virtio->reset_wanted && now_ms() < deadline_ms + CUT_MS) {
                if (now_ms() >= deadline_ms)
                        name_cut(virtio);
                pthread_mutex_unlock(&virtio->lock);
                nanosleep(&pause, NULL);
                pthread_mutex_lock(&virtio->lock);
        }

        bool late = virtio->reset_wanted;

        if (late) {
                virtio->reset_late = true;
                registers_reset(virtio);
        }
        pthread_mutex_unlock(&virtio->lock);
        if (late)
                log_warning(&virtio->log,
                            "%s: its thread waits for the server of a file that its back-end has passed; the device"
                            " stands still until that server answers or ends",
                            virtio->name);
        /* Of such a file it may have to be waited for here, too. */
        if (late && !virtio->options.allow_remote_files)
                running_unmap(virtio);
        msix_reset(virtio->msix);
        pci_reset(&virtio->function);
}

bool virtio_zero_fill(struct virtio *virtio)
{
        bool zero_filled = false;

        for (unsigned i = 0; i < virtio->n_windows; i++)
                zero_filled |= guest_window_zero_fill(virtio->windows[i].window);
        /* Its thread looks whether the files come back. */
        if (zero_filled)
                session_wake(virtio);
        return zero_filled;
}

bool virtio_zero_fill_at(struct virtio *virtio, uint64_t address)
{
        uint64_t offset;
        struct guest_window *window = virtio_window_at(virtio, address, &offset);
        bool zero_filled = window && guest_window_zero_fill_at(window, offset);

        if (zero_filled)
                session_wake(virtio);
        return zero_filled;
}

void virtio_take_away(struct virtio *virtio)
{
        transport_need_reset(virtio);
        pthread_mutex_lock(&virtio->lock);
        virtio->taken_away = true;
        name_cut(virtio);
        session_wake(virtio);
        pthread_mutex_unlock(&virtio->lock);
        running_unmap(virtio);
}

struct guest_window *virtio_window_at(struct virtio *virtio, uint64_t address, uint64_t *offset)
{
        for (unsigned i = 0; i < virtio->n_windows; i++) {
                struct guest_window *window = virtio->windows[i].window;
                uint64_t base;

                if (guest_window_shown(window, &base) &&
                    range_contains((struct oriel_range){base, guest_window_size(window)},
                                   (struct oriel_range){address, 1})) {
                        *offset = address - base;
                        return window;
                }
        }
        return NULL;
}

bool virtio_is_limited(struct virtio *virtio)
{
        bool limited = false;

        for (unsigned i = 0; i < virtio->n_windows; i++)
                limited |= guest_window_is_limited(virtio->windows[i].window);
        return limited;
}

void virtio_get_info(struct virtio *virtio, struct virtio_info *out)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);
        *out = (struct virtio_info){
                .name = virtio->name,
                .virtio_id = virtio->options.device.virtio_id,
                .queues = virtio->n_queues,
                .windows = virtio->n_windows,
                .pci_number = virtio->function.number,
                .connected = virtio->connected,
                .started = virtio->started,
                .connections = virtio->connections,
                .status = virtio->registers.status,
                .offered = virtio->device_features,
                .negotiated = virtio->registers.driver_features,
                .protocol_offered = virtio->protocol_offered,
                .protocol_negotiated = virtio->protocol_features,
        };
}

bool virtio_get_queue(struct virtio *virtio, unsigned index, struct virtio_queue_info *out)
{
        if (index >= virtio->n_queues)
                return false;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);

        const struct queue *queue = &virtio->queues[index];

        *out = (struct virtio_queue_info){
                .enabled = queue->enabled,
                .size = queue->size,
                .vector = queue->vector,
                .descriptor = queue->descriptor,
                .driver = queue->driver,
                .device = queue->device,
        };
        return true;
}

struct guest_window *virtio_get_window(struct virtio *virtio, unsigned index)
{
        return index < virtio->n_windows ? virtio->windows[index].window : NULL;
}
