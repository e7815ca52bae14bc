/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_COMMON_BENCH_H
#define BENCH_COMMON_BENCH_H

#include "program/options.h"

#include <stddef.h>

/* The benchmarks, and their options; cli/bench.c has the rows of the command line. */

#define BENCH_MAP_MAX_LIVE 30000

struct json_object;

struct bench_options {
        bool one_cpu, json;

        unsigned live; /* map: measure with this number of live mappings; UINT32_MAX: with increasing numbers */

        const char *device; /* media: a V4L2 device of this host; NULL: the pattern */

        /* fs */
        const char *peer, *svg;
        struct option_list dirs, only, own_options, peer_options;
        unsigned runs;
        bool quick, two_cpus;
};

/* Constant during a benchmark. */
extern struct bench_options bench_options;

/* Each returns the exit status. */
int bench_map(void);
int bench_trace(void);
int bench_fs(void);
int bench_gpu(void);
int bench_media(void);
int bench_pmem(void);

/* Sorts @values. The upper of the two middle ones for an even number; 0 if there are none. */
double median(double *values, size_t n);
/* Rounded to three decimals. */
void add_figure(struct json_object *object, const char *key, double value);

#endif
