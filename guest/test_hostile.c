/* SPDX-License-Identifier: BSD-2-Clause */

/* A driver that does what it must not, to one device. After each misdeed the machine lives, the other device works, and
 * the first one can be reset and used again. */

#include "share.h"
#include "tests.h"

#include <linux/fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

enum { SEED = 1, SETTLE_MS = 20 };

static const uint64_t nowhere[] = {
        0x10000000, 0xb0000000, 0xd0000000, 0xf0000000, 0x8000000000000000, UINT64_MAX & ~UINT64_C(0xfff),
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static struct share victim, witness;

static uint64_t common(unsigned offset)
{
        return virtio_register(&victim.device, offset);
}

/* ---- what holds whatever has been done ---- */

static bool works(struct share *share)
{
        uint64_t size, node = share_lookup(share, "file", &size);

        return share_map(share, node, 0, RANGE, RANGE, true) == 0 &&
               content_matches(share->window.address + RANGE, SEED, 0, size) == size &&
               share_unmap(share, RANGE, RANGE) == 0;
}

static void check_survived(const char *misdeed)
{
        check(works(&witness), "%s: the other device works", misdeed);
        need(share_begin(&victim) && works(&victim), "%s: and so does this one after a reset", misdeed);
}

/* The device says that it needs to be reset. */
static bool breaks_soon(void)
{
        uint64_t deadline = deadline_in(LAST_RESORT_MS);

        while (!(virtio_status(&victim.device) & VIRTIO_CONFIG_S_NEEDS_RESET))
                if (deadline_past(deadline))
                        return false;
        return true;
}

/* ---- registers ---- */

static void do_status(void)
{
        const uint64_t version = UINT64_C(1) << VIRTIO_F_VERSION_1;

        virtio_reset(&victim.device);
        write8(common(VIRTIO_PCI_COMMON_STATUS), VIRTIO_CONFIG_S_DRIVER_OK);
        check(!(virtio_status(&victim.device) & VIRTIO_CONFIG_S_DRIVER_OK), "no DRIVER_OK without FEATURES_OK");
        write8(common(VIRTIO_PCI_COMMON_STATUS), 0xff);
        virtio_reset(&victim.device);
        check(!virtio_negotiate(&victim.device, 0), "no FEATURES_OK without VERSION_1");
        virtio_reset(&victim.device);
        check(!virtio_negotiate(&victim.device, UINT64_MAX), "nor with features that were not offered");
        virtio_reset(&victim.device);
        check(virtio_negotiate(&victim.device, version), "but with what was offered");
        write32(common(VIRTIO_PCI_COMMON_GFSELECT), 0);
        write32(common(VIRTIO_PCI_COMMON_GF), UINT32_MAX);
        check(read32(common(VIRTIO_PCI_COMMON_GF)) == 0, "no feature after FEATURES_OK");
        write32(common(VIRTIO_PCI_COMMON_GFSELECT), UINT32_MAX);
        write32(common(VIRTIO_PCI_COMMON_GF), UINT32_MAX);
        write32(common(VIRTIO_PCI_COMMON_DFSELECT), 77);
        check(read32(common(VIRTIO_PCI_COMMON_DF)) == 0, "no feature beyond the last word");
        /* Without a queue, and then everything again without a reset. */
        write8(common(VIRTIO_PCI_COMMON_STATUS), 0xff);
        for (unsigned i = 0; i < 256; i++)
                write8(common(VIRTIO_PCI_COMMON_STATUS), (uint8_t)i);
}

/* Each register by each size, at each place, what is between them too. */
static void do_registers(void)
{
        for (uint64_t at = 0; at + 8 <= 0x3000; at += at < 64 || at % 4096 > 4000 ? 1 : 63) {
                uint64_t address = victim.device.common.address + at;

                write8(address, read8(address));
                write16(address, read16(address));
                write32(address, read32(address));
                write64(address, read64(address));
                write32(address, UINT32_MAX);
                write64(address, UINT64_MAX);
        }
}

/* ---- queues ---- */

static void do_queue_sizes(void)
{
        static const uint16_t sizes[] = {0, 3, 100, 1023, 0x8000, 0xffff, 512};
        bool good = true;

        virtio_reset(&victim.device);
        virtio_negotiate(&victim.device, UINT64_C(1) << VIRTIO_F_VERSION_1);

        uint16_t size = virtio_select(&victim.device, 1);

        for (size_t i = 0; i < COUNT(sizes); i++) {
                write16(common(VIRTIO_PCI_COMMON_Q_SIZE), sizes[i]);
                good &= read16(common(VIRTIO_PCI_COMMON_Q_SIZE)) == size;
        }
        check(good, "a queue's size is a power of two that is not too large");
        check(virtio_select(&victim.device, 2) == 0 && virtio_select(&victim.device, 0xffff) == 0,
              "what is no queue has no size");
        write16(common(VIRTIO_PCI_COMMON_Q_SIZE), 4);
        virtio_place(&victim.device, nowhere);
        virtio_enable(&victim.device);
        check(read16(common(VIRTIO_PCI_COMMON_Q_ENABLE)) == 0, "and can't be enabled");
        write16(common(VIRTIO_PCI_COMMON_Q_RESET), 1);
        write16(common(VIRTIO_PCI_COMMON_Q_MSIX), 0);
}

/* A device with one queue in those three places. */
static void start_at(const uint64_t parts[3], uint64_t features)
{
        virtio_reset(&victim.device);
        virtio_negotiate(&victim.device, UINT64_C(1) << VIRTIO_F_VERSION_1 | features);
        virtio_select(&victim.device, 1);
        virtio_place(&victim.device, parts);
        virtio_enable(&victim.device);
        virtio_add_status(&victim.device, VIRTIO_CONFIG_S_DRIVER_OK);
        write16(victim.device.queues[1].notify, 1);
}

static void do_rings_outside(void)
{
        static uint8_t memory[3][4096] __attribute__((aligned(4096)));
        const uint64_t inside[3] = {(uint64_t)memory[0], (uint64_t)memory[1], (uint64_t)memory[2]};
        unsigned broken = 0, n = 0;

        for (size_t i = 0; i < COUNT(nowhere); i++)
                for (unsigned part = 0; part < 3; part++, n++) {
                        uint64_t parts[3] = {inside[0], inside[1], inside[2]};

                        parts[part] = nowhere[i];
                        start_at(parts, 0);
                        broken += breaks_soon();
                }
        check(broken == n, "%u of %u rings outside of memory are found out", broken, n);
}

static void do_rings_elsewhere(void)
{
        const uint64_t zeros[3] = {0}, odd[3] = {0x1000001, 0x1010001, 0x1020001};
        const uint64_t window[3] = {victim.window.address, victim.window.address + 0x10000,
                                    victim.window.address + 0x20000};
        const uint64_t one[3] = {0x1000000, 0x1000000, 0x1000000};

        start_at(window, 0);
        check(breaks_soon(), "a ring in the window is found out");
        start_at(odd, 0);
        check(breaks_soon(), "and one at odd addresses");
        memset((void *)one[0], 0xff, PAGE);
        start_at(one, 0);
        check(breaks_soon(), "and one that is not empty at first");
        memset((void *)one[0], 0, PAGE);
        /* These may have any result within this device, and none outside of it. */
        start_at(zeros, 0);
        sleep_ms(SETTLE_MS);
        start_at(one, 0);
        sleep_ms(SETTLE_MS);
        start_at(one, UINT64_C(1) << VIRTIO_F_RING_PACKED);
        sleep_ms(SETTLE_MS);
}

/* Queues that are given new places, and sizes, while they run. */
static void do_changes_while_running(void)
{
        uint64_t parts[3];

        virtio_select(&victim.device, 1);
        queue_parts(&victim.device.queues[1], parts);
        virtio_place(&victim.device, nowhere);
        write16(common(VIRTIO_PCI_COMMON_Q_SIZE), 2);
        check(read32(common(VIRTIO_PCI_COMMON_Q_DESCLO)) == (uint32_t)parts[0] &&
                      read16(common(VIRTIO_PCI_COMMON_Q_SIZE)) == victim.device.queues[1].size,
              "a queue that is enabled stays where it is");
        write16(common(VIRTIO_PCI_COMMON_Q_ENABLE), 0);
        write16(common(VIRTIO_PCI_COMMON_Q_RESET), 1);
        virtio_enable(&victim.device);
        check(works(&victim), "and works");
        for (unsigned i = 0; i < 50; i++) {
                write8(common(VIRTIO_PCI_COMMON_STATUS), 0);
                virtio_add_status(&victim.device, VIRTIO_CONFIG_S_ACKNOWLEDGE);
                write8(common(VIRTIO_PCI_COMMON_STATUS), 0xf);
        }
}

/* ---- buffers ---- */

/* One buffer, as it comes. */
static void send(const struct vring_desc *descriptors, unsigned n, uint16_t head)
{
        struct virtqueue *queue = &victim.device.queues[1];
        struct vring ring;

        if (queue->packed)
                return;
        vring_init(&ring, queue->size, queue->memory, 4);
        for (unsigned i = 0; i < n; i++)
                ring.desc[i] = descriptors[i];
        ring.avail->ring[queue->next % queue->size] = head;
        queue->next++;
        __asm__ volatile("" : : : "memory");
        *(volatile uint16_t *)&ring.avail->idx = queue->next;
        write16(queue->notify, 1);
}

static void do_descriptors(void)
{
        static uint8_t memory[4096];
        const uint64_t at = (uint64_t)memory;
        const struct {
                const char *name;
                struct vring_desc descriptors[2];
                uint16_t head;
        } bad[] = {
                {"a chain that is a circle", {{at, 16, VRING_DESC_F_NEXT, 1}, {at, 16, VRING_DESC_F_NEXT, 0}}, 0},
                {"a next that is no descriptor", {{at, 16, VRING_DESC_F_NEXT, 0xfff0}}, 0},
                {"a head that is no descriptor", {{at, 16, 0, 0}}, 0xfff0},
                {"a table that was not negotiated", {{at, 16, VRING_DESC_F_INDIRECT, 0}}, 0},
                {"what is read after what is written",
                 {{at, 16, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1}, {at, 16, 0, 0}},
                 0},
                {"a buffer that wraps around", {{UINT64_MAX - 4, 16, 0, 0}}, 0},
                {"a buffer longer than memory", {{at, UINT32_MAX, 0, 0}}, 0},
        };

        for (size_t i = 0; i < COUNT(bad); i++) {
                send(bad[i].descriptors, 2, bad[i].head);
                check(victim.device.packed || breaks_soon(), "%s breaks the ring", bad[i].name);
                need(share_begin(&victim), "which can be reset");
        }
}

/* A request whose data is not in memory: an answer, or a ring that is broken; but not for ever. */
static bool ends(struct fuse_call *call)
{
        uint64_t deadline = deadline_in(LAST_RESORT_MS);

        while (!*(volatile bool *)&call->done && !(virtio_status(&victim.device) & VIRTIO_CONFIG_S_NEEDS_RESET)) {
                fuse_poll(&victim.fuse);
                if (deadline_past(deadline))
                        return false;
        }
        return true;
}

/* Its first page. */
static bool read_file(struct share *share, uint64_t to)
{
        uint64_t handle, node = share_lookup(share, "file", NULL);

        return fuse_open(&share->fuse, node, O_RDWR, &handle) >= 0 &&
               fuse_read(&share->fuse, node, handle, 0, to, PAGE) == PAGE &&
               fuse_release(&share->fuse, node, handle) == 0;
}

static bool read_to(uint64_t address, uint32_t size)
{
        static struct fuse_call call;
        static struct fuse_read_in in;
        uint64_t node = share_lookup(&victim, "file", NULL);

        if (fuse_open(&victim.fuse, node, O_RDWR, &in.fh) < 0)
                return false;
        in.size = size;
        call = (struct fuse_call){
                .opcode = FUSE_READ,
                .node = node,
                .args = &in,
                .args_size = sizeof(in),
                .data = {address, size, true},
        };
        return fuse_submit(&victim.fuse, &call) && ends(&call) && share_begin(&victim);
}

static void do_buffers(void)
{
        unsigned good = 0;

        for (size_t i = 0; i < COUNT(nowhere); i++)
                good += read_to(nowhere[i], PAGE);
        check(good == COUNT(nowhere), "%u of %lu buffers outside of memory come to an end", good, COUNT(nowhere));
        check(read_to(victim.window.address, PAGE), "so does one in a hole of its window");
        check(read_to(witness.window.address, PAGE), "and one in a hole of another's");
        check(read_to(victim.device.common.address, PAGE), "and one in its registers");
        share_map(&victim, share_lookup(&victim, "file", NULL), 0, 0, RANGE, true);
        check(read_to(victim.window.address + RANGE - PAGE, 2 * (uint32_t)PAGE), "and one that ends in a hole");
}

/* ---- BARs ---- */

static void set_bar(const struct share *share, unsigned bar, uint64_t address)
{
        uint64_t at = share->device.function.config + PCI_BASE_ADDRESS_0 + 4 * bar;

        write32(at, (uint32_t)address);
        if (bar == 2)
                write32(at + 4, (uint32_t)(address >> 32));
}

static uint64_t get_bar(const struct share *share, unsigned bar)
{
        uint64_t size;

        return pci_bar(&share->device.function, bar, &size);
}

/* Decoded all the while, as it must not be. */
static void do_bars(void)
{
        static volatile uint64_t memory[512];
        const uint64_t registers = get_bar(&victim, 0), window = get_bar(&victim, 2);
        const uint64_t places[] = {
                0,          (uint64_t)memory,     0xe0000000, 0xfe000000,          0xfec00000,
                0xfee00000, get_bar(&witness, 0), 0xffff8000, 0xc0000000 - 0x4000,
        };
        const uint64_t wide[] = {
                0,
                0x200000,
                0xc0000000,
                get_bar(&witness, 2),
                0x7fffffff00000000,
                UINT64_MAX - 0xffffff,
                0x100000000 - 0x1000000,
                window + (16 << 20),
        };

        const uint64_t end = victim.device.function.config + PCI_BASE_ADDRESS_5;
        size_t good = 0;

        memory[0] = 0x1234;
        for (size_t i = 0; i < COUNT(places); i++) {
                set_bar(&victim, 0, places[i]);
                good += memory[0] == 0x1234;
        }
        set_bar(&victim, 0, registers);
        for (size_t i = 0; i < COUNT(wide); i++) {
                set_bar(&victim, 2, wide[i]);
                good += memory[0] == 0x1234;
        }
        check(good == COUNT(places) + COUNT(wide), "%lu times memory is where it was", good);
        for (uint64_t at = victim.device.function.config + PCI_BASE_ADDRESS_0; at < end; at++) {
                write8(at, (uint8_t)~read8(at));
                write16(at, (uint16_t)~read16(at));
                write32(at, ~read32(at));
        }
        set_bar(&victim, 0, registers);
        set_bar(&victim, 2, window);
        check(get_bar(&victim, 0) == registers && get_bar(&victim, 2) == window, "the BARs are back");
        check(works(&victim), "and work");
}

/* Another's place, while that is elsewhere; with something mapped all the while, which moves along. */
static void do_swap(void)
{
        const uint64_t ours = get_bar(&victim, 2), theirs = get_bar(&witness, 2);
        uint64_t elsewhere = ours + (UINT64_C(1) << 30), size, node = share_lookup(&victim, "file", &size);

        need(share_map(&victim, node, 0, 0, RANGE, true) == 0, "a file can be mapped");
        set_bar(&witness, 2, elsewhere);
        set_bar(&victim, 2, theirs);
        check(content_matches(theirs, SEED, 0, size) == size, "what is mapped moves with the window");
        check(read32(ours) == UINT32_MAX, "and is not where it was");
        check(read_file(&victim, theirs + PAGE) && content_matches(theirs + PAGE, SEED, 0, PAGE) == PAGE,
              "a request's buffer can be there");
        content_fill(theirs + PAGE, SEED, PAGE, PAGE);
        set_bar(&witness, 2, ours);
        witness.window.address = ours;
        check(works(&witness), "so does another's, to where it was");
        set_bar(&witness, 2, elsewhere);
        set_bar(&victim, 2, ours);
        set_bar(&witness, 2, theirs);
        witness.window.address = theirs;
        for (unsigned i = 0; i < 100; i++)
                pci_enable(&victim.device.function, i % 2);
        check(content_matches(ours, SEED, 0, size) == size, "and back");
        share_unmap(&victim, 0, RANGE);
}

/* A request that is sent and answered while the device's registers are nowhere. */
static void do_hidden(void)
{
        const uint64_t registers = get_bar(&victim, 0);
        struct fuse_attr attr;

        for (unsigned i = 0; i < 20; i++) {
                set_bar(&victim, 0, registers + (16 << 20));
                write16(victim.device.queues[1].notify, 1);
                set_bar(&victim, 0, registers);
        }
        check(fuse_getattr(&victim.fuse, FUSE_ROOT_ID, &attr) >= 0, "notifications that reach nobody do no harm");
}

/* ---- interrupts, configuration space, notifications ---- */

static void do_msix(void)
{
        static const uint64_t addresses[] = {0, 0xfee00000, 0xfee00001, 0xfeeff00c, 0x1000, UINT64_MAX, 0x200000};
        unsigned cap = pci_find_capability(&victim.device.function, PCI_CAP_ID_MSIX, 0);
        uint64_t config = victim.device.function.config + cap, where = read32(config + PCI_MSIX_TABLE), bar_size;
        uint64_t table = pci_bar(&victim.device.function, where & PCI_MSIX_TABLE_BIR, &bar_size) +
                         (where & PCI_MSIX_TABLE_OFFSET);
        struct fuse_attr attr;
        unsigned good = 0;

        need(cap != 0, "the device has MSI-X");
        virtio_select(&victim.device, 1);
        write16(common(VIRTIO_PCI_COMMON_Q_MSIX), 100);
        check(read16(common(VIRTIO_PCI_COMMON_Q_MSIX)) == VIRTIO_MSI_NO_VECTOR,
              "a vector that does not exist is refused");
        write16(common(VIRTIO_PCI_COMMON_Q_MSIX), 1);
        write16(config + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
        for (size_t i = 0; i < COUNT(addresses); i++) {
                for (uint64_t entry = 0; entry < 8; entry++) {
                        uint64_t at = table + entry * PCI_MSIX_ENTRY_SIZE;

                        write32(at + PCI_MSIX_ENTRY_LOWER_ADDR, (uint32_t)addresses[i]);
                        write32(at + PCI_MSIX_ENTRY_UPPER_ADDR, (uint32_t)(addresses[i] >> 32));
                        write32(at + PCI_MSIX_ENTRY_DATA, UINT32_MAX);
                        write32(at + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
                        write16(at + 3, 0xffff);
                        write64(at + 12, 0);
                }
                good += fuse_getattr(&victim.fuse, FUSE_ROOT_ID, &attr) >= 0;
        }
        check(good == COUNT(addresses), "requests are answered whatever the messages are");
        write16(config + PCI_MSIX_FLAGS, 0);
        write64(table + 0xffc, UINT64_MAX);
        write64(table + 0x2000, UINT64_MAX);
}

/* All of it but the command register and the BARs, by each size, and across functions' ends. */
static void do_config_space(void)
{
        const uint64_t config = victim.device.function.config;

        for (uint64_t at = 0; at < 4096 - 8; at++) {
                uint64_t sum = read8(config + at) + read16(config + at) + read32(config + at) + read64(config + at);

                if (at >= PCI_BASE_ADDRESS_5 + 4 && sum % 2 == 0) {
                        write8(config + at, UINT8_MAX);
                        write16(config + at, UINT16_MAX);
                        write32(config + at, UINT32_MAX);
                        write64(config + at, UINT64_MAX);
                }
        }
        for (uint64_t at = 4089; at < 4096; at++)
                write64(config + at, read64(config + at) + read32(config + at));
        /* The writes may have switched on MSI-X. */
        unsigned cap = pci_find_capability(&victim.device.function, PCI_CAP_ID_MSIX, 0);

        check(cap != 0, "the list of capabilities is as it was");
        write16(config + cap + PCI_MSIX_FLAGS, 0);
        pci_enable(&victim.device.function, true);
}

static void do_notifications(void)
{
        for (uint64_t at = 0; at < 4096; at += 2)
                write16(victim.device.notify.address + at, (uint16_t)at);
        for (uint64_t at = 0; at < 64; at++) {
                write8(victim.device.notify.address + at, 0);
                write32(victim.device.notify.address + at, 0);
                write64(victim.device.notify.address + at, 0);
        }
        for (unsigned i = 0; i < 10000; i++)
                write16(victim.device.queues[1].notify, 1);
        check(works(&victim), "it works after notifications of queues that are not there");
}

/* virtio 1.2, 4.1.4.9: any BAR, at any place, of any length. */
static void do_pci_cfg(void)
{
        static const uint32_t lengths[] = {0, 1, 2, 3, 4, 5, 8, UINT32_MAX};
        static const uint32_t offsets[] = {0,      1,      2,      20,     0x1000,   0x3000,
                                           0x4000, 0x6000, 0x7ffe, 0x8000, 0xffffff, UINT32_MAX};
        const uint64_t at = victim.device.function.config + victim.device.pci_cfg;
        const uint64_t data = at + offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);

        need(victim.device.pci_cfg != 0, "the device has that capability");
        write8(at + VIRTIO_PCI_CAP_BAR, 0);
        write32(at + VIRTIO_PCI_CAP_OFFSET, VIRTIO_PCI_COMMON_STATUS);
        write32(at + VIRTIO_PCI_CAP_LENGTH, 1);
        check(read8(data) == virtio_status(&victim.device), "the status can be read that way");
        for (unsigned bar = 0; bar < 256; bar++)
                for (size_t i = 0; i < COUNT(offsets); i++)
                        for (size_t j = 0; j < COUNT(lengths); j++) {
                                if (bar > 7 && bar < 254)
                                        continue;
                                write8(at + VIRTIO_PCI_CAP_BAR, (uint8_t)bar);
                                write32(at + VIRTIO_PCI_CAP_OFFSET, offsets[i]);
                                write32(at + VIRTIO_PCI_CAP_LENGTH, lengths[j]);
                                write32(data, read32(data) | (uint32_t)read8(data + 1));
                                write8(data + 3, 1);
                        }
}

/* ---- */

/* A state that a reset of the machine has to clear. */
static void make_a_mess(void)
{
        unsigned cap = pci_find_capability(&victim.device.function, PCI_CAP_ID_MSIX, 0);

        share_map(&victim, share_lookup(&victim, "file", NULL), 0, 0, RANGE, true);
        start_at(nowhere, 0);
        set_bar(&witness, 2, get_bar(&witness, 2) + (UINT64_C(1) << 30));
        set_bar(&victim, 0, 0xfee00000);
        pci_enable(&victim.device.function, false);
        write16(victim.device.function.config + cap + PCI_MSIX_FLAGS, PCI_MSIX_FLAGS_ENABLE);
}

void test_hostile(void)
{
        static const struct {
                const char *name;
                void (*do_it)(void);
        } misdeeds[] = {
                {"status", do_status},
                {"queue sizes", do_queue_sizes},
                {"rings outside of memory", do_rings_outside},
                {"rings elsewhere", do_rings_elsewhere},
                {"changes while running", do_changes_while_running},
                {"descriptors", do_descriptors},
                {"buffers", do_buffers},
                {"BARs", do_bars},
                {"swapped windows", do_swap},
                {"registers that are nowhere", do_hidden},
                {"MSI-X", do_msix},
                {"configuration space", do_config_space},
                {"notifications", do_notifications},
                {"PCI_CFG", do_pci_cfg},
                {"registers", do_registers},
        };

        share_start(&victim, "victim");
        share_start(&witness, "witness");
        for (size_t i = 0; i < COUNT(misdeeds); i++) {
                misdeeds[i].do_it();
                check_survived(misdeeds[i].name);
        }
        if (share_count_boot(&witness) > 0)
                return;
        check_end();
        make_a_mess();
        reset_machine();
}
