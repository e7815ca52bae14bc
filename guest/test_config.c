/* SPDX-License-Identifier: BSD-2-Clause */

/* A configuration space that changes while the device runs: the guest is told by the interrupt's status and by the
 * generation, and reads what is there now. */

#include "guest.h"
#include "tests.h"
#include "virtio.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_pci.h>

static uint8_t generation(const struct virtio *device)
{
        return read8(virtio_register(device, VIRTIO_PCI_COMMON_CFGGENERATION));
}

static void show_config(const struct virtio *device)
{
        print("# config: %08x %08x\n", read32(device->config.address), read32(device->config.address + 4));
}

static void write_config(const struct virtio *device)
{
        write32(device->config.address + 4, 0x01020304);
}

/* Until the host has answered. With the word "early" the guest writes before it is told of the change. */
static void wait_for_change(const struct virtio *device, uint8_t before)
{
        tell_host("config");
        if (cmdline_value("early")) {
                while (!host_has_answered())
                        ;
                write_config(device);
                tell_host("early");
        }
        while (generation(device) == before && !host_has_answered())
                ;
}

void test_config(void)
{
        static struct virtio device;

        need(virtio_find(&device, VIRTIO_ID_BALLOON, 0), "the device is there");
        need(virtio_reset(&device) && virtio_negotiate(&device, UINT64_C(1) << VIRTIO_F_VERSION_1),
             "it takes a driver");
        need(virtio_start_queue(&device, 0), "and starts a queue");
        virtio_add_status(&device, VIRTIO_CONFIG_S_DRIVER_OK);

        uint8_t before = generation(&device);

        show_config(&device);
        read8(device.isr.address);
        wait_for_change(&device, before);
        check(generation(&device) != before, "its generation is another");
        check(read8(device.isr.address) & VIRTIO_PCI_ISR_CONFIG, "the interrupt's status says that it has changed");
        check(read8(device.isr.address) == 0, "once");
        show_config(&device);
        sync_host("changed");
        write_config(&device);
        show_config(&device);
        sync_host("written");
}
