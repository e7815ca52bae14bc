/* SPDX-License-Identifier: BSD-2-Clause */

/* A driver that reads the region of each of its devices as soon as it has started it: what the back-end maps at the
 * start is there. */

#include "tests.h"
#include "virtio.h"

#include <linux/virtio_config.h>

static void touch(const struct area *area)
{
        uint64_t sum = 0;

        for (uint64_t at = 0; at < area->size; at += 4096)
                sum += read64(area->address + at);
        print("# the first words of its pages are 0x%llx in all\n", (unsigned long long)sum);
}

void test_start(void)
{
        const uint64_t features = UINT64_C(1) << VIRTIO_F_VERSION_1 | cmdline_number("features", 0);
        const unsigned id = (unsigned)cmdline_number("id", 0);
        static struct virtio device;
        unsigned n = 0;

        sync_host("start");
        for (; virtio_find(&device, id, n); n++) {
                need(device.n_regions > 0, "device %u has a region", n);
                need(virtio_start(&device, features), "it can be started");
                print("# the region begins with 0x%llx\n", (unsigned long long)read64(device.regions[0].area.address));
                if (cmdline_value("touch"))
                        touch(&device.regions[0].area);
        }
        if (cmdline_value("touch"))
                sync_host("touched");
        check(n > 0, "there are %u devices", n);
}
