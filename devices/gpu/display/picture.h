/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_DISPLAY_PICTURE_H
#define DEVICES_GPU_DISPLAY_PICTURE_H

#include "devices/gpu/core/gpu.h"

/* Pictures of outputs, as PNG. */
struct picture;

/* Open or make the files: @path for output 0, and for the others with .1, .2 and so on before its suffix. Regular files
 * alone (-EINVAL). Else what open(2) says, -ENOMEM; -ENOTSUP: this build can't. */
int picture_open(const char *path, unsigned outputs, struct picture **out);
/* Those below accept NULL. Starts a thread, before which no picture is taken. */
int picture_start(struct picture *picture, struct gpu *gpu, const struct oriel_log *log);
/* Have the files written, without waiting for that. */
void picture_take(struct picture *picture);
/* Before the gpu is. */
void picture_free(struct picture *picture);

#endif
