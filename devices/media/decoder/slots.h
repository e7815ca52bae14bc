/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_DECODER_SLOTS_H
#define DEVICES_MEDIA_DECODER_SLOTS_H

#include "devices/media/decoder/protocol.h"

#include <libavutil/frame.h>
#include <linux/videodev2.h>

/* The guest's capture buffers, in the process that decodes. A picture may be decoded straight into one, which then is
 * in use as long as the codec refers to that picture, whoever else has the buffer meanwhile. */

struct slot_memory {
        uint8_t *data;
        size_t size;
        unsigned users; /* pictures of the codec */
        bool forgotten;
};

struct slots {
        struct {
                struct slot_memory *memory; /* NULL: not known */
                bool given;                 /* may be filled */
        } slots[VIDEO_MAX_FRAME];
};

/* The buffer has this file, which is closed. False: it can't be. */
bool slot_learn(struct slots *slots, uint32_t index, int fd, size_t size);
/* Those of the mask may be filled; or not, if what they are given for is over. False: one is not known. */
bool slots_give(struct slots *slots, uint32_t mask, bool valid);
void decoder_slots_take(struct slots *slots);
void slots_forget(struct slots *slots);

/* A picture's memory, in a slot that nobody is to wait for: one always stays free of the codec, so that what is decoded
 * elsewhere can be copied into it. False: there is none. */
bool slot_use(struct slots *slots, const struct picture_layout *layout, AVFrame *frame);
/* The slot that has @frame, or into which it was copied, which is given no longer. -1: there is none yet. */
int slot_fill(struct slots *slots, const struct picture_layout *layout, const AVFrame *frame);

#endif
