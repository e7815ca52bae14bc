/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/arch/x86/layout.h"

#include "vmm/arch/x86/x86.h"
#include "vmm/bus/pci.h"
#include "vmm/kvm/machine.h"

unsigned arch_memory(uint64_t size, struct oriel_range parts[static 2])
{
        uint64_t low = size < LAYOUT_LOW_MEMORY_END ? size : LAYOUT_LOW_MEMORY_END;

        parts[0] = (struct oriel_range){0, low};
        parts[1] = (struct oriel_range){LAYOUT_HIGH_MEMORY, size - low};
        return size > low ? 2 : 1;
}

/* From the end of memory on, but for the last eighth of all addresses: some processors have holes there. */
static struct oriel_range find_mmio64(const struct kvm *kvm)
{
        unsigned bits = x86_address_bits(kvm);
        uint64_t top = UINT64_C(1) << (bits < 46 ? bits : 46), start = LAYOUT_HIGH_MEMORY;

        if (kvm->memory_size > LAYOUT_LOW_MEMORY_END)
                start += kvm->memory_size - LAYOUT_LOW_MEMORY_END;
        start = (start + (1 << 30) - 1) & ~((UINT64_C(1) << 30) - 1);
        top -= top / 8;
        return (struct oriel_range){start, top > start ? top - start : 0};
}

void arch_pci_space(const struct kvm *kvm, struct pci_space *out)
{
        *out = (struct pci_space){
                .ecam = {LAYOUT_ECAM, LAYOUT_ECAM_SIZE},
                .mmio32 = {LAYOUT_MMIO32, LAYOUT_MMIO32_SIZE},
                .mmio64 = find_mmio64(kvm),
        };
}
