/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_COMMON_BENCH_H
#define BENCH_COMMON_BENCH_H

#include "program/options.h"

#include <stddef.h>

/* The benchmarks, and what the command line says of them; cli/bench.c has the rows of it. */

#define BENCH_MAP_MAX_LIVE 30000

struct json_object;

struct bench_options {
        bool one_cpu, json;

        unsigned live; /* map: measure with so many live mappings; UINT32_MAX: with more and more */

        const char *device; /* media: a V4L2 device of this host; NULL: the pattern */

        /* fs */
        const char *peer, *svg;
        struct option_list dirs, only, own_options, peer_options;
        unsigned runs;
        bool quick, two_cpus;
};

/* Does not change while it is measured. */
extern struct bench_options bench_options;

/* Each returns the exit status. */
int bench_map(void);
int bench_trace(void);
int bench_fs(void);
int bench_gpu(void);
int bench_media(void);
int bench_pmem(void);

/* Sorts @values; of an even number the upper one. 0 of none. */
double median(double *values, size_t n);
/* With three decimals. */
void add_figure(struct json_object *object, const char *key, double value);

#endif
