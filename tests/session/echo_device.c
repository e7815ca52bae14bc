/* SPDX-License-Identifier: BSD-2-Clause */

/* The echo device: a back-end of the library with its operations. Here are its callbacks, its start and its end; what
 * a request asks for is done in echo_requests.c, by the worker threads of each queue. The back-end runs on a thread of
 * the device's own, or on the caller's: echo_serve_here(). */

#include "tests/session/echo_device.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/range.h"
#include "tests/session/echo_requests.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define ALL_FEATURES                                                                           \
        (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(VIRTIO_F_RING_PACKED) |             \
         ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX) | \
         ORIEL_FEATURE(VIRTIO_F_IN_ORDER) | ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM))

struct echo {
        struct oriel_backend *backend;
        struct echo_counts own_counts;
        struct echo_counts *counts;
        struct echo_seen seen;
        bool quiet;
        unsigned late_us, maps_at_start, start_us;
        char last_error[512];
        pthread_mutex_t log_lock;

        pthread_t thread;
        bool threaded;
        int wake_fd;
        int result;

        pthread_t transfer;
        bool transferring;
        int transfer_fd;
        int transfer_result;
        bool saving;

        struct echo_files files;
        struct echo_queue queues[ECHO_QUEUES_MAX];
};

struct echo_seen *echo_seen(struct echo *echo)
{
        return &echo->seen;
}

struct oriel_backend *echo_backend(struct echo *echo)
{
        return echo->backend;
}

struct echo_counts *echo_counts(struct echo *echo)
{
        return echo->counts;
}

const char *echo_last_error(struct echo *echo)
{
        return echo->last_error;
}

uint8_t *echo_file(struct echo *echo)
{
        return echo->files.memory;
}

static void write_log(void *userdata, enum oriel_log_level level, const char *line)
{
        struct echo *echo = userdata;

        if (echo->late_us && strstr(line, "from the front-end: ADD_MEM_REG"))
                usleep(echo->late_us);
        if (level != ORIEL_LOG_ERROR)
                return;
        atomic_fetch_add(&echo->counts->errors, 1);
        if (!echo->quiet)
                fprintf(stderr, "# echo: %s\n", line);
        pthread_mutex_lock(&echo->log_lock);
        snprintf(echo->last_error, sizeof(echo->last_error), "%s", line);
        pthread_mutex_unlock(&echo->log_lock);
}

/* ---- queues ---- */

/* It answers by itself. */
static ssize_t handle(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        echo_handle(userdata, chain);
        return -EINPROGRESS;
}

static int map_at_start(struct echo *echo)
{
        int r = 0;

        usleep(echo->start_us);
        for (unsigned i = 0; r == 0 && i < echo->maps_at_start; i++) {
                const struct oriel_wire_mmap map = {.fd_offset = i * 4096, .shm_offset = i * 4096, .len = 4096};

                r = oriel_backend_shmem_map(echo->backend, &map, echo->files.fds[ECHO_FILE], NULL);
        }
        return r;
}

static int start(void *userdata, struct oriel_backend_queue *queue)
{
        struct echo *echo = userdata;
        struct echo_queue *own = &echo->queues[oriel_backend_queue_index(queue)];
        const struct oriel_worker_options options = {
                .struct_size = sizeof(options), .handle = handle, .userdata = own, .threads = 1};

        atomic_fetch_add(&echo->counts->starts, 1);
        own->backend = echo->backend;
        own->counts = echo->counts;
        own->files = &echo->files;
        /* The queue's own pointer is as the last start has left it. */
        if (oriel_backend_queue_backend(queue) != echo->backend ||
            oriel_backend_queue_userdata(queue) != (own->queue ? own : NULL))
                return -EINVAL;
        oriel_backend_queue_set_userdata(queue, own);
        own->queue = queue;

        int r = oriel_worker_new(&options, &own->worker);

        if (r == 0)
                r = oriel_worker_add(own->worker, queue);
        return r == 0 && own == echo->queues ? map_at_start(echo) : r;
}

static void stop(void *userdata, struct oriel_backend_queue *queue)
{
        struct echo *echo = userdata;
        struct echo_queue *own = oriel_backend_queue_userdata(queue);

        atomic_fetch_add(&echo->counts->stops, 1);
        oriel_worker_remove(own->worker, queue);
        oriel_worker_free(own->worker);
        own->worker = NULL;
        echo_drop_held(own);
}

/* ---- the rest of the device ---- */

static int get_config(void *userdata, uint32_t offset, void *data, uint32_t size)
{
        struct echo *echo = userdata;

        if (!range_within((struct oriel_range){offset, size}, ECHO_CONFIG))
                return -EINVAL;
        memcpy(data, echo->seen.config + offset, size);
        return 0;
}

static int set_config(void *userdata, uint32_t offset, const void *data, uint32_t size, uint32_t flags)
{
        struct echo *echo = userdata;

        if (!range_within((struct oriel_range){offset, size}, ECHO_CONFIG))
                return -EINVAL;
        memcpy(echo->seen.config + offset, data, size);
        echo->seen.config_flags = flags;
        return 0;
}

static void set_features(void *userdata, uint64_t features)
{
        struct echo *echo = userdata;

        echo->seen.features = features;
}

static void set_status(void *userdata, uint8_t status)
{
        struct echo *echo = userdata;

        echo->seen.status = status;
}

static void reset(void *userdata)
{
        struct echo *echo = userdata;

        atomic_fetch_add(&echo->counts->resets, 1);
        echo->seen.status = 0;
}

/* An MTU below 68 is no MTU. */
static int message(void *userdata, uint32_t request, void *payload, uint32_t *size, int fd)
{
        struct echo *echo = userdata;
        uint64_t first = 0;

        memcpy(&first, payload, *size < sizeof(first) ? *size : sizeof(first));
        atomic_fetch_add(&echo->counts->messages, 1);
        echo->seen.message = request;
        echo->seen.size = *size;
        echo->seen.fd = fd >= 0;
        memcpy(echo->seen.payload, payload, *size);
        fd_close(fd);
        if (request == ORIEL_FRONTEND_NET_SET_MTU && first < 68)
                return -EINVAL;
        if (request == ORIEL_FRONTEND_CREATE_CRYPTO_SESSION)
                memcpy(payload, &(uint64_t){ECHO_SESSION}, sizeof(uint64_t));
        return 0;
}

/* ---- device state ---- */

static int transfer_some(struct echo *echo, size_t at)
{
        ssize_t n = echo->saving ? write(echo->transfer_fd, echo->seen.state + at, echo->seen.state_size - at)
                                 : read(echo->transfer_fd, echo->seen.state + at, ECHO_STATE_MAX - at);

        return n < 0 ? -errno : (int)n;
}

static void *transfer_all(void *userdata)
{
        struct echo *echo = userdata;
        size_t at = 0;
        int n = 1;

        while (n > 0 && (!echo->saving || at < echo->seen.state_size)) {
                n = transfer_some(echo, at);
                at += n > 0 ? (size_t)n : 0;
        }
        if (!echo->saving)
                echo->seen.state_size = at;
        echo->transfer_result = n < 0 ? n : 0;
        echo->transfer_fd = fd_close(echo->transfer_fd);
        return NULL;
}

static int transfer_state(void *userdata, enum oriel_device_state_direction direction, int fd)
{
        struct echo *echo = userdata;

        echo->saving = direction == ORIEL_DEVICE_STATE_SAVE;
        echo->transfer_fd = fd;
        echo->transferring = pthread_create(&echo->transfer, NULL, transfer_all, echo) == 0;
        return echo->transferring ? 0 : -EAGAIN;
}

static int check_state(void *userdata)
{
        struct echo *echo = userdata;

        if (!echo->transferring)
                return -EINVAL;
        pthread_join(echo->transfer, NULL);
        echo->transferring = false;
        return echo->transfer_result;
}

/* The object whose uuid begins with 1 is the file; for that of 3 it gives an fd that is none. */
static int get_shared_object(void *userdata, const uint8_t uuid[16])
{
        struct echo *echo = userdata;

        if (uuid[0] == 3)
                return 99999;
        return uuid[0] == 1 ? fd_dup(echo->files.fds[ECHO_FILE]) : -ENOENT;
}

/* ---- life ---- */

static int make_backend(struct echo *echo, const struct echo_options *options)
{
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {[0] = options->window, [2] = options->window};
        const struct oriel_log log = {sizeof(log), write_log, echo,
                                      options->late_us ? ORIEL_LOG_DEBUG : ORIEL_LOG_ERROR};
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops),
                .get_config = get_config,
                .set_config = set_config,
                .start = start,
                .stop = stop,
                .set_features = set_features,
                .set_status = set_status,
                .reset = reset,
                .message = message,
                .transfer_state = transfer_state,
                .check_state = check_state,
                .get_shared_object = get_shared_object,
        };
        const struct oriel_backend_options backend = {
                .struct_size = sizeof(backend),
                .ops = &ops,
                .userdata = echo,
                .log = &log,
                .device_features = options->features ? options->features : ALL_FEATURES,
                .protocol_features = options->protocol_features,
                .without = options->without,
                .queues = options->queues ? options->queues : 1,
                .max_mem_slots = options->max_mem_slots,
                .shmem_sizes = options->window ? sizes : NULL,
                .dialect = options->dialect,
        };

        return oriel_backend_new(&backend, &echo->backend);
}

struct echo *echo_new(const struct echo_options *options)
{
        struct echo *echo = calloc(1, sizeof(*echo));

        if (!echo)
                return NULL;
        pthread_mutex_init(&echo->log_lock, NULL);
        echo->quiet = options->quiet;
        echo->late_us = options->late_us;
        echo->maps_at_start = options->maps_at_start;
        echo->start_us = options->start_us;
        echo->counts = options->counts ? options->counts : &echo->own_counts;
        echo->transfer_fd = -1;
        echo->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        echo->seen.state = calloc(1, ECHO_STATE_MAX);
        for (unsigned i = 0; i < ECHO_CONFIG; i++)
                echo->seen.config[i] = (uint8_t)i;
        if (echo_files_open(&echo->files) < 0 || make_backend(echo, options) < 0 || echo->wake_fd < 0 ||
            !echo->seen.state) {
                echo_free(echo);
                return NULL;
        }
        return echo;
}

static void *loop(void *userdata)
{
        struct echo *echo = userdata;
        int r = 0;

        while (r == 0) {
                struct pollfd fds[] = {{.fd = oriel_backend_get_fd(echo->backend), .events = POLLIN},
                                       {.fd = echo->wake_fd, .events = POLLIN}};

                poll(fds, ARRAY_SIZE(fds), -1);
                r = fds[1].revents ? -ECANCELED : oriel_backend_dispatch(echo->backend);
        }
        fd_event_clear(echo->wake_fd);
        oriel_backend_disconnect(echo->backend);
        echo->result = r;
        return NULL;
}

int echo_serve(struct echo *echo, int fd)
{
        int r = oriel_backend_attach(echo->backend, fd);

        if (r == 0)
                r = -pthread_create(&echo->thread, NULL, loop, echo);
        echo->threaded = r == 0;
        return r;
}

int echo_serve_here(struct echo *echo, int fd)
{
        int r = oriel_backend_attach(echo->backend, fd);

        if (r < 0)
                return r;
        loop(echo);
        return echo->result;
}

int echo_join(struct echo *echo)
{
        if (echo->threaded)
                pthread_join(echo->thread, NULL);
        echo->threaded = false;
        return echo->result;
}

int echo_hang_up(struct echo *echo)
{
        if (echo->threaded)
                fd_event_signal(echo->wake_fd);
        return echo_join(echo);
}

void echo_free(struct echo *echo)
{
        if (!echo)
                return;
        echo_hang_up(echo);
        check_state(echo);
        oriel_backend_free(echo->backend);
        echo_files_close(&echo->files);
        fd_close(echo->wake_fd);
        pthread_mutex_destroy(&echo->log_lock);
        free(echo->seen.state);
        free(echo);
}
