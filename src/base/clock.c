/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/clock.h"

#include <limits.h>
#include <time.h>

static int64_t read_clock(clockid_t clock)
{
        struct timespec ts;

        clock_gettime(clock, &ts);
        return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t now_ns(void)
{
        return read_clock(CLOCK_MONOTONIC);
}

int64_t coarse_now_ns(void)
{
        return read_clock(CLOCK_MONOTONIC_COARSE);
}

int64_t now_ms(void)
{
        return now_ns() / 1000000;
}

int poll_timeout(int64_t deadline_ms)
{
        if (deadline_ms < 0)
                return -1;

        int64_t left = deadline_ms - now_ms();

        if (left <= 0)
                return 0;
        return left > INT_MAX ? INT_MAX : (int)left;
}
