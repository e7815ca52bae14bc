/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel-rng: a vhost-user back-end for virtio-rng (VIRTIO 1.2, 5.4). One worker's thread fills the driver's buffers
 * with random bytes of getrandom(2). With --rate, it fills only a part of each buffer, and sleeps before the next
 * one. It is also the shortest device to copy from: docs/devices.md. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/syscalls.h"
#include "daemon/daemon.h"
#include "program/report.h"

#include <oriel/worker.h>
#include <string.h>
#include <sys/param.h>
#include <sys/random.h>
#include <time.h>

USES_SYSCALLS(SYSCALL(getrandom), SYSCALL(clock_nanosleep), SYSCALL(nanosleep));

#define NS INT64_C(1000000000)

static uint64_t rate; /* bytes per second; 0: as many as there are */

static const struct option_row rows[] = {
        {"rate", OPTION_SIZE, &rate, "BYTES", "how many bytes per second at most (default: as many as there are)"},
};

static struct oriel_backend *backend;
static struct oriel_worker *worker;
static int64_t next_ns; /* when the driver has waited for all bytes that it was given */

/* How many of @size bytes the driver gets now: those of a tenth of a second, and at least one, which takes a second
 * at the lowest rate. Stopping the queue waits for no longer than that. */
static size_t rng_allowed(size_t size)
{
        if (rate == 0 || size == 0)
                return size;

        int64_t now = now_ns(), wait = next_ns - now;
        size_t n = MIN(size, MAX(rate / 10, 1));

        if (wait > 0)
                nanosleep(&(struct timespec){wait / NS, wait % NS}, NULL);
        next_ns = MAX(next_ns, now) + (int64_t)n * NS / (int64_t)rate;
        return n;
}

static ssize_t rng_handle(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        size_t left = rng_allowed(oriel_chain_writable_size(chain)), written = 0;
        unsigned n;
        const struct iovec *out = oriel_chain_writable(chain, &n);

        for (unsigned i = 0; i < n && left > 0; i++) {
                size_t asked = MIN(out[i].iov_len, left);
                ssize_t got = getrandom(out[i].iov_base, asked, 0);

                written += got > 0 ? (size_t)got : 0;
                /* The length that the driver is told counts from the start, so a gap ends the answer. */
                if (got != (ssize_t)asked)
                        break;
                left -= asked;
        }
        return (ssize_t)written;
}

static int rng_start(void *userdata, struct oriel_backend_queue *queue)
{
        return oriel_worker_add(worker, queue);
}

static void rng_stop(void *userdata, struct oriel_backend_queue *queue)
{
        oriel_worker_remove(worker, queue);
}

static int rng_new_device(const struct daemon_start *with, void **out)
{
        const struct oriel_worker_options threads = {
                .struct_size = sizeof(threads), .handle = rng_handle, .threads = 1};
        const struct oriel_backend_ops ops = {.struct_size = sizeof(ops), .start = rng_start, .stop = rng_stop};
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .log = &with->log,
                .device_features = DAEMON_RING_FEATURES,
                .queues = 1,
                .dialect = with->dialect,
        };
        int r = oriel_worker_new(&threads, &worker);

        if (r == 0)
                r = oriel_backend_new(&options, &backend);
        *out = backend;
        return r < 0 ? fail("the device: %s", strerror(-r)) : STATUS_SUCCESS;
}

static void rng_free_device(void *device)
{
        oriel_backend_free(device);
        oriel_worker_free(worker);
}

int main(int argc, char **argv)
{
        const struct daemon_device device = {
                .name = "oriel-rng",
                .type = "rng",
                .summary = "Give a virtual machine random bytes: a vhost-user back-end for virtio-rng.",
                .rows = rows,
                .n_rows = ARRAY_SIZE(rows),
                .new_device = rng_new_device,
                .free_device = rng_free_device,
        };

        return daemon_main(&device, argc, argv);
}
