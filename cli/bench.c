/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/common/bench.h"
#include "base/cleanup.h"
#include "bench/common/figures.h"
#include "cli/commands.h"
#include "program/options.h"

#include <stdint.h>
#include <string.h>

static const struct option_row rows[] = {
        {"live", OPTION_NUMBER, &bench_options.live, "N",
         "measure with N live mappings only (default: 0, 500, 10000 and 30000)"},
        {"one-cpu", OPTION_FLAG, &bench_options.one_cpu, NULL,
         "keep both sides on one CPU (default: one each, where there are two)"},
        {"json", OPTION_FLAG, &bench_options.json, NULL, "print one JSON object"},
        {"device", OPTION_STRING, &bench_options.device, "PATH",
         "media: a V4L2 device of this host, such as /dev/video0, itself and through oriel-media"},
        {"peer", OPTION_STRING, &bench_options.peer, "COMMAND",
         "fs: another virtio-fs back-end to compare oriel-fs with; its socket and directory are added"},
        {"dir", OPTION_LIST, &bench_options.dirs, "DIR",
         "fs, pmem: where to make the scratch directory or files, each in turn (default: $TMPDIR or /tmp)"},
        {"runs", OPTION_NUMBER, &bench_options.runs, "N", "fs: how often each row is measured (default: 5)"},
        {"svg", OPTION_STRING, &bench_options.svg, "FILE", "fs: draw the ratios and their bars into FILE"},
        {"two-cpus", OPTION_FLAG, &bench_options.two_cpus, NULL,
         "fs: a CPU each also at depth 1 (default: one CPU at depth 1, one each at depth 32)"},
        {"only", OPTION_LIST, &bench_options.only, "ROW",
         "fs: only the rows whose key begins with ROW, and others so named"},
        {"quick", OPTION_FLAG, &bench_options.quick, NULL,
         "fs, gpu, media, pmem: everything small and short, to see that it works"},
        {"own-option", OPTION_LIST, &bench_options.own_options, "OPTION",
         "fs: give this to oriel-fs, and others so named"},
        {"peer-option", OPTION_LIST, &bench_options.peer_options, "OPTION",
         "fs: give this to the peer, and others so named"},
};

static const struct program program = {
        .name = "oriel bench",
        .operands = "map|trace|fs|gpu|media|pmem",
        .summary = "map: measure SHMEM_MAP and SHMEM_UNMAP round trips of 2 MiB between a back-end and a front-end in\n"
                   "two processes, with more and more live mappings, next to the floor: the same bytes and fd over a\n"
                   "socketpair with a bare mmap.\n"
                   "trace: measure round trips between two processes directly and through oriel trace.\n"
                   "fs: measure oriel-fs with a driver in this process, and another virtio-fs back-end next to it.\n"
                   "gpu: measure the life of an oriel-gpu's host blobs, with more and more of them live, next to the "
                   "floor.\n"
                   "media: measure pictures of oriel-media, in its window and with a copy of each.\n"
                   "pmem: measure a flush of oriel-pmem next to fdatasync.\n"
                   "What is compared alternates in one run; figures are medians.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
        .min_operands = 1,
        .max_operands = 1,
};

int command_bench(int argc, char **argv)
{
        char **operands;
        int status = options_parse(&program, argc, argv, &operands);

        if (status >= 0)
                return status;
        if (bench_options.live != UINT32_MAX && bench_options.live > BENCH_MAP_MAX_LIVE)
                return options_wrong_usage(&program, "--live: at most %d", BENCH_MAP_MAX_LIVE);
        if (bench_options.runs < 1 || bench_options.runs > MAX_RUNS)
                return options_wrong_usage(&program, "--runs: 1 to %d", MAX_RUNS);
        if (strcmp(operands[0], "map") == 0)
                return bench_map();
        if (strcmp(operands[0], "trace") == 0)
                return bench_trace();
        if (strcmp(operands[0], "fs") == 0)
                return bench_fs();
        if (strcmp(operands[0], "gpu") == 0)
                return bench_gpu();
        if (strcmp(operands[0], "media") == 0)
                return bench_media();
        if (strcmp(operands[0], "pmem") == 0)
                return bench_pmem();
        return options_wrong_usage(&program, "'%s' is not a benchmark: map, trace, fs, gpu, media or pmem",
                                   operands[0]);
}
