/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_VIRTIO_H
#define GUEST_VIRTIO_H

#include "pci.h"
#include "queue.h"

/* A virtio device on PCI (virtio 1.2, 4.1), without interrupts. */

enum { MOST_REGIONS = 4, MOST_QUEUES = 2 };

/* One of its structures; @size is 0 where there is none. */
struct area {
        uint64_t address, size;
};

struct virtio_region {
        uint8_t shmid;
        struct area area;
};

struct virtio {
        struct pci_function function;
        struct area common, notify, isr, config;
        uint32_t notify_multiplier;
        unsigned pci_cfg; /* where that capability is */
        struct virtio_region regions[MOST_REGIONS];
        unsigned n_regions;
        struct virtqueue queues[MOST_QUEUES];
        bool packed;
};

/* The @nth device (0 is the first) of this type; false: there is none. Memory accesses are enabled. */
bool virtio_find(struct virtio *device, unsigned virtio_id, unsigned nth);

/* Wait until the device has been reset; false: it was not within a bounded time. */
bool virtio_reset(struct virtio *device);
uint64_t virtio_features(const struct virtio *device);
/* Up to FEATURES_OK, and with the queues to DRIVER_OK. False: the device refuses @features. */
bool virtio_negotiate(const struct virtio *device, uint64_t features);
bool virtio_start(struct virtio *device, uint64_t features);
uint8_t virtio_status(const struct virtio *device);
void virtio_add_status(const struct virtio *device, uint8_t bits);

/* 4 bytes of a BAR, by way of the configuration space (virtio 1.2, 4.1.4.9). */
uint32_t virtio_read_bar(const struct virtio *device, uint8_t bar, uint32_t offset);

/* One queue's registers; on which all further ones act. How large it may be, 0: it does not exist. */
uint16_t virtio_select(const struct virtio *device, uint16_t queue);
/* The addresses of its three parts. */
void virtio_place(const struct virtio *device, const uint64_t parts[3]);
void virtio_enable(const struct virtio *device);
/* The same for one of the device's own queues, all of it. False: it does not exist. */
bool virtio_start_queue(struct virtio *device, uint16_t queue);
/* Reset one queue (virtio 1.2, 2.6.1); false: not within a bounded time. */
bool virtio_reset_queue(struct virtio *device, uint16_t queue);
/* Of a register of the common structure. */
static inline uint64_t virtio_register(const struct virtio *device, unsigned offset)
{
        return device->common.address + offset;
}

#endif
