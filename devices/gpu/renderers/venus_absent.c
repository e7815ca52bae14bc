/* SPDX-License-Identifier: BSD-2-Clause */

/* In place of venus.c, where there is no libvirglrenderer to build with. */

#include "devices/gpu/renderers/venus.h"

#include <errno.h>

int venus_new(int server_fd, const struct oriel_log *log, struct gpu_renderer **out)
{
        (void)server_fd;
        (void)log;
        (void)out;
        return -ENOTSUP;
}
