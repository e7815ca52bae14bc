/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CORE_SINK_H
#define DEVICES_GPU_CORE_SINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A sink shows the outputs: a front-end by its GPU socket, a VNC server, a file. All functions may be NULL. They are
 * called with the gpu's lock held, so they must not wait, nor call the gpu; pointers are valid until they return. A
 * thread that shows pixels later has them copied by gpu_copy_output(). */

struct gpu;

struct gpu_rect {
        uint32_t x, y, width, height;
};

/* Pixels in memory, whatever the driver's format: 32 bits each, 0xXXRRGGBB as a number of this machine (DRM's
 * XRGB8888). */
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
        /* The pixels in @rect of @frame have changed. */
        void (*update)(void *userdata, unsigned output, const struct gpu_frame *frame, struct gpu_rect rect);
        void (*set_cursor)(void *userdata, unsigned output, const struct gpu_cursor *cursor);
        void (*move_cursor)(void *userdata, unsigned output, uint32_t x, uint32_t y);
        /* The driver asks for the settings of outputs. True: gpu_set_displays() will be called, and the answer waits
         * for it. */
        bool (*ask)(void *userdata);
};

#define GPU_SINKS_MAX 8

/* Adds @sink, which is borrowed until it is removed; afterwards no function of it is called. It is told at once what
 * the outputs show (not of cursors), and asked if the driver has asked. -ENOSPC. */
int gpu_add_sink(struct gpu *gpu, const struct gpu_sink *sink);
void gpu_remove_sink(struct gpu *gpu, const struct gpu_sink *sink); /* a sink that was not added is accepted */

/* Copies @rect of the output to @to, whose rows begin @stride pixels apart. False: the output does not show that, or
 * not any more. */
bool gpu_copy_output(struct gpu *gpu, unsigned output, struct gpu_rect rect, uint32_t *to, uint32_t stride);
/* False: the output is off. */
bool gpu_output_size(struct gpu *gpu, unsigned output, uint32_t *width, uint32_t *height);

#endif
