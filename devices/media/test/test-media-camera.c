/* SPDX-License-Identifier: BSD-2-Clause */

/* The sources of a camera's pictures: the pattern in each format, and files and pipes, valid and broken. */

#include "devices/media/test/test-world.h"

#include "devices/media/camera/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WIDTH = 32, HEIGHT = 16, LUMA = WIDTH * HEIGHT, SIZE = LUMA * 3 / 2 };

static const struct v4l2_fract second30 = {1, 30};

/* ---- the pattern ---- */

static uint8_t *draw(struct camera_source *source, uint32_t fourcc, uint32_t width, uint32_t height, uint64_t number,
                     const struct color *color)
{
        const struct format *format = format_find(fourcc);
        const uint32_t size = format_size(format, width, height);
        const struct camera_image image = {format, width, height, malloc(size)};
        const struct color neutral = color_make(128, 128, 128, 0);

        assert_int_equal(source->ops->advance(source, number, second30), 1);
        assert_int_equal(source->ops->draw(source, &image, color ? color : &neutral), size);
        return image.data;
}

static void test_pattern(void **state)
{
        static const uint32_t sizes[][2] = {{160, 120}, {320, 180}, {640, 480}, {3840, 2160}};
        struct camera_source *source;

        assert_int_equal(pattern_new(&source), 0);
        for (unsigned i = 0; i < n_formats; i++) {
                for (size_t k = 0; formats[i].put && k < ARRAY_SIZE(sizes); k++) {
                        const uint32_t width = sizes[k][0], height = sizes[k][1];
                        const uint32_t size = format_size(&formats[i], width, height);
                        uint8_t *first = draw(source, formats[i].fourcc, width, height, 7, NULL);
                        uint8_t *again = draw(source, formats[i].fourcc, width, height, 7, NULL);
                        uint8_t *next = draw(source, formats[i].fourcc, width, height, 8, NULL);

                        assert_memory_equal(first, again, size);
                        assert_memory_not_equal(first, next, size);
                        /* The bars don't move. */
                        assert_memory_equal(first, next, format_stride(&formats[i], width) * (height / 2));
                        free(first);
                        free(again);
                        free(next);
                }
        }
        source->ops->free(source);
}

static void assert_near(const uint8_t *rgb, int red, int green, int blue)
{
        assert_between(rgb[0], red - 3, red + 3);
        assert_between(rgb[1], green - 3, green + 3);
        assert_between(rgb[2], blue - 3, blue + 3);
}

/* 75% bars: grey, yellow, cyan, green, magenta, red, blue. */
static void test_colors(void **state)
{
        static const int bars[][3] = {{191, 191, 191}, {191, 191, 0}, {0, 191, 191}, {0, 191, 0},
                                      {191, 0, 191},   {191, 0, 0},   {0, 0, 191}};
        const struct color grey = color_make(128, 128, 0, 0), bright = color_make(255, 128, 128, 0);
        struct camera_source *source;

        assert_int_equal(pattern_new(&source), 0);

        uint8_t *image = draw(source, V4L2_PIX_FMT_RGB24, 640, 480, 0, NULL);

        for (uint32_t i = 0; i < 7; i++)
                assert_near(image + 3 * (640 * 100 + 640 * i / 7 + 40), bars[i][0], bars[i][1], bars[i][2]);
        free(image);
        image = draw(source, V4L2_PIX_FMT_RGB24, 640, 480, 0, &grey);
        for (uint32_t x = 0; x < 640; x++)
                assert_int_equal(image[3 * x], image[3 * x + 2]);
        free(image);
        image = draw(source, V4L2_PIX_FMT_YUV420, 640, 480, 0, &bright);
        assert_int_equal(image[0], 255);
        free(image);
        source->ops->free(source);
}

/* ---- files ---- */

static int file_of(const void *data, size_t size)
{
        int fd = memfd_create("test", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, data, size), (ssize_t)size);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        return fd;
}

/* A header, and @n pictures, each with its number in it. */
static size_t y4m(uint8_t *out, const char *words, unsigned n, size_t picture)
{
        size_t size = (size_t)sprintf((char *)out, "YUV4MPEG2 W%d H%d%s\n", WIDTH, HEIGHT, words);

        for (unsigned i = 0; i < n; i++) {
                size += (size_t)sprintf((char *)out + size, "FRAME\n");
                for (size_t k = 0; k < picture; k++)
                        out[size++] = (uint8_t)(16 + (k * 7 + i * 31) % 200);
        }
        return size;
}

static void expect(struct camera_source *source, const uint8_t *picture)
{
        uint8_t *image = draw(source, V4L2_PIX_FMT_YUV420, WIDTH, HEIGHT, 0, NULL);

        assert_memory_equal(image, picture, SIZE);
        free(image);
}

static void test_y4m(void **state)
{
        uint8_t data[8 * SIZE];
        const size_t size = y4m(data, " F25:1 Ip A1:1 C420jpeg", 3, SIZE);
        const uint8_t *pictures = data + size - 3 * (SIZE + 6) + 6;
        struct camera_source *source;
        const char *why;

        assert_int_equal(file_source_new(file_of(data, size), NULL, &source, &why), 0);
        assert_int_equal(source->width, WIDTH);
        assert_int_equal(source->interval.denominator, 25);
        /* The file begins again at its end. */
        for (unsigned i = 0; i < 10; i++)
                expect(source, pictures + i % 3 * (SIZE + 6));
        source->ops->free(source);
}

static void test_other_chroma(void **state)
{
        static const struct {
                const char *words;
                size_t picture;
        } rows[] = {{" C422", 2 * LUMA}, {" C444", 3 * LUMA}, {"", SIZE}};
        uint8_t data[8 * LUMA];

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const size_t size = y4m(data, rows[i].words, 1, rows[i].picture);
                struct camera_source *source;
                const char *why;

                assert_int_equal(file_source_new(file_of(data, size), NULL, &source, &why), 0);

                uint8_t *image = draw(source, V4L2_PIX_FMT_YUV420, WIDTH, HEIGHT, 0, NULL);

                assert_memory_equal(image, data + size - rows[i].picture, LUMA);
                free(image);
                source->ops->free(source);
        }
}

/* Files that are no sources, and the reasons. */
static void test_wrong_files(void **state)
{
        static const struct {
                const char *content, *format;
        } rows[] = {
                {"", NULL},
                {"FRAME\n", NULL},
                {"YUV4MPEG2 W32 H16", NULL},
                {"YUV4MPEG2 W31 H16\n", NULL},
                {"YUV4MPEG2 W99999999999 H16\n", NULL},
                {"YUV4MPEG2 W-2 H16\n", NULL},
                {"YUV4MPEG2 W32 H16 C420p10\n", NULL},
                {"YUV4MPEG2 W32 H16 F1\n", NULL},
                {"YUV4MPEG2 W32 H16 F4294967295:1\n", NULL},
                {"x", "MJPG"},
                {"x", "MJPG:320"},
                {"x", "MJPG:321x240"},
                {"x", "MJPG:9000x240"},
                {"x", "H264:320x240"},
                {"x", "MJPG:320x240x"},
        };
        struct camera_source *source;
        const char *why;

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const int fd = file_of(rows[i].content, strlen(rows[i].content));

                why = NULL;
                assert_int_equal(file_source_new(fd, rows[i].format, &source, &why), -EINVAL);
                assert_non_null(why);
        }
        assert_int_equal(file_source_new(open("/dev/null", O_RDONLY), "MJPG:320x240", &source, &why), -EINVAL);
}

/* Files that end too soon, or continue as something else. */
static void test_broken_files(void **state)
{
        uint8_t data[4 * SIZE];
        size_t size = y4m(data, "", 2, SIZE);
        struct camera_source *source;
        const char *why;

        assert_int_equal(file_source_new(file_of(data, size - SIZE - 20), NULL, &source, &why), 0);
        assert_int_equal(source->ops->advance(source, 0, second30), 0);
        assert_int_equal(source->ops->advance(source, 0, second30), 0);
        source->ops->free(source);
        data[size - SIZE - 6] = 'X';
        assert_int_equal(file_source_new(file_of(data, size), NULL, &source, &why), 0);
        assert_int_equal(source->ops->advance(source, 0, second30), 1);
        assert_int_equal(source->ops->advance(source, 0, second30), -EINVAL);
        assert_int_equal(source->ops->advance(source, 0, second30), 1);
        source->ops->free(source);
}

static void test_jpeg(void **state)
{
        static const uint8_t data[] = {0xff, 0xd8, 1, 2, 3, 4, 5, 6, 0xff, 0xd9, 0xff, 0xd8, 9, 0xff, 0xd9};
        static const size_t sizes[] = {10, 5};
        const struct format *format = format_find(V4L2_PIX_FMT_MJPEG);
        uint8_t out[200000];
        const struct camera_image image = {format, WIDTH, HEIGHT, out};
        struct camera_source *source;
        const char *why;

        assert_int_equal(file_source_new(file_of(data, sizeof(data)), "MJPG:32x16", &source, &why), 0);
        for (unsigned i = 0; i < 5; i++) {
                assert_int_equal(source->ops->advance(source, 0, second30), 1);
                assert_int_equal(source->ops->draw(source, &image, NULL), sizes[i % 2]);
                assert_memory_equal(out, data + i % 2 * 10, sizes[i % 2]);
        }
        source->ops->free(source);
}

static void test_pipe(void **state)
{
        uint8_t data[8 * SIZE], other[8 * SIZE];
        const size_t size = y4m(data, "", 1, SIZE);
        struct camera_source *source;
        const char *why;
        size_t other_size;
        int ends[2];

        assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
        assert_int_equal(file_source_new(dup(ends[0]), NULL, &source, &why), -EINVAL);
        assert_int_equal(file_source_new(ends[0], "YU12:32x16", &source, &why), 0);
        assert_int_equal(source->ops->advance(source, 0, second30), 0);
        /* In three parts, and then the same stream again. */
        assert_int_equal(write(ends[1], data, 5), 5);
        assert_int_equal(source->ops->advance(source, 0, second30), 0);
        assert_int_equal(write(ends[1], data + 5, 100), 100);
        assert_int_equal(source->ops->advance(source, 0, second30), 0);
        assert_int_equal(write(ends[1], data + 105, size - 105), (ssize_t)size - 105);
        expect(source, data + size - SIZE);
        assert_int_equal(write(ends[1], data, size), (ssize_t)size);
        expect(source, data + size - SIZE);
        assert_int_equal(source->ops->advance(source, 0, second30), 0);
        /* Another kind of chroma, and then another size, which is an error up to the stream's end. */
        other_size = y4m(other, " C444", 1, 3 * LUMA);
        assert_int_equal(write(ends[1], other, other_size), (ssize_t)other_size);
        assert_int_equal(source->ops->advance(source, 0, second30), 1);
        data[11] = '4';
        assert_int_equal(write(ends[1], data, size), (ssize_t)size);
        assert_int_equal(source->ops->advance(source, 0, second30), -EINVAL);
        assert_int_equal(source->ops->advance(source, 0, second30), 0);
        close(ends[1]);
        assert_int_equal(source->ops->advance(source, 0, second30), 0);
        source->ops->free(source);
}

/* Planar YUV without a header is drawn too; other formats are passed on. */
static void test_raw(void **state)
{
        uint8_t data[2 * LUMA];
        const struct camera_image image = {format_find(V4L2_PIX_FMT_YUYV), WIDTH, HEIGHT, malloc(2 * LUMA)};
        struct camera_source *source;
        const char *why;

        for (size_t i = 0; i < sizeof(data); i++)
                data[i] = (uint8_t)(i * 3);
        assert_int_equal(file_source_new(file_of(data, SIZE), "YU12:32x16", &source, &why), 0);
        expect(source, data);
        source->ops->free(source);
        assert_int_equal(file_source_new(file_of(data, sizeof(data)), "YUYV:32x16", &source, &why), 0);
        assert_int_equal(source->fourcc, V4L2_PIX_FMT_YUYV);
        assert_int_equal(source->width, WIDTH);
        assert_int_equal(source->ops->advance(source, 0, second30), 1);
        assert_int_equal(source->ops->draw(source, &image, NULL), sizeof(data));
        assert_memory_equal(image.data, data, sizeof(data));
        source->ops->free(source);
        free(image.data);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_pattern),      counted_test(test_colors),      counted_test(test_y4m),
                counted_test(test_other_chroma), counted_test(test_wrong_files), counted_test(test_broken_files),
                counted_test(test_jpeg),         counted_test(test_pipe),        counted_test(test_raw),
        };

        return run_counted("media-camera", tests);
}
