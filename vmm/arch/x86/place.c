/* SPDX-License-Identifier: BSD-2-Clause */

/* The parts of guest memory that both kinds of kernel use: the check that a kernel lies in memory, the map of memory
 * that it is given, and page tables. These map the first 4 GiB one to one in pages of 2 MiB, and for a kernel at
 * privilege level 3 the 64-bit window too, as far as the room goes that load.h has for them below 1 MiB. */

#include "vmm/arch/x86/load.h"

#include "base/range.h"

#include <errno.h>
#include <string.h>

enum { PAGE = 4096 };
#define GIB (UINT64_C(1) << 30)

int x86_check_range(struct loader *loader, struct oriel_range range)
{
        unsigned long long start = range.start;

        if (!range_valid(range) || range.start < BOOT_KERNEL)
                return loader_fail(loader, -ENOEXEC,
                                   "wants to be at 0x%llx: a kernel must be between 1 MiB and the end of memory",
                                   start);
        if (loader_memory_at(loader, range.start, range.size))
                return 0;
        if (range_last(range) >= LAYOUT_LOW_MEMORY_END)
                return loader_fail(loader, -ENOEXEC,
                                   "wants to be at 0x%llx (0x%llx bytes), where this machine has no memory", start,
                                   (unsigned long long)range.size);
        return loader_fail(loader, -ENOMEM, "needs at least %llu MiB of memory, and the guest has %llu MiB",
                           (unsigned long long)(range_last(range) >> 20) + 1,
                           (unsigned long long)(loader_low_end(loader) >> 20));
}

unsigned x86_memory_map(const struct loader *loader, struct boot_map_entry map[BOOT_MAP_MOST])
{
        uint64_t low = loader_low_end(loader);
        unsigned n = 0;

        map[n++] = (struct boot_map_entry){{0, BOOT_LOW_END}, BOOT_MAP_RAM};
        map[n++] = (struct boot_map_entry){{BOOT_ACPI, BOOT_ACPI_SIZE}, BOOT_MAP_RESERVED};
        if (low > BOOT_KERNEL)
                map[n++] = (struct boot_map_entry){{BOOT_KERNEL, low - BOOT_KERNEL}, BOOT_MAP_RAM};
        map[n++] = (struct boot_map_entry){{LAYOUT_ECAM, LAYOUT_ECAM_SIZE}, BOOT_MAP_RESERVED};
        if (loader->parts > 1)
                map[n++] = (struct boot_map_entry){{loader->memory[1].guest_address, loader->memory[1].size},
                                                   BOOT_MAP_RAM};
        return n;
}

/* Four levels; the root is the first page. */
struct tables {
        uint64_t (*pages)[PAGE / sizeof(uint64_t)];
        unsigned used;
        uint64_t rights;
};

enum { PRESENT = 1 << 0, WRITABLE = 1 << 1, FOR_USER = 1 << 2, LARGE = 1 << 7 };

/* The next level's page, from the entry or new; NULL when there is no room for it. */
static uint64_t *next_level(struct tables *tables, uint64_t *entry)
{
        if (*entry == 0) {
                if (tables->used == BOOT_TABLES_SIZE / PAGE)
                        return NULL;
                *entry = (BOOT_TABLES + (uint64_t)tables->used++ * PAGE) | tables->rights;
        }
        return tables->pages[((*entry & ~(uint64_t)(PAGE - 1)) - BOOT_TABLES) / PAGE];
}

/* One GiB, in pages of 2 MiB: those of 1 GiB are not everywhere. */
static bool show_gib(struct tables *tables, uint64_t address)
{
        uint64_t *middle = next_level(tables, &tables->pages[0][address >> 39 & 511]);
        uint64_t *last = middle ? next_level(tables, &middle[address >> 30 & 511]) : NULL;

        if (!last)
                return false;
        for (uint64_t i = 0; i < 512; i++)
                last[i] = address | i << 21 | tables->rights | LARGE;
        return true;
}

uint64_t x86_put_tables(struct loader *loader, bool user, struct oriel_range mmio64)
{
        /* Addresses from here on would be negative. */
        const uint64_t end = UINT64_C(1) << 47;
        struct tables tables = {
                .pages = loader_memory_at(loader, BOOT_TABLES, BOOT_TABLES_SIZE),
                .used = 1,
                .rights = PRESENT | WRITABLE | (user ? FOR_USER : 0),
        };

        if (!tables.pages)
                return 0;
        memset(tables.pages, 0, BOOT_TABLES_SIZE);
        for (uint64_t i = 0; i < 4; i++)
                show_gib(&tables, i * GIB);
        if (!user || !range_valid(mmio64))
                return BOOT_TABLES;

        uint64_t first = mmio64.start / GIB, last = range_last(mmio64) / GIB;

        for (uint64_t i = first; i <= last && i < first + 64 && i < end / GIB; i++)
                if (!show_gib(&tables, i * GIB))
                        break;
        return BOOT_TABLES;
}
