/* SPDX-License-Identifier: BSD-2-Clause */

/* What every kernel finds in memory, whatever it is. */

#include "vmm/arch/x86/layout.h"
#include "vmm/boot/loader.h"

#include "base/range.h"

#include <errno.h>
#include <string.h>

enum { PAGE = 4096 };
#define GIB (UINT64_C(1) << 30)

int loader_put_cmdline(struct loader *loader, uint64_t most)
{
        const char *cmdline = loader->image->cmdline;
        size_t size = strlen(cmdline);

        if (most > BOOT_CMDLINE_SIZE - 1)
                most = BOOT_CMDLINE_SIZE - 1;
        if (size > most)
                return loader_fail(loader, -E2BIG,
                                   "the command line is too long: it has %zu bytes, and this kernel takes %llu", size,
                                   (unsigned long long)most);

        char *to = loader_memory_at(loader, BOOT_CMDLINE, BOOT_CMDLINE_SIZE);

        if (!to)
                return loader_fail(loader, -ENOMEM, "the guest needs at least 1 MiB of memory");
        memcpy(to, cmdline, size + 1);
        return 0;
}

static int initrd_does_not_fit(struct loader *loader, uint64_t floor, uint64_t ceiling, uint64_t size)
{
        unsigned long long has = (size >> 20) + 1, most = ceiling > floor ? (ceiling - floor) >> 20 : 0;
        uint64_t end;

        if (!checked_add(floor, size, &end) || !checked_round_up(end, 1 << 20, &end) || end > ceiling)
                return loader_fail(loader, -E2BIG,
                                   "the initrd is too large: it has %llu MiB, and this kernel takes about %llu MiB",
                                   has, most);
        return loader_fail(loader, -ENOMEM,
                           "with this initrd it needs at least %llu MiB of memory, the guest has %llu MiB",
                           (unsigned long long)(end >> 20) + 1, (unsigned long long)(loader_low_end(loader) >> 20));
}

int loader_put_initrd(struct loader *loader, uint64_t floor, uint64_t ceiling, struct oriel_range *out)
{
        const int fd = loader->image->initrd_fd;
        struct oriel_range file = {0};

        *out = (struct oriel_range){0};
        if (fd < 0)
                return 0;

        int r = loader_file_size(loader, fd, "initrd", &file.size);

        if (r < 0 || file.size == 0)
                return r;
        if (ceiling > KVM_LOW_MEMORY_END)
                ceiling = KVM_LOW_MEMORY_END;

        uint64_t end = ceiling < loader_low_end(loader) ? ceiling : loader_low_end(loader);
        uint64_t start = end < file.size ? 0 : (end - file.size) & ~(uint64_t)(PAGE - 1);

        if (start < floor || !loader_memory_at(loader, start, file.size))
                return initrd_does_not_fit(loader, floor, ceiling, file.size);
        *out = (struct oriel_range){start, file.size};
        return loader_place(loader, fd, "initrd", file, start);
}

unsigned loader_map(const struct loader *loader, struct boot_map_entry map[BOOT_MAP_MOST])
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

uint64_t loader_put_tables(struct loader *loader, bool user, struct oriel_range mmio64)
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
