/* SPDX-License-Identifier: BSD-2-Clause */

/* Interrupts as messages, as far as they can be seen without taking any: they stay where they wait. */

#include "share.h"
#include "tests.h"
#include "vmm/arch/x86/layout.h"

#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

/* Intel SDM volume 3, 11.4: the local APIC's registers. */
enum { APIC_SPURIOUS = 0xf0, APIC_ENABLED = 0x1ff, APIC_REQUESTS = 0x200 };
enum { QUEUE = 1, ENTRY = 2, EARLY_VECTOR = 0x31, VECTOR = 0x41, OTHER_VECTOR = 0x52, SETTLE_MS = 20 };

struct interrupts {
        struct share share;
        uint64_t flags, entry, pending; /* where they are */
};

static bool waits_at_apic(uint8_t vector)
{
        return read32(LAYOUT_LAPIC + APIC_REQUESTS + vector / 32 * 0x10) & 1u << vector % 32;
}

static bool arrives(uint8_t vector)
{
        uint64_t deadline = deadline_in(LAST_RESORT_MS);

        while (!waits_at_apic(vector))
                if (deadline_past(deadline))
                        return false;
        return true;
}

static bool is_pending(const struct interrupts *interrupts)
{
        return read64(interrupts->pending) & 1 << ENTRY;
}

static void find(struct interrupts *interrupts)
{
        const struct pci_function *function = &interrupts->share.device.function;
        unsigned cap = pci_find_capability(function, PCI_CAP_ID_MSIX, 0);
        uint32_t table = read32(function->config + cap + PCI_MSIX_TABLE);
        uint32_t pending = read32(function->config + cap + PCI_MSIX_PBA);
        uint64_t size;

        need(cap != 0, "the device has MSI-X");
        interrupts->flags = function->config + cap + PCI_MSIX_FLAGS;
        check((read16(interrupts->flags) & PCI_MSIX_FLAGS_QSIZE) + 1 >= MOST_QUEUES + 1,
              "with a vector for each queue and one for the rest");
        interrupts->entry = pci_bar(function, table & PCI_MSIX_TABLE_BIR, &size) + (table & PCI_MSIX_TABLE_OFFSET) +
                            ENTRY * PCI_MSIX_ENTRY_SIZE;
        interrupts->pending = pci_bar(function, pending & PCI_MSIX_PBA_BIR, &size) + (pending & PCI_MSIX_PBA_OFFSET);
}

static void set_entry(const struct interrupts *interrupts, uint8_t vector, bool masked)
{
        write32(interrupts->entry + PCI_MSIX_ENTRY_LOWER_ADDR, (uint32_t)LAYOUT_LAPIC);
        write32(interrupts->entry + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
        write32(interrupts->entry + PCI_MSIX_ENTRY_DATA, vector);
        write32(interrupts->entry + PCI_MSIX_ENTRY_VECTOR_CTRL, masked ? PCI_MSIX_ENTRY_CTRL_MASKBIT : 0);
}

/* A request whose answer is to be told. */
static bool ask(struct interrupts *interrupts)
{
        struct fuse_attr attr;
        bool done = fuse_getattr(&interrupts->share.fuse, FUSE_ROOT_ID, &attr) >= 0;

        /* The answer comes before it is told. */
        sleep_ms(SETTLE_MS);
        return done;
}

void test_interrupts(void)
{
        static struct interrupts interrupts;
        const struct virtio *device = &interrupts.share.device;

        share_start(&interrupts.share, "share");
        find(&interrupts);
        virtio_select(device, QUEUE);
        write16(virtio_register(device, VIRTIO_PCI_COMMON_Q_MSIX), ENTRY);
        check(read16(virtio_register(device, VIRTIO_PCI_COMMON_Q_MSIX)) == ENTRY, "a queue takes a vector");
        queue_want_interrupts(&interrupts.share.device.queues[QUEUE]);
        write32(LAYOUT_LAPIC + APIC_SPURIOUS, APIC_ENABLED);

        /* Interrupts raised before, while they were masked, go here. */
        set_entry(&interrupts, EARLY_VECTOR, false);
        write16(interrupts.flags, PCI_MSIX_FLAGS_ENABLE);
        sleep_ms(SETTLE_MS);
        set_entry(&interrupts, VECTOR, true);
        check(!is_pending(&interrupts), "nothing is pending");
        check(ask(&interrupts) && is_pending(&interrupts) && !waits_at_apic(VECTOR),
              "an interrupt whose vector is masked is pending");
        set_entry(&interrupts, VECTOR, false);
        check(arrives(VECTOR) && !is_pending(&interrupts), "it is sent when the mask goes");
        set_entry(&interrupts, OTHER_VECTOR, false);
        check(!waits_at_apic(OTHER_VECTOR), "a new message is not sent by itself");
        check(ask(&interrupts) && arrives(OTHER_VECTOR), "the next interrupt sends it");
        write16(interrupts.flags, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
        check(ask(&interrupts) && is_pending(&interrupts), "all vectors can be masked at once");
        check(virtio_reset(&interrupts.share.device), "the device can be reset");
        virtio_select(device, QUEUE);
        check(read16(virtio_register(device, VIRTIO_PCI_COMMON_Q_MSIX)) == VIRTIO_MSI_NO_VECTOR &&
                      !is_pending(&interrupts),
              "and no vector and nothing pending is left");
}
