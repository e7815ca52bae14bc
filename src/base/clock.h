/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC, in milliseconds and in nanoseconds. */
int64_t now_ms(void);
int64_t now_ns(void);
/* Like now_ns(), but a few milliseconds behind: read without a system call. */
int64_t coarse_now_ns(void);

/* The timeout for poll() until @deadline_ms on the clock of now_ms(); -1 stays -1. */
int poll_timeout(int64_t deadline_ms);

#endif
