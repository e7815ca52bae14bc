/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/common/figures.h"
#include "bench/common/bench.h"

#include <math.h>
#include <string.h>

const struct section_words sections[] = {
        [OPERATIONS] = {"Operations per second", "operations", {"oriel-fs", "peer"}},
        [CPU] = {"CPU time of the back-end for each operation, microseconds", "cpu", {"oriel-fs", "peer"}},
        [ALONE] = {"CPU time of its system calls alone, microseconds", "alone", {"alone", "peer"}},
        [MEMORY] = {"Memory of the back-end, KiB", "memory", {"oriel-fs", "peer"}},
        [DAX_READS] = {"DAX: reads of 4 KiB anywhere in a file, per second", "dax_reads", {"DAX", "FUSE_READ"}},
        [DAX_TIMES] = {"DAX: time of a read of 4 KiB, nanoseconds", "dax_times", {"DAX", "mmap"}},
        [DAX_SCAN] = {"DAX: a file of 8 windows read through, MiB/s", "dax_scan", {"8 windows", "it fits"}},
        [DAX_GUESTS] = {"DAX: memory of 8 guests that have read the same file, MiB", "dax_guests", {"PSS", "file"}},
};

static bool is_wanted(const struct option_list *only, const char *key)
{
        for (unsigned i = 0; i < only->n; i++)
                if (strncmp(key, only->values[i], strlen(only->values[i])) == 0)
                        return true;
        return only->n == 0;
}

void figures_add(struct figures *figures, const struct figure *more, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (is_wanted(figures->only, more[i].key) && figures->n < MAX_FIGURES)
                        figures->items[figures->n++] = more[i];
}

struct figure *figures_find(struct figures *figures, enum section section, const char *key)
{
        for (unsigned i = 0; i < figures->n; i++)
                if (figures->items[i].section == section && strcmp(figures->items[i].key, key) == 0)
                        return &figures->items[i];
        return NULL;
}

bool figures_have(const struct figures *figures, enum section section)
{
        for (unsigned i = 0; i < figures->n; i++)
                if (figures->items[i].section == section)
                        return true;
        return false;
}

void figure_sample(struct figure *figure, int way, double value)
{
        if (figure && figure->n[way] < MAX_RUNS)
                figure->samples[way][figure->n[way]++] = value;
}

double figure_median(const struct figure *figure, int way, double *least, double *most)
{
        double sorted[MAX_RUNS] = {0};
        unsigned n = figure->n[way];

        memcpy(sorted, figure->samples[way], n * sizeof(sorted[0]));

        double middle = median(sorted, n);

        if (least)
                *least = sorted[0];
        if (most)
                *most = sorted[n ? n - 1 : 0];
        return middle;
}

double figure_ratio(const struct figure *figure)
{
        double ratios[MAX_RUNS] = {0};
        unsigned n = figure->n[0] < figure->n[1] ? figure->n[0] : figure->n[1];

        for (unsigned i = 0; i < n; i++)
                ratios[i] = figure->samples[0][i] / figure->samples[1][i];
        return figure->unequal ? 0 : rint(median(ratios, n) * 1000) / 1000;
}

bool figure_reached(const struct figure *figure)
{
        double ratio = figure_ratio(figure);

        return figure->at_most ? ratio <= figure->bar : ratio >= figure->bar;
}
