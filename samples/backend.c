/* SPDX-License-Identifier: BSD-2-Clause */

/* A back-end that shows one file in a window: backend SOCKET FILE */
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <oriel/backend.h>
#include <oriel/socket.h>
#include <poll.h>

static struct oriel_backend *backend;

/* The driver has started the device: from now on it may be given mappings. */
static int start(void *file, struct oriel_backend_queue *queue)
{
        const struct oriel_wire_mmap map = {.shmid = 0, .shm_offset = 0, .len = 4096};

        (void)queue;
        return oriel_backend_shmem_map(backend, &map, *(int *)file, NULL);
}

static void stop(void *file, struct oriel_backend_queue *queue)
{
        (void)file, (void)queue;
}

int main(int argc, char **argv)
{
        const struct oriel_backend_ops ops = {.struct_size = sizeof(ops), .start = start, .stop = stop};
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {[0] = 2 << 20};
        int file = argc == 3 ? open(argv[2], O_RDONLY | O_CLOEXEC) : -1;
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = &file,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                .queues = 1,
                .shmem_sizes = sizes,
        };

        if (file < 0 || oriel_backend_new(&options, &backend) < 0)
                return 1;
        if (oriel_backend_attach(backend, oriel_socket_accept(oriel_socket_listen(argv[1]))) < 0)
                return 1;

        struct pollfd fd = {.fd = oriel_backend_get_fd(backend), .events = POLLIN};

        while (oriel_backend_dispatch(backend) == 0)
                poll(&fd, 1, -1);
        oriel_backend_free(backend);
        return 0;
}
