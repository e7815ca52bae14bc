/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_VIRTIO_VOICE_H
#define VMM_VIRTIO_VOICE_H

#include <oriel/log.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* What a device logs: what a guest or a back-end does can't make it say more than a few lines a second, and while it is
 * brought up for the first time nothing is said, but kept as the reason should that fail. Any thread. */
struct voice {
        struct oriel_log to;
        pthread_mutex_t lock;
        bool holding;
        char held[200]; /* the last line */
        int64_t refilled;
        unsigned lines, lost;
};

void voice_init(struct voice *voice, const struct oriel_log *to);
void voice_done(struct voice *voice);
/* A logger that is the voice's, and as loud as what it was made of. */
struct oriel_log voice_log(struct voice *voice);
/* From now on it says what it has to say. */
void voice_release(struct voice *voice);
/* And from now on no more: nobody wants to know why a connection ends that is cut. */
void voice_hush(struct voice *voice);

#endif
