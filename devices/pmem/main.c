/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel-pmem: a vhost-user back-end for virtio-pmem (VIRTIO 1.2, 5.19), which shows a disk image in the guest's memory.
 * The image is mapped when the queue starts, before the driver may read it (docs/protocol.md, "The start"). Requests
 * are flushes, which a worker's thread collects; when it finds no more, one fdatasync(2) serves all of them. Another
 * thread watches the file, and reports if it becomes shorter.
 * A back-end does not know guest memory addresses, which the device's configuration would need, so a driver must
 * find the region by its shmid: VIRTIO_PMEM_F_SHMEM_REGION. */

#include "base/cleanup.h"
#include "base/log.h"
#include "base/range.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "daemon/options.h"
#include "devices/pmem/image.h"
#include "program/report.h"
#include "program/virtio_pmem.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <oriel/worker.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(read));

/* There is one device, so callbacks need no userdata. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

static const struct option_row rows[] = {
        {"image", OPTION_STRING, &image.path, "FILE", "the disk image, a regular file"},
        {"readonly", OPTION_FLAG, &image.readonly, NULL,
         "the guest can't write; several machines may share the image then"},
        {"allow-writable-dax", OPTION_FLAG, &image.writable, NULL,
         "with --readonly: front-ends get a descriptor that can be written to, which QEMU 11.1 needs,\n"
         "                             and lets the guest write by"},
        {"size", OPTION_SIZE, &image.size, "SIZE",
         "how large the device is, rounded up to 2M (default: as large as the image). The image\n"
         "                             stays as it is: behind its end is nothing"},
};

static struct oriel_log device_log;
static struct log_budget *lines; /* limits the lines that a guest can cause again and again */
#define complain(...) log_within(lines, &device_log, ORIEL_LOG_ERROR, __VA_ARGS__)
static struct oriel_backend *backend;
static struct oriel_worker *worker;
static uint64_t features; /* that the driver takes */

/* The queue is served when the front-end has answered the request to map the image: before that what the driver has
 * written may have gone nowhere, so no flush may say that it is well. */
static struct oriel_backend_queue *flush_queue; /* NULL: it is not started */
static uint64_t asked = UINT64_MAX;             /* the ticket of that request; UINT64_MAX: none is to be answered */
static atomic_bool mapped;                      /* since the last reset, and not refused; otherwise flushes fail */

/* Of the worker's thread: flushes without an answer yet. */
static struct oriel_chain *flushes[1024];
static unsigned n_flushes;

/* ---- flushes, on the worker's thread ---- */

static size_t pmem_answer(struct oriel_chain *chain, int result)
{
        const struct virtio_pmem_resp resp = {.ret = htole32(result < 0 ? UINT32_MAX : 0)};

        return oriel_chain_write(chain, 0, &resp, sizeof(resp));
}

/* Flushes that come meanwhile wait for the next fdatasync(): they may be for later stores. */
static void flush_all(void *userdata)
{
        if (n_flushes == 0)
                return;

        int r = mapped ? image_sync() : -EIO;

        if (r < 0)
                complain("%s: a flush fails: %s", image.path, mapped ? strerror(-r) : "it is not mapped");
        for (unsigned i = 0; i < n_flushes; i++)
                oriel_backend_queue_fill(flush_queue, flushes[i], pmem_answer(flushes[i], r));
        n_flushes = 0;
        oriel_backend_queue_notify(flush_queue);
}

static ssize_t pmem_handle(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        struct virtio_pmem_req req;

        if (oriel_chain_read(chain, 0, &req, sizeof(req)) < sizeof(req) ||
            le32toh(req.type) != VIRTIO_PMEM_REQ_TYPE_FLUSH)
                return (ssize_t)pmem_answer(chain, -EINVAL);
        if (n_flushes == ARRAY_SIZE(flushes))
                flush_all(NULL);
        flushes[n_flushes++] = chain;
        return -EINPROGRESS;
}

/* ---- what the front-end asks for, on the dispatching thread ---- */

/* The answer to a request from before a reset says nothing of the later one. */
static void pmem_answered(void *ticket, int result)
{
        if (asked == UINT64_MAX || (uintptr_t)ticket != (uintptr_t)asked)
                return;
        asked = UINT64_MAX;
        mapped = result == 0;
        if (result == -EREMOTEIO)
                complain("%s: the front-end does not map it%s", image.path,
                         image.readonly && !image.writable ? ": QEMU 11.1 needs --allow-writable-dax" : "");

        const int r = flush_queue ? oriel_worker_add(worker, flush_queue) : 0;

        if (r < 0)
                complain("%s: flushes can't be served: %s", image.path, strerror(-r));
}

static int pmem_map(void)
{
        const uint64_t flags = image.readonly ? 0 : ORIEL_MMAP_READ_WRITE;
        const struct oriel_wire_mmap map = {.shmid = VIRTIO_PMEM_SHMEM_REGION_ID, .len = image.length, .flags = flags};
        uint64_t ticket;
        int r = oriel_backend_shmem_map(backend, &map, image.fd, &ticket);

        if (r == -EOPNOTSUPP)
                complain("this front-end has no shared memory regions");
        if (r == 0)
                r = oriel_backend_on_answer(backend, ticket, pmem_answered, (void *)(uintptr_t)ticket);
        if (r == 0)
                asked = ticket;
        return r;
}

static int pmem_start(void *userdata, struct oriel_backend_queue *queue)
{
        int r = 0;

        flush_queue = queue;
        if (!(features & ORIEL_FEATURE(VIRTIO_PMEM_F_SHMEM_REGION))) {
                complain("this driver can't find the image: it does not take SHMEM_REGION");
                r = -EOPNOTSUPP;
        } else if (mapped) {
                r = oriel_worker_add(worker, queue);
        } else if (asked == UINT64_MAX) {
                r = pmem_map();
        }
        if (r < 0)
                flush_queue = NULL;
        return r;
}

static void pmem_stop(void *userdata, struct oriel_backend_queue *queue)
{
        oriel_worker_remove(worker, queue);
        flush_queue = NULL;
}

static void pmem_set_features(void *userdata, uint64_t acknowledged)
{
        features = acknowledged;
}

/* The front-end has unmapped the image. */
static void pmem_reset(void *userdata)
{
        mapped = false;
        asked = UINT64_MAX;
}

static void pmem_set_status(void *userdata, uint8_t status)
{
        if (status == 0)
                pmem_reset(userdata);
}

/* Zeros: a driver that does not look for the region finds no device. */
static int pmem_get_config(void *userdata, uint32_t offset, void *data, uint32_t size)
{
        if (!range_within((struct oriel_range){offset, size}, sizeof(struct virtio_pmem_config)))
                return -EINVAL;
        memset(data, 0, size);
        return 0;
}

/* Reports each time that the file becomes shorter, until the process ends. */
static void *watch_file(void *userdata)
{
        char events[sizeof(struct inotify_event) * 16];

        for (uint64_t seen = image.shown, left;; seen = left) {
                left = image_left();
                if (left < seen)
                        log_warning(&device_log,
                                    "%s: it has become shorter, with %" PRIu64 " of %" PRIu64
                                    " bytes left: the rest reads as zeros, and what is written there is lost",
                                    image.path, left, image.shown);
                if (read(image.watch_fd, events, sizeof(events)) <= 0)
                        return NULL;
        }
}

/* ---- the daemon's table ---- */

static int check_options(void)
{
        return image.path && image.path[0] ? -1 : daemon_usage("--image=FILE is missing");
}

static int pmem_make_backend(const struct oriel_dialect *dialect)
{
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {[VIRTIO_PMEM_SHMEM_REGION_ID] = image.region};
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops),
                .get_config = pmem_get_config,
                .start = pmem_start,
                .stop = pmem_stop,
                .set_features = pmem_set_features,
                .set_status = pmem_set_status,
                .reset = pmem_reset,
        };
        const struct oriel_backend_options with = {
                .struct_size = sizeof(with),
                .ops = &ops,
                .log = &device_log,
                .device_features = DAEMON_RING_FEATURES | ORIEL_FEATURE(VIRTIO_PMEM_F_SHMEM_REGION),
                .queues = 1,
                .shmem_sizes = sizes,
                .dialect = dialect,
        };

        return oriel_backend_new(&with, &backend);
}

static int pmem_new_device(const struct daemon_start *with, void **out)
{
        const struct oriel_worker_options threads = {
                .struct_size = sizeof(threads), .handle = pmem_handle, .threads = 1, .idle = flush_all};
        pthread_t watcher;
        int r = oriel_worker_new(&threads, &worker);

        device_log = with->log;
        lines = with->lines;
        if (r == 0)
                r = pmem_make_backend(with->dialect);
        if (r == 0)
                r = thread_start(&watcher, watch_file, NULL);
        if (r == 0)
                pthread_detach(watcher);
        *out = backend;
        return r < 0 ? fail("the device: %s", strerror(-r)) : STATUS_SUCCESS;
}

static void pmem_free_device(void *device)
{
        oriel_backend_free(backend);
        oriel_worker_free(worker);
}

int main(int argc, char **argv)
{
        const struct daemon_device device = {
                .name = "oriel-pmem",
                .type = "pmem",
                .summary = "Show a virtual machine a disk image in its memory: a vhost-user back-end for virtio-pmem.",
                .rows = rows,
                .n_rows = ARRAY_SIZE(rows),
                .check_options = check_options,
                .check_files = image_open, /* before the sandbox, in which the path can't be opened */
                .new_device = pmem_new_device,
                .free_device = pmem_free_device,
        };

        return daemon_main(&device, argc, argv);
}
