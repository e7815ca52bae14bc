/* SPDX-License-Identifier: BSD-2-Clause */

/* A store to what is mapped for reading only: the device is taken away, the guest goes on, and what it stored is
 * nowhere. With the words by=code the instruction lies in the window, too, and with by=push nobody can tell its
 * address. */

#include "share.h"
#include "tests.h"

#include <linux/errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

enum { SEED = 1, STORE_AT = 0x3210 };

/* movb $0x55, (%rdi); ret */
static const uint8_t stub[] = {0xc6, 0x07, 0x55, 0xc3};

/* Where the instruction is is told before. */
static void say(uint64_t at, uint64_t address)
{
        print("# sync: store at 0x%lx to 0x%lx\n", at, address);
}

static void store(uint64_t address)
{
        uint64_t at;

        __asm__("lea 1f(%%rip), %0" : "=r"(at));
        say(at, address);
        __asm__ volatile("1: movb $0x55, (%0)" : : "r"(address) : "memory");
}

/* By an instruction whose operand nobody works out. */
static void store_by_push(uint64_t address)
{
        uint64_t at;

        __asm__("lea 1f(%%rip), %0" : "=r"(at));
        say(at, address);
        __asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp; 1: push %%rax; mov %%rbx, %%rsp"
                         :
                         : "r"(address + 8)
                         : "memory", "rbx");
}

/* By code that lies in the window, too. When that device is gone it is in the sink. */
static void store_from_window(struct share *share, uint64_t address)
{
        uint64_t size, node = share_lookup(share, "code", &size), code = share->window.address + 2 * RANGE;

        memcpy((void *)code, stub, sizeof(stub));
        need(size == sizeof(stub) && share_map(share, node, 0, 2 * RANGE, RANGE, false) == 0, "the code can be mapped");
        say(code, address);
        ((void (*)(uint64_t))code)(address);
}

void test_readonly(void)
{
        static struct share share;
        uint64_t size, node, at;

        share_start(&share, "share");
        node = share_lookup(&share, "file", &size);
        check(share_map(&share, node, 0, RANGE, RANGE, true) == -EROFS, "mapping it for writing: EROFS");
        need(share_map(&share, node, 0, RANGE, RANGE, false) == 0, "it can be mapped for reading");
        check(content_matches(share.window.address + RANGE, SEED, 0, size) == size, "its content is there");
        sync_host("ready");
        at = share.window.address + RANGE + STORE_AT;
        if (cmdline_is("by", "push"))
                store_by_push(at);
        else if (cmdline_is("by", "code"))
                store_from_window(&share, at);
        else
                store(at);
        check(read8(virtio_register(&share.device, VIRTIO_PCI_COMMON_STATUS)) & VIRTIO_CONFIG_S_NEEDS_RESET,
              "the device needs a reset");
        sync_host("stored");
}
