/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/limits.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>

enum { DEFAULT_MAPPINGS = 65530 };

unsigned limit_mappings(void)
{
        unsigned limit = DEFAULT_MAPPINGS;
        FILE *file = fopen("/proc/sys/vm/max_map_count", "re");

        if (file) {
                if (fscanf(file, "%u", &limit) != 1)
                        limit = DEFAULT_MAPPINGS;
                fclose(file);
        }
        return limit;
}

unsigned limit_fds(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return 0;
        return limit.rlim_cur < INT32_MAX ? (unsigned)limit.rlim_cur : INT32_MAX;
}

void limit_raise_fds(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
}
