/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_V4L2_PRELOAD_NODE_H
#define CLI_V4L2_PRELOAD_NODE_H

#include "cli/v4l2/protocol.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>

/* The preloaded library of "oriel v4l2": functions of the C library that handle the device, and pass everything else on
 * to the C library. A "node" is a descriptor for the device. */

#define EXPORT __attribute__((visibility("default")))
/* Another name of the same function, such as the one for large files. */
#define EXPORT_AS(function) __attribute__((visibility("default"), alias(#function)))

/* The C library's own function of this name. */
#define REAL(function)                                                                                  \
        ({                                                                                              \
                static __typeof__(&(function)) real_function;                                           \
                                                                                                        \
                if (!real_function)                                                                     \
                        real_function = (__typeof__(real_function))(void *)dlsym(RTLD_NEXT, #function); \
                real_function;                                                                          \
        })

/* "/dev/video0", and its number. NULL: this process was not started by "oriel v4l2". */
const char *node_device(void);
unsigned node_number(void);

/* A descriptor for the device, or -1 and errno. */
int v4l2_node_open(int flags);
/* Whether @fd is a node, whether it was opened, duplicated or inherited. */
bool node_is(int fd);
/* The same, without a system call until this process has had a node. */
bool node_is_here(int fd);
/* Whether this process has ever had a node. */
bool node_is_used(void);

/* Sends a call and waits for its answer. Returns 0, or -1 and errno. The answer brings @n descriptors, which become
 * the caller's in @fds. On success *@lease, unless @lease is NULL, is the answer's socket, the caller's. EINTR: the
 * call has had no effect. */
int node_call(int fd, const struct v4l2_call *call, struct v4l2_answer *answer, int *fds, unsigned n, int *lease);

/* Moves @fd to a high number, if one is free: programs use low numbers without asking, as shells do with dup2().
 * Returns the new number. */
int node_move_up(int fd);

/* Returns the descriptors that poll(2) watches for a node, V4L2_READY_FDS of them, which stay the library's. False:
 * @fd is no node, or the device is gone. */
bool node_ready_fds(int fd, int *fds);
/* The same, where this process has them already. */
bool node_known_fds(int fd, int *fds);
/* Which bits of poll(2) these descriptors report now, of those that are asked for. */
uint32_t node_ready_now(const int *fds, short asked);
/* Closes these descriptors; call it before @fd is closed, after epoll_forget(). */
void node_forget(int fd);
/* Takes the node @fd out of all epoll instances to which this process has added it; forgets the instance @fd if it is
 * one. */
void epoll_forget(int fd);
/* Whether a child of vfork() runs in this process's memory: what it closes is open here. */
bool node_is_lent(void);

/* For each of these descriptors: the bits of poll(2) by which a program asks for it, the bits that the program gets,
 * and the bit that the descriptor itself reports. */
extern const struct node_condition {
        short bits, gives, own;
} node_conditions[V4L2_READY_FDS];

#endif
