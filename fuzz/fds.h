/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FUZZ_FDS_H
#define FUZZ_FDS_H

#include "fuzz/input.h"

#include <dirent.h>

/* How many this process has, so that none is left behind. */
static inline unsigned count_fds(void)
{
        DIR *dir = opendir("/proc/self/fd");
        unsigned n = 0;

        need(dir);
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

#endif
