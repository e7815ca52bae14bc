/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/session/turns.h"
#include "base/fd.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <string.h>

static int end_start(void *userdata, struct oriel_backend_queue *queue)
{
        struct end *end = userdata;

        end->queue = queue;
        end->starts++;
        for (unsigned i = 0; i < end->maps_at_start; i++) {
                const struct oriel_wire_mmap map = {.shm_offset = (end->starts - 1) * REGION / 2 + i * PAGE,
                                                    .len = PAGE};

                oriel_backend_shmem_map(end->backend, &map, end->file, NULL);
        }
        /* There is no buffer yet. With an IOMMU this misses an entry. */
        struct oriel_chain *chain;

        return oriel_backend_queue_pop(queue, &chain) == 1 ? -EPROTO : 0;
}

static int end_get_shared_object(void *userdata, const uint8_t uuid[16])
{
        return -ENOENT;
}

static void end_set_status(void *userdata, uint8_t status)
{
}

static void end_stop(void *userdata, struct oriel_backend_queue *queue)
{
        struct end *end = userdata;

        end->stops++;
}

static int end_get_config(void *userdata, uint32_t offset, void *data, uint32_t size)
{
        memset(data, 7, size);
        return offset == 0 ? 0 : -EINVAL;
}

int end_open(struct end *end, uint64_t without)
{
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {REGION};
        const struct oriel_backend_ops ops = {.struct_size = sizeof(ops),
                                              .start = end_start,
                                              .stop = end_stop,
                                              .set_status = end_set_status,
                                              .get_config = end_get_config,
                                              .get_shared_object = end_get_shared_object};
        const struct oriel_log log = oriel_log_stderr(ORIEL_LOG_ERROR);
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = end,
                .log = &log,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(VIRTIO_F_RING_PACKED) |
                                   ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM),
                .without = without,
                .queues = 2,
                .shmem_sizes = sizes,
        };
        int fds[2];

        end->file = make_memory(REGION);
        assert_int_equal(oriel_backend_new(&options, &end->backend), 0);
        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(oriel_backend_attach(end->backend, fds[1]), 0);
        return fds[0];
}

void end_close(struct end *end)
{
        oriel_backend_free(end->backend);
        fd_close(end->file);
        *end = (struct end){.file = -1};
}

bool is_readable(int fd, int timeout_ms)
{
        struct pollfd p = {.fd = fd, .events = POLLIN};

        return poll(&p, 1, timeout_ms) == 1;
}

int end_turn(struct end *end)
{
        return is_readable(oriel_backend_get_fd(end->backend), 0) ? oriel_backend_dispatch(end->backend) : 0;
}
