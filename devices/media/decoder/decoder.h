/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_DECODER_DECODER_H
#define DEVICES_MEDIA_DECODER_DECODER_H

#include "devices/media/core/node.h"

/* A stateful decoder of V4L2, each of whose sessions decodes a stream. @broker (broker.h), which is taken even on
 * failure, starts the codec processes; @codecs is a mask of the enum codec that they have. */
int decoder_new(int broker, unsigned codecs, const char *card, struct media_node **out);

/* The mask of a list of V4L2's codes, separated by commas, such as "H264,VP90"; NULL: all. Unknown codes are
 * ignored. */
unsigned decoder_codecs(const char *list);

#endif
