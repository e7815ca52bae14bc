/* SPDX-License-Identifier: BSD-2-Clause */

/* The ioctls of a camera's formats, sizes, intervals, and its one input. They answer as Linux's drivers and their
 * core do: an impossible value becomes the nearest possible one, structs are filled completely, and the format can't
 * change while there are buffers. */

#include "devices/media/camera/state.h"

#include "base/cleanup.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <sys/param.h>

/* ---- the choices ---- */

/* The first of each is the initial one. */
static const struct v4l2_frmsize_discrete sizes[] = {
        {640, 480}, {160, 120}, {320, 180}, {320, 240}, {640, 360}, {800, 600}, {1280, 720}, {1920, 1080}, {3840, 2160},
};

static const struct v4l2_fract intervals[] = {{1, 30}, {1, 60}, {1, 50}, {1, 25}, {1, 15}, {1, 10}, {1, 5}};

const struct format *camera_format(const struct camera *camera, uint32_t index)
{
        if (camera->source->fourcc)
                return index == 0 ? format_find(camera->source->fourcc) : NULL;
        return index < n_formats && formats[index].put ? &formats[index] : NULL;
}

bool camera_size(const struct camera *camera, uint32_t index, struct v4l2_frmsize_discrete *out)
{
        const struct camera_source *source = camera->source;

        if (index >= (source->width ? 1 : ARRAY_SIZE(sizes)))
                return false;
        *out = source->width ? (struct v4l2_frmsize_discrete){source->width, source->height} : sizes[index];
        return true;
}

bool camera_interval(const struct camera *camera, uint32_t index, struct v4l2_fract *out)
{
        const struct camera_source *source = camera->source;
        const bool one = camera->fps || source->interval.denominator;

        if (index >= (one ? 1 : ARRAY_SIZE(intervals)))
                return false;
        *out = camera->fps ? (struct v4l2_fract){1, camera->fps} : one ? source->interval : intervals[index];
        return true;
}

static bool camera_has(const struct camera *camera, uint32_t fourcc)
{
        const struct format *format;

        for (uint32_t i = 0; (format = camera_format(camera, i)); i++)
                if (format->fourcc == fourcc)
                        return true;
        return false;
}

static struct v4l2_frmsize_discrete nearest_size(const struct camera *camera, uint32_t width, uint32_t height)
{
        struct v4l2_frmsize_discrete size, best = {0};
        uint64_t least = UINT64_MAX;

        for (uint32_t i = 0; camera_size(camera, i, &size); i++) {
                const uint64_t away =
                        (uint64_t)llabs((int64_t)size.width - width) + (uint64_t)llabs((int64_t)size.height - height);

                if (away < least) {
                        least = away;
                        best = size;
                }
        }
        return best;
}

static struct v4l2_fract nearest_interval(const struct camera *camera, struct v4l2_fract wanted)
{
        struct v4l2_fract interval, best = {0};
        double least = INFINITY;

        for (uint32_t i = 0; camera_interval(camera, i, &interval); i++) {
                const double away = fabs((double)interval.numerator / interval.denominator -
                                         (double)wanted.numerator / wanted.denominator);

                if (away < least || i == 0) {
                        least = away;
                        best = interval;
                }
        }
        return best;
}

/* ---- formats ---- */

static void pix_tell(const struct format *format, uint32_t width, uint32_t height, struct v4l2_format *out)
{
        *out = (struct v4l2_format){.type = V4L2_BUF_TYPE_VIDEO_CAPTURE};
        out->fmt.pix = (struct v4l2_pix_format){
                .width = width,
                .height = height,
                .pixelformat = format->fourcc,
                .field = V4L2_FIELD_NONE,
                .bytesperline = format_stride(format, width),
                .sizeimage = format_size(format, width, height),
                .colorspace = V4L2_COLORSPACE_SRGB,
                .priv = V4L2_PIX_FMT_PRIV_MAGIC,
        };
}

static int camera_enum_fmt(struct camera *camera, void *payload)
{
        struct v4l2_fmtdesc *wanted = payload;
        const struct format *format = camera_format(camera, wanted->index);

        if (!format || wanted->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
                return -EINVAL;
        *wanted = (struct v4l2_fmtdesc){
                .index = wanted->index,
                .type = wanted->type,
                .flags = format->bytes ? 0 : V4L2_FMT_FLAG_COMPRESSED,
                .pixelformat = format->fourcc,
        };
        snprintf((char *)wanted->description, sizeof(wanted->description), "%s", format->name);
        return 0;
}

static int camera_g_fmt(struct camera *camera, void *payload)
{
        struct v4l2_format *format = payload;

        if (format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
                return -EINVAL;
        pix_tell(camera->format, camera->width, camera->height, format);
        return 0;
}

static int camera_try_fmt(struct camera *camera, void *payload)
{
        struct v4l2_format *format = payload;
        const struct v4l2_pix_format *pix = &format->fmt.pix;

        if (format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
                return -EINVAL;

        const struct v4l2_frmsize_discrete size = nearest_size(camera, pix->width, pix->height);

        pix_tell(camera_has(camera, pix->pixelformat) ? format_find(pix->pixelformat) : camera_format(camera, 0),
                 size.width, size.height, format);
        return 0;
}

static int camera_s_fmt(struct camera *camera, void *payload)
{
        const struct v4l2_format *format = payload;
        int r = camera_try_fmt(camera, payload);

        if (r == 0 && camera->queue.n > 0)
                r = -EBUSY;
        if (r < 0)
                return r;
        camera->format = format_find(format->fmt.pix.pixelformat);
        camera->width = format->fmt.pix.width;
        camera->height = format->fmt.pix.height;
        return 0;
}

static int camera_enum_framesizes(struct camera *camera, void *payload)
{
        struct v4l2_frmsizeenum *wanted = payload;
        struct v4l2_frmsize_discrete size;

        if (!camera_has(camera, wanted->pixel_format) || !camera_size(camera, wanted->index, &size))
                return -EINVAL;
        *wanted = (struct v4l2_frmsizeenum){
                .index = wanted->index,
                .pixel_format = wanted->pixel_format,
                .type = V4L2_FRMSIZE_TYPE_DISCRETE,
                .discrete = size,
        };
        return 0;
}

static int camera_enum_frameintervals(struct camera *camera, void *payload)
{
        struct v4l2_frmivalenum *wanted = payload;
        const struct v4l2_frmsize_discrete size = nearest_size(camera, wanted->width, wanted->height);
        struct v4l2_fract interval;

        if (!camera_has(camera, wanted->pixel_format) || size.width != wanted->width || size.height != wanted->height ||
            !camera_interval(camera, wanted->index, &interval))
                return -EINVAL;
        *wanted = (struct v4l2_frmivalenum){
                .index = wanted->index,
                .pixel_format = wanted->pixel_format,
                .width = wanted->width,
                .height = wanted->height,
                .type = V4L2_FRMIVAL_TYPE_DISCRETE,
                .discrete = interval,
        };
        return 0;
}

static int camera_g_parm(struct camera *camera, void *payload)
{
        struct v4l2_streamparm *parm = payload;

        if (parm->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
                return -EINVAL;
        *parm = (struct v4l2_streamparm){.type = parm->type};
        parm->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        parm->parm.capture.timeperframe = camera->interval;
        return 0;
}

static int camera_s_parm(struct camera *camera, void *payload)
{
        const struct v4l2_streamparm *parm = payload;
        const struct v4l2_fract wanted = parm->parm.capture.timeperframe;
        struct v4l2_fract interval;

        if (parm->type != V4L2_BUF_TYPE_VIDEO_CAPTURE)
                return -EINVAL;
        if (camera->queue.streaming)
                return -EBUSY;
        camera_interval(camera, 0, &interval);
        camera->interval = wanted.numerator && wanted.denominator ? nearest_interval(camera, wanted) : interval;
        return camera_g_parm(camera, payload);
}

/* ---- the one input ---- */

static int camera_enuminput(struct camera *camera, void *payload)
{
        struct v4l2_input *input = payload;

        if (input->index != 0)
                return -EINVAL;
        *input = (struct v4l2_input){.name = "Camera 1", .type = V4L2_INPUT_TYPE_CAMERA};
        return 0;
}

static int camera_g_input(struct camera *camera, void *payload)
{
        *(uint32_t *)payload = 0;
        return 0;
}

static int camera_s_input(struct camera *camera, void *payload)
{
        return *(uint32_t *)payload == 0 ? 0 : -EINVAL;
}

#define HANDLER(ioctl, function) [_IOC_NR(VIDIOC_##ioctl)] = (function)

static int (*const handlers[])(struct camera *camera, void *payload) = {
        HANDLER(ENUM_FMT, camera_enum_fmt),
        HANDLER(G_FMT, camera_g_fmt),
        HANDLER(S_FMT, camera_s_fmt),
        HANDLER(TRY_FMT, camera_try_fmt),
        HANDLER(ENUM_FRAMESIZES, camera_enum_framesizes),
        HANDLER(ENUM_FRAMEINTERVALS, camera_enum_frameintervals),
        HANDLER(G_PARM, camera_g_parm),
        HANDLER(S_PARM, camera_s_parm),
        HANDLER(ENUMINPUT, camera_enuminput),
        HANDLER(G_INPUT, camera_g_input),
        HANDLER(S_INPUT, camera_s_input),
};

int camera_own_ioctl(struct camera *camera, struct media_call *call)
{
        const unsigned nr = _IOC_NR(call->row->code);

        return nr < ARRAY_SIZE(handlers) && handlers[nr] ? handlers[nr](camera, call->payload) : -ENOTTY;
}
