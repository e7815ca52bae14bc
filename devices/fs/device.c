/* SPDX-License-Identifier: BSD-2-Clause */

/* The virtio-fs device of oriel-fs: its configuration space, the threads that take requests from its queues and hand
 * them to fs_handle(), and its window, which the file system maps files into by messages to the front-end. */

#include "devices/fs/device.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "devices/fs/core/fs.h"
#include "devices/fs/housekeeper.h"

#include <endian.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <time.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(poll), SYSCALL(eventfd2), SYSCALL(epoll_create1), SYSCALL(epoll_ctl), SYSCALL(epoll_wait),
              SYSCALL(epoll_pwait), SYSCALL(clock_nanosleep));

#define MAX_REQUEST_QUEUES 64
#define MAX_THREADS        64

/* Of requests that take less than this the driver is told at every second one, where the next is there already: then
 * both ends sleep, wake and signal half as often. */
#define QUICK_NS 10000

#define FEATURES                                                                               \
        (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(VIRTIO_F_RING_PACKED) |             \
         ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX) | \
         ORIEL_FEATURE(VIRTIO_F_RING_RESET))

/* What shows in windows, this device's and others', is memory for buffers too, in ranges of 2 MiB: about 4 GiB of it.
 * As many as can be guarded against files that become shorter. */
#define MEM_SLOTS 2000

/* virtio 1.2, "5.11.4 Device configuration layout", whose last field the kernel's struct has not. */
struct config_space {
        struct virtio_fs_config known;
        uint32_t notify_buf_size; /* of the notification queue, which there is not */
};
_Static_assert(sizeof(struct config_space) == 44, "virtio 1.2, 5.11.4");

/* The threads of one queue while it runs. */
struct workers {
        struct device *device;
        struct oriel_backend_queue *queue;
        int stop_fd;
        atomic_bool stopping;
        atomic_uint waiting; /* entries of the ring that belong to requests which wait for locks */
        unsigned n_threads;
        pthread_t threads[MAX_THREADS];
};

struct device {
        struct fs *fs;
        struct oriel_backend *backend;
        struct oriel_log log;
        struct log_budget fs_lines; /* that the file system has logged of this session */
        struct config_space config;
        unsigned threads;
        int64_t poll_ns;
        atomic_bool indirect; /* the driver may have all of a request in one entry of the ring, and then has */
        struct housekeeper *housekeeper;
        struct workers workers[1 + MAX_REQUEST_QUEUES];
};

/* ---- the window ---- */

static int submit_map(void *userdata, struct oriel_range window, int fd, uint64_t fd_offset, bool writable,
                      uint64_t *ticket)
{
        struct device *device = userdata;
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
        struct device *device = userdata;
        struct oriel_wire_mmap map = {
                .shmid = VIRTIO_FS_SHMCAP_ID_CACHE,
                .shm_offset = window.start,
                .len = window.size,
        };

        return oriel_backend_shmem_unmap(device->backend, &map, ticket);
}

static int wait_ticket(void *userdata, uint64_t ticket)
{
        struct device *device = userdata;

        return oriel_backend_wait(device->backend, ticket);
}

static const struct fs_window_ops window_ops = {submit_map, submit_unmap, wait_ticket};

/* ---- the queues ---- */

/* Returns that there is nothing untold. */
static bool tell(struct workers *workers)
{
        oriel_backend_queue_notify(workers->queue);
        return false;
}

static int handle_one(struct workers *workers, struct oriel_chain *chain)
{
        unsigned n_in, n_out;
        const struct iovec *in = oriel_chain_readable(chain, &n_in), *out = oriel_chain_writable(chain, &n_out);
        ssize_t written = fs_handle(workers->device->fs, in, n_in, out, n_out, (struct fs_token){workers, chain});

        if (written == -EINPROGRESS)
                return 0;

        return oriel_backend_queue_push(workers->queue, chain, written < 0 ? 0 : (size_t)written);
}

/* What a thread sleeps on: kicks, watched for edges, and the end. Each has its own, so that a kick wakes all. */
static int make_bed(const struct workers *workers)
{
        struct epoll_event kick = {.events = EPOLLIN | EPOLLET}, end = {.events = EPOLLIN};
        int kick_fd = oriel_backend_queue_kick_fd(workers->queue);
        _cleanup_(fd_closep) int fd = epoll_create1(EPOLL_CLOEXEC);

        if (fd < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, workers->stop_fd, &end) < 0 ||
            (kick_fd >= 0 && epoll_ctl(fd, EPOLL_CTL_ADD, kick_fd, &kick) < 0))
                return -errno;
        return fd_take(&fd);
}

/* Until the driver kicks or the queue is to stop; a polled queue is looked at again in a millisecond. */
static void sleep_until_event(struct workers *workers, int bed, bool broken)
{
        bool polled = oriel_backend_queue_kick_fd(workers->queue) < 0 && !broken;
        struct epoll_event event;

        if (bed >= 0)
                epoll_wait(bed, &event, 1, polled ? 1 : -1);
        else
                usleep(1000);
}

/* Pop the next chain, looking for it for @patience_ns. Waking up costs both sides more than the wait, if that is short.
 */
static int pop_next(struct workers *workers, int64_t patience_ns, struct oriel_chain **chain)
{
        int r = oriel_backend_queue_pop(workers->queue, chain);

        if (r != 0 || patience_ns == 0)
                return r;

        int64_t end = now_ns() + patience_ns;

        while (r == 0 && !atomic_load(&workers->stopping) && now_ns() < end) {
                /* Whoever is to send it may need this CPU. */
                sched_yield();
                r = oriel_backend_queue_pop(workers->queue, chain);
        }
        return r;
}

/* How long to look before the next sleep, after one that took @slept_ns: not at all, if looking would not have spared
 * it.
 */
static int64_t next_patience(const struct workers *workers, int64_t slept_ns)
{
        int64_t longest = workers->device->poll_ns;

        /* With several threads, the others would be asleep while one works on what it has found. */
        return slept_ns < longest && workers->device->threads == 1 ? longest : 0;
}

static void *work(void *userdata)
{
        struct workers *workers = userdata;
        /* Without one, as descriptors have run out, it looks now and then. */
        _cleanup_(fd_closep) int bed = make_bed(workers);
        struct oriel_chain *chain;
        int64_t patience_ns = 0;
        /* Something was answered, and the driver has not been told. */
        bool untold = false;

        while (!atomic_load(&workers->stopping)) {
                int r = untold ? oriel_backend_queue_pop(workers->queue, &chain) : 0;

                if (untold && r != 1)
                        untold = tell(workers);
                if (r == 0)
                        r = pop_next(workers, patience_ns, &chain);
                if (r == 1) {
                        int64_t begun = now_ns();

                        r = handle_one(workers, chain);
                        untold = untold || now_ns() - begun >= QUICK_NS ? tell(workers) : true;
                        if (r == 0)
                                continue;
                } else if (r == 0 && oriel_backend_queue_want_kick(workers->queue)) {
                        continue;
                }

                int64_t begun = now_ns();

                sleep_until_event(workers, bed, r < 0 && r != -EAGAIN && r != -ENOMEM);
                patience_ns = next_patience(workers, now_ns() - begun);
        }
        tell(workers);
        return NULL;
}

static void stop(void *userdata, struct oriel_backend_queue *queue)
{
        struct device *device = userdata;
        struct workers *workers = &device->workers[oriel_backend_queue_index(queue)];

        atomic_store(&workers->stopping, true);
        fd_event_signal(workers->stop_fd);
        for (unsigned i = 0; i < workers->n_threads; i++)
                pthread_join(workers->threads[i], NULL);
        workers->n_threads = 0;
        fs_give_up_locks(device->fs, workers);
        workers->stop_fd = fd_close(workers->stop_fd);
}

static int start_thread(struct workers *workers)
{
        int r = thread_start(&workers->threads[workers->n_threads], work, workers);

        workers->n_threads += r == 0;
        return r;
}

static int start(void *userdata, struct oriel_backend_queue *queue)
{
        struct device *device = userdata;
        unsigned index = oriel_backend_queue_index(queue), threads = index == 0 ? 1 : device->threads;
        struct workers *workers = &device->workers[index];
        int r = 0;

        if (oriel_backend_queue_resumed(queue))
                fs_resume(device->fs);
        workers->device = device;
        workers->queue = queue;
        atomic_store(&workers->stopping, false);
        atomic_store(&workers->waiting, 0);
        workers->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (workers->stop_fd < 0)
                return -errno;
        for (unsigned i = 0; r == 0 && i < threads; i++)
                r = start_thread(workers);
        return workers->n_threads > 0 ? 0 : r;
}

/* ---- requests that wait ---- */

/* How many entries of the ring a request keeps until it is answered. */
static unsigned entries_of(const struct device *device, const struct oriel_chain *chain)
{
        unsigned n_in, n_out;

        oriel_chain_readable(chain, &n_in);
        oriel_chain_writable(chain, &n_out);
        return atomic_load(&device->indirect) ? 1 : n_in + n_out;
}

/* A quarter of each ring, and enough for some requests, stays for those that don't wait for locks: among them are the
 * ones that give locks back, and would never come to us from a ring that is full of requests which wait for that. */
static bool may_wait(void *userdata, struct fs_token token)
{
        struct device *device = userdata;
        struct workers *workers = token.queue;
        const unsigned size = oriel_backend_queue_size(workers->queue), needed = entries_of(device, token.request),
                       kept = MAX(size / 4, atomic_load(&device->indirect) ? 4u : 8u);

        if (atomic_load(&workers->waiting) + needed + kept > size)
                return false;
        atomic_fetch_add(&workers->waiting, needed);
        return true;
}

/* The request that waited for a lock is answered. */
static void answered(void *userdata, struct fs_token token, size_t written)
{
        struct workers *workers = token.queue;

        atomic_fetch_sub(&workers->waiting, entries_of(userdata, token.request));
        if (oriel_backend_queue_push(workers->queue, token.request, written) == 0)
                oriel_backend_queue_notify(workers->queue);
}

static void lasts(void *userdata, struct fs_token token)
{
        (void)userdata;
        tell(token.queue);
}

/* ---- the rest of the device ---- */

static int get_config(void *userdata, uint32_t offset, void *data, uint32_t size)
{
        struct device *device = userdata;

        if (!range_within((struct oriel_range){offset, size}, sizeof(device->config)))
                return -EINVAL;
        memcpy(data, (const uint8_t *)&device->config + offset, size);
        return 0;
}

static void set_features(void *userdata, uint64_t features)
{
        struct device *device = userdata;

        atomic_store(&device->indirect, features & ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC));
}

static void reset(void *userdata)
{
        struct device *device = userdata;

        fs_reset(device->fs);
}

static int make_backend(struct device *device, const struct device_options *options)
{
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {[VIRTIO_FS_SHMCAP_ID_CACHE] = options->fs->window_size};
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops),
                .get_config = get_config,
                .start = start,
                .stop = stop,
                .set_features = set_features,
                .reset = reset,
        };
        const struct oriel_backend_options backend = {
                .struct_size = sizeof(backend),
                .ops = &ops,
                .userdata = device,
                .log = &device->log,
                .device_features = FEATURES,
                .queues = 1 + options->request_queues,
                .max_mem_slots = MEM_SLOTS,
                .shmem_sizes = options->fs->window_size ? sizes : NULL,
                .dialect = options->dialect,
        };

        return oriel_backend_new(&backend, &device->backend);
}

/* A guest can have the same said again and again. */
static void log_fs_line(void *userdata, enum oriel_log_level level, const char *line)
{
        struct device *device = userdata;

        log_within(&device->fs_lines, &device->log, level, "%s", line);
}

static int make_fs(struct device *device, const struct device_options *options, int *proc_fd)
{
        struct fs_options fs = *options->fs;

        fs.window_ops = fs.window_size ? &window_ops : NULL;
        fs.window_userdata = device;
        fs.may_wait = may_wait;
        fs.answered = answered;
        fs.lasts = lasts;
        fs.answered_userdata = device;
        fs.log = (struct oriel_log){log_fs_line, device, device->log.level};
        fs.at_once = options->request_queues * options->threads;
        return fs_new(&fs, fd_take(proc_fd), &device->fs);
}

DEFINE_CLEANUP(struct device *, device_free);

int device_new(const struct device_options *options, struct device **out)
{
        size_t tag = strlen(options->tag);
        _cleanup_(fd_closep) int proc_fd = options->proc_fd;
        _cleanup_(device_freep) struct device *device = calloc(1, sizeof(*device));

        if (!device)
                return -ENOMEM;
        if (tag == 0 || tag > sizeof(device->config.known.tag) || options->request_queues < 1 ||
            options->request_queues > MAX_REQUEST_QUEUES || options->threads < 1 || options->threads > MAX_THREADS)
                return -EINVAL;
        device->log = options->log;
        device->threads = options->threads;
        device->poll_ns = (int64_t)options->poll_us * 1000;
        memcpy(device->config.known.tag, options->tag, tag);
        device->config.known.num_request_queues = htole32(options->request_queues);

        int r = make_fs(device, options, &proc_fd);

        if (r == 0)
                r = make_backend(device, options);
        if (r == 0)
                r = housekeeper_start(device->fs, &device->housekeeper);
        if (r < 0)
                return r;
        *out = steal(device);
        return 0;
}

void device_free(struct device *device)
{
        if (!device)
                return;
        oriel_backend_free(device->backend);
        housekeeper_stop(device->housekeeper);
        fs_free(device->fs);
        free(device);
}

int device_attach(struct device *device, int fd)
{
        atomic_store(&device->fs_lines.used, 0);
        return oriel_backend_attach(device->backend, fd);
}

struct oriel_backend *device_backend(struct device *device)
{
        return device->backend;
}
