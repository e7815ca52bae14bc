/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_DECODER_SLOTS_H
#define DEVICES_MEDIA_DECODER_SLOTS_H

#include "devices/media/decoder/protocol.h"

#include <libavutil/frame.h>
#include <linux/videodev2.h>

/* The guest's capture buffers, in the process that decodes. A picture may be decoded directly into one, which stays
 * in use as long as the codec refers to that picture, even if the guest has the buffer again meanwhile. */

struct slot_memory {
        uint8_t *data;
        size_t size;
        unsigned users; /* pictures of the codec */
        bool forgotten;
};

struct picture_slots {
        struct {
                struct slot_memory *memory; /* NULL: unknown */
                bool given;                 /* may be filled */
        } slots[VIDEO_MAX_FRAME];
};

/* Sets the file of a buffer, and closes @fd. False: the index is wrong, or the file can't be mapped. */
bool slot_learn(struct picture_slots *slots, uint32_t index, int fd, size_t size);
/* Marks the buffers of the mask as ready to be filled, or not if @valid is false. False: one is unknown. */
bool slots_give(struct picture_slots *slots, uint32_t mask, bool valid);
void decoder_slots_take(struct picture_slots *slots);
void slots_forget(struct picture_slots *slots);

/* Gives @frame a free slot for its memory. One slot always stays free of the codec, so that a picture decoded
 * elsewhere can be copied into it and nobody waits for ever. False: there is none. */
bool slot_use(struct picture_slots *slots, const struct picture_layout *layout, AVFrame *frame);
/* Returns the slot that has @frame, or into which it was copied, and takes it from those that may be filled. -1:
 * none is free yet. */
int slot_fill(struct picture_slots *slots, const struct picture_layout *layout, const AVFrame *frame);

#endif
