/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_ARCH_X86_LOAD_H
#define VMM_ARCH_X86_LOAD_H

#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/x86.h"
#include "vmm/boot/loader.h"

#include <stdbool.h>
#include <stdint.h>

/* The layout below 1 MiB. The kernel is above. */
enum {
        BOOT_INFO = 0x7000, /* a page: PVH's start info, or Linux's boot_params */
        BOOT_STACK_END = 0x20000,
        BOOT_CMDLINE = 0x20000,
        BOOT_CMDLINE_SIZE = 0x10000,
        BOOT_TABLES = 0x30000, /* for paging */
        BOOT_TABLES_SIZE = 0x60000,
        BOOT_LOW_END = 0xa0000,
        BOOT_ACPI = 0xe0000,
        BOOT_ACPI_SIZE = 0x20000,
        BOOT_KERNEL = 0x100000,
};

/* An ELF with this note starts in 64-bit mode at privilege level 3, in pages that show [0, 4 GiB) and the beginning of
 * mmio64 as they are, with the address of the PVH start info in rsi. For tests: where KVM interprets level 0, only such
 * a guest is fast. Descriptor: the entry, 8 bytes. */
#define BOOT_NOTE_NAME "Oriel"
enum { BOOT_NOTE_USER_ENTRY = 1 };

/* The two kinds of kernel. */
int elf_load(struct loader *loader, struct x86_entry *entry);
bool bzimage_matches(const void *head, uint64_t size);
int bzimage_load(struct loader *loader, struct x86_entry *entry);

/* That the kernel's @range is above what is put below 1 MiB, and in memory. */
int x86_check_range(struct loader *loader, struct oriel_range range);

/* The memory map. The types are the same in e820 and PVH. */
enum { BOOT_MAP_RAM = 1, BOOT_MAP_RESERVED = 2, BOOT_MAP_MOST = 8 };
struct boot_map_entry {
        struct oriel_range range;
        uint32_t type;
};
unsigned x86_memory_map(const struct loader *loader, struct boot_map_entry map[BOOT_MAP_MOST]);

/* Page tables that show [0, 4 GiB) as it is; for @user also the beginning of @mmio64, and all of it at privilege level
 * 3. Returns what belongs into CR3. */
uint64_t x86_put_tables(struct loader *loader, bool user, struct oriel_range mmio64);

#endif
