/* SPDX-License-Identifier: BSD-2-Clause */

/* The in-flight buffer: GET_INFLIGHT_FD makes a memfd of the size that the queues need, and passes it on without
 * keeping it; SET_INFLIGHT_FD maps one, of this or an earlier back-end. Each queue has a region in it, which is handed
 * to the ring when the queue starts (vring.c) and which the ring recovers from (virtqueue/inflight.c). So the buffer
 * can be replaced only while no queue runs. The layout of a region depends on the ring format, and so on the features
 * at the time of the request. On the dispatching thread. */

#include "backend/backend.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/libc.h"
#include "base/range.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <sys/mman.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(memfd_create), SYSCALL(ftruncate), SYSCALL_FCNTL(F_ADD_SEALS));

void inflight_close(struct inflight_memory *inflight)
{
        file_unmap(&inflight->map);
        *inflight = (struct inflight_memory){0};
}

void *inflight_region(const struct inflight_memory *inflight, unsigned queue)
{
        return queue < inflight->num_queues ? inflight->regions + queue * inflight->region_size : NULL;
}

static int region_size(const struct oriel_backend *backend, const struct oriel_wire_inflight *wire, size_t *out)
{
        bool packed = backend->agreement.virtio_features & ORIEL_FEATURE(VIRTIO_F_RING_PACKED);

        if (wire->num_queues == 0 || wire->num_queues > backend->n_queues || wire->queue_size == 0 ||
            wire->queue_size > 32768)
                return -EINVAL;
        *out = oriel_inflight_region_size(wire->queue_size, packed);
        return 0;
}

/* Sealed, because a process that maps a file can get SIGBUS if another one truncates it. */
static int make_buffer(size_t size)
{
        _cleanup_(fd_closep) int fd = memfd_create("oriel-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
            fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return -errno;
        return fd_take(&fd);
}

int handle_get_inflight_fd(struct oriel_backend *backend, struct message *request, struct message *reply,
                           struct complaint *why)
{
        struct oriel_wire_inflight wire;
        size_t size;

        message_get(request, &wire, sizeof(wire));

        int r = region_size(backend, &wire, &size);

        if (r < 0) {
                complain(why, "GET_INFLIGHT_FD: %u queues of %u can't be tracked", wire.num_queues, wire.queue_size);
                return r;
        }
        wire.mmap_size = size * wire.num_queues;
        wire.mmap_offset = 0;

        int fd = make_buffer(wire.mmap_size);

        if (fd < 0)
                return fd;
        message_set(reply, &wire, sizeof(wire));
        reply->fds[reply->n_fds++] = fd;
        return 0;
}

static int inflight_map_buffer(struct inflight_memory *inflight, const struct oriel_wire_inflight *wire, int fd)
{
        struct statx st;
        uint64_t end;

        if (!is_aligned(wire->mmap_offset, 64) || !checked_add(wire->mmap_offset, wire->mmap_size, &end) ||
            fd_look(fd, &st) < 0 || end > st.stx_size)
                return -EINVAL;
        return file_map(fd, wire->mmap_offset, wire->mmap_size, PROT_READ | PROT_WRITE, &inflight->map,
                        &inflight->regions);
}

int handle_set_inflight_fd(struct oriel_backend *backend, struct message *request, struct message *reply,
                           struct complaint *why)
{
        struct inflight_memory inflight = {0};
        struct oriel_wire_inflight wire;

        message_get(request, &wire, sizeof(wire));

        int r = region_size(backend, &wire, &inflight.region_size);

        if (r == 0 && wire.mmap_size < inflight.region_size * wire.num_queues)
                r = -EINVAL;
        if (r == 0 && atomic_load(&backend->running) > 0)
                r = -EBUSY;
        if (r == 0)
                r = inflight_map_buffer(&inflight, &wire, request->fds[0]);
        if (r < 0) {
                complain(why, "SET_INFLIGHT_FD: %u queues of %u in 0x%llx bytes can't be tracked", wire.num_queues,
                         wire.queue_size, (unsigned long long)wire.mmap_size);
                return r;
        }
        inflight.num_queues = wire.num_queues;
        inflight_close(&backend->inflight);
        backend->inflight = inflight;
        return 0;
}
