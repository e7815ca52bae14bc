/* SPDX-License-Identifier: BSD-2-Clause */

/* Pictures out of a file or a pipe. Bytes are read into one buffer, which has room for a picture and its header; the
 * first picture in it is found by its form: after a line of Y4M, up to the end mark of a JPEG, or by its size. A stream
 * of Y4M is recognized by its first line. A file at its end begins again with its first line, and a pipe with that of
 * its next writer.
 *
 * Planar YUV is drawn line by line into any format; all other formats are passed on. */

#include "devices/media/camera/source.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/stat.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(read), SYSCALL(lseek), SYSCALL(poll));

#define Y4M_MAGIC "YUV4MPEG2 "
enum { LINE_MAX_SIZE = 256 }; /* of a line of Y4M */

struct camera_file {
        struct camera_source source;
        int fd;
        bool is_pipe;
        bool begun, is_y4m, wrong;   /* of the stream: whether its first bytes were examined, and the result */
        unsigned chroma_x, chroma_y; /* shifts by which chroma is smaller */
        size_t picture_size;
        uint8_t *buffer;
        size_t room, start, end; /* the bytes that are not parsed yet */
        const uint8_t *picture;
        size_t used; /* of the picture */
        uint8_t line[3 * IMAGE_SIDE_MAX];
};

/* ---- Y4M ---- */

static const struct {
        const char *name;
        unsigned x, y;
} chromas[] = {{"420jpeg", 1, 1}, {"420mpeg2", 1, 1}, {"420paldv", 1, 1}, {"420", 1, 1}, {"422", 1, 0}, {"444", 0, 0}};

static int find_chroma(const char *name, unsigned *x, unsigned *y)
{
        for (size_t i = 0; i < ARRAY_SIZE(chromas); i++)
                if (strcmp(chromas[i].name, name) == 0) {
                        *x = chromas[i].x;
                        *y = chromas[i].y;
                        return 0;
                }
        return -EINVAL;
}

static bool is_picture_side(uint32_t side)
{
        return side >= 16 && side <= IMAGE_SIDE_MAX && side % 2 == 0;
}

/* Makes room for a picture and its header. */
static int file_make_room(struct camera_file *file)
{
        const size_t room = file->picture_size + LINE_MAX_SIZE;
        uint8_t *buffer = room > file->room ? realloc(file->buffer, room) : file->buffer;

        if (!buffer)
                return -ENOMEM;
        file->buffer = buffer;
        file->room = MAX(room, file->room);
        return 0;
}

/* Sets the size of pictures of planar YUV, whose chroma is smaller by these shifts. */
static int file_set_planar(struct camera_file *file, unsigned x, unsigned y)
{
        const size_t luma = (size_t)file->source.width * file->source.height;

        file->chroma_x = x;
        file->chroma_y = y;
        file->picture_size = luma + 2 * (luma >> (x + y));
        return file_make_room(file);
}

/* Parses the first line, without its magic. Only the first stream sets the source's size and interval: from then on
 * other threads read them. */
static int parse_header(struct camera_file *file, char *line)
{
        struct v4l2_fract rate = {0, 0};
        unsigned width = 0, height = 0;
        char *rest = NULL;
        unsigned x = 1, y = 1;
        struct camera_source *source = &file->source;
        int r = 0;

        for (const char *word = strtok_r(line, " ", &rest); word && r == 0; word = strtok_r(NULL, " ", &rest)) {
                if (word[0] == 'W')
                        width = (unsigned)strtoul(word + 1, NULL, 10);
                else if (word[0] == 'H')
                        height = (unsigned)strtoul(word + 1, NULL, 10);
                else if (word[0] == 'F' && sscanf(word + 1, "%u:%u", &rate.numerator, &rate.denominator) != 2)
                        r = -EINVAL;
                else if (word[0] == 'C')
                        r = find_chroma(word + 1, &x, &y);
        }
        if (r < 0 || !is_picture_side(width) || !is_picture_side(height) ||
            (source->width && (source->width != width || source->height != height)) ||
            (rate.denominator > 0 && rate.numerator / rate.denominator > RATE_MAX))
                return -EINVAL;
        if (source->width == 0) {
                source->width = width;
                source->height = height;
                if (rate.numerator > 0 && rate.denominator > 0)
                        source->interval = (struct v4l2_fract){rate.denominator, rate.numerator};
        }
        return file_set_planar(file, x, y);
}

/* Takes the line that begins with @magic at the start of the buffer, as a string. 1; 0: it is not complete yet;
 * -EINVAL: there is no such line. */
static int stream_take_line(struct camera_file *file, const char *magic, char line[LINE_MAX_SIZE])
{
        const uint8_t *begin = file->buffer + file->start;
        const size_t there = file->end - file->start, length = strlen(magic);
        const uint8_t *newline = memchr(begin, '\n', MIN(there, (size_t)LINE_MAX_SIZE));

        if (memcmp(begin, magic, MIN(there, length)) != 0 || (!newline && there >= LINE_MAX_SIZE))
                return -EINVAL;
        if (!newline)
                return 0;
        snprintf(line, LINE_MAX_SIZE, "%.*s", (int)((size_t)(newline - begin) - length), begin + length);
        file->start += (size_t)(newline - begin) + 1;
        return 1;
}

/* ---- pictures ---- */

static bool is_y4m(const struct camera_file *file)
{
        const size_t length = strlen(Y4M_MAGIC);

        return file->end - file->start >= length && memcmp(file->buffer + file->start, Y4M_MAGIC, length) == 0;
}

/* Recognizes a stream by its first bytes. 1; 0: there are too few yet. */
static int stream_begin(struct camera_file *file)
{
        char line[LINE_MAX_SIZE];
        int r = 1;

        if (file->end - file->start < strlen(Y4M_MAGIC))
                return 0;
        file->is_y4m = is_y4m(file);
        /* Y4M is drawn, never passed on. Without its header, --format must have set the size. */
        if (file->is_y4m ? file->source.fourcc != 0 : file->source.width == 0)
                return -EINVAL;
        if (file->is_y4m)
                r = stream_take_line(file, Y4M_MAGIC, line);
        if (r > 0 && file->is_y4m)
                r = parse_header(file, line) < 0 ? -EINVAL : 1;
        else if (r > 0 && !file->source.fourcc)
                r = file_set_planar(file, 1, 1) < 0 ? -ENOMEM : 1;
        file->begun = r > 0;
        return r;
}

static int stream_take_bytes(struct camera_file *file, size_t size)
{
        if (file->end - file->start < size)
                return 0;
        file->picture = file->buffer + file->start;
        file->used = size;
        file->start += size;
        return 1;
}

/* A JPEG ends with this mark, which does not occur in its data. */
static int stream_take_jpeg(struct camera_file *file)
{
        static const uint8_t mark[] = {0xff, 0xd9};
        const uint8_t *begin = file->buffer + file->start;
        const uint8_t *end = memmem(begin, file->end - file->start, mark, sizeof(mark));

        return end ? stream_take_bytes(file, (size_t)(end - begin) + sizeof(mark)) : 0;
}

/* Takes the next complete picture: 1, or 0. */
static int stream_take_picture(struct camera_file *file)
{
        char line[LINE_MAX_SIZE];

        /* A stream may follow another one without an end of file between them. */
        file->begun = file->begun && !(file->is_y4m && is_y4m(file));

        int r = file->begun ? 1 : stream_begin(file);

        if (r <= 0)
                return r;
        if (file->source.fourcc == V4L2_PIX_FMT_MJPEG)
                return stream_take_jpeg(file);
        if (!file->is_y4m)
                return stream_take_bytes(file, file->picture_size);

        const size_t start = file->start;

        r = stream_take_line(file, "FRAME", line);
        if (r > 0)
                r = stream_take_bytes(file, file->picture_size);
        /* The next call looks for the line again. */
        if (r == 0)
                file->start = start;
        return r;
}

/* Drops the rest of a stream that has an error. */
static int stream_skip(struct camera_file *file)
{
        file->start = file->end;
        return 0;
}

/* Reads more into the buffer. 1; 0: there is nothing more now. */
static int stream_read_more(struct camera_file *file)
{
        if (file->start > 0)
                memmove(file->buffer, file->buffer + file->start, file->end - file->start);
        file->end -= file->start;
        file->start = 0;
        if (file->end == file->room)
                return -EFBIG;

        /* A read from the pipe may block: O_NONBLOCK would be set for all who share the open file description. */
        if (file->is_pipe && poll(&(struct pollfd){.fd = file->fd, .events = POLLIN}, 1, 0) <= 0)
                return 0;

        const ssize_t n = read(file->fd, file->buffer + file->end, file->room - file->end);

        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        file->end += (size_t)n;
        if (n > 0)
                return 1;
        /* End of file: the next stream follows, or the same again. */
        file->begun = file->wrong = false;
        file->end = 0;
        return !file->is_pipe && lseek(file->fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

static int file_advance(struct camera_source *source, uint64_t number, struct v4l2_fract interval)
{
        struct camera_file *file = (struct camera_file *)source;
        int r, ends = 0;

        while ((r = file->wrong ? stream_skip(file) : stream_take_picture(file)) == 0) {
                r = stream_read_more(file);
                /* A regular file begins again then: if it ends twice, it has no whole picture. */
                if (r < 0 || (r == 0 && (file->is_pipe || ++ends > 1)))
                        break;
        }
        file->wrong |= r < 0;
        return r;
}

static void file_line(struct camera_file *file, uint32_t y)
{
        const uint32_t width = file->source.width, height = file->source.height;
        const uint32_t chroma_width = width >> file->chroma_x;
        const uint8_t *luma = file->picture + (size_t)y * width;
        const uint8_t *u = file->picture + (size_t)width * height + (size_t)(y >> file->chroma_y) * chroma_width;
        const uint8_t *v = u + (size_t)chroma_width * (height >> file->chroma_y);

        for (uint32_t x = 0; x < width; x++) {
                file->line[3 * x] = luma[x];
                file->line[3 * x + 1] = u[x >> file->chroma_x];
                file->line[3 * x + 2] = v[x >> file->chroma_x];
        }
}

static size_t file_draw(struct camera_source *source, const struct camera_image *image, const struct color *color)
{
        struct camera_file *file = (struct camera_file *)source;
        const size_t room = format_size(image->format, image->width, image->height);

        if (source->fourcc) {
                memcpy(image->data, file->picture, MIN(file->used, room));
                return MIN(file->used, room);
        }
        for (uint32_t y = 0; y < source->height; y++) {
                file_line(file, y);
                image_put(image, y, 1, file->line, color);
        }
        return room;
}

static void camera_file_free(struct camera_source *source)
{
        struct camera_file *file = (struct camera_file *)source;

        fd_close(file->fd);
        free(file->buffer);
        free(file);
}

/* ---- the source itself ---- */

/* "FOURCC:WIDTHxHEIGHT" */
static int parse_format(struct camera_file *file, const char *text)
{
        struct camera_source *source = &file->source;
        char name[5], rest;

        if (sscanf(text, "%4[^:]:%5ux%5u%c", name, &source->width, &source->height, &rest) != 3 || strlen(name) != 4 ||
            !is_picture_side(source->width) || !is_picture_side(source->height))
                return -EINVAL;
        source->fourcc = v4l2_fourcc((uint32_t)name[0], (uint32_t)name[1], (uint32_t)name[2], (uint32_t)name[3]);

        const struct format *format = format_find(source->fourcc);

        if (!format)
                return -EINVAL;
        file->picture_size = format_size(format, source->width, source->height);
        if (source->fourcc == V4L2_PIX_FMT_YUV420)
                source->fourcc = 0;
        return 0;
}

static const char *file_open(struct camera_file *file, const char *format)
{
        struct stat st;

        if (fstat(file->fd, &st) < 0)
                return strerror(errno);
        if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
                return "it is neither a regular file nor a FIFO";
        file->is_pipe = S_ISFIFO(st.st_mode);
        if (format && parse_format(file, format) < 0)
                return "--format: a format and an even size, such as MJPG:640x480, of YU12, YUYV, RGB3, BGR3, "
                       "MJPG";
        if (!format && file->is_pipe)
                return "--format says what will come out of a FIFO";
        if (file_make_room(file) < 0)
                return strerror(ENOMEM);
        if (!format && (stream_read_more(file) <= 0 || stream_begin(file) <= 0))
                return "it is no Y4M of 8 bits and an even size, and --format does not say what it is";
        return NULL;
}

int file_source_new(int fd, const char *format, struct camera_source **out, const char **why)
{
        static const struct source_ops ops = {file_advance, file_draw, camera_file_free};
        struct camera_file *file = calloc(1, sizeof(*file));

        if (!file) {
                fd_close(fd);
                return -ENOMEM;
        }
        file->source.ops = &ops;
        file->fd = fd;
        *why = file_open(file, format);
        if (*why) {
                camera_file_free(&file->source);
                return -EINVAL;
        }
        *out = &file->source;
        return 0;
}
