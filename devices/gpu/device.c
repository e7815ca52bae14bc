/* SPDX-License-Identifier: BSD-2-Clause */

/* The virtio-gpu device of oriel-gpu. One thread takes commands from both queues, copies each whole, and hands it to
 * gpu_handle(); when none is left it waits for the front-end's answers to requests that they have caused. Renderers
 * complete commands on threads of their own. The dispatching thread never waits for a renderer, except when a queue
 * stops. */

#include "devices/gpu/device.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "daemon/daemon.h"
#include "devices/gpu/display/socket.h"

#include <errno.h>
#include <linux/virtio_gpu.h>
#include <oriel/worker.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(memfd_create), SYSCALL(ftruncate));

/* For a front-end like QEMU 11.1, which ends at 509 memory slots, some of which are the guest's memory. */
enum { MAX_MAPPINGS_LIMITED = 480 };
/* Of a file that ends within a page. */
enum { PROBE_SIZE = 100 };
/* How long to look for the next command before sleeping, where that pays. */
enum { POLL_US = 50 };
/* How long a queue that stops waits for renderers. */
enum { SETTLE_MS = 500 };

struct gpu_device {
        struct gpu *gpu;
        struct oriel_backend *backend;
        struct oriel_worker *worker;
        struct gpu_socket *socket; /* the front-end's window; NULL: it has none */
        struct oriel_log log;
        struct log_budget *lines; /* of lines that the gpu logs in this session */
        size_t max_mappings;
        uint64_t window_size;
        bool tried; /* in this session the front-end was probed, or could not be */
        int probe_fd;
        uint8_t *command; /* a copy, the worker's */
        size_t room;
};

/* ---- the front-end ---- */

static struct oriel_memory *gpu_memory(void *userdata)
{
        struct gpu_device *device = userdata;

        return oriel_backend_memory(device->backend);
}

static struct oriel_wire_mmap in_window(struct oriel_range range, enum oriel_access access)
{
        return (struct oriel_wire_mmap){
                .shmid = VIRTIO_GPU_SHM_ID_HOST_VISIBLE,
                .shm_offset = range.start,
                .len = range.size,
                .flags = access == ORIEL_ACCESS_READ_WRITE ? ORIEL_MMAP_READ_WRITE : 0,
        };
}

static int gpu_map(void *userdata, struct oriel_range range, int fd, enum oriel_access access, uint64_t *ticket)
{
        struct gpu_device *device = userdata;
        const struct oriel_wire_mmap map = in_window(range, access);

        return oriel_backend_shmem_map(device->backend, &map, fd, ticket);
}

static int gpu_unmap(void *userdata, struct oriel_range range, uint64_t *ticket)
{
        struct gpu_device *device = userdata;
        const struct oriel_wire_mmap map = in_window(range, ORIEL_ACCESS_READ_WRITE);

        return oriel_backend_shmem_unmap(device->backend, &map, ticket);
}

static int gpu_object_add(void *userdata, const uint8_t uuid[16], uint64_t *ticket)
{
        struct gpu_device *device = userdata;

        if (!(oriel_backend_protocol_features(device->backend) & ORIEL_FEATURE(ORIEL_PROTOCOL_F_SHARED_OBJECT)))
                return -EOPNOTSUPP;
        return oriel_backend_shared_object_add(device->backend, uuid, ticket);
}

static void gpu_object_remove(void *userdata, const uint8_t uuid[16])
{
        struct gpu_device *device = userdata;

        oriel_backend_shared_object_remove(device->backend, uuid, NULL);
}

static int gpu_device_get_shared_object(void *userdata, const uint8_t uuid[16])
{
        struct gpu_device *device = userdata;

        return gpu_get_object(device->gpu, uuid);
}

static int gpu_wait(void *userdata, uint64_t ticket)
{
        struct gpu_device *device = userdata;

        return oriel_backend_wait(device->backend, ticket);
}

static void gpu_complete(void *userdata, struct gpu_token token, const void *answer, size_t size)
{
        if (oriel_backend_queue_push(token.queue, token.chain, oriel_chain_write(token.chain, 0, answer, size)) == 0)
                oriel_backend_queue_notify(token.queue);
}

static void gpu_mark_dirty(void *userdata, struct oriel_range guest)
{
        struct gpu_device *device = userdata;

        oriel_backend_mark_dirty(device->backend, guest);
}

static void gpu_config_changed(void *userdata)
{
        struct gpu_device *device = userdata;

        oriel_backend_config_changed(device->backend, NULL);
}

static const struct gpu_ops gpu_ops = {
        .memory = gpu_memory,
        .map = gpu_map,
        .unmap = gpu_unmap,
        .wait = gpu_wait,
        .object_add = gpu_object_add,
        .object_remove = gpu_object_remove,
        .complete = gpu_complete,
        .mark_dirty = gpu_mark_dirty,
        .config_changed = gpu_config_changed,
};

/* ---- how many mappings the front-end can have ---- */

/* A front-end that can't map the last page of a file which ends within it is QEMU 11.1, or like it, and known to end
 * at 509 memory slots. */
static void probe_answered(void *userdata, int result)
{
        struct gpu_device *device = userdata;

        if (result != -EREMOTEIO || device->max_mappings > 0)
                return;
        log_warning(&device->log, "this front-end dies of many mappings: at most %d at once, or as --max-mappings says",
                    MAX_MAPPINGS_LIMITED);
        oriel_backend_set_max_mappings(device->backend, MAX_MAPPINGS_LIMITED);
}

static void ignore_answer(void *userdata, int result)
{
}

/* Maps @size bytes of the window to a file that ends within its first page, and unmaps them, before any request of
 * the driver's. */
static void gpu_device_probe(struct gpu_device *device, uint64_t size)
{
        const struct oriel_wire_mmap map = in_window((struct oriel_range){0, size}, ORIEL_ACCESS_READ_WRITE);
        uint64_t ticket;

        device->tried = true;
        if (oriel_backend_shmem_map(device->backend, &map, device->probe_fd, &ticket) < 0)
                return;
        oriel_backend_on_answer(device->backend, ticket, probe_answered, device);
        if (oriel_backend_shmem_unmap(device->backend, &map, &ticket) == 0)
                oriel_backend_on_answer(device->backend, ticket, ignore_answer, device);
}

/* ---- queues ---- */

static int gpu_device_make_room(struct gpu_device *device, size_t size)
{
        if (size <= device->room)
                return 0;

        uint8_t *command = realloc(device->command, size);

        if (!command)
                return -ENOMEM;
        device->command = command;
        device->room = size;
        return 0;
}

static ssize_t gpu_device_handle(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        struct gpu_device *device = userdata;
        size_t size = MIN(oriel_chain_readable_size(chain), (size_t)GPU_REQUEST_MAX);
        size_t room = MIN(oriel_chain_writable_size(chain), (size_t)GPU_ANSWER_MAX);
        uint8_t answer[GPU_ANSWER_MAX];

        /* Without memory for its payload, the command is cut, and refused for not being whole. */
        if (gpu_device_make_room(device, size) < 0)
                size = MIN(size, device->room);
        size = oriel_chain_read(chain, 0, device->command, size);

        ssize_t r = gpu_handle(device->gpu, oriel_backend_queue_index(queue), device->command, size, answer, room,
                               (struct gpu_token){queue, chain});

        return r < 0 ? r : (ssize_t)oriel_chain_write(chain, 0, answer, (size_t)r);
}

static void gpu_device_idle(void *userdata)
{
        struct gpu_device *device = userdata;

        gpu_await_mappings(device->gpu);
}

static int gpu_device_start(void *userdata, struct oriel_backend_queue *queue)
{
        struct gpu_device *device = userdata;
        const bool control = oriel_backend_queue_index(queue) == GPU_CONTROL_QUEUE;
        const bool resumed = oriel_backend_queue_resumed(queue);

        /* A driver that begins anew without a reset. */
        if (control && !resumed)
                gpu_reset(device->gpu);
        /* A driver that goes on has lost its mappings of the last back-end, which a front-end may still show until
         * another mapping replaces them: one of the whole window does, and is removed again. */
        if (control && !device->tried && (resumed || device->max_mappings == 0))
                gpu_device_probe(device, resumed ? device->window_size : (uint64_t)sysconf(_SC_PAGESIZE));
        return oriel_worker_add(device->worker, queue);
}

static void gpu_device_stop(void *userdata, struct oriel_backend_queue *queue)
{
        struct gpu_device *device = userdata;

        oriel_worker_remove(device->worker, queue);
        gpu_settle(device->gpu, queue, SETTLE_MS);
}

/* ---- the rest of the device ---- */

static int gpu_device_get_config(void *userdata, uint32_t offset, void *data, uint32_t size)
{
        struct gpu_device *device = userdata;

        return gpu_get_config(device->gpu, (struct oriel_range){offset, size}, data);
}

static int set_config(void *userdata, uint32_t offset, const void *data, uint32_t size, uint32_t flags)
{
        struct gpu_device *device = userdata;

        return gpu_set_config(device->gpu, (struct oriel_range){offset, size}, data);
}

static void gpu_device_set_features(void *userdata, uint64_t features)
{
        struct gpu_device *device = userdata;

        gpu_set_features(device->gpu, features);
}

static void gpu_device_reset(void *userdata)
{
        struct gpu_device *device = userdata;

        gpu_reset(device->gpu);
}

static int gpu_device_message(void *userdata, uint32_t request, void *payload, uint32_t *size, int fd)
{
        struct gpu_device *device = userdata;

        if (request != ORIEL_FRONTEND_GPU_SET_SOCKET) {
                fd_close(fd);
                return -EOPNOTSUPP;
        }
        if (!(gpu_features(device->gpu) & ORIEL_FEATURE(VIRTIO_GPU_F_EDID)))
                log_warning(&device->log, "the front-end has a window, and nothing is shown there without --outputs");
        gpu_socket_free(steal(device->socket));
        return gpu_socket_new(device->gpu, &device->log, fd, &device->socket);
}

static int gpu_device_make_backend(struct gpu_device *device, const struct gpu_device_options *options)
{
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {[VIRTIO_GPU_SHM_ID_HOST_VISIBLE] = options->gpu.window_size};
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops),
                .get_config = gpu_device_get_config,
                .set_config = set_config,
                .start = gpu_device_start,
                .stop = gpu_device_stop,
                .set_features = gpu_device_set_features,
                .reset = gpu_device_reset,
                .message = gpu_device_message,
                .get_shared_object = gpu_device_get_shared_object,
        };
        const struct oriel_backend_options backend = {
                .struct_size = sizeof(backend),
                .ops = &ops,
                .userdata = device,
                .log = &device->log,
                .device_features = DAEMON_RING_FEATURES | gpu_features(device->gpu),
                .queues = 2,
                .shmem_sizes = options->gpu.window_size ? sizes : NULL,
                .dialect = options->dialect,
                .max_mappings = options->max_mappings,
        };

        return oriel_backend_new(&backend, &device->backend);
}

/* Limits the lines that a guest can cause again and again. */
static void log_gpu_line(void *userdata, enum oriel_log_level level, const char *line)
{
        struct gpu_device *device = userdata;

        log_within(device->lines, &device->log, level, "%s", line);
}

static int make_gpu(struct gpu_device *device, const struct gpu_device_options *options)
{
        const struct oriel_log log = {sizeof(log), log_gpu_line, device, device->log.level};
        struct gpu_options gpu = options->gpu;

        gpu.ops = &gpu_ops;
        gpu.userdata = device;
        gpu.log = log;
        return gpu_new(&gpu, &device->gpu);
}

DEFINE_CLEANUP(struct gpu_device *, gpu_device_free);

int gpu_device_new(const struct gpu_device_options *options, struct gpu_device **out)
{
        _cleanup_(gpu_device_freep) struct gpu_device *device = calloc(1, sizeof(*device));

        if (!device)
                return -ENOMEM;
        device->log = options->log;
        device->lines = options->lines;
        device->max_mappings = options->max_mappings;
        device->window_size = options->gpu.window_size;
        device->probe_fd = memfd_create("oriel-gpu-probe", MFD_CLOEXEC);
        if (device->probe_fd < 0 || ftruncate(device->probe_fd, PROBE_SIZE) < 0)
                return -errno;

        const struct oriel_worker_options worker = {
                .struct_size = sizeof(worker),
                .handle = gpu_device_handle,
                .idle = gpu_device_idle,
                .userdata = device,
                .threads = 1,
                .poll_us = POLL_US,
        };
        int r = make_gpu(device, options);

        if (r == 0)
                r = oriel_worker_new(&worker, &device->worker);
        if (r == 0)
                r = gpu_device_make_backend(device, options);
        if (r < 0)
                return r;
        *out = steal(device);
        return 0;
}

void gpu_device_free(struct gpu_device *device)
{
        if (!device)
                return;
        gpu_socket_free(device->socket);
        /* Before the gpu, which it calls to the end; after that the gpu has nothing to ask it for. */
        oriel_backend_free(device->backend);
        gpu_free(device->gpu);
        oriel_worker_free(device->worker);
        fd_close(device->probe_fd);
        free(device->command);
        free(device);
}

int gpu_device_attach(struct gpu_device *device, int fd)
{
        device->tried = false;
        gpu_socket_free(steal(device->socket));
        oriel_backend_set_max_mappings(device->backend, device->max_mappings);
        return oriel_backend_attach(device->backend, fd);
}

struct oriel_backend *gpu_device_backend(struct gpu_device *device)
{
        return device->backend;
}

struct gpu *gpu_device_gpu(struct gpu_device *device)
{
        return device->gpu;
}
