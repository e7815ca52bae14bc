/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_KERNEL_H
#define BASE_KERNEL_H

#include <stdbool.h>

/* The least Linux that Oriel is for. Debian 12 has 6.1; what is relied on here is MADV_POPULATE_READ (5.14), and
 * eventfds for asynchronous I/O and RWF_NOWAIT (5.8). */
#define KERNEL_LEAST_MAJOR 5
#define KERNEL_LEAST_MINOR 14

/* Any thread. False, too, where the kernel does not say what it is. */
bool kernel_is_at_least(unsigned major, unsigned minor);

#endif
