/* SPDX-License-Identifier: BSD-2-Clause */

/* In place of picture.c, where there is no libpng to build with. */

#include "devices/gpu/display/picture.h"

#include <errno.h>

int picture_open(const char *path, unsigned outputs, struct picture **out)
{
        (void)path;
        (void)outputs;
        (void)out;
        return -ENOTSUP;
}

int picture_start(struct picture *picture, struct gpu *gpu, const struct oriel_log *log)
{
        (void)picture;
        (void)gpu;
        (void)log;
        return 0;
}

void picture_take(struct picture *picture)
{
        (void)picture;
}

void picture_free(struct picture *picture)
{
        (void)picture;
}
