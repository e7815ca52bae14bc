/* SPDX-License-Identifier: BSD-2-Clause */

/* A back-end that gives each request back: echo SOCKET */
#include <linux/virtio_config.h>
#include <oriel/backend.h>
#include <oriel/socket.h>
#include <oriel/worker.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

/* One request, on the worker's thread: what the driver lets the device read, as far as there is room. */
static ssize_t echo(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        size_t at = 0, size, written;
        char bytes[4096];

        (void)userdata, (void)queue;
        do {
                size = oriel_chain_read(chain, at, bytes, sizeof(bytes));
                written = oriel_chain_write(chain, at, bytes, size);
                at += written;
        } while (written > 0);
        return (ssize_t)at;
}

/* From here to stop() the queue is the worker's. */
static int start(void *worker, struct oriel_backend_queue *queue)
{
        return oriel_worker_add(worker, queue);
}

static void stop(void *worker, struct oriel_backend_queue *queue)
{
        oriel_worker_remove(worker, queue);
}

int main(int argc, char **argv)
{
        const struct oriel_worker_options worker_options = {
                .struct_size = sizeof(worker_options), .handle = echo, .threads = 1};
        const struct oriel_backend_ops ops = {.struct_size = sizeof(ops), .start = start, .stop = stop};
        const struct oriel_log log = oriel_log_stderr(ORIEL_LOG_WARNING);
        struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .log = &log,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                .queues = 1,
        };
        struct oriel_backend *backend;
        struct oriel_worker *worker;
        int listener;

        if (argc != 2 || oriel_worker_new(&worker_options, &worker) < 0)
                return 1;
        options.userdata = worker;
        listener = oriel_socket_listen(argv[1]);
        if (oriel_backend_new(&options, &backend) < 0 ||
            oriel_backend_attach(backend, oriel_socket_accept(listener)) < 0)
                return 1;

        struct pollfd fd = {.fd = oriel_backend_get_fd(backend), .events = POLLIN};

        while (oriel_backend_dispatch(backend) == 0)
                poll(&fd, 1, -1);
        oriel_backend_free(backend); /* stops the queue, so that the worker has none */
        oriel_worker_free(worker);
        close(listener);
        return 0;
}
