/* SPDX-License-Identifier: BSD-2-Clause */

/* The ioctls of a decoder's formats, selections and commands. OUTPUT has the coded formats, with a size that the
 * driver knows or guesses. CAPTURE has one format, with all planes in one buffer; its size is that of OUTPUT until
 * the bitstream tells another one, and a driver can't set it. */

#include "devices/media/decoder/state.h"

#include "base/cleanup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/param.h>

#ifndef V4L2_PIX_FMT_AV1
#define V4L2_PIX_FMT_AV1 v4l2_fourcc('A', 'V', '0', '1')
#endif

#define CODED_SIZE_MIN (UINT32_C(1) << 20)
#define CODED_SIZE_MAX (UINT32_C(16) << 20)

static const struct coded_format formats[] = {
        {CODEC_H264, V4L2_PIX_FMT_H264, "H.264"}, {CODEC_HEVC, V4L2_PIX_FMT_HEVC, "HEVC"},
        {CODEC_VP8, V4L2_PIX_FMT_VP8, "VP8"},     {CODEC_VP9, V4L2_PIX_FMT_VP9, "VP9"},
        {CODEC_AV1, V4L2_PIX_FMT_AV1, "AV1"},
};

const struct coded_format *coded_format(const struct decoder *decoder, uint32_t index)
{
        for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
                if ((decoder->codecs & 1U << formats[i].codec) && index-- == 0)
                        return &formats[i];
        return NULL;
}

unsigned decoder_codecs(const char *list)
{
        unsigned codecs = 0;

        for (size_t i = 0; i < ARRAY_SIZE(formats); i++)
                for (const char *at = list; at; at = strchr(at, ','), at += at != NULL)
                        codecs |= (unsigned)(strncmp((const char *)&formats[i].fourcc, at, 4) == 0) << formats[i].codec;
        return list ? codecs : ~0U;
}

static const struct coded_format *coded_format_find(const struct decoder *decoder, uint32_t fourcc)
{
        const struct coded_format *format;

        for (uint32_t i = 0; (format = coded_format(decoder, i)); i++)
                if (format->fourcc == fourcc)
                        return format;
        return NULL;
}

static void picture_set(struct codec_picture *picture, uint32_t width, uint32_t height)
{
        *picture = (struct codec_picture){width, height, 0, 0, width, height};
}

void coded_format_init(struct decoder_stream *stream)
{
        stream->coded = coded_format(stream->decoder, 0);
        stream->coded_size = CODED_SIZE_MIN;
        stream->colorspace = V4L2_COLORSPACE_REC709;
        picture_set(&stream->picture, 640, 480);
}

/* ---- formats ---- */

static int handle_enum_fmt(struct decoder_stream *stream, void *payload)
{
        struct v4l2_fmtdesc *wanted = payload;
        const struct coded_format *coded = coded_format(stream->decoder, wanted->index);
        const bool capture = wanted->type == V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;

        if (capture ? wanted->index != 0 : wanted->type != V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE || !coded)
                return -EINVAL;
        *wanted = (struct v4l2_fmtdesc){
                .index = wanted->index,
                .type = wanted->type,
                .flags = capture ? 0 : V4L2_FMT_FLAG_COMPRESSED | V4L2_FMT_FLAG_DYN_RESOLUTION,
                .pixelformat = capture ? V4L2_PIX_FMT_YUV420 : coded->fourcc,
        };
        snprintf((char *)wanted->description, sizeof(wanted->description), "%s",
                 capture ? "Planar YUV 4:2:0" : coded->name);
        return 0;
}

static void format_tell(const struct decoder_stream *stream, struct v4l2_format *out)
{
        const bool capture = out->type == V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;
        const struct picture_layout layout = picture_layout(&stream->picture);

        *out = (struct v4l2_format){.type = out->type};
        out->fmt.pix_mp = (struct v4l2_pix_format_mplane){
                .width = capture ? layout.stride : stream->picture.width,
                .height = capture ? layout.rows : stream->picture.height,
                .pixelformat = capture ? V4L2_PIX_FMT_YUV420 : stream->coded->fourcc,
                .field = V4L2_FIELD_NONE,
                .num_planes = 1,
                .plane_fmt[0].sizeimage = capture ? layout.size : stream->coded_size,
                .plane_fmt[0].bytesperline = capture ? layout.stride : 0,
                .colorspace = stream->colorspace,
                .ycbcr_enc = (uint8_t)stream->ycbcr_enc,
                .quantization = (uint8_t)stream->quantization,
                .xfer_func = (uint8_t)stream->xfer_func,
        };
}

static bool type_known(uint32_t type)
{
        return type == V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE || type == V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE;
}

static int handle_g_fmt(struct decoder_stream *stream, void *payload)
{
        const struct v4l2_format *format = payload;

        if (!type_known(format->type))
                return -EINVAL;
        format_tell(stream, payload);
        return 0;
}

/* Sets an OUTPUT format in @stream, which may be a trial copy. */
static void coded_format_set(struct decoder_stream *stream, const struct v4l2_pix_format_mplane *wanted)
{
        const struct coded_format *coded = coded_format_find(stream->decoder, wanted->pixelformat);

        if (coded)
                stream->coded = coded;
        picture_set(&stream->picture, MIN(MAX(wanted->width, PICTURE_SIDE_MIN), PICTURE_SIDE_MAX),
                    MIN(MAX(wanted->height, PICTURE_SIDE_MIN), PICTURE_SIDE_MAX));
        stream->coded_size = MIN(MAX(wanted->plane_fmt[0].sizeimage, CODED_SIZE_MIN), CODED_SIZE_MAX);
        stream->colorspace = wanted->colorspace > 0 && wanted->colorspace <= V4L2_COLORSPACE_DCI_P3
                                     ? wanted->colorspace
                                     : V4L2_COLORSPACE_REC709;
        stream->ycbcr_enc = wanted->ycbcr_enc <= V4L2_YCBCR_ENC_SMPTE240M ? wanted->ycbcr_enc : 0;
        stream->quantization = wanted->quantization <= V4L2_QUANTIZATION_LIM_RANGE ? wanted->quantization : 0;
        stream->xfer_func = wanted->xfer_func <= V4L2_XFER_FUNC_SMPTE2084 ? wanted->xfer_func : 0;
}

static int handle_try_fmt(struct decoder_stream *stream, void *payload)
{
        struct v4l2_format *format = payload;
        struct decoder_stream trial = {
                .decoder = stream->decoder,
                .coded = stream->coded,
                .coded_size = stream->coded_size,
                .picture = stream->picture,
                .colorspace = stream->colorspace,
                .ycbcr_enc = stream->ycbcr_enc,
                .quantization = stream->quantization,
                .xfer_func = stream->xfer_func,
        };

        if (!type_known(format->type))
                return -EINVAL;
        if (format->type == V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE)
                coded_format_set(&trial, &format->fmt.pix_mp);
        format_tell(&trial, format);
        return 0;
}

static int handle_s_fmt(struct decoder_stream *stream, void *payload)
{
        struct v4l2_format *format = payload;
        const struct coded_format *before = stream->coded;

        if (!type_known(format->type))
                return -EINVAL;
        if (format->type == V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE) {
                if (stream->queues[QUEUE_CAPTURE].n > 0)
                        return -EBUSY;
        } else {
                if (stream->queues[QUEUE_CODED].n > 0 || stream->queues[QUEUE_CAPTURE].n > 0)
                        return -EBUSY;
                coded_format_set(stream, &format->fmt.pix_mp);
        }
        /* A process decodes one codec only. */
        if (stream->coded != before)
                stream_stop_codec(stream);
        format_tell(stream, format);
        return 0;
}

static int handle_enum_framesizes(struct decoder_stream *stream, void *payload)
{
        struct v4l2_frmsizeenum *wanted = payload;

        if (wanted->index != 0 || !coded_format_find(stream->decoder, wanted->pixel_format))
                return -EINVAL;
        *wanted = (struct v4l2_frmsizeenum){
                .pixel_format = wanted->pixel_format,
                .type = V4L2_FRMSIZE_TYPE_CONTINUOUS,
                .stepwise = {PICTURE_SIDE_MIN, PICTURE_SIDE_MAX, 1, PICTURE_SIDE_MIN, PICTURE_SIDE_MAX, 1},
        };
        return 0;
}

/* ---- selections ---- */

static int handle_g_selection(struct decoder_stream *stream, void *payload)
{
        struct v4l2_selection *selection = payload;
        const struct codec_picture *picture = &stream->picture;

        if (selection->type != V4L2_BUF_TYPE_VIDEO_CAPTURE && selection->type != V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE)
                return -EINVAL;
        memset(selection->reserved, 0, sizeof(selection->reserved));
        switch (selection->target) {
        case V4L2_SEL_TGT_COMPOSE:
        case V4L2_SEL_TGT_COMPOSE_DEFAULT:
                selection->r = (struct v4l2_rect){(int32_t)picture->left, (int32_t)picture->top, picture->visible_width,
                                                  picture->visible_height};
                return 0;
        case V4L2_SEL_TGT_COMPOSE_BOUNDS:
        case V4L2_SEL_TGT_COMPOSE_PADDED:
                selection->r = (struct v4l2_rect){0, 0, picture->width, picture->height};
                return 0;
        }
        return -EINVAL;
}

/* The bitstream determines the selection: the answer is the current one, whatever the driver asks for. */
static int handle_s_selection(struct decoder_stream *stream, void *payload)
{
        const struct v4l2_selection *selection = payload;

        if (selection->target != V4L2_SEL_TGT_COMPOSE)
                return -EINVAL;
        return handle_g_selection(stream, payload);
}

/* ---- commands ---- */

static int handle_try_command(struct decoder_stream *stream, void *payload)
{
        struct v4l2_decoder_cmd *command = payload;

        if (command->cmd != V4L2_DEC_CMD_START && command->cmd != V4L2_DEC_CMD_STOP)
                return -EINVAL;
        *command = (struct v4l2_decoder_cmd){.cmd = command->cmd};
        return 0;
}

static int handle_command(struct decoder_stream *stream, void *payload)
{
        const struct v4l2_decoder_cmd *command = payload;
        int r = handle_try_command(stream, payload);

        if (r < 0)
                return r;
        if (command->cmd == V4L2_DEC_CMD_STOP)
                stream_drain(stream);
        else
                stream_resume(stream);
        return 0;
}

#define HANDLER(ioctl, function) [_IOC_NR(VIDIOC_##ioctl)] = (function)

static int (*const handlers[])(struct decoder_stream *stream, void *payload) = {
        HANDLER(ENUM_FMT, handle_enum_fmt),
        HANDLER(G_FMT, handle_g_fmt),
        HANDLER(S_FMT, handle_s_fmt),
        HANDLER(TRY_FMT, handle_try_fmt),
        HANDLER(ENUM_FRAMESIZES, handle_enum_framesizes),
        HANDLER(G_SELECTION, handle_g_selection),
        HANDLER(S_SELECTION, handle_s_selection),
        HANDLER(DECODER_CMD, handle_command),
        HANDLER(TRY_DECODER_CMD, handle_try_command),
};

int stream_own_ioctl(struct decoder_stream *stream, struct media_call *call)
{
        const unsigned nr = _IOC_NR(call->row->code);

        return nr < ARRAY_SIZE(handlers) && handlers[nr] ? handlers[nr](stream, call->payload) : -ENOTTY;
}
