/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_COMMON_MEASURE_H
#define BENCH_COMMON_MEASURE_H

#include <stddef.h>

/* What the benchmarks share. */

struct json_object;

/* Sorts @values; of an even number the upper one. 0 of none. */
double median(double *values, size_t n);
/* With three decimals. */
void add_figure(struct json_object *object, const char *key, double value);

#endif
