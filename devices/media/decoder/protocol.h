/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_DECODER_PROTOCOL_H
#define DEVICES_MEDIA_DECODER_PROTOCOL_H

#include "base/range.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The messages between the daemon and a process that decodes one stream, on a socket of packets. Neither end trusts
 * the other: the daemon passes on what a guest sends, and the process may have been taken over by a bitstream. */

enum codec { CODEC_H264, CODEC_HEVC, CODEC_VP8, CODEC_VP9, CODEC_AV1, CODECS };

enum { PICTURE_SIDE_MIN = 16, PICTURE_SIDE_MAX = 4096 };

/* A decoded picture and its visible part. */
struct codec_picture {
        uint32_t width, height;
        uint32_t left, top, visible_width, visible_height;
};

/* A picture's layout in a buffer, as of V4L2_PIX_FMT_YUV420: Y with @rows lines of @stride bytes, then Cb and Cr
 * with half of both. It meets all codecs' rules for lengths and alignment, and leaves room for reads a little behind
 * the end. */
struct picture_layout {
        uint32_t stride, rows;
        uint32_t used, size; /* of the samples; of the buffer */
};

static inline struct picture_layout picture_layout(const struct codec_picture *picture)
{
        const uint32_t stride = (picture->width + 127) & ~UINT32_C(127), rows = (picture->height + 31) & ~UINT32_C(31);

        const uint32_t used = stride * rows / 2 * 3;

        return (struct picture_layout){stride, rows, used, used + 4 * stride};
}

static inline bool picture_is_valid(const struct codec_picture *picture)
{
        return picture->width > 0 && picture->width <= PICTURE_SIDE_MAX && picture->height > 0 &&
               picture->height <= PICTURE_SIDE_MAX && picture->visible_width > 0 && picture->visible_height > 0 &&
               range_within((struct oriel_range){picture->left, picture->visible_width}, picture->width) &&
               range_within((struct oriel_range){picture->top, picture->visible_height}, picture->height);
}

enum codec_request_type {
        REQUEST_START,  /* @index: enum codec. Once, before all others */
        REQUEST_DECODE, /* decode @size bytes from @offset on in the file: ANSWER_CONSUMED. One at a time */
        REQUEST_DRAIN,  /* deliver all pictures: ANSWER_DRAINED. The next packet begins another stream */
        REQUEST_FLUSH,  /* drop the stream and the step in progress, and return all buffers. @count is the number of
                         * the flush, which answers have from then on */
        REQUEST_GIVE,   /* buffer @index, with its file and @size, may be filled; without a file: the known buffers
                         * of the mask @index. @count is that of the last ANSWER_FORMAT that the daemon has seen: if
                         * there is a newer one, the request is void */
        REQUEST_TAKE,   /* return all buffers. @count is the number of this request, which answers have from then on */
        REQUEST_FORGET, /* their files too */
};

struct codec_request {
        uint32_t type, index, offset, size;
        uint64_t count;
        int64_t timestamp;
};

enum codec_answer_type {
        ANSWER_HELLO,    /* the first answer: @index is a mask of the available codecs */
        ANSWER_CONSUMED, /* the packet was taken. @failed: it could not be decoded */
        ANSWER_FORMAT,   /* the next pictures are as @picture, for number @count. @index: the number of buffers with
                          * which it need not wait. All buffers are returned */
        ANSWER_FRAME,    /* buffer @index is filled and returned. @failed: a part of the picture is missing */
        ANSWER_DRAINED,
};

struct codec_answer {
        uint32_t type, index;
        uint32_t failed, key;
        uint64_t count, flush, take;
        int64_t timestamp;
        struct codec_picture picture;
};

/* Sends a message with up to one file. False: it could not be sent at once, or the other end is gone. */
bool codec_send(int socket, const void *message, size_t size, int fd);
/* Waits for a message. *@fd is the caller's, or -1. False: the other end is gone, or has sent something else. */
bool codec_receive(int socket, void *message, size_t size, int *fd);

#endif
