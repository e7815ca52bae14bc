/* SPDX-License-Identifier: BSD-2-Clause */

/* The registers of virtio over PCI (virtio 1.2, 4.1.4): common configuration, ISR, device configuration, notification.
 * An access comes from a vcpu's thread, changes or reads the registers under the device's lock, and never waits for the
 * back-end: the device's thread tells it, and is woken for that. A reset is over when that thread says so, and a vcpu
 * that writes DRIVER_OK is held until the back-end's first mappings are there. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "vmm/virtio/device.h"

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <string.h>

static struct queue *queue_selected(struct virtio *virtio)
{
        unsigned n = virtio->registers.queue_select;

        return n < virtio->n_queues ? &virtio->queues[n] : NULL;
}

/* A queue's registers as its driver has not touched them yet. */
static void transport_reset_queue(struct virtio *virtio, unsigned index)
{
        struct queue *queue = &virtio->queues[index];

        queue->size = (uint16_t)virtio->options.device.queue_size;
        queue->vector = MSIX_NO_VECTOR;
        queue->enabled = queue->resetting = false;
        queue->descriptor = queue->driver = queue->device = 0;
        if (virtio->msix)
                msix_set_vector(virtio->msix, 1 + index, MSIX_NO_VECTOR);
}

void registers_reset(struct virtio *virtio)
{
        virtio->registers = (struct registers){
                .config_vector = MSIX_NO_VECTOR,
                .generation = virtio->registers.generation,
        };
        if (virtio->msix)
                msix_set_vector(virtio->msix, CONFIG_SOURCE, MSIX_NO_VECTOR);
        for (unsigned i = 0; i < virtio->n_queues; i++)
                transport_reset_queue(virtio, i);
        virtio->n_config_writes = 0;
        kvm_let_go(virtio->options.kvm, virtio);
}

void transport_config_interrupt(struct virtio *virtio)
{
        virtio->registers.generation++;
        virtio->registers.isr |= VIRTIO_PCI_ISR_CONFIG;
        fd_event_wake(virtio->config_fd);
}

bool transport_need_reset(struct virtio *virtio)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);
        if (virtio->registers.status & VIRTIO_CONFIG_S_NEEDS_RESET)
                return false;
        virtio->registers.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        transport_config_interrupt(virtio);
        kvm_let_go(virtio->options.kvm, virtio);
        return true;
}

/* ---- the common configuration structure; with the lock ---- */

static uint32_t register_half(uint64_t value, uint32_t select)
{
        return select > 1 ? 0 : (uint32_t)(value >> 32 * select);
}

static void write_driver_feature(struct virtio *virtio, uint32_t value)
{
        struct registers *registers = &virtio->registers;
        unsigned shift = 32 * registers->driver_feature_select;

        if (registers->driver_feature_select > 1 || registers->status & VIRTIO_CONFIG_S_FEATURES_OK)
                return;
        registers->driver_features &= ~(UINT64_C(0xffffffff) << shift);
        registers->driver_features |= (uint64_t)value << shift;
}

static void write_device_select(struct virtio *virtio, uint32_t value)
{
        virtio->registers.device_feature_select = value;
}

static void write_driver_select(struct virtio *virtio, uint32_t value)
{
        virtio->registers.driver_feature_select = value;
}

static void write_config_vector(struct virtio *virtio, uint32_t value)
{
        bool there = msix_set_vector(virtio->msix, CONFIG_SOURCE, (uint16_t)value);

        virtio->registers.config_vector = there ? (uint16_t)value : MSIX_NO_VECTOR;
}

/* The bits of @status that the driver may set now. */
static uint8_t allowed_status(const struct registers *registers, uint64_t offered, uint8_t status)
{
        bool good = !(registers->driver_features & ~offered) &&
                    registers->driver_features & ORIEL_FEATURE(VIRTIO_F_VERSION_1);

        status &= (uint8_t)~VIRTIO_CONFIG_S_NEEDS_RESET;
        if (!good)
                status &= (uint8_t)~VIRTIO_CONFIG_S_FEATURES_OK;
        if (!((registers->status | status) & VIRTIO_CONFIG_S_FEATURES_OK))
                status &= (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;
        return status;
}

static void start_is_late(void *userdata)
{
        struct virtio *virtio = userdata;

        log_warning(&virtio->log,
                    "%s: its driver goes on after %d s without a back-end that has started: what that maps at its start"
                    " is not in the shared memory regions yet",
                    virtio->name, START_MS / 1000);
}

/* A driver may use a region as soon as it has written DRIVER_OK: its vcpu goes on when what the back-end maps at its
 * start is in place. See running_start(). */
static void hold_driver(struct virtio *virtio)
{
        if (virtio->n_windows > 0)
                kvm_hold(virtio->options.kvm, virtio, START_MS, start_is_late);
}

/* A reset is over, and status reads 0, when the back-end has let go of everything. */
static void write_status(struct virtio *virtio, uint32_t value)
{
        struct registers *registers = &virtio->registers;
        const uint8_t before = registers->status;

        if (value != 0) {
                registers->status |= allowed_status(registers, virtio->device_features, (uint8_t)value);
                if (registers->status & ~before & VIRTIO_CONFIG_S_DRIVER_OK)
                        hold_driver(virtio);
        } else if (registers->status != 0) {
                virtio->reset_wanted = true;
                virtio->reset_late = false;
        }
        session_wake(virtio);
}

static void write_queue_select(struct virtio *virtio, uint32_t value)
{
        virtio->registers.queue_select = (uint16_t)value;
}

static void write_queue_size(struct virtio *virtio, uint32_t value)
{
        struct queue *queue = queue_selected(virtio);
        bool packed = virtio->registers.driver_features & ORIEL_FEATURE(VIRTIO_F_RING_PACKED);

        if (queue && !queue->enabled && value > 0 && value <= virtio->options.device.queue_size &&
            (packed || (value & (value - 1)) == 0))
                queue->size = (uint16_t)value;
}

static void write_queue_vector(struct virtio *virtio, uint32_t value)
{
        struct queue *queue = queue_selected(virtio);

        if (!queue)
                return;

        bool there = msix_set_vector(virtio->msix, 1u + virtio->registers.queue_select, (uint16_t)value);

        queue->vector = there ? (uint16_t)value : MSIX_NO_VECTOR;
}

static void write_queue_enable(struct virtio *virtio, uint32_t value)
{
        struct queue *queue = queue_selected(virtio);

        if (!queue || value != 1 || queue->resetting)
                return;
        queue->enabled = true;
        session_wake(virtio);
}

static void write_queue_reset(struct virtio *virtio, uint32_t value)
{
        struct queue *queue = queue_selected(virtio);

        if (!queue || value != 1 || !queue->enabled ||
            !(virtio->registers.driver_features & ORIEL_FEATURE(VIRTIO_F_RING_RESET)))
                return;
        queue->resetting = true;
        session_wake(virtio);
}

/* The value of the register at @offset. */
static uint32_t read_common(struct virtio *virtio, uint64_t offset)
{
        const struct registers *registers = &virtio->registers;
        const struct queue none = {.vector = MSIX_NO_VECTOR}, *queue = queue_selected(virtio);
        const uint16_t notify_offset = queue ? registers->queue_select : 0;

        if (!queue)
                queue = &none;

        const uint32_t values[] = {
                [VIRTIO_PCI_COMMON_DFSELECT] = registers->device_feature_select,
                [VIRTIO_PCI_COMMON_DF] = register_half(virtio->device_features, registers->device_feature_select),
                [VIRTIO_PCI_COMMON_GFSELECT] = registers->driver_feature_select,
                [VIRTIO_PCI_COMMON_GF] = register_half(registers->driver_features, registers->driver_feature_select),
                [VIRTIO_PCI_COMMON_MSIX] = registers->config_vector,
                [VIRTIO_PCI_COMMON_NUMQ] = virtio->n_queues,
                [VIRTIO_PCI_COMMON_STATUS] = registers->status,
                [VIRTIO_PCI_COMMON_CFGGENERATION] = registers->generation,
                [VIRTIO_PCI_COMMON_Q_SELECT] = registers->queue_select,
                [VIRTIO_PCI_COMMON_Q_SIZE] = queue->size,
                [VIRTIO_PCI_COMMON_Q_MSIX] = queue->vector,
                [VIRTIO_PCI_COMMON_Q_ENABLE] = queue->enabled,
                [VIRTIO_PCI_COMMON_Q_NOFF] = notify_offset,
                [VIRTIO_PCI_COMMON_Q_RESET] = queue->resetting,
        };

        return values[offset];
}

/* The three addresses, in halves. */
static void access_queue_address(struct virtio *virtio, unsigned offset, uint32_t *value, bool write)
{
        struct queue *queue = queue_selected(virtio);
        unsigned shift = offset % 8 ? 32 : 0;

        if (!queue)
                return;

        uint64_t *const addresses[] = {&queue->descriptor, &queue->driver, &queue->device};
        uint64_t *address = addresses[(offset - VIRTIO_PCI_COMMON_Q_DESCLO) / 8];

        if (!write)
                *value = (uint32_t)(*address >> shift);
        else if (!queue->enabled)
                *address = (*address & ~(UINT64_C(0xffffffff) << shift)) | (uint64_t)*value << shift;
}

static const struct {
        uint8_t offset, size;
        void (*write)(struct virtio *virtio, uint32_t value); /* NULL: it is read only */
} common[] = {
        {VIRTIO_PCI_COMMON_DFSELECT, 4, write_device_select},
        {VIRTIO_PCI_COMMON_DF, 4, NULL},
        {VIRTIO_PCI_COMMON_GFSELECT, 4, write_driver_select},
        {VIRTIO_PCI_COMMON_GF, 4, write_driver_feature},
        {VIRTIO_PCI_COMMON_MSIX, 2, write_config_vector},
        {VIRTIO_PCI_COMMON_NUMQ, 2, NULL},
        {VIRTIO_PCI_COMMON_STATUS, 1, write_status},
        {VIRTIO_PCI_COMMON_CFGGENERATION, 1, NULL},
        {VIRTIO_PCI_COMMON_Q_SELECT, 2, write_queue_select},
        {VIRTIO_PCI_COMMON_Q_SIZE, 2, write_queue_size},
        {VIRTIO_PCI_COMMON_Q_MSIX, 2, write_queue_vector},
        {VIRTIO_PCI_COMMON_Q_ENABLE, 2, write_queue_enable},
        {VIRTIO_PCI_COMMON_Q_NOFF, 2, NULL},
        {VIRTIO_PCI_COMMON_Q_RESET, 2, write_queue_reset},
};

static void access_common(struct virtio *virtio, uint64_t offset, void *data, unsigned size, bool write)
{
        uint32_t value = 0;

        if (write)
                memcpy(&value, data, size);
        if (size == 4 && offset >= VIRTIO_PCI_COMMON_Q_DESCLO && offset <= VIRTIO_PCI_COMMON_Q_USEDHI &&
            offset % 4 == 0)
                access_queue_address(virtio, (unsigned)offset, &value, write);
        for (size_t i = 0; i < ARRAY_SIZE(common); i++) {
                if (common[i].offset != offset || common[i].size != size)
                        continue;
                if (!write)
                        value = read_common(virtio, offset);
                else if (common[i].write)
                        common[i].write(virtio, value);
        }
        if (!write)
                memcpy(data, &value, size);
}

/* ---- the other structures; with the lock ---- */

static void access_isr(struct virtio *virtio, uint64_t offset, void *data, unsigned size, bool write)
{
        if (write || offset != 0)
                return;
        memset(data, 0, size);
        memcpy(data, &virtio->registers.isr, 1);
        virtio->registers.isr = 0;
}

static void access_config(struct virtio *virtio, uint64_t offset, void *data, unsigned size, bool write)
{
        if (!range_within((struct oriel_range){offset, size}, virtio->config_size))
                return;
        if (!write) {
                memcpy(data, virtio->config + offset, size);
                return;
        }
        if (virtio->n_config_writes == CONFIG_WRITES || virtio->net.served)
                return;

        struct config_write *to = &virtio->config_writes[virtio->n_config_writes++];

        *to = (struct config_write){.offset = (uint32_t)offset, .size = (uint8_t)size};
        memcpy(to->data, data, size);
        memcpy(virtio->config + offset, data, size);
        session_wake(virtio);
}

/* KVM does this by itself, but for a guest that it interprets, and for VIRTIO_PCI_CAP_PCI_CFG. */
static void access_notify(struct virtio *virtio, uint64_t offset, void *data, unsigned size, bool write)
{
        uint64_t queue = offset / NOTIFY_STRIDE;

        if (write && queue < virtio->n_queues)
                fd_event_signal(virtio->queues[queue].kick_fd);
}

static const struct {
        uint32_t offset;
        void (*access)(struct virtio *virtio, uint64_t offset, void *data, unsigned size, bool write);
} areas[] = {
        {COMMON_OFFSET, access_common},
        {ISR_OFFSET, access_isr},
        {CONFIG_OFFSET, access_config},
        {NOTIFY_OFFSET, access_notify},
};

static void access_area(struct virtio *virtio, uint64_t offset, void *data, unsigned size, bool write)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&virtio->lock);
        for (size_t i = 0; i < ARRAY_SIZE(areas); i++)
                if (offset / AREA_SIZE == areas[i].offset / AREA_SIZE)
                        areas[i].access(virtio, offset % AREA_SIZE, data, size, write);
}

void transport_access(void *userdata, uint64_t offset, void *data, unsigned size, bool write)
{
        struct virtio *virtio = userdata;

        if (offset >= PENDING_OFFSET)
                msix_access_pending(virtio->msix, offset - PENDING_OFFSET, data, size, write);
        else if (offset >= TABLE_OFFSET)
                msix_access_table(virtio->msix, offset - TABLE_OFFSET, data, size, write);
        else if (size <= 4)
                access_area(virtio, offset, data, size, write);
        else
                for (unsigned at = 0; at < size; at += 4)
                        access_area(virtio, offset + at, (uint8_t *)data + at, 4, write);
}
