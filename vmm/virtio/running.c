/* SPDX-License-Identifier: BSD-2-Clause */

/* A device that the driver has started, and its end: the messages that give the back-end memory, queues and the device
 * status, and take them away. All functions run on the device's thread, and wait for the back-end's answers. Memory is
 * the guest's, and pieces that other devices have mapped, in as many slots as the back-end has. A queue goes on where
 * the last back-end has left it: by the ring's used index, and by the in-flight buffer where there is one. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "vmm/virtio/device.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/virtqueue.h>
#include <search.h>
#include <string.h>

/* A packed ring's first base: both wrap counters are 1 (virtio 1.2, 2.8.1). */
static const uint32_t first_packed_base = 0x80008000;

enum { DRIVER_STATUS = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER };

static int running_set_status(struct virtio *virtio, uint8_t status)
{
        if (!has_protocol(virtio, ORIEL_PROTOCOL_F_STATUS) || status == virtio->told_status)
                return 0;
        virtio->told_status = status;
        return oriel_frontend_set_status(virtio->frontend, status);
}

static uint64_t driver_features(struct virtio *virtio)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);

        return virtio->registers.driver_features;
}

/* Those of the driver's features that are not the front-end's alone. */
static uint64_t backend_features(struct virtio *virtio)
{
        uint64_t all = driver_features(virtio);

        return virtio->net.served ? all & oriel_frontend_device_features(virtio->frontend) : all;
}

static bool is_packed(struct virtio *virtio)
{
        return driver_features(virtio) & ORIEL_FEATURE(VIRTIO_F_RING_PACKED);
}

/* The driver has done something that it must not: the device waits to be reset. */
static void need_reset(struct virtio *virtio, const char *what, unsigned queue)
{
        if (transport_need_reset(virtio))
                log_warning(&virtio->log, "%s: queue %u: %s: the device needs a reset by its driver", virtio->name,
                            queue, what);
}

/* ---- memory ---- */

static int compare_pieces(const void *a, const void *b)
{
        return (uintptr_t)a < (uintptr_t)b ? -1 : (uintptr_t)a > (uintptr_t)b;
}

static int set_memory(struct virtio *virtio)
{
        struct oriel_memory_region regions[2];
        unsigned n = kvm_memory_regions(virtio->options.kvm, regions);
        const int fd = kvm_memory_fd(virtio->options.kvm), fds[2] = {fd, fd};

        return oriel_frontend_set_mem_table(virtio->frontend, regions, fds, n);
}

static void log_lost_dma(struct virtio *virtio, const char *why)
{
        if (!virtio->slots_ran_out)
                log_warning(&virtio->log, "%s: %s: I/O to what is mapped in windows may not work", virtio->name, why);
        virtio->slots_ran_out = true;
}

static int running_add_piece(struct virtio *virtio, struct dma_piece *piece)
{
        if (!has_protocol(virtio, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) {
                log_lost_dma(virtio, "the back-end takes no memory at run time");
                dma_piece_release(virtio->options.dma, piece);
                return 0;
        }

        if (!slots_take(&virtio->slots, piece->owner, piece->shares)) {
                log_lost_dma(virtio, "one window's mappings may take no more of the back-end's memory slots");
                dma_piece_release(virtio->options.dma, piece);
                return 0;
        }

        int r = oriel_frontend_add_mem_reg(virtio->frontend, &piece->region, oriel_mapping_fd(piece->mapping));

        if (r == 0 && tsearch(piece, &virtio->dma_told, compare_pieces)) {
                virtio->n_told++;
                return 0;
        }
        slots_give_back(&virtio->slots, piece->owner);
        if (r == -EREMOTEIO)
                log_lost_dma(virtio, "the back-end takes no more memory");
        dma_piece_release(virtio->options.dma, piece);
        return r == -EREMOTEIO ? 0 : r;
}

static int remove_piece(struct virtio *virtio, struct dma_piece *piece)
{
        int r = 0;

        if (tfind(piece, &virtio->dma_told, compare_pieces)) {
                r = oriel_frontend_rem_mem_reg(virtio->frontend, &piece->region);
                tdelete(piece, &virtio->dma_told, compare_pieces);
                slots_give_back(&virtio->slots, piece->owner);
                dma_piece_release(virtio->options.dma, piece);
        }
        dma_piece_release(virtio->options.dma, piece);
        return r == -EREMOTEIO ? 0 : r;
}

int running_memory(struct virtio *virtio)
{
        enum dma_change_kind kind;
        struct dma_piece *piece;
        int r = 0;

        while (r == 0 && dma_next(virtio->options.dma, &virtio->dma_listener, &kind, &piece))
                r = kind == DMA_ADD ? running_add_piece(virtio, piece) : remove_piece(virtio, piece);
        return r;
}

static void forget_memory(struct virtio *virtio)
{
        dma_stop_listening(virtio->options.dma, &virtio->dma_listener);
        while (virtio->dma_told) {
                struct dma_piece *piece = *(struct dma_piece **)virtio->dma_told;

                tdelete(piece, &virtio->dma_told, compare_pieces);
                dma_piece_release(virtio->options.dma, piece);
        }
        slots_clear(&virtio->slots);
}

/* ---- queues ---- */

/* As the driver has left it. */
static struct queue look_at_queue(struct virtio *virtio, unsigned index)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);

        return virtio->queues[index];
}

/* Where the ring's three parts are, for the back-end; false: not all in memory. */
static bool running_find_ring(struct virtio *virtio, const struct queue *queue, struct vhost_vring_addr *addr)
{
        uint64_t *const to[] = {(uint64_t *)&addr->desc_user_addr, (uint64_t *)&addr->avail_user_addr,
                                (uint64_t *)&addr->used_user_addr};
        const uint64_t from[] = {queue->descriptor, queue->driver, queue->device};
        bool guest = has_protocol(virtio, ORIEL_PROTOCOL_F_GPA_ADDRESSES);
        size_t sizes[3];

        oriel_ring_sizes(queue->size, is_packed(virtio), sizes);
        for (int i = 0; i < 3; i++) {
                const void *host = kvm_memory_at(virtio->options.kvm, from[i], sizes[i]);

                if (!host)
                        return false;
                *to[i] = guest ? from[i] : (uintptr_t)host;
        }
        return true;
}

/* A back-end that goes on where another has ended. A split ring has how far that was, but for what was in flight; for a
 * packed one the in-flight buffer has it. */
static uint32_t base_of(struct virtio *virtio, const struct queue *queue)
{
        if (is_packed(virtio))
                return queue->ran ? queue->base : first_packed_base;
        if (!queue->ran)
                return 0;

        const struct vring_used *used = kvm_memory_at(virtio->options.kvm, queue->device, sizeof(*used));

        return used ? le16toh(__atomic_load_n(&used->idx, __ATOMIC_ACQUIRE)) : 0;
}

static int set_ring(struct virtio *virtio, unsigned index, const struct queue *queue,
                    const struct vhost_vring_addr *addr)
{
        struct oriel_frontend *frontend = virtio->frontend;
        int r = oriel_frontend_set_vring_num(frontend, index, queue->size);

        if (r == 0)
                r = oriel_frontend_set_vring_base(frontend, index, base_of(virtio, queue));
        if (r == 0)
                r = oriel_frontend_set_vring_addr(frontend, addr);
        /* "Ring states": with protocol features a ring begins disabled. */
        if (r == 0 && ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES) & oriel_frontend_device_features(frontend))
                r = oriel_frontend_set_vring_enable(frontend, index, net_uses_queue(virtio, index));
        if (r == 0)
                r = oriel_frontend_set_vring_call(frontend, index, queue->call_fd);
        if (r == 0)
                r = oriel_frontend_set_vring_err(frontend, index, virtio->err_fd);
        return r == 0 ? oriel_frontend_set_vring_kick(frontend, index, queue->kick_fd) : r;
}

static int start_queue(struct virtio *virtio, unsigned index)
{
        const struct queue queue = look_at_queue(virtio, index);
        struct vhost_vring_addr addr = {.index = index};

        if (!queue.enabled || queue.resetting || queue.running || index == net_control_index(virtio) ||
            index >= net_backend_queues(virtio))
                return 0;
        if (!running_find_ring(virtio, &queue, &addr)) {
                need_reset(virtio, "its ring is not in memory", index);
                return 0;
        }

        int r = set_ring(virtio, index, &queue, &addr);

        /* The driver's mistake, such as addresses that are not aligned: a new back-end would refuse it as well. */
        if (r == -EREMOTEIO) {
                need_reset(virtio, "the back-end refuses its ring", index);
                return 0;
        }
        if (r < 0)
                return r;
        virtio->queues[index].running = true;
        /* Notify both sides again: notifications to the back-end before are lost, buffers and the driver may be
         * waiting. */
        fd_event_signal(queue.kick_fd);
        if (queue.ran)
                fd_event_signal(queue.call_fd);
        virtio->queues[index].ran = true;
        return 0;
}

void running_kick(struct virtio *virtio)
{
        for (unsigned i = 0; i < virtio->n_queues; i++)
                if (virtio->queues[i].running)
                        fd_event_signal(virtio->queues[i].kick_fd);
}

static int stop_queue(struct virtio *virtio, unsigned index)
{
        struct queue *queue = &virtio->queues[index];

        if (!queue->running)
                return 0;
        queue->running = false;
        return oriel_frontend_get_vring_base(virtio->frontend, index, &queue->base);
}

/* The driver begins anew, with a ring that may be elsewhere. */
static void running_forget_queue(struct queue *queue)
{
        queue->running = queue->ran = false;
        queue->base = 0;
        fd_event_clear(queue->kick_fd);
        fd_event_clear(queue->call_fd);
}

/* Clears the queue's part of the in-flight buffer, which describes the ring as it was before. */
static int running_clear_inflight(struct virtio *virtio, unsigned index)
{
        size_t size = oriel_inflight_region_size(virtio->inflight.queue_size, is_packed(virtio));
        off_t offset = (off_t)(virtio->inflight.mmap_offset + index * size);
        int mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

        if (virtio->inflight_fd < 0 || index >= net_backend_queues(virtio))
                return 0;
        return fallocate(virtio->inflight_fd, mode, offset, (off_t)size) < 0 ? -errno : 0;
}

/* virtio 1.2, 2.6.1. */
static int running_reset_queue(struct virtio *virtio, unsigned index)
{
        int r = stop_queue(virtio, index), cleared = running_clear_inflight(virtio, index);

        running_forget_queue(&virtio->queues[index]);
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);

        struct queue *queue = &virtio->queues[index];

        queue->enabled = queue->resetting = false;
        queue->descriptor = queue->driver = queue->device = 0;
        queue->size = (uint16_t)virtio->options.device.queue_size;
        return r < 0 ? r : cleared;
}

int running_update(struct virtio *virtio)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < virtio->n_queues; i++)
                r = look_at_queue(virtio, i).resetting ? running_reset_queue(virtio, i) : start_queue(virtio, i);
        return r;
}

/* ---- the device ---- */

static int set_inflight(struct virtio *virtio)
{
        if (!has_protocol(virtio, ORIEL_PROTOCOL_F_INFLIGHT_SHMFD))
                return 0;

        int r = 0;

        if (virtio->inflight_fd < 0) {
                virtio->inflight = (struct oriel_wire_inflight){
                        .num_queues = (uint16_t)net_backend_queues(virtio),
                        .queue_size = (uint16_t)virtio->options.device.queue_size,
                };
                r = oriel_frontend_get_inflight_fd(virtio->frontend, &virtio->inflight, &virtio->inflight_fd);
        }
        return r == 0 ? oriel_frontend_set_inflight_fd(virtio->frontend, &virtio->inflight, virtio->inflight_fd) : r;
}

static void set_started(struct virtio *virtio, bool started)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);
        virtio->started = started;
        if (started)
                kvm_let_go(virtio->options.kvm, virtio);
}

int running_start(struct virtio *virtio)
{
        int r = running_set_status(virtio, DRIVER_STATUS);

        if (r == 0)
                r = oriel_frontend_set_features(virtio->frontend, backend_features(virtio));
        if (r == 0)
                r = running_set_status(virtio, DRIVER_STATUS | VIRTIO_CONFIG_S_FEATURES_OK);
        if (r == 0)
                r = set_memory(virtio);
        if (r == 0) {
                dma_listen(virtio->options.dma, &virtio->dma_listener, virtio->wake_fd);
                r = running_memory(virtio);
                virtio->told_at_kick = virtio->n_told;
        }
        if (r == 0)
                r = set_inflight(virtio);
        if (r == 0)
                r = running_update(virtio);
        if (r == 0)
                r = running_set_status(virtio, DRIVER_STATUS | VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK);
        if (r == 0)
                r = oriel_frontend_await_mappings(virtio->frontend);
        if (r == 0)
                r = net_announce(virtio);
        if (r == 0)
                set_started(virtio, true);
        /* The driver has chosen this, and another back-end would refuse it too. */
        if (r == -EREMOTEIO) {
                need_reset(virtio, "the back-end refuses what the driver has chosen", 0);
                return 0;
        }
        return r;
}

void running_lost(struct virtio *virtio)
{
        set_started(virtio, false);
        forget_memory(virtio);
        virtio->told_status = 0;
        for (unsigned i = 0; i < virtio->n_queues; i++)
                virtio->queues[i].running = false;
}

static int tell_reset(struct virtio *virtio)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < virtio->n_queues; i++)
                r = stop_queue(virtio, i);
        if (r == 0 && has_protocol(virtio, ORIEL_PROTOCOL_F_RESET_DEVICE))
                r = oriel_frontend_reset_device(virtio->frontend);
        return r == 0 ? running_set_status(virtio, 0) : r;
}

void running_unmap(struct virtio *virtio)
{
        for (unsigned i = 0; i < virtio->n_windows; i++)
                oriel_region_unmap_all(guest_window_region(virtio->windows[i].window));
}

void running_stop(struct virtio *virtio)
{
        if (oriel_frontend_connected(virtio->frontend))
                tell_reset(virtio);
        forget_memory(virtio);
        set_started(virtio, false);
        running_unmap(virtio);
        for (unsigned i = 0; i < virtio->n_queues; i++)
                running_forget_queue(&virtio->queues[i]);
        net_stop(virtio);
        virtio->inflight_fd = fd_close(virtio->inflight_fd);
        virtio->told_status = 0;
}
