/* SPDX-License-Identifier: BSD-2-Clause */

/* The test pattern: seven bars, below them the same in reverse, a grey ramp that moves by four pixels with each
 * picture, the picture's number and time in digits, and at the bottom squares for adjusting a display. All rows of a
 * band are equal, so that most of a picture is copies. It depends only on number and interval. */

#include "devices/media/camera/source.h"

#include "base/cleanup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

struct yuv {
        uint8_t y, u, v;
};

struct pattern {
        struct camera_source source;
        uint64_t number;
        struct v4l2_fract interval;
        uint8_t line[3 * IMAGE_SIDE_MAX];
};

#define BLACK                \
        {                    \
                16, 128, 128 \
        }
#define WHITE                 \
        {                     \
                235, 128, 128 \
        }
#define GREY                  \
        {                     \
                180, 128, 128 \
        }

static const struct yuv bars[] = {GREY,           {162, 44, 142}, {131, 156, 44}, {112, 72, 58},
                                  {84, 184, 198}, {65, 100, 212}, {35, 212, 114}};
static const struct yuv reverse[] = {{35, 212, 114}, BLACK, {84, 184, 198}, BLACK, {131, 156, 44}, BLACK, GREY};
static const struct yuv squares[] = {{16, 158, 95}, WHITE, {16, 174, 149}, BLACK, {8, 128, 128}, {24, 128, 128}, BLACK};

/* Five columns and seven rows of each of "0123456789:. ". */
static const char characters[] = "0123456789:. ";
static const uint8_t glyphs[][7] = {
        {14, 17, 19, 21, 25, 17, 14},
        {4, 12, 4, 4, 4, 4, 14},
        {14, 17, 1, 2, 4, 8, 31},
        {31, 2, 4, 2, 1, 17, 14},
        {2, 6, 10, 18, 31, 2, 2},
        {31, 16, 30, 1, 1, 17, 14},
        {6, 8, 16, 30, 17, 17, 14},
        {31, 1, 2, 4, 8, 8, 8},
        {14, 17, 17, 14, 17, 17, 14},
        {14, 17, 17, 15, 1, 2, 12},
        {0, 12, 12, 0, 12, 12, 0},
        {0, 0, 0, 0, 0, 12, 12},
        {0},
};
enum { GLYPH_ROWS = 7, GLYPH_COLUMNS = 6, TEXT_ROWS = GLYPH_ROWS + 2 };

static void line_fill(uint8_t *line, uint32_t from, uint32_t to, struct yuv color)
{
        for (uint32_t x = from; x < to; x++)
                memcpy(line + 3 * x, &color, 3);
}

static void line_bars(uint8_t *line, uint32_t width, const struct yuv *colors, uint32_t n)
{
        for (uint32_t i = 0; i < n; i++)
                line_fill(line, width * i / n, width * (i + 1) / n, colors[i]);
}

static void line_ramp(uint8_t *line, uint32_t width, uint64_t number)
{
        const uint32_t shift = (uint32_t)(number * 4 % width);

        for (uint32_t x = 0; x < width; x++) {
                const uint32_t at = x + shift < width ? x + shift : x + shift - width;

                memcpy(line + 3 * x, &(struct yuv){(uint8_t)(16 + at * 219 / width), 128, 128}, 3);
        }
}

/* Draws row @row of the glyphs of @text, with dots of @scale pixels each way. */
static void line_text(uint8_t *line, uint32_t width, const char *text, unsigned row, uint32_t scale)
{
        uint32_t x = scale * 2;

        line_fill(line, 0, width, (struct yuv)BLACK);
        for (; *text; text++) {
                const uint8_t bits = glyphs[strchr(characters, *text) - characters][row];

                for (unsigned column = 0; column < GLYPH_COLUMNS; column++, x += scale)
                        if (column < 5 && (bits & (16 >> column)) && x + scale <= width)
                                line_fill(line, x, x + scale, (struct yuv)WHITE);
        }
}

static void draw_text(struct pattern *pattern, const struct camera_image *image, const struct color *color, uint32_t y,
                      uint32_t scale)
{
        const struct v4l2_fract *interval = &pattern->interval;
        const uint64_t ms = pattern->number * interval->numerator * 1000 / interval->denominator;
        char text[64];

        snprintf(text, sizeof(text), "%08" PRIu64 " %02" PRIu64 ":%02" PRIu64 ".%03" PRIu64, pattern->number,
                 ms / 60000, ms / 1000 % 60, ms % 1000);
        for (unsigned row = 0; row < TEXT_ROWS; row++, y += scale) {
                if (row == 0 || row > GLYPH_ROWS)
                        line_fill(pattern->line, 0, image->width, (struct yuv)BLACK);
                else
                        line_text(pattern->line, image->width, text, row - 1, scale);
                image_put(image, y, scale, pattern->line, color);
        }
}

static int pattern_advance(struct camera_source *source, uint64_t number, struct v4l2_fract interval)
{
        struct pattern *pattern = (struct pattern *)source;

        pattern->number = number;
        pattern->interval = interval;
        return 1;
}

static size_t pattern_draw(struct camera_source *source, const struct camera_image *image, const struct color *color)
{
        struct pattern *pattern = (struct pattern *)source;
        const uint32_t width = image->width, height = image->height;
        /* All are even, as image_put() needs. */
        const uint32_t scale = MAX(height / 200 * 2, 2), reverse_at = height / 32 * 20, ramp_at = height / 32 * 22;
        const uint32_t text_at = height / 32 * 24, squares_at = text_at + TEXT_ROWS * scale;

        line_bars(pattern->line, width, bars, ARRAY_SIZE(bars));
        image_put(image, 0, reverse_at, pattern->line, color);
        line_bars(pattern->line, width, reverse, ARRAY_SIZE(reverse));
        image_put(image, reverse_at, ramp_at - reverse_at, pattern->line, color);
        line_ramp(pattern->line, width, pattern->number);
        image_put(image, ramp_at, text_at - ramp_at, pattern->line, color);
        draw_text(pattern, image, color, text_at, scale);
        line_bars(pattern->line, width, squares, ARRAY_SIZE(squares));
        image_put(image, squares_at, height - squares_at, pattern->line, color);
        return format_size(image->format, width, height);
}

static void pattern_free(struct camera_source *source)
{
        free(source);
}

int pattern_new(struct camera_source **out)
{
        static const struct source_ops ops = {pattern_advance, pattern_draw, pattern_free};
        struct pattern *pattern = calloc(1, sizeof(*pattern));

        if (!pattern)
                return -ENOMEM;
        pattern->source.ops = &ops;
        *out = &pattern->source;
        return 0;
}
