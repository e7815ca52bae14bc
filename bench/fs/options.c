/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/fs/options.h"

struct bench_fs_options bench_fs_options = {.runs = 5};
