/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FUZZ_MEDIA_GUEST_H
#define FUZZ_MEDIA_GUEST_H

/* A guest of a virtio-media device for fuzzing, its front-end, and the window, of which it keeps books. The guest's
 * commands are made by the rows of the table of ioctls, right and spoiled. */

#include "devices/media/core/state.h"
#include "fuzz/input.h"

#define MEDIA_GUEST_PAGE UINT64_C(4096)
/* It maps what is at the first few multiples of one, with or without the other. */
#define MEDIA_GUEST_OFFSET UINT32_C(0x8000)
#define MEDIA_GUEST_FAR    UINT32_C(0x100000)

struct media_guest_options {
        struct media_node *node;
        const uint32_t *types; /* enum v4l2_buf_type, which most calls are about */
        unsigned n_types;
        uint64_t window_size;
        void (*check)(const void *bytes, size_t size); /* the answer to an ioctl, or an event; NULL: nothing to check */
};

/* Two sessions are open then. The node is the media's. */
void media_guest_begin(struct input *input, const struct media_guest_options *options);
struct media *media_guest_media(void);
/* A command, some room for events, or a reset. */
void media_guest_step(void);
/* A word of a payload: mostly one that means something. None is as the upper half of an address of this process. */
uint32_t media_guest_word(void);
static inline bool word_may_be_of_address(uint32_t word)
{
        return word >= 0x5000 && word < 0x8000;
}
/* Nothing is left in the window. */
void media_guest_end(void);

#endif
