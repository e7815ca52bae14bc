/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_MAP_MAP_H
#define BENCH_MAP_MAP_H

#include <stdbool.h>

#define BENCH_MAP_MAX_LIVE 30000

struct bench_map_options {
        unsigned live; /* measure with so many live mappings; UINT32_MAX: with more and more */
        bool one_cpu, json;
};

/* The exit status. */
int bench_map(const struct bench_map_options *options);

#endif
