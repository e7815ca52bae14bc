/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_COMMON_FLOOR_H
#define BENCH_COMMON_FLOOR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What a map or an unmap costs at the least: the same bytes and fd over a Unix socket to another process, which does
 * the bare mmap() and answers. No checks, no records, blocking sockets. */

/* Start the other process, on the other CPU if @other_cpu. *socket is the caller's; closing it ends the process. The
 * pid, or a negative errno. */
pid_t floor_start(int *socket, bool other_cpu);

/* What that process does: answer each request until the socket ends. */
void floor_serve(int socket);

/* One round trip, in nanoseconds; negative if it failed. */
int64_t floor_map(int socket, int fd);
int64_t floor_unmap(int socket);

/* Bind the calling thread to the first CPU it may use, or, if @other, to the last: left to itself the scheduler puts
 * one pair of processes on one CPU and another on two, and waking across CPUs costs several times as much. */
void bind_cpu(bool other);

#endif
