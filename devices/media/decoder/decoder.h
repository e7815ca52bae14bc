/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_DECODER_DECODER_H
#define DEVICES_MEDIA_DECODER_DECODER_H

#include "devices/media/core/node.h"

/* A stateful decoder of V4L2, whose sessions decode a stream each. @broker (broker.h), which is taken even on failure,
 * starts what decodes, and @codecs is what that can: a mask of enum codec. */
int decoder_new(int broker, unsigned codecs, const char *card, struct media_node **out);

/* The mask of a list of V4L2's codes with commas, such as "H264,VP90"; NULL: all. Codes that aren't known are none. */
unsigned decoder_codecs(const char *list);

#endif
