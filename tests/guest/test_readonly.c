/* SPDX-License-Identifier: BSD-2-Clause */

/* A store to what is mapped for reading only: the device is taken away, the guest goes on, and what it stored is
 * nowhere. */

#include "share.h"
#include "tests.h"

#include <linux/errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

enum { SEED = 1, STORE_AT = 0x3210 };

/* Where the instruction is is told before. */
static void store(uint64_t address)
{
        uint64_t at;

        __asm__("lea 1f(%%rip), %0" : "=r"(at));
        print("# sync: store at 0x%lx to 0x%lx\n", at, address);
        __asm__ volatile("1: movb $0x55, (%0)" : : "r"(address) : "memory");
}

void test_readonly(void)
{
        static struct share share;
        uint64_t size, node;

        share_start(&share, "share");
        node = share_lookup(&share, "file", &size);
        check(share_map(&share, node, 0, RANGE, RANGE, true) == -EROFS, "mapping it for writing: EROFS");
        need(share_map(&share, node, 0, RANGE, RANGE, false) == 0, "it can be mapped for reading");
        check(content_matches(share.window.address + RANGE, SEED, 0, size) == size, "its content is there");
        sync_host("ready");
        store(share.window.address + RANGE + STORE_AT);
        check(read8(virtio_register(&share.device, VIRTIO_PCI_COMMON_STATUS)) & VIRTIO_CONFIG_S_NEEDS_RESET,
              "the device needs a reset");
        sync_host("stored");
}
