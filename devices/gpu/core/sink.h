/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CORE_SINK_H
#define DEVICES_GPU_CORE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What shows the outputs: a front-end by its GPU socket, a VNC server, a file. All functions may be NULL. They come
 * with the gpu's lock held, so they must not wait for anybody, nor call the gpu; what they are given is theirs to look
 * at until they return. A thread that shows pixels later has them copied by gpu_copy_output(). */

struct gpu;

struct gpu_rect {
        uint32_t x, y, width, height;
};

/* Pixels in memory: 32 bits each, as a number of this machine 0xXXRRGGBB (DRM's XRGB8888), whatever the driver's
 * format. */
struct gpu_frame {
        const uint32_t *pixels;
        uint32_t width, height;
        uint32_t stride; /* in pixels */
};

#define GPU_CURSOR_SIZE 64 /* pixels, each way */

struct gpu_cursor {
        uint32_t x, y, hot_x, hot_y;
        const uint32_t *pixels; /* 64 x 64, 0xAARRGGBB, not premultiplied; NULL: there is none */
};

struct gpu_sink {
        void *userdata;
        /* Output @output shows @frame from now on; NULL: nothing. */
        void (*set)(void *userdata, unsigned output, const struct gpu_frame *frame);
        /* What is in @rect of @frame has changed. */
        void (*update)(void *userdata, unsigned output, const struct gpu_frame *frame, struct gpu_rect rect);
        void (*set_cursor)(void *userdata, unsigned output, const struct gpu_cursor *cursor);
        void (*move_cursor)(void *userdata, unsigned output, uint32_t x, uint32_t y);
        /* The driver asks how outputs are to be. True: gpu_set_displays() comes, and the answer waits for it. */
        bool (*ask)(void *userdata);
};

#define GPU_SINKS_MAX 8

/* @sink is told from now on, first of what the outputs show (not of cursors), and asked if the driver has asked. It is
 * borrowed until it is removed, after which no function of it is called any more. -ENOSPC. */
int gpu_add_sink(struct gpu *gpu, const struct gpu_sink *sink);
void gpu_remove_sink(struct gpu *gpu, const struct gpu_sink *sink); /* one that was not added is no matter */

/* Copy what is in @rect of the output to @to, whose rows begin @stride pixels apart. False: the output shows nothing
 * there (any more). */
bool gpu_copy_output(struct gpu *gpu, unsigned output, struct gpu_rect rect, uint32_t *to, uint32_t stride);
/* False: it shows nothing. */
bool gpu_output_size(struct gpu *gpu, unsigned output, uint32_t *width, uint32_t *height);

#endif
