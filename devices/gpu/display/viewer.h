/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_DISPLAY_VIEWER_H
#define DEVICES_GPU_DISPLAY_VIEWER_H

#include "devices/gpu/core/gpu.h"
#include "devices/gpu/core/sink.h"

#include <pthread.h>
#include <stdatomic.h>

/* A thread that shows outputs at its own pace. The gpu only notes what is out of date, and notes merge: for an
 * output they are one rectangle, its size and its cursor, however long nobody takes them. */

struct viewer_output {
        bool resized; /* to width x height; 0 x 0: it is off */
        uint32_t width, height;
        struct gpu_rect damage;            /* height 0: none */
        bool cursor_changed, cursor_moved; /* cursor_changed: to pixels or to none */
        struct gpu_cursor cursor;          /* pixels: NULL, or those of cursor_pixels */
        uint32_t cursor_pixels[GPU_CURSOR_SIZE * GPU_CURSOR_SIZE];
};

struct viewer {
        struct gpu *gpu;
        struct gpu_sink sink;
        int wake_fd; /* an eventfd: there is something for the thread */
        pthread_t thread;
        bool started;

        atomic_bool end;     /* the thread is to end */
        atomic_bool answers; /* when the driver asks for the settings of outputs */
        atomic_bool asked;   /* the driver has asked */

        pthread_mutex_t lock; /* of what follows; taken after the gpu's */
        struct viewer_output *outputs;
};

/* Starts @run(@userdata) on a thread of its own. 0 or a negative errno, with nothing left behind. */
int viewer_start(struct viewer *viewer, struct gpu *gpu, bool answers, void *(*run)(void *userdata), void *userdata);
/* Ends the thread, and waits for that. A struct of zeros is accepted. */
void viewer_stop(struct viewer *viewer);

/* For the thread: takes the notes of @output. False: there are none. */
bool viewer_take(struct viewer *viewer, unsigned output, struct viewer_output *out);

#endif
