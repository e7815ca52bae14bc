/* SPDX-License-Identifier: BSD-2-Clause */

/* A driver that reads its region as soon as it has started the device: what the back-end maps at the start is there. */

#include "tests.h"
#include "virtio.h"

#include <linux/virtio_config.h>

void test_start(void)
{
        static struct virtio device;

        need(virtio_find(&device, (unsigned)cmdline_number("id", 0), 0), "the device is there");
        need(device.n_regions > 0, "it has a region");
        sync_host("start");
        need(virtio_start(&device, UINT64_C(1) << VIRTIO_F_VERSION_1), "it can be started");
        print("# the region begins with 0x%llx\n", (unsigned long long)read64(device.regions[0].area.address));
        check(true, "the region can be read");
}
