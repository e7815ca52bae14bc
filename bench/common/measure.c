/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/common/bench.h"

#include <json.h>
#include <stdio.h>
#include <stdlib.h>

struct bench_options bench_options = {.live = UINT32_MAX, .runs = 5};

static int values_compare(const void *a, const void *b)
{
        const double *x = a, *y = b;

        return *x < *y ? -1 : *x > *y;
}

double median(double *values, size_t n)
{
        qsort(values, n, sizeof(values[0]), values_compare);
        return n ? values[n / 2] : 0;
}

void add_figure(struct json_object *object, const char *key, double value)
{
        char text[32];

        snprintf(text, sizeof(text), "%.3f", value);
        json_object_object_add(object, key, json_object_new_double_s(value, text));
}
