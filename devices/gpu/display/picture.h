/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_DISPLAY_PICTURE_H
#define DEVICES_GPU_DISPLAY_PICTURE_H

#include "devices/gpu/core/gpu.h"

/* Pictures of outputs, as PNG. Without libpng to build with, all of these are NULL. */
struct picture;

/* Open or make the files: @path for output 0, and for the others with .1, .2 and so on before its suffix. Regular files
 * alone (-EINVAL). Else what open(2) says, -ENOMEM. */
int picture_open(const char *path, unsigned outputs, struct picture **out) __attribute__((weak));
/* Starts a thread, before which no picture is taken. */
int picture_start(struct picture *picture, struct gpu *gpu, const struct oriel_log *log) __attribute__((weak));
/* Have the files written, without waiting for that. */
void picture_take(struct picture *picture) __attribute__((weak));
/* Before the gpu is. NULL is accepted. */
void picture_free(struct picture *picture) __attribute__((weak));

#endif
