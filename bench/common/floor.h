/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BENCH_COMMON_FLOOR_H
#define BENCH_COMMON_FLOOR_H

#include <oriel/protocol.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The least cost of a map or an unmap: the same bytes and fd over a Unix socket to another process, which only calls
 * mmap() and answers. No checks, no records, blocking sockets. */

/* Starts a process that calls @serve with its end of a socket pair, on the other CPU if @other_cpu, and then exits,
 * or gets SIGTERM when this process ends.
 * *socket is the caller's. The pid, or a negative errno. */
pid_t start_server(void (*serve)(int socket), int *socket, bool other_cpu);

/* The loop of the floor's process: answers each request until the socket is closed. */
void floor_serve(int socket);

/* One round trip, in nanoseconds; negative if it failed. @fd -1: unmaps. */
int64_t floor_map(int socket, int fd);

/* A reply in the protocol's format. */
struct reply {
        struct oriel_wire_header header;
        uint64_t u64;
} __attribute__((packed));

/* Sends a message of @size bytes with a descriptor; -1: without. */
bool send_with_fd(int socket, const void *message, size_t size, int fd);
/* Receives a message of @size bytes. Returns the descriptor that came with it, -1 without one, -2: no whole message
 * came. */
int receive_with_fd(int socket, void *message, size_t size);

/* Binds the calling thread to the first CPU it may use, or, if @other, to the last: by itself the scheduler puts one
 * pair of processes on one CPU and another on two, and waking across CPUs costs several times as much. */
void bind_cpu(bool other);

#endif
