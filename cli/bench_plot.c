/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/bench_figures.h"

int figures_draw(const struct figures *all, size_t n, const char *path)
{
        (void)all;
        (void)n;
        (void)path;
        return 0;
}
