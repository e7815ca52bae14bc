/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/demo/picture.h"
#include "base/cleanup.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#define CELLS 96

/* What a cell of the strip shows: the strongest of what lies in it. */
static char cell_of(enum oriel_access access)
{
        return access == ORIEL_ACCESS_READ_WRITE ? 'W' : 'r';
}

static void fill_strip(char *strip, uint64_t size, struct oriel_mapping **mappings, size_t count)
{
        memset(strip, '.', CELLS);
        strip[CELLS] = '\0';
        for (size_t i = 0; i < count; i++) {
                struct oriel_mapping_info info = {.struct_size = sizeof(info)};

                oriel_mapping_get_info(mappings[i], &info);

                /* Offsets lie below the size, so the products stay far below 2^64 for any window that can be made. */
                uint64_t first = info.range.start / 4096 * CELLS / (size / 4096);
                uint64_t last = (info.range.start + info.range.size - 1) / 4096 * CELLS / (size / 4096);

                for (uint64_t cell = first; cell <= last && cell < CELLS; cell++)
                        if (strip[cell] != 'W')
                                strip[cell] = cell_of(info.access);
        }
}

/* A name may hold anything; the picture is for a terminal. */
static void print_name(FILE *out, const char *name)
{
        for (; *name; name++)
                fputc(iscntrl((unsigned char)*name) ? '?' : *name, out);
        fputc('\n', out);
}

static void print_rows(FILE *out, struct oriel_mapping **mappings, size_t count, size_t max_rows, picture_name_fn name,
                       void *userdata)
{
        fprintf(out, "  %12s %10s %-4s %12s  %s\n", "offset", "length", "may", "in file at", "file");
        for (size_t i = 0; i < count && i < max_rows; i++) {
                struct oriel_mapping_info info = {.struct_size = sizeof(info)};

                oriel_mapping_get_info(mappings[i], &info);

                const char *file = name ? name(userdata, &info) : NULL;

                fprintf(out, "  %#12" PRIx64 " %#10" PRIx64 " %-4s %#12" PRIx64 "  ", info.range.start, info.range.size,
                        info.access == ORIEL_ACCESS_READ_WRITE ? "rw" : "r", info.fd_offset);
                print_name(out, file ? file : "?");
        }
        if (count > max_rows)
                fprintf(out, "  ... and %zu more\n", count - max_rows);
}

int picture_print(FILE *out, struct oriel_region *region, size_t max_rows, picture_name_fn name, void *userdata)
{
        struct oriel_mapping **mappings;
        char strip[CELLS + 1];
        size_t count;
        int r = oriel_region_list(region, &mappings, &count);

        if (r < 0)
                return r;
        fill_strip(strip, oriel_region_size(region), mappings, count);
        fprintf(out, "window of shmid %u: %" PRIu64 " MiB, %zu mappings (r read-only, W read-write, . hole)\n",
                oriel_region_shmid(region), oriel_region_size(region) >> 20, count);
        fprintf(out, "  |%s|\n", strip);
        print_rows(out, mappings, count, max_rows, name, userdata);
        oriel_mappings_free(mappings, count);
        return 0;
}
