/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_FS_OPTIONS_H
#define BENCH_FS_OPTIONS_H

#include "program/options.h"

#include <stdint.h>

/* What the command line says of "oriel bench fs"; cli/bench.c has the rows of it. */
struct bench_fs_options {
        const char *peer, *svg;
        struct option_list dirs, only, own_options, peer_options;
        unsigned runs;
        bool quick, json, one_cpu, two_cpus;
};

/* Does not change while it is measured. */
extern struct bench_fs_options bench_fs_options;

/* How long each row is measured at a time. */
int64_t block_ns(void);

#endif
