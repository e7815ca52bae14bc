/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_KERNEL_H
#define BASE_KERNEL_H

#include <stdbool.h>

/* The oldest Linux that Oriel supports: it needs MADV_POPULATE_READ (5.14), and eventfds for asynchronous I/O and
 * RWF_NOWAIT (5.8). Debian 12 has 6.1. */
#define KERNEL_LEAST_MAJOR 5
#define KERNEL_LEAST_MINOR 14

/* Any thread. False also where the kernel does not report a version. */
bool kernel_is_at_least(unsigned major, unsigned minor);

#endif
