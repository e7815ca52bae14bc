/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_COMMON_FLOOR_H
#define BENCH_COMMON_FLOOR_H

#include <oriel/protocol.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What a map or an unmap costs at the least: the same bytes and fd over a Unix socket to another process, which does
 * the bare mmap() and answers. No checks, no records, blocking sockets. */

/* Start a process that does @serve with its end of a socket pair, on the other CPU if @other_cpu, and ends. *socket is
 * the caller's. The pid, or a negative errno. */
pid_t start_server(void (*serve)(int socket), int *socket, bool other_cpu);

/* What the floor's process does: answer each request until the socket ends. */
void floor_serve(int socket);

/* One round trip, in nanoseconds; negative if it failed. @fd -1: it is unmapped. */
int64_t floor_map(int socket, int fd);

/* An answer of the protocol's. */
struct reply {
        struct oriel_wire_header header;
        uint64_t u64;
} __attribute__((packed));

/* A message of @size bytes with a descriptor, -1: without. */
bool send_with_fd(int socket, const void *message, size_t size, int fd);
/* A message of @size bytes. The descriptor that came with it, -1 if none did, -2: it did not come. */
int receive_with_fd(int socket, void *message, size_t size);

/* Bind the calling thread to the first CPU it may use, or, if @other, to the last: left to itself the scheduler puts
 * one pair of processes on one CPU and another on two, and waking across CPUs costs several times as much. */
void bind_cpu(bool other);

#endif
