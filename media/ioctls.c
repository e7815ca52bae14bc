/* SPDX-License-Identifier: BSD-2-Clause */

/* The table of ioctls, by number. What the specification replaces by something else is not there (VIDIOC_QUERYCAP,
 * DQBUF, DQEVENT, G_JPEGCOMP, S_JPEGCOMP, LOG_STATUS); nor is what could not be passed on as it is: pointers that it
 * has no rule for (G_FBUF, S_FBUF, OVERLAY, G_EDID, S_EDID), descriptors (EXPBUF, until there are virtio objects), what
 * waits for long (S_HW_FREQ_SEEK), and debugging of the host (DBG_*). VIRTIO 1.4, 5.22.6.1. */

#include "media/ioctls.h"

#include "base/cleanup.h"

#include <errno.h>

#define ROW_AS(ioctl, kind) [_IOC_NR(VIDIOC_##ioctl)] = {.name = #ioctl, .code = VIDIOC_##ioctl, .payload = (kind)}
#define ROW(ioctl)          ROW_AS(ioctl, MEDIA_PLAIN)

static const struct media_ioctl table[] = {
        ROW(ENUM_FMT),
        ROW_AS(G_FMT, MEDIA_FORMAT),
        ROW_AS(S_FMT, MEDIA_FORMAT),
        ROW(REQBUFS),
        ROW_AS(QUERYBUF, MEDIA_BUFFER),
        ROW_AS(QBUF, MEDIA_BUFFER),
        ROW(STREAMON),
        ROW(STREAMOFF),
        ROW(G_PARM),
        ROW(S_PARM),
        ROW(G_STD),
        ROW(S_STD),
        ROW(ENUMSTD),
        ROW(ENUMINPUT),
        ROW(G_CTRL),
        ROW(S_CTRL),
        ROW(G_TUNER),
        ROW(S_TUNER),
        ROW(G_AUDIO),
        ROW(S_AUDIO),
        ROW(QUERYCTRL),
        ROW(QUERYMENU),
        ROW(G_INPUT),
        ROW(S_INPUT),
        ROW(G_OUTPUT),
        ROW(S_OUTPUT),
        ROW(ENUMOUTPUT),
        ROW(G_AUDOUT),
        ROW(S_AUDOUT),
        ROW(G_MODULATOR),
        ROW(S_MODULATOR),
        ROW(G_FREQUENCY),
        ROW(S_FREQUENCY),
        ROW(CROPCAP),
        ROW(G_CROP),
        ROW(S_CROP),
        ROW(QUERYSTD),
        ROW_AS(TRY_FMT, MEDIA_FORMAT),
        ROW(ENUMAUDIO),
        ROW(ENUMAUDOUT),
        ROW(G_PRIORITY),
        ROW(S_PRIORITY),
        ROW(G_SLICED_VBI_CAP),
        ROW_AS(G_EXT_CTRLS, MEDIA_CONTROLS),
        ROW_AS(S_EXT_CTRLS, MEDIA_CONTROLS),
        ROW_AS(TRY_EXT_CTRLS, MEDIA_CONTROLS),
        ROW(ENUM_FRAMESIZES),
        ROW(ENUM_FRAMEINTERVALS),
        ROW(G_ENC_INDEX),
        ROW(ENCODER_CMD),
        ROW(TRY_ENCODER_CMD),
        ROW(S_DV_TIMINGS),
        ROW(G_DV_TIMINGS),
        ROW(SUBSCRIBE_EVENT),
        ROW(UNSUBSCRIBE_EVENT),
        ROW_AS(CREATE_BUFS, MEDIA_CREATE),
        ROW_AS(PREPARE_BUF, MEDIA_BUFFER),
        ROW(G_SELECTION),
        ROW(S_SELECTION),
        ROW(DECODER_CMD),
        ROW(TRY_DECODER_CMD),
        ROW(ENUM_DV_TIMINGS),
        ROW(QUERY_DV_TIMINGS),
        ROW(DV_TIMINGS_CAP),
        ROW(ENUM_FREQ_BANDS),
        ROW(QUERY_EXT_CTRL),
};

const struct media_ioctl *media_ioctl_find(uint32_t nr)
{
        return nr < ARRAY_SIZE(table) && table[nr].name ? &table[nr] : NULL;
}

int media_ioctl_next(uint32_t nr)
{
        while (nr < ARRAY_SIZE(table) && !table[nr].name)
                nr++;
        return nr < ARRAY_SIZE(table) ? (int)nr : -1;
}

static bool is_overlay(uint32_t type)
{
        return type == V4L2_BUF_TYPE_VIDEO_OVERLAY || type == V4L2_BUF_TYPE_VIDEO_OUTPUT_OVERLAY;
}

ssize_t media_ioctl_trailer(const struct media_ioctl *row, const void *payload)
{
        const struct v4l2_format *format = payload;
        const struct v4l2_create_buffers *create = payload;
        const struct v4l2_buffer *buffer = payload;
        const struct v4l2_ext_controls *controls = payload;

        switch (row->payload) {
        case MEDIA_PLAIN:
                return 0;
        case MEDIA_FORMAT:
                return is_overlay(format->type) ? -EINVAL : 0;
        case MEDIA_CREATE:
                return is_overlay(create->format.type) ? -EINVAL : 0;
        case MEDIA_BUFFER:
                if (!V4L2_TYPE_IS_MULTIPLANAR(buffer->type))
                        return 0;
                return buffer->length <= MEDIA_MAX_PLANES ? (ssize_t)(buffer->length * sizeof(struct v4l2_plane))
                                                          : -EINVAL;
        case MEDIA_CONTROLS:
                return controls->count <= MEDIA_MAX_CONTROLS
                               ? (ssize_t)(controls->count * sizeof(struct v4l2_ext_control))
                               : -EINVAL;
        }
        return -EINVAL;
}

static size_t buffer_memory(const struct v4l2_buffer *buffer, const struct v4l2_plane *planes, uint32_t *sizes)
{
        size_t n = 0;

        if (buffer->memory != V4L2_MEMORY_USERPTR)
                return 0;
        if (!V4L2_TYPE_IS_MULTIPLANAR(buffer->type)) {
                sizes[0] = buffer->length;
                return buffer->length > 0;
        }
        for (uint32_t i = 0; i < buffer->length; i++)
                if (planes[i].length > 0)
                        sizes[n++] = planes[i].length;
        return n;
}

size_t media_ioctl_memory(const struct media_ioctl *row, const void *payload, const void *trailer, uint32_t *sizes)
{
        const struct v4l2_ext_controls *controls = payload;
        const struct v4l2_ext_control *control = trailer;
        size_t n = 0;

        if (row->payload == MEDIA_BUFFER)
                return buffer_memory(payload, trailer, sizes);
        for (uint32_t i = 0; row->payload == MEDIA_CONTROLS && i < controls->count; i++)
                if (control[i].size > 0)
                        sizes[n++] = control[i].size;
        return n;
}
