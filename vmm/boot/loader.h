/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_BOOT_LOADER_H
#define VMM_BOOT_LOADER_H

#include "vmm/boot/boot.h"

#include <oriel/memory.h>
#include <stdbool.h>
#include <stdint.h>

/* What boot_load() does, on memory that need not be a virtual machine's. */
struct loader {
        /* One part at 0, and the other at 4 GiB if there is one; user_address is where this process has it. */
        struct oriel_memory_region memory[2];
        unsigned parts;
        int memory_fd; /* the file of both parts, -1: none is known */
        const struct boot_image *image;
        uint64_t rsdp; /* where the ACPI tables begin */
        char *why;
        size_t why_size;
};

/* What is where below 1 MiB. The kernel is above. */
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

/* 0 or a negative errno, as boot_load(). */
int loader_load(struct loader *loader, struct kvm_entry *entry);

/* The two kinds of kernel. */
int elf_load(struct loader *loader, struct kvm_entry *entry);
bool bzimage_matches(const void *head, uint64_t size);
int bzimage_load(struct loader *loader, struct kvm_entry *entry);

/* @error, after one line to the user. */
int loader_fail(struct loader *loader, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Where guest memory at @address is in this process, or NULL where not all of @size bytes is. */
void *loader_memory_at(const struct loader *loader, uint64_t address, uint64_t size);
/* The end of the part at 0. */
uint64_t loader_low_end(const struct loader *loader);
/* That the kernel's @range is above what is put below 1 MiB, and in memory. */
int loader_check_range(struct loader *loader, struct oriel_range range);

/* The size of a regular file; @what is its name for the user. */
int loader_file_size(struct loader *loader, int fd, const char *what, uint64_t *size);
/* All of @range of the file. Less is an error. */
int loader_read(struct loader *loader, int fd, const char *what, struct oriel_range range, void *out);

/* The same into guest memory at @address, which has been checked. */
int loader_place(struct loader *loader, int fd, const char *what, struct oriel_range range, uint64_t address);

/* The command line, of which the kernel takes @most bytes and a zero. */
int loader_put_cmdline(struct loader *loader, uint64_t most);
/* The initrd, as high as it can be in [@floor, @ceiling) and the part of memory at 0. @out's size is 0: there is none.
 */
int loader_put_initrd(struct loader *loader, uint64_t floor, uint64_t ceiling, struct oriel_range *out);

/* The memory map. The types are the same in e820 and PVH. */
enum { BOOT_MAP_RAM = 1, BOOT_MAP_RESERVED = 2, BOOT_MAP_MOST = 8 };
struct boot_map_entry {
        struct oriel_range range;
        uint32_t type;
};
unsigned loader_map(const struct loader *loader, struct boot_map_entry map[BOOT_MAP_MOST]);

/* Page tables that show [0, 4 GiB) as it is; for @user also the beginning of @mmio64, and all of it at privilege level
 * 3. Returns what belongs into CR3. */
uint64_t loader_put_tables(struct loader *loader, bool user, struct oriel_range mmio64);

#endif
