/* SPDX-License-Identifier: BSD-2-Clause */

/* In place of vnc.c, where there is no libvncserver to build with. */

#include "devices/gpu/display/vnc.h"

#include "program/report.h"

#include <errno.h>

int vnc_listen(const char *address, struct socket_file *file)
{
        (void)address;
        (void)file;
        report("--vnc: this oriel-gpu was built without libvncserver");
        return -ENOTSUP;
}

int vnc_new(struct gpu *gpu, int listener, uint32_t width, uint32_t height, const struct oriel_log *log,
            struct vnc **out)
{
        (void)gpu;
        (void)listener;
        (void)width;
        (void)height;
        (void)log;
        (void)out;
        return -ENOTSUP;
}

void vnc_free(struct vnc *vnc)
{
        (void)vnc;
}
