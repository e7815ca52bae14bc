/* SPDX-License-Identifier: BSD-2-Clause */

/* Guest memory of a back-end: the requests that add and remove regions and IOTLB entries, and the log of dirty pages
 * (vhost-user, "Memory access", "IOMMU support", "Migration"). Each change makes a new table, which use_memory() passes
 * to the queues under their locks, and then wakes queues that wait for memory. Handlers run on the dispatching thread;
 * other threads get the table by oriel_backend_memory(), and mark pages dirty under memory_lock. */

#include "backend/backend.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "memory/piece.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/virtio_config.h>
#include <string.h>

DEFINE_CLEANUP(struct oriel_memory *, oriel_memory_unref);

/* Gives @memory, which is taken over, to all queues. Chains that were popped before keep the table they were popped
 * with. */
static void use_memory(struct oriel_backend *backend, struct oriel_memory *memory)
{
        struct oriel_memory *old = backend->memory;

        pthread_mutex_lock(&backend->memory_lock);
        backend->memory = memory;
        pthread_mutex_unlock(&backend->memory_lock);
        for (unsigned i = 0; i < backend->n_queues; i++) {
                struct oriel_backend_queue *queue = &backend->queues[i];

                pthread_mutex_lock(&queue->lock);
                if (queue->ring)
                        oriel_device_queue_set_memory(queue->ring, memory);
                if (queue->waits && queue->kick_fd >= 0)
                        fd_event_signal(queue->kick_fd);
                pthread_mutex_unlock(&queue->lock);
        }
        oriel_memory_unref(old);
        if (backend->ops.memory_changed && backend->main.fd >= 0)
                backend->ops.memory_changed(backend->userdata);
}

struct oriel_memory *oriel_backend_memory(struct oriel_backend *backend)
{
        pthread_mutex_lock(&backend->memory_lock);

        struct oriel_memory *memory = oriel_memory_ref(backend->memory);

        pthread_mutex_unlock(&backend->memory_lock);
        return memory;
}

void memory_set_log(struct oriel_backend *backend)
{
        pthread_mutex_lock(&backend->memory_lock);
        backend->all_dirty_log = logs_all(backend) ? backend->dirty_log : NULL;
        pthread_mutex_unlock(&backend->memory_lock);
        for (unsigned i = 0; i < backend->n_queues; i++)
                queue_set_log(&backend->queues[i]);
}

void oriel_backend_mark_dirty(struct oriel_backend *backend, struct oriel_range guest)
{
        /* The dispatching thread frees the log after it has cleared this pointer under the lock. */
        pthread_mutex_lock(&backend->memory_lock);
        if (backend->all_dirty_log)
                memory_mark_dirty(backend->memory, backend->all_dirty_log, guest);
        pthread_mutex_unlock(&backend->memory_lock);
}

int memory_reset(struct oriel_backend *backend)
{
        bool iommu = backend->agreement.virtio_features & ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM);
        struct oriel_memory *memory;

        postcopy_unregister(backend);

        int r = oriel_memory_new(backend->max_mem_slots, iommu, &memory);

        if (r == 0)
                use_memory(backend, memory);
        return r;
}

static struct oriel_memory_region from_wire(const struct oriel_wire_memory_region *wire)
{
        return (struct oriel_memory_region){wire->guest_address, wire->size, wire->user_address, wire->mmap_offset};
}

static int complain_region(struct complaint *why, const char *name, const struct oriel_memory_region *region, int r)
{
        complain(why, "%s: region at guest address 0x%" PRIx64 " of 0x%" PRIx64 " bytes: %s", name,
                 region->guest_address, region->size, strerror(-r));
        return r;
}

/* A thread may be waiting for a page of the region, and after the removal nothing could wake it. */
static bool refuse_in_postcopy(const struct oriel_backend *backend, const char *name, struct complaint *why)
{
        if (backend->agreement.postcopy)
                complain(why, "%s: regions stay until POSTCOPY_END", name);
        return backend->agreement.postcopy;
}

int handle_set_mem_table(struct oriel_backend *backend, struct message *request, struct message *reply,
                         struct complaint *why)
{
        bool iommu = backend->agreement.virtio_features & ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM);
        _cleanup_(oriel_memory_unrefp) struct oriel_memory *memory = NULL;
        struct oriel_wire_memory wire;
        int r;

        if (postcopy_acknowledged(backend, request))
                return 1;
        if (oriel_memory_count(backend->memory) > 0 && refuse_in_postcopy(backend, "SET_MEM_TABLE", why))
                return -EBUSY;
        r = oriel_memory_new(backend->max_mem_slots, iommu, &memory);
        if (r < 0)
                return r;
        message_get(request, &wire, sizeof(wire));
        for (unsigned i = 0; i < wire.num_regions; i++) {
                struct oriel_memory_region region = from_wire(&wire.regions[i]);
                struct oriel_memory *next;

                r = oriel_memory_add(memory, &region, request->fds[i], &next);
                if (r < 0)
                        return complain_region(why, "SET_MEM_TABLE", &region, r);
                oriel_memory_unref(memory);
                memory = next;
        }
        r = postcopy_register(backend, memory, request, reply);
        if (r == 0)
                use_memory(backend, steal(memory));
        return r;
}

int handle_add_mem_reg(struct oriel_backend *backend, struct message *request, struct message *reply,
                       struct complaint *why)
{
        struct oriel_memory_region region = from_wire(&request->payload.mem_reg.region);
        struct oriel_memory *memory;

        if (postcopy_acknowledged(backend, request))
                return 1;
        if (request->n_fds == 0) {
                complain(why, "ADD_MEM_REG: an acknowledgement where none is due");
                return -EINVAL;
        }

        int r = oriel_memory_add(backend->memory, &region, request->fds[0], &memory);

        if (r < 0)
                return complain_region(why, "ADD_MEM_REG", &region, r);
        r = postcopy_register(backend, memory, request, reply);
        if (r == 0)
                use_memory(backend, memory);
        else
                oriel_memory_unref(memory);
        return r;
}

int handle_rem_mem_reg(struct oriel_backend *backend, struct message *request, struct message *reply,
                       struct complaint *why)
{
        struct oriel_memory_region region = from_wire(&request->payload.mem_reg.region);
        struct oriel_memory *memory;

        if (refuse_in_postcopy(backend, "REM_MEM_REG", why))
                return -EBUSY;

        int r = oriel_memory_remove(backend->memory, &region, &memory);

        if (r < 0)
                return complain_region(why, "REM_MEM_REG", &region, r);
        use_memory(backend, memory);
        return 0;
}

int handle_get_max_mem_slots(struct oriel_backend *backend, struct message *request, struct message *reply,
                             struct complaint *why)
{
        message_set_u64(reply, backend->max_mem_slots);
        return 0;
}

/* A queue that got an IOTLB miss waits for its kick. */
static void wake_queues(struct oriel_backend *backend)
{
        for (unsigned i = 0; i < backend->n_queues; i++)
                if (backend->queues[i].running && backend->queues[i].kick_fd >= 0)
                        fd_event_signal(backend->queues[i].kick_fd);
}

static int change_iotlb(struct oriel_backend *backend, const struct vhost_iotlb_msg *msg, struct oriel_memory **memory)
{
        struct oriel_range iova = {msg->iova, msg->size};

        if (msg->type == VHOST_IOTLB_UPDATE && msg->perm <= VHOST_ACCESS_RW)
                return oriel_memory_iotlb_update(backend->memory, iova, msg->uaddr, (enum oriel_access)msg->perm,
                                                 memory);
        if (msg->type == VHOST_IOTLB_INVALIDATE)
                return oriel_memory_iotlb_invalidate(backend->memory, iova, memory);
        return -EINVAL;
}

int handle_iotlb_msg(struct oriel_backend *backend, struct message *request, struct message *reply,
                     struct complaint *why)
{
        struct vhost_iotlb_msg msg;
        struct oriel_memory *memory;

        message_get(request, &msg, sizeof(msg));

        int r = change_iotlb(backend, &msg, &memory);

        if (r == 0) {
                use_memory(backend, memory);
                wake_queues(backend);
        }
        message_set_u64(reply, r < 0);
        return 0;
}

int handle_set_log_base(struct oriel_backend *backend, struct message *request, struct message *reply,
                        struct complaint *why)
{
        struct oriel_wire_log log;
        struct oriel_dirty_log *dirty_log;

        if (request->n_fds == 0) {
                complain(why, "SET_LOG_BASE: an address without an fd is of no use here");
                return -EINVAL;
        }
        message_get(request, &log, sizeof(log));

        int r = oriel_dirty_log_new(request->fds[0], log.offset, log.size, &dirty_log);

        message_set_u64(reply, r < 0);
        if (r < 0)
                return row_replies(oriel_message_find(ORIEL_FROM_FRONTEND, request->header.request),
                                   &backend->agreement)
                               ? 0
                               : r;

        struct oriel_dirty_log *old = backend->dirty_log;

        backend->dirty_log = dirty_log;
        memory_set_log(backend);
        oriel_dirty_log_unref(old);
        return 0;
}

int handle_set_log_fd(struct oriel_backend *backend, struct message *request, struct message *reply,
                      struct complaint *why)
{
        /* Optional to signal: a front-end that tracks dirty pages reads the log at its own pace. */
        fd_close(backend->log_fd);
        backend->log_fd = message_take_fd(request, 0);
        return 0;
}
