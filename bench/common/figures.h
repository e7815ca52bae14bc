/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_COMMON_FIGURES_H
#define BENCH_COMMON_FIGURES_H

#include "program/options.h"

#include <stdbool.h>
#include <stdio.h>

/* What oriel bench fs has measured, and how it is shown. */

#define MAX_RUNS    25
#define MAX_FIGURES 64

enum section { OPERATIONS, CPU, ALONE, MEMORY, DAX_READS, DAX_TIMES, DAX_SCAN, DAX_GUESTS };

/* What a section, and each of the two figures of its rows, is called; by enum section. */
extern const struct section_words {
        const char *title, *key, *ways[2];
} sections[];

/* A row of the table: one figure of two, which are divided by each other. */
struct figure {
        enum section section;
        char key[32];
        const char *name;
        unsigned depth; /* 0: says nothing */
        double bar;     /* of the ratio; 0: none */
        bool at_most;   /* the bar is what the ratio may not exceed, not what it has to reach */
        bool unequal;   /* the two have not done the same: there is no ratio */
        char note[64];

        double samples[2][MAX_RUNS];
        unsigned n[2];
};

/* Of one directory. */
struct figures {
        const char *dir, *filesystem;
        const struct option_list *only; /* what the keys of those that are wanted begin with; empty: all are */
        struct figure items[MAX_FIGURES];
        unsigned n;
};

/* Those that are wanted. */
void figures_add(struct figures *figures, const struct figure *more, size_t n);
/* NULL: it is not wanted. */
struct figure *figures_find(struct figures *figures, enum section section, const char *key);
bool figures_have(const struct figures *figures, enum section section);
/* NULL is accepted. */
void figure_sample(struct figure *figure, int way, double value);

/* The median, 0 if there is none; the least and the most where asked for. */
double figure_median(const struct figure *figure, int way, double *least, double *most);
/* The median of the runs' ratios: what was measured one after the other is compared. 0 where there is none. Rounded to
 * three decimals, as JSON tells it, so that the bar is held against the very number that its reader sees. */
double figure_ratio(const struct figure *figure);
bool figure_reached(const struct figure *figure);

void figures_print(const struct figures *all, size_t n);
void figures_print_json(const struct figures *all, size_t n, const char *peer, unsigned runs);
/* SVG with a bar for each ratio. */
void figures_draw(const struct figures *all, size_t n, FILE *file);

#endif
