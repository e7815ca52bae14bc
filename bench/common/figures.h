/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_COMMON_FIGURES_H
#define BENCH_COMMON_FIGURES_H

#include "program/options.h"

#include <stdbool.h>
#include <stdio.h>

/* The results of oriel bench fs, and their output. */

#define MAX_RUNS    25
#define MAX_FIGURES 64

enum section { OPERATIONS, CPU, ALONE, MEMORY, DAX_READS, DAX_TIMES, DAX_SCAN, DAX_GUESTS };

/* The words for a section, and for each of the two values in its rows; by enum section. */
extern const struct section_words {
        const char *title, *key, *ways[2];
} sections[];

/* A row of the table: two values, and their ratio. */
struct figure {
        enum section section;
        char key[32];
        const char *name;
        unsigned depth; /* 0: not shown */
        double bar;     /* target of the ratio; 0: none */
        bool at_most;   /* the ratio must not exceed the bar, instead of reaching it */
        bool unequal;   /* the two have not done the same work: no ratio */
        char note[64];

        double samples[2][MAX_RUNS];
        unsigned n[2];
};

/* The figures of one directory. */
struct figures {
        const char *dir, *filesystem;
        const struct option_list *only; /* prefixes of the keys that are wanted; empty: all */
        struct figure items[MAX_FIGURES];
        unsigned n;
};

/* Adds those of @more that are wanted. */
void figures_add(struct figures *figures, const struct figure *more, size_t n);
/* NULL: not wanted. */
struct figure *figures_find(struct figures *figures, enum section section, const char *key);
bool figures_have(const struct figures *figures, enum section section);
/* @figure may be NULL. */
void figure_sample(struct figure *figure, int way, double value);

/* The median, 0 if there is none; the smallest and largest too where asked for. */
double figure_median(const struct figure *figure, int way, double *least, double *most);
/* The median of the ratios of each run, whose two values were measured one after the other. 0 if there is none.
 * Rounded to three decimals, as in the JSON output, so that the comparison with the bar uses the number that its
 * reader sees. */
double figure_ratio(const struct figure *figure);
bool figure_reached(const struct figure *figure);

void figures_print(const struct figures *all, size_t n);
void figures_print_json(const struct figures *all, size_t n, const char *peer, unsigned runs);
/* SVG with a bar for each ratio. */
void figures_draw(const struct figures *all, size_t n, FILE *file);

#endif
