/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CAMERA_CAMERA_H
#define DEVICES_MEDIA_CAMERA_CAMERA_H

#include "devices/media/camera/source.h"
#include "devices/media/core/node.h"

/* A capture device of V4L2 with the pictures of @source, which is taken even on failure. @fps: pictures a second; 0:
 * as the source says, or as the driver wants. */
int camera_new(struct camera_source *source, const char *card, unsigned fps, struct media_node **out);

#endif
