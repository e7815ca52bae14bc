/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/fs/options.h"

struct bench_fs_options bench_fs_options = {.runs = 5};

int64_t block_ns(void)
{
        return bench_fs_options.quick ? 4000000 : 100000000;
}
