/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_DISPLAY_VIEWER_H
#define DEVICES_GPU_DISPLAY_VIEWER_H

#include "devices/gpu/core/gpu.h"
#include "devices/gpu/core/sink.h"

#include <pthread.h>
#include <stdatomic.h>

/* A thread that shows outputs at a pace of its own. The gpu only notes what is out of date, which merges: an output is
 * one rectangle, its size and its cursor, however long nobody takes them. */

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
        int wake_fd; /* an eventfd: something has come */
        pthread_t thread;
        bool started;

        atomic_bool end;     /* the thread is to */
        atomic_bool answers; /* it will, where the driver asks how outputs are to be */
        atomic_bool asked;   /* the driver has */

        pthread_mutex_t lock; /* of what follows; behind the gpu's */
        struct viewer_output *outputs;
};

/* Start @run on a thread of its own; it gets @userdata. 0 or a negative errno, with nothing left behind. */
int viewer_start(struct viewer *viewer, struct gpu *gpu, bool answers, void *(*run)(void *userdata), void *userdata);
/* Have the thread end, and wait for that. All zeros is accepted. */
void viewer_stop(struct viewer *viewer);

/* For its thread: what is new of @output since the last time. False: nothing is. */
bool viewer_take(struct viewer *viewer, unsigned output, struct viewer_output *out);

#endif
