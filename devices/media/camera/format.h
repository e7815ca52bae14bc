/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CAMERA_FORMAT_H
#define DEVICES_MEDIA_CAMERA_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pixel formats, and images in them that are drawn line by line. A line has three bytes for each pixel: Y, Cb and Cr,
 * of BT.601 in its limited range. */

struct format {
        uint32_t fourcc; /* V4L2_PIX_FMT_* */
        const char *name;
        unsigned bytes; /* of a pixel in the first plane; 0: compressed */
        bool planar;    /* Cb and Cr follow, of half the width and half the height */
        void (*put)(uint8_t *out, const uint8_t *line, uint32_t width); /* NULL: it can't be drawn */
};

extern const struct format formats[];
extern const unsigned n_formats;
const struct format *format_find(uint32_t fourcc); /* NULL: not known */

/* Images have even sides of at most this length. */
enum { IMAGE_SIDE_MAX = 8192 };
uint32_t format_stride(const struct format *format, uint32_t width);
uint32_t format_size(const struct format *format, uint32_t width, uint32_t height);

struct camera_image {
        const struct format *format;
        uint32_t width, height;
        uint8_t *data; /* format_size() bytes */
};

/* The change of pixels by brightness, contrast, saturation (128: none) and hue (in degrees). */
struct color {
        uint8_t luma[256];
        int32_t cosine, sine; /* of the hue, times the saturation, times 65536 */
        bool neutral;
};
struct color color_make(int brightness, int contrast, int saturation, int hue);

/* Puts @line, which this changes, into @n lines from @y on. Both are even, or @n is 1. */
void image_put(const struct camera_image *image, uint32_t y, uint32_t n, uint8_t *line, const struct color *color);

#endif
