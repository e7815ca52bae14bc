/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_DISPLAY_PICTURE_H
#define DEVICES_GPU_DISPLAY_PICTURE_H

#include "devices/gpu/core/gpu.h"

/* Pictures of outputs, as PNG. All functions are NULL in a build without libpng. */
struct picture;

/* Opens or creates the files: @path for output 0, and for the others with .1, .2 and so on before its suffix.
 * -EINVAL: it is not a regular file. Otherwise errors of open(2), -ENOMEM. */
int picture_open(const char *path, unsigned outputs, struct picture **out) __attribute__((weak));
/* Starts the thread; no picture is taken before. */
int picture_start(struct picture *picture, struct gpu *gpu, const struct oriel_log *log) __attribute__((weak));
/* Orders pictures, and does not wait for them. */
void picture_take(struct picture *picture) __attribute__((weak));
/* Call it before gpu_free(). NULL is accepted. */
void picture_free(struct picture *picture) __attribute__((weak));

#endif
