/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_FLOOR_H
#define CLI_FLOOR_H

#include <stdint.h>
#include <sys/types.h>

/* What a map or an unmap costs at the least: the same bytes and fd over a Unix socket to another process, which does
 * the bare mmap() and answers. No checks, no records, blocking sockets. */

/* Start the other process. *socket is the caller's; closing it ends the process. The pid, or a negative errno. */
pid_t floor_start(int *socket);

/* One round trip, in nanoseconds; negative if it failed. */
int64_t floor_map(int socket, int fd);
int64_t floor_unmap(int socket);

int64_t now_ns(void);

#endif
