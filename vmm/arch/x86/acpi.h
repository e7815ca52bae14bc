/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_ARCH_X86_ACPI_H
#define VMM_ARCH_X86_ACPI_H

#include "vmm/arch/x86/writer.h"

#include <oriel/range.h>
#include <stdint.h>

struct acpi_machine {
        unsigned cpus;
        struct oriel_range mmio64; /* empty: none */
};

/* The tables of a machine with the devices of vmm/arch/x86/layout.h, for memory at @address (a multiple of 64) of which
 * this process has @size bytes in @memory. The root pointer is at @rsdp. -ENOSPC; -EINVAL. */
int acpi_build(const struct acpi_machine *machine, void *memory, size_t size, uint64_t address, uint64_t *rsdp);

/* The body of the DSDT: devices, in AML. */
void dsdt_put(struct writer *writer, const struct acpi_machine *machine);

#endif
