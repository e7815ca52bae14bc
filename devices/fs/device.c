/* SPDX-License-Identifier: BSD-2-Clause */

/* The virtio-fs device of oriel-fs: its configuration space, its queues and its window. The first queue has one
 * worker's thread, the others as many as the options say; they hand requests to fs_handle(), which answers at once
 * or waits for a lock, and then calls fs_device_answered() from another thread. The file system maps files into the
 * window by messages to the front-end. device_new() also starts the housekeeper, the thread for work without a
 * request. */

#include "devices/fs/device.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "devices/fs/core/fs.h"
#include "devices/fs/housekeeper.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ring.h>
#include <oriel/worker.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/param.h>

#define MAX_REQUEST_QUEUES 64
#define MAX_THREADS        64

/* If requests take less than this and the next one is there already, the driver is notified at every second one
 * only: both ends then sleep, wake and signal half as often. */
#define QUICK_US 10

/* Mappings in windows, of this device and of others, are memory for buffers too, in ranges of 2 MiB: about 4 GiB of
 * it. This is the number that can be guarded against files that become shorter. */
#define MEM_SLOTS 2000

/* virtio 1.2, "5.11.4 Device configuration layout", whose last field the kernel's struct lacks. */
struct config_space {
        struct virtio_fs_config known;
        uint32_t notify_buf_size; /* of the notification queue, which this device does not have */
};
_Static_assert(sizeof(struct config_space) == 44, "virtio 1.2, 5.11.4");

/* A queue and its threads. */
struct fs_queue {
        struct fs_device *device;
        struct oriel_worker *worker;
        struct oriel_backend_queue *ring; /* while it runs */
        atomic_uint waiting;              /* entries of the ring that belong to requests which wait for locks */
};

struct fs_device {
        struct fs *fs;
        struct oriel_backend *backend;
        struct oriel_log log;
        struct log_budget *lines; /* of lines that the file system logs in this session */
        struct config_space config;
        atomic_bool indirect; /* a driver that may put all of a request into one entry of the ring, and so does */
        struct housekeeper *housekeeper;
        struct fs_queue queues[1 + MAX_REQUEST_QUEUES];
};

/* ---- the window ---- */

static int fs_device_submit_map(void *userdata, struct oriel_range window, int fd, uint64_t fd_offset, bool writable,
                                uint64_t *ticket)
{
        struct fs_device *device = userdata;
        struct oriel_wire_mmap map = {
                .shmid = VIRTIO_FS_SHMCAP_ID_CACHE,
                .fd_offset = fd_offset,
                .shm_offset = window.start,
                .len = window.size,
                .flags = writable ? ORIEL_MMAP_READ_WRITE : 0,
        };

        return oriel_backend_shmem_map(device->backend, &map, fd, ticket);
}

static int submit_unmap(void *userdata, struct oriel_range window, uint64_t *ticket)
{
        struct fs_device *device = userdata;
        struct oriel_wire_mmap map = {
                .shmid = VIRTIO_FS_SHMCAP_ID_CACHE,
                .shm_offset = window.start,
                .len = window.size,
        };

        return oriel_backend_shmem_unmap(device->backend, &map, ticket);
}

static int wait_ticket(void *userdata, uint64_t ticket)
{
        struct fs_device *device = userdata;

        return oriel_backend_wait(device->backend, ticket);
}

static const struct fs_window_ops window_ops = {fs_device_submit_map, submit_unmap, wait_ticket};

/* ---- the queues ---- */

static ssize_t fs_device_handle(void *userdata, struct oriel_backend_queue *ring, struct oriel_chain *chain)
{
        struct fs_queue *queue = userdata;
        unsigned n_in, n_out;
        const struct iovec *in = oriel_chain_readable(chain, &n_in), *out = oriel_chain_writable(chain, &n_out);

        return fs_handle(queue->device->fs, in, n_in, out, n_out, (struct fs_token){queue, chain});
}

static void fs_device_stop(void *userdata, struct oriel_backend_queue *ring)
{
        struct fs_device *device = userdata;
        struct fs_queue *queue = &device->queues[oriel_backend_queue_index(ring)];

        oriel_worker_remove(queue->worker, ring);
        fs_give_up_locks(device->fs, queue);
}

static int fs_device_start(void *userdata, struct oriel_backend_queue *ring)
{
        struct fs_device *device = userdata;
        struct fs_queue *queue = &device->queues[oriel_backend_queue_index(ring)];

        if (oriel_backend_queue_resumed(ring))
                fs_resume(device->fs);
        queue->ring = ring;
        atomic_store(&queue->waiting, 0);
        return oriel_worker_add(queue->worker, ring);
}

/* The first queue is that for requests of priority, and has one thread. */
static int fs_device_make_queues(struct fs_device *device, const struct device_options *options)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < 1 + options->request_queues; i++) {
                struct fs_queue *queue = &device->queues[i];
                const struct oriel_worker_options worker = {
                        .struct_size = sizeof(worker),
                        .handle = fs_device_handle,
                        .userdata = queue,
                        .threads = i == 0 ? 1 : options->threads,
                        .poll_us = options->threads == 1 ? options->poll_us : 0,
                        .quick_us = QUICK_US,
                };

                queue->device = device;
                r = oriel_worker_new(&worker, &queue->worker);
        }
        return r;
}

/* ---- requests that wait ---- */

/* The number of entries of the ring that a request keeps until it is answered. */
static unsigned entries_of(const struct fs_device *device, const struct oriel_chain *chain)
{
        unsigned n_in, n_out;

        oriel_chain_readable(chain, &n_in);
        oriel_chain_writable(chain, &n_out);
        return atomic_load(&device->indirect) ? 1 : n_in + n_out;
}

/* A quarter of each ring, and enough for some requests, stays free of requests that wait for locks. Requests that
 * release locks need these entries: from a ring that is full of waiting requests they would never arrive. */
static bool may_wait(void *userdata, struct fs_token token)
{
        struct fs_device *device = userdata;
        struct fs_queue *queue = token.queue;
        const unsigned size = oriel_backend_queue_size(queue->ring), needed = entries_of(device, token.request),
                       kept = MAX(size / 4, atomic_load(&device->indirect) ? 4u : 8u);

        if (atomic_load(&queue->waiting) + needed + kept > size)
                return false;
        atomic_fetch_add(&queue->waiting, needed);
        return true;
}

/* Answers a request that waited for a lock. */
static void fs_device_answered(void *userdata, struct fs_token token, size_t written)
{
        struct fs_queue *queue = token.queue;

        atomic_fetch_sub(&queue->waiting, entries_of(userdata, token.request));
        if (oriel_backend_queue_push(queue->ring, token.request, written) == 0)
                oriel_backend_queue_notify(queue->ring);
}

static void fs_device_lasts(void *userdata, struct fs_token token)
{
        struct fs_queue *queue = token.queue;

        oriel_backend_queue_notify(queue->ring);
}

/* ---- the rest of the device ---- */

static int fs_device_get_config(void *userdata, uint32_t offset, void *data, uint32_t size)
{
        struct fs_device *device = userdata;

        if (!range_within((struct oriel_range){offset, size}, sizeof(device->config)))
                return -EINVAL;
        memcpy(data, (const uint8_t *)&device->config + offset, size);
        return 0;
}

static void fs_device_set_features(void *userdata, uint64_t features)
{
        struct fs_device *device = userdata;

        atomic_store(&device->indirect, features & ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC));
}

static void fs_device_reset(void *userdata)
{
        struct fs_device *device = userdata;

        fs_reset(device->fs);
}

static int fs_device_make_backend(struct fs_device *device, const struct device_options *options)
{
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {[VIRTIO_FS_SHMCAP_ID_CACHE] = options->fs->window_size};
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops),
                .get_config = fs_device_get_config,
                .start = fs_device_start,
                .stop = fs_device_stop,
                .set_features = fs_device_set_features,
                .reset = fs_device_reset,
        };
        const struct oriel_backend_options backend = {
                .struct_size = sizeof(backend),
                .ops = &ops,
                .userdata = device,
                .log = &device->log,
                .device_features = DAEMON_RING_FEATURES,
                .queues = 1 + options->request_queues,
                .max_mem_slots = MEM_SLOTS,
                .shmem_sizes = options->fs->window_size ? sizes : NULL,
                .dialect = options->start->dialect,
        };

        return oriel_backend_new(&backend, &device->backend);
}

/* Limits the lines that a guest can cause again and again. */
static void log_fs_line(void *userdata, enum oriel_log_level level, const char *line)
{
        struct fs_device *device = userdata;

        log_within(device->lines, &device->log, level, "%s", line);
}

static int make_fs(struct fs_device *device, const struct device_options *options)
{
        struct fs_options fs = *options->fs;

        fs.shared_dir = options->start->root;
        fs.window_ops = fs.window_size ? &window_ops : NULL;
        fs.window_userdata = device;
        fs.may_wait = may_wait;
        fs.answered = fs_device_answered;
        fs.lasts = fs_device_lasts;
        fs.answered_userdata = device;
        fs.log = (struct oriel_log){sizeof(struct oriel_log), log_fs_line, device, device->log.level};
        fs.at_once = options->request_queues * options->threads;
        return fs_new(&fs, fd_take(options->start->proc_fd), &device->fs);
}

DEFINE_CLEANUP(struct fs_device *, device_free);

int device_new(const struct device_options *options, struct fs_device **out)
{
        size_t tag = strlen(options->tag);
        _cleanup_(device_freep) struct fs_device *device = calloc(1, sizeof(*device));

        if (!device)
                return -ENOMEM;
        if (tag == 0 || tag > sizeof(device->config.known.tag) || options->request_queues < 1 ||
            options->request_queues > MAX_REQUEST_QUEUES || options->threads < 1 || options->threads > MAX_THREADS)
                return -EINVAL;
        device->log = options->start->log;
        device->lines = options->start->lines;
        memcpy(device->config.known.tag, options->tag, tag);
        device->config.known.num_request_queues = htole32(options->request_queues);

        int r = make_fs(device, options);

        if (r == 0)
                r = fs_device_make_queues(device, options);
        if (r == 0)
                r = fs_device_make_backend(device, options);
        if (r == 0)
                r = housekeeper_start(device->fs, &device->housekeeper);
        if (r < 0)
                return r;
        *out = steal(device);
        return 0;
}

void device_free(void *userdata)
{
        struct fs_device *device = userdata;

        if (!device)
                return;
        oriel_backend_free(device->backend);
        for (unsigned i = 0; i < ARRAY_SIZE(device->queues); i++)
                oriel_worker_free(device->queues[i].worker);
        housekeeper_stop(device->housekeeper);
        fs_free(device->fs);
        free(device);
}

struct oriel_backend *device_backend(void *userdata)
{
        const struct fs_device *device = userdata;

        return device->backend;
}
