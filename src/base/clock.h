/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC, in milliseconds and in nanoseconds. */
int64_t now_ms(void);
int64_t now_ns(void);
/* The same, some milliseconds old: a system call is not needed for it. */
int64_t coarse_now_ns(void);

/* What poll() is to be given for a deadline on that clock; -1 stays -1. */
int poll_timeout(int64_t deadline_ms);

#endif
