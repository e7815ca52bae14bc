/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_TRACE_TRACE_H
#define BENCH_TRACE_TRACE_H

/* oriel bench trace: the exit status. */
int bench_trace(int one_cpu, int as_json);

#endif
