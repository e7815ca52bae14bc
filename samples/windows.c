/* SPDX-License-Identifier: BSD-2-Clause */

/* A back-end that shows pages of a file where the driver wants them, from two threads: windows SOCKET FILE. A request
 * is a struct pages, the answer an int32_t: how many are in the window. */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <oriel/backend.h>
#include <oriel/socket.h>
#include <oriel/worker.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096

/* Page @first of the file and those that follow, at the same place in the window. */
struct pages {
        uint32_t first, count;
};

struct device {
        struct oriel_backend *backend;
        struct oriel_worker *worker;
        int file;
};

/* All requests are sent before the first answer is waited for: that takes hardly longer than a single one. */
static int32_t show(struct device *device, struct pages pages)
{
        uint64_t tickets[64];
        uint32_t sent = 0;
        int32_t shown = 0;

        for (int r = 0; r == 0 && sent < pages.count && sent < 64; sent += r == 0) {
                uint64_t at = (pages.first + (uint64_t)sent) * PAGE;
                const struct oriel_wire_mmap map = {.shmid = 0, .fd_offset = at, .shm_offset = at, .len = PAGE};

                r = oriel_backend_shmem_map(device->backend, &map, device->file, &tickets[sent]);
        }
        for (uint32_t i = 0; i < sent; i++)
                shown += oriel_backend_wait(device->backend, tickets[i]) == 0;
        return shown;
}

/* On either of the two threads. */
static ssize_t handle(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        unsigned n_in, n_out;
        const struct iovec *in = oriel_chain_readable(chain, &n_in), *out = oriel_chain_writable(chain, &n_out);
        struct pages pages; /* a copy: the driver can change what is in its memory at any time */
        int32_t shown;

        (void)queue;
        if (n_in < 1 || in[0].iov_len < sizeof(pages) || n_out < 1 || out[0].iov_len < sizeof(shown))
                return -EINVAL;
        memcpy(&pages, in[0].iov_base, sizeof(pages));
        shown = show(userdata, pages);
        memcpy(out[0].iov_base, &shown, sizeof(shown));
        return sizeof(shown);
}

static int start(void *userdata, struct oriel_backend_queue *queue)
{
        return oriel_worker_add(((struct device *)userdata)->worker, queue);
}

static void stop(void *userdata, struct oriel_backend_queue *queue)
{
        oriel_worker_remove(((struct device *)userdata)->worker, queue);
}

int main(int argc, char **argv)
{
        static const uint64_t sizes[ORIEL_MAX_SHMIDS] = {[0] = 2 << 20};
        static struct device device;
        const struct oriel_worker_options worker_options = {
                .struct_size = sizeof(worker_options), .handle = handle, .userdata = &device, .threads = 2};
        const struct oriel_backend_ops ops = {.struct_size = sizeof(ops), .start = start, .stop = stop};
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = &device,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                .queues = 2,
                .shmem_sizes = sizes,
        };

        device.file = argc == 3 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
        if (device.file < 0 || oriel_worker_new(&worker_options, &device.worker) < 0 ||
            oriel_backend_new(&options, &device.backend) < 0)
                return 1;

        int listener = oriel_socket_listen(argv[1]);

        if (oriel_backend_attach(device.backend, oriel_socket_accept(listener)) < 0)
                return 1;

        struct pollfd fd = {.fd = oriel_backend_get_fd(device.backend), .events = POLLIN};

        while (oriel_backend_dispatch(device.backend) == 0)
                poll(&fd, 1, -1);
        oriel_backend_free(device.backend);
        oriel_worker_free(device.worker);
        close(device.file);
        close(listener);
        return 0;
}
