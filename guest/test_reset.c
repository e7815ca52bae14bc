/* SPDX-License-Identifier: BSD-2-Clause */

/* Resets while files are mapped: of a device, by its driver, and of the machine. */

#include "share.h"
#include "tests.h"

#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

enum { SEED = 1, RESETS = 20 };

/* Where no image is: what one boot leaves there the next must not find. */
static const uint64_t elsewhere = 0x1800000, left_behind = 0x6c656674206f7665;

static bool is_hole(const struct share *share)
{
        for (uint64_t at = 0; at < share->window.size; at += 4)
                if (read32(share->window.address + at) != 0)
                        return false;
        return true;
}

static uint64_t map(struct share *share)
{
        uint64_t size, node = share_lookup(share, "file", &size);

        need(share_map(share, node, 0, 0, RANGE, true) == 0 && share_map(share, node, 0, 2 * RANGE, RANGE, true) == 0,
             "a file can be mapped");
        need(content_matches(share->window.address, SEED, 0, RANGE) == RANGE, "and is there");
        return node;
}

static void test_device_reset(struct share *share)
{
        uint64_t parts[3], node;

        map(share);
        queue_parts(&share->device.queues[1], parts);
        check(virtio_reset(&share->device), "the device can be reset");
        check(is_hole(share), "nothing is mapped then");
        check(virtio_select(&share->device, 1) > 0 &&
                      read16(virtio_register(&share->device, VIRTIO_PCI_COMMON_Q_ENABLE)) == 0 &&
                      read32(virtio_register(&share->device, VIRTIO_PCI_COMMON_Q_DESCLO)) == 0,
              "and no queue is enabled");
        need(share_begin(share), "it can be used again");
        node = map(share);
        check(share_unmap(share, 0, RANGE) == 0 && share_unmap(share, 2 * RANGE, RANGE) == 0, "and unmapped");
        check(node != 0 && is_hole(share), "nothing is left");
}

/* One after the other, with requests in flight that are never answered. */
static void test_many_resets(struct share *share)
{
        static struct fuse_call calls[RESETS];
        static const struct fuse_getattr_in in;
        static struct fuse_attr_out out;
        unsigned done = 0;

        for (unsigned i = 0; i < RESETS; i++) {
                calls[i] = (struct fuse_call){.opcode = FUSE_GETATTR,
                                              .node = FUSE_ROOT_ID,
                                              .args = &in,
                                              .args_size = sizeof(in),
                                              .answer = &out,
                                              .answer_size = sizeof(out)};
                fuse_submit(&share->fuse, &calls[i]);
                done += virtio_reset(&share->device) && share_begin(share);
        }
        check(done == RESETS, "%u of %u resets with a request in flight", done, RESETS);
}

/* virtio 1.2, 2.6.1, with something mapped that stays. */
static void test_queue_reset(struct share *share)
{
        const uint64_t features = share_features() | UINT64_C(1) << VIRTIO_F_RING_RESET;
        struct virtio *device = &share->device;
        struct fuse_attr attr;
        unsigned good = 0;

        need(virtio_start(device, features), "it can be used with queues that can be reset");
        need(fuse_init(&share->fuse, device, &share->init) >= 0, "and answers to FUSE_INIT");
        map(share);
        for (unsigned i = 0; i < RESETS; i++) {
                good += virtio_reset_queue(device, 1) &&
                        read16(virtio_register(device, VIRTIO_PCI_COMMON_Q_ENABLE)) == 0 &&
                        virtio_start_queue(device, 1) && fuse_getattr(&share->fuse, FUSE_ROOT_ID, &attr) >= 0;
        }
        check(good == RESETS, "%u of %u times a queue was reset and used again", good, RESETS);
        check(content_matches(share->window.address, SEED, 0, RANGE) == RANGE, "what was mapped is still there");
        need(virtio_reset(device) && share_begin(share), "and all of the device reset");
}

/* Everything is as in the first boot. */
static void test_new(const struct share *share)
{
        check(read64(elsewhere) == 0, "memory is empty");
        check(is_hole(share), "nothing is mapped");
}

void test_reset(void)
{
        static struct share share;
        unsigned boots;

        share_start(&share, "share");
        boots = share_count_boot(&share);
        test_new(&share);
        test_device_reset(&share);
        test_many_resets(&share);
        test_queue_reset(&share);
        map(&share);
        write64(elsewhere, left_behind);
        if (boots + 1 >= cmdline_number("boots", 1))
                return;
        check_end();
        reset_machine();
}
