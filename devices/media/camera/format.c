/* SPDX-License-Identifier: BSD-2-Clause */

/* Pixel formats. image_put() converts a line of Y, Cb and Cr once, however many rows of the image show it, and
 * copies it to the others. A format's put() writes the first plane; for planar formats put_chroma() writes the other
 * two, from even lines only, with the mean of two neighbours. Colour controls are applied before, by a table for Y
 * and a rotation of Cb and Cr. */

#include "devices/media/camera/format.h"

#include "base/cleanup.h"

#include <linux/videodev2.h>
#include <math.h>
#include <string.h>
#include <sys/param.h>

static uint8_t to_byte(int value)
{
        return (uint8_t)MAX(0, MIN(255, value));
}

static void put_luma(uint8_t *out, const uint8_t *line, uint32_t width)
{
        for (uint32_t x = 0; x < width; x++)
                out[x] = line[3 * x];
}

static void put_yuyv(uint8_t *out, const uint8_t *line, uint32_t width)
{
        for (uint32_t x = 0; x + 1 < width; x += 2, line += 6, out += 4) {
                out[0] = line[0];
                out[1] = (uint8_t)((line[1] + line[4] + 1) / 2);
                out[2] = line[3];
                out[3] = (uint8_t)((line[2] + line[5] + 1) / 2);
        }
}

/* BT.601: 255 / 219 and the inverse of its matrix, times 256. */
static void put_rgb_as(uint8_t *out, const uint8_t *line, uint32_t width, unsigned red)
{
        for (uint32_t x = 0; x < width; x++, line += 3, out += 3) {
                const int y = 298 * (line[0] - 16) + 128, u = line[1] - 128, v = line[2] - 128;

                out[red] = to_byte((y + 409 * v) / 256);
                out[1] = to_byte((y - 100 * u - 208 * v) / 256);
                out[2 - red] = to_byte((y + 516 * u) / 256);
        }
}

static void put_rgb(uint8_t *out, const uint8_t *line, uint32_t width)
{
        put_rgb_as(out, line, width, 0);
}

static void put_bgr(uint8_t *out, const uint8_t *line, uint32_t width)
{
        put_rgb_as(out, line, width, 2);
}

/* The first one is used for a driver that asks for none of them. */
const struct format formats[] = {
        {V4L2_PIX_FMT_YUYV, "YUYV 4:2:2", 2, false, put_yuyv},
        {V4L2_PIX_FMT_YUV420, "Planar YUV 4:2:0", 1, true, put_luma},
        {V4L2_PIX_FMT_RGB24, "24-bit RGB 8-8-8", 3, false, put_rgb},
        {V4L2_PIX_FMT_BGR24, "24-bit BGR 8-8-8", 3, false, put_bgr},
        {V4L2_PIX_FMT_MJPEG, "Motion-JPEG", 0, false, NULL},
};
const unsigned n_formats = ARRAY_SIZE(formats);

const struct format *format_find(uint32_t fourcc)
{
        for (unsigned i = 0; i < n_formats; i++)
                if (formats[i].fourcc == fourcc)
                        return &formats[i];
        return NULL;
}

uint32_t format_stride(const struct format *format, uint32_t width)
{
        return format->bytes * width;
}

uint32_t format_size(const struct format *format, uint32_t width, uint32_t height)
{
        /* A compressed picture is at most as large as it was before compression. */
        if (format->bytes == 0)
                return width * height * 2 + (64 << 10);
        return format_stride(format, width) * height * (format->planar ? 3 : 2) / 2;
}

struct color color_make(int brightness, int contrast, int saturation, int hue)
{
        const double angle = hue * M_PI / 180;
        struct color color = {
                .cosine = (int32_t)lround(cos(angle) * saturation / 128 * 65536),
                .sine = (int32_t)lround(sin(angle) * saturation / 128 * 65536),
                .neutral = brightness == 128 && contrast == 128 && saturation == 128 && hue == 0,
        };

        for (int y = 0; y < 256; y++)
                color.luma[y] = to_byte((y - 126) * contrast / 128 + 126 + brightness - 128);
        return color;
}

static void color_apply(const struct color *color, uint8_t *line, uint32_t width)
{
        for (uint32_t x = 0; x < width; x++, line += 3) {
                const int u = line[1] - 128, v = line[2] - 128;

                line[0] = color->luma[line[0]];
                line[1] = to_byte((u * color->cosine - v * color->sine) / 65536 + 128);
                line[2] = to_byte((u * color->sine + v * color->cosine) / 65536 + 128);
        }
}

static void put_chroma(const struct camera_image *image, uint32_t y, uint32_t n, const uint8_t *line)
{
        const uint32_t width = image->width / 2;
        uint8_t *u = image->data + image->width * image->height + y / 2 * width;
        uint8_t *v = u + width * (image->height / 2);

        for (uint32_t x = 0; x < width; x++) {
                u[x] = (uint8_t)((line[6 * x + 1] + line[6 * x + 4] + 1) / 2);
                v[x] = (uint8_t)((line[6 * x + 2] + line[6 * x + 5] + 1) / 2);
        }
        for (uint32_t i = 1; i < n / 2; i++) {
                memcpy(u + i * width, u, width);
                memcpy(v + i * width, v, width);
        }
}

void image_put(const struct camera_image *image, uint32_t y, uint32_t n, uint8_t *line, const struct color *color)
{
        const uint32_t stride = format_stride(image->format, image->width);
        uint8_t *out = image->data + (size_t)y * stride;

        if (!color->neutral)
                color_apply(color, line, image->width);
        image->format->put(out, line, image->width);
        for (uint32_t i = 1; i < n; i++)
                memcpy(out + (size_t)i * stride, out, stride);
        if (image->format->planar && y % 2 == 0)
                put_chroma(image, y, n, line);
}
