/* SPDX-License-Identifier: BSD-2-Clause */

/* The table of ioctls, by number. It leaves out those that the specification replaces (VIDIOC_QUERYCAP, DQBUF,
 * DQEVENT, G_JPEGCOMP, S_JPEGCOMP, LOG_STATUS), and those that can't be passed on as they are: pointers that it has
 * no rule for (G_FBUF, S_FBUF, OVERLAY, G_EDID, S_EDID), long waits (S_HW_FREQ_SEEK), and debugging of the host
 * (DBG_*). VIRTIO 1.4, 5.22.6.1. */

#include "media/ioctls.h"

#include "base/cleanup.h"

#include <errno.h>

#define ROW_OF(ioctl, kind, change) \
        [_IOC_NR(VIDIOC_##ioctl)] = {.name = #ioctl, .code = VIDIOC_##ioctl, .payload = (kind), .changes = (change)}
#define ASK_AS(ioctl, kind)    ROW_OF(ioctl, kind, false)
#define CHANGE_AS(ioctl, kind) ROW_OF(ioctl, kind, true)
#define ASK(ioctl)             ASK_AS(ioctl, MEDIA_PLAIN)
#define CHANGE(ioctl)          CHANGE_AS(ioctl, MEDIA_PLAIN)

/* Indexed by number. */
static const struct media_ioctl table[] = {
        ASK(ENUM_FMT),
        ASK_AS(G_FMT, MEDIA_FORMAT),
        CHANGE_AS(S_FMT, MEDIA_FORMAT),
        CHANGE(REQBUFS),
        ASK_AS(QUERYBUF, MEDIA_BUFFER),
        ASK_AS(QBUF, MEDIA_BUFFER),
        ASK_AS(EXPBUF, MEDIA_EXPORT),
        CHANGE(STREAMON),
        CHANGE(STREAMOFF),
        ASK(G_PARM),
        CHANGE(S_PARM),
        ASK(G_STD),
        CHANGE(S_STD),
        ASK(ENUMSTD),
        ASK(ENUMINPUT),
        ASK(G_CTRL),
        CHANGE(S_CTRL),
        ASK(G_TUNER),
        CHANGE(S_TUNER),
        ASK(G_AUDIO),
        CHANGE(S_AUDIO),
        ASK(QUERYCTRL),
        ASK(QUERYMENU),
        ASK(G_INPUT),
        CHANGE(S_INPUT),
        ASK(G_OUTPUT),
        CHANGE(S_OUTPUT),
        ASK(ENUMOUTPUT),
        ASK(G_AUDOUT),
        CHANGE(S_AUDOUT),
        ASK(G_MODULATOR),
        CHANGE(S_MODULATOR),
        ASK(G_FREQUENCY),
        CHANGE(S_FREQUENCY),
        ASK(CROPCAP),
        ASK(G_CROP),
        CHANGE(S_CROP),
        ASK(QUERYSTD),
        ASK_AS(TRY_FMT, MEDIA_FORMAT),
        ASK(ENUMAUDIO),
        ASK(ENUMAUDOUT),
        ASK(G_PRIORITY),
        CHANGE(S_PRIORITY),
        ASK(G_SLICED_VBI_CAP),
        ASK_AS(G_EXT_CTRLS, MEDIA_CONTROLS),
        CHANGE_AS(S_EXT_CTRLS, MEDIA_CONTROLS),
        ASK_AS(TRY_EXT_CTRLS, MEDIA_CONTROLS),
        ASK(ENUM_FRAMESIZES),
        ASK(ENUM_FRAMEINTERVALS),
        ASK(G_ENC_INDEX),
        CHANGE(ENCODER_CMD),
        ASK(TRY_ENCODER_CMD),
        CHANGE(S_DV_TIMINGS),
        ASK(G_DV_TIMINGS),
        ASK(SUBSCRIBE_EVENT),
        ASK(UNSUBSCRIBE_EVENT),
        CHANGE_AS(CREATE_BUFS, MEDIA_CREATE),
        ASK_AS(PREPARE_BUF, MEDIA_BUFFER),
        ASK(G_SELECTION),
        CHANGE(S_SELECTION),
        CHANGE(DECODER_CMD),
        ASK(TRY_DECODER_CMD),
        ASK(ENUM_DV_TIMINGS),
        ASK(QUERY_DV_TIMINGS),
        ASK(DV_TIMINGS_CAP),
        ASK(ENUM_FREQ_BANDS),
        ASK(QUERY_EXT_CTRL),
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
        case MEDIA_EXPORT:
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

/* QUERYBUF only asks: the kind of memory in its struct is ignored. */
size_t media_ioctl_objects(const struct media_ioctl *row, const void *payload)
{
        const struct v4l2_buffer *buffer = payload;

        if (row->payload == MEDIA_EXPORT)
                return 1;
        if (row->payload != MEDIA_BUFFER || row->code == VIDIOC_QUERYBUF || buffer->memory != V4L2_MEMORY_DMABUF)
                return 0;
        return V4L2_TYPE_IS_MULTIPLANAR(buffer->type) ? buffer->length : 1;
}
