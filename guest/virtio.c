/* SPDX-License-Identifier: BSD-2-Clause */

/* A virtio device on PCI from the driver's side: find it by its number, read where its capabilities say that its
 * structures are, negotiate, and start its queues. The guest has no interrupts, so queues are looked at again and
 * again. */

#include "virtio.h"

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

/* virtio 1.2, 4.1.2: the vendor, and where the devices' numbers begin. */
enum { VENDOR = 0x1af4, FIRST_DEVICE = 0x1040 };
enum { MOST_FUNCTIONS = 64, FEATURE_WORDS = 2 };

/* ---- where everything is ---- */

static struct area area_at(const struct pci_function *function, unsigned cap, bool is_64)
{
        uint64_t at = function->config + cap, bar_size;
        uint64_t bar = pci_bar(function, read8(at + VIRTIO_PCI_CAP_BAR), &bar_size);
        uint64_t offset = read32(at + VIRTIO_PCI_CAP_OFFSET), size = read32(at + VIRTIO_PCI_CAP_LENGTH);

        if (is_64) {
                offset |= (uint64_t)read32(at + offsetof(struct virtio_pci_cap64, offset_hi)) << 32;
                size |= (uint64_t)read32(at + offsetof(struct virtio_pci_cap64, length_hi)) << 32;
        }
        if (size > bar_size || offset > bar_size - size)
                return (struct area){0};
        return (struct area){bar + offset, size};
}

static void take_region(struct virtio *device, unsigned cap)
{
        if (device->n_regions == MOST_REGIONS)
                return;
        device->regions[device->n_regions++] = (struct virtio_region){
                .shmid = read8(device->function.config + cap + offsetof(struct virtio_pci_cap, id)),
                .area = area_at(&device->function, cap, true),
        };
}

/* The first of each type is the one to use. */
static void take_area(struct area *to, const struct pci_function *function, unsigned cap)
{
        if (to->size == 0)
                *to = area_at(function, cap, false);
}

static void take_capability(struct virtio *device, unsigned cap)
{
        const struct pci_function *function = &device->function;

        switch (read8(function->config + cap + VIRTIO_PCI_CAP_CFG_TYPE)) {
        case VIRTIO_PCI_CAP_COMMON_CFG:
                take_area(&device->common, function, cap);
                break;
        case VIRTIO_PCI_CAP_NOTIFY_CFG:
                take_area(&device->notify, function, cap);
                device->notify_multiplier = read32(function->config + cap + VIRTIO_PCI_NOTIFY_CAP_MULT);
                break;
        case VIRTIO_PCI_CAP_ISR_CFG:
                take_area(&device->isr, function, cap);
                break;
        case VIRTIO_PCI_CAP_DEVICE_CFG:
                take_area(&device->config, function, cap);
                break;
        case VIRTIO_PCI_CAP_PCI_CFG:
                device->pci_cfg = cap;
                break;
        case VIRTIO_PCI_CAP_SHARED_MEMORY_CFG:
                take_region(device, cap);
                break;
        default:
                break;
        }
}

static void take_capabilities(struct virtio *device)
{
        unsigned at = 0;

        while ((at = pci_find_capability(&device->function, PCI_CAP_ID_VNDR, at)) != 0)
                take_capability(device, at);
}

bool virtio_find(struct virtio *device, unsigned virtio_id, unsigned nth)
{
        static struct pci_function functions[MOST_FUNCTIONS];
        unsigned n = pci_scan(functions, MOST_FUNCTIONS);

        memset(device, 0, sizeof(*device));
        for (unsigned i = 0; i < n; i++) {
                if (functions[i].vendor != VENDOR || functions[i].device != FIRST_DEVICE + virtio_id || nth-- > 0)
                        continue;
                device->function = functions[i];
                take_capabilities(device);
                pci_enable(&device->function, true);
                return device->common.size > 0 && device->notify.size > 0;
        }
        return false;
}

/* ---- status and features ---- */

uint8_t virtio_status(const struct virtio *device)
{
        return read8(virtio_register(device, VIRTIO_PCI_COMMON_STATUS));
}

void virtio_add_status(const struct virtio *device, uint8_t bits)
{
        write8(virtio_register(device, VIRTIO_PCI_COMMON_STATUS), (uint8_t)(virtio_status(device) | bits));
}

bool virtio_reset(struct virtio *device)
{
        uint64_t deadline = deadline_in(LAST_RESORT_MS);

        write8(virtio_register(device, VIRTIO_PCI_COMMON_STATUS), 0);
        while (virtio_status(device) != 0)
                if (deadline_past(deadline))
                        return false;
        return true;
}

uint64_t virtio_features(const struct virtio *device)
{
        uint64_t features = 0;

        for (uint32_t i = 0; i < FEATURE_WORDS; i++) {
                write32(virtio_register(device, VIRTIO_PCI_COMMON_DFSELECT), i);
                features |= (uint64_t)read32(virtio_register(device, VIRTIO_PCI_COMMON_DF)) << 32 * i;
        }
        return features;
}

bool virtio_negotiate(const struct virtio *device, uint64_t features)
{
        virtio_add_status(device, VIRTIO_CONFIG_S_ACKNOWLEDGE);
        virtio_add_status(device, VIRTIO_CONFIG_S_DRIVER);
        for (uint32_t i = 0; i < FEATURE_WORDS; i++) {
                write32(virtio_register(device, VIRTIO_PCI_COMMON_GFSELECT), i);
                write32(virtio_register(device, VIRTIO_PCI_COMMON_GF), (uint32_t)(features >> 32 * i));
        }
        virtio_add_status(device, VIRTIO_CONFIG_S_FEATURES_OK);
        return virtio_status(device) & VIRTIO_CONFIG_S_FEATURES_OK;
}

uint32_t virtio_read_bar(const struct virtio *device, uint8_t bar, uint32_t offset)
{
        uint64_t at = device->function.config + device->pci_cfg;

        write8(at + VIRTIO_PCI_CAP_BAR, bar);
        write32(at + VIRTIO_PCI_CAP_OFFSET, offset);
        write32(at + VIRTIO_PCI_CAP_LENGTH, sizeof(uint32_t));
        return read32(at + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data));
}

/* ---- queues ---- */

uint16_t virtio_select(const struct virtio *device, uint16_t queue)
{
        write16(virtio_register(device, VIRTIO_PCI_COMMON_Q_SELECT), queue);
        return read16(virtio_register(device, VIRTIO_PCI_COMMON_Q_SIZE));
}

void virtio_place(const struct virtio *device, const uint64_t parts[3])
{
        for (unsigned i = 0; i < 3; i++) {
                uint64_t to = virtio_register(device, VIRTIO_PCI_COMMON_Q_DESCLO + 8 * i);

                write32(to, (uint32_t)parts[i]);
                write32(to + 4, (uint32_t)(parts[i] >> 32));
        }
}

void virtio_enable(const struct virtio *device)
{
        write16(virtio_register(device, VIRTIO_PCI_COMMON_Q_ENABLE), 1);
}

bool virtio_start_queue(struct virtio *device, uint16_t index)
{
        struct virtqueue *queue = &device->queues[index];
        uint16_t size = virtio_select(device, index);
        uint64_t parts[3];

        if (size == 0)
                return false;
        queue_init(queue, index, size < QUEUE_SIZE ? size : QUEUE_SIZE, device->packed);
        queue_parts(queue, parts);
        queue->notify = device->notify.address +
                        (uint64_t)read16(virtio_register(device, VIRTIO_PCI_COMMON_Q_NOFF)) * device->notify_multiplier;
        write16(virtio_register(device, VIRTIO_PCI_COMMON_Q_SIZE), queue->size);
        virtio_place(device, parts);
        virtio_enable(device);
        return true;
}

bool virtio_reset_queue(struct virtio *device, uint16_t index)
{
        uint64_t deadline = deadline_in(LAST_RESORT_MS);

        virtio_select(device, index);
        write16(virtio_register(device, VIRTIO_PCI_COMMON_Q_RESET), 1);
        while (read16(virtio_register(device, VIRTIO_PCI_COMMON_Q_RESET)) != 0)
                if (deadline_past(deadline))
                        return false;
        return true;
}

bool virtio_start(struct virtio *device, uint64_t features)
{
        device->packed = features & UINT64_C(1) << VIRTIO_F_RING_PACKED;
        if (!virtio_reset(device) || !virtio_negotiate(device, features))
                return false;
        for (uint16_t i = 0; i < MOST_QUEUES && (i == 0 || virtio_select(device, i) > 0); i++)
                if (!virtio_start_queue(device, i))
                        return false;
        virtio_add_status(device, VIRTIO_CONFIG_S_DRIVER_OK);
        return virtio_status(device) & VIRTIO_CONFIG_S_DRIVER_OK;
}
