/* SPDX-License-Identifier: BSD-2-Clause */

/* The guest's ioctls, made on the device. Those without pointers are passed on as they are; those that need more
 * have a row here. What can't be passed on is hidden from the guest: read() and write(), requests, and DMABUF if the
 * front-end has no objects. */

#include "devices/media/proxy/state.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <errno.h>
#include <string.h>

/* The most bytes that the controls of one call may point to. */
enum { CONTROLS_SIZE_MAX = 4 << 20 };

/* ---- buffers and streams ---- */

static bool has_objects(const struct proxy_session *own)
{
        const struct media_options *options = &own->proxy->node.media->options;

        return options->ops->shares_objects(options->userdata);
}

static int proxy_check_memory(const struct proxy_session *own, uint32_t memory)
{
        return memory == V4L2_MEMORY_MMAP || memory == V4L2_MEMORY_USERPTR ||
                               (memory == V4L2_MEMORY_DMABUF && has_objects(own))
                       ? 0
                       : -EINVAL;
}

static uint32_t proxy_capabilities_of(const struct proxy_session *own, uint32_t capabilities)
{
        const uint32_t hidden = V4L2_BUF_CAP_SUPPORTS_REQUESTS | (has_objects(own) ? 0 : V4L2_BUF_CAP_SUPPORTS_DMABUF);

        return capabilities & ~hidden;
}

/* All buffers of the type are replaced, or removed. */
static int call_reqbufs(struct proxy_session *own, struct media_call *call)
{
        struct v4l2_requestbuffers *request = call->payload;
        int r = proxy_check_memory(own, request->memory);

        if (r == 0)
                r = node_ioctl(own, call->row->code, request);
        request->capabilities = proxy_capabilities_of(own, request->capabilities);
        if (r < 0 || request->type >= STREAM_TYPES)
                return r;

        struct proxy_stream *stream = &own->streams[request->type];

        own->generation++;
        shadows_end(own, request->type);
        media_objects_end(own->session, request->type);
        session_event_cancel(&stream->done.event);
        stream->memory = request->memory;
        stream->streaming = false;
        return proxy_watch(own);
}

static int call_create(struct proxy_session *own, struct media_call *call)
{
        struct v4l2_create_buffers *create = call->payload;
        int r = proxy_check_memory(own, create->memory);

        if (r == 0)
                r = node_ioctl(own, call->row->code, create);
        create->capabilities = proxy_capabilities_of(own, create->capabilities);
        /* A count of 0 only asks. */
        if (r == 0 && create->count > 0 && create->format.type < STREAM_TYPES)
                own->streams[create->format.type].memory = create->memory;
        return r;
}

/* Polls the device for buffers only while it streams: before, poll() would start the emulation of read(), which
 * makes formats and buffers busy. */
static int call_stream(struct proxy_session *own, struct media_call *call)
{
        const uint32_t type = *(uint32_t *)call->payload;
        int r = node_ioctl(own, call->row->code, call->payload);

        if (r < 0 || type >= STREAM_TYPES)
                return r;
        own->streams[type].streaming = call->row->code == VIDIOC_STREAMON;
        if (!own->streams[type].streaming) {
                session_event_cancel(&own->streams[type].done.event);
                shadows_let_go(own, type);
        }
        return proxy_watch(own);
}

/* ---- others ---- */

static int call_parm(struct proxy_session *own, struct media_call *call)
{
        struct v4l2_streamparm *parm = call->payload;
        int r = node_ioctl(own, call->row->code, parm);

        if (V4L2_TYPE_IS_OUTPUT(parm->type))
                parm->parm.output.writebuffers = 0;
        else
                parm->parm.capture.readbuffers = 0;
        return r;
}

/* The sizes of what controls point to, one behind the other. */
static int controls_size(const struct media_call *call, size_t *out)
{
        uint64_t size = 0;

        for (size_t i = 0; i < call->n_memory; i++)
                /* Aligned for any kind of value. */
                if (!checked_add(size, call->memory[i].size, &size) || !checked_round_up(size, 16, &size) ||
                    size > CONTROLS_SIZE_MAX)
                        return -ENOMEM;
        *out = size;
        return 0;
}

/* @ours is the pointer that the device got. A value may have replaced all of it, or one half: the rest is replaced
 * by the guest's, which must not see our addresses. */
static void control_hide(struct v4l2_ext_control *control, uint64_t ours, uint64_t theirs)
{
        const uint64_t low = UINT32_MAX, changed = (uint64_t)control->value64 ^ ours;
        const uint64_t left = (changed & low ? 0 : low) | (changed & ~low ? 0 : ~low);

        control->value64 = (int64_t)(((uint64_t)control->value64 & ~left) | (theirs & left));
}

/* Makes the call with pointers into @data instead of the guest's. */
static int controls_pass(struct proxy_session *own, struct media_call *call, uint8_t *data)
{
        struct v4l2_ext_controls *controls = call->payload;
        struct v4l2_ext_control *control = call->trailer, *const pointer = controls->controls;
        uint64_t theirs[MEDIA_MAX_CONTROLS], ours[MEDIA_MAX_CONTROLS];
        const uint32_t count = controls->count;
        size_t n = 0, at = 0;

        for (uint32_t i = 0; i < count; i++) {
                theirs[i] = (uint64_t)control[i].value64;
                ours[i] = 0;
                if (control[i].size == 0)
                        continue;
                ours[i] = (uintptr_t)data + at;
                guest_memory_read(&call->memory[n], data + at, call->memory[n].size);
                at += (call->memory[n++].size + 15) / 16 * 16;
                control[i].value64 = (int64_t)ours[i];
        }
        controls->controls = control;

        int r = node_ioctl(own, call->row->code, controls);

        controls->controls = pointer;
        n = 0;
        for (uint32_t i = 0; i < count; i++) {
                if (ours[i] == 0)
                        continue;
                guest_memory_write(own->proxy->node.media, &call->memory[n], (void *)(uintptr_t)ours[i],
                                   call->memory[n].size);
                n++;
                control_hide(&control[i], ours[i], theirs[i]);
        }
        return r;
}

static int call_controls(struct proxy_session *own, struct media_call *call)
{
        const struct v4l2_ext_controls *controls = call->payload;
        size_t size = 0;
        int r = controls_size(call, &size);

        /* The request's descriptor is the guest's, and means nothing here. */
        if (controls->which == V4L2_CTRL_WHICH_REQUEST_VAL)
                return -EINVAL;
        if (r < 0)
                return r;

        _cleanup_(freep) uint8_t *data = calloc(1, size + 1);

        return data ? controls_pass(own, call, data) : -ENOMEM;
}

static const struct {
        uint32_t code;
        int (*make)(struct proxy_session *own, struct media_call *call);
} rules[] = {
        {VIDIOC_REQBUFS, call_reqbufs},        {VIDIOC_CREATE_BUFS, call_create},
        {VIDIOC_QUERYBUF, proxy_buffer_call},  {VIDIOC_PREPARE_BUF, proxy_buffer_call},
        {VIDIOC_QBUF, proxy_buffer_call},      {VIDIOC_STREAMON, call_stream},
        {VIDIOC_STREAMOFF, call_stream},       {VIDIOC_G_PARM, call_parm},
        {VIDIOC_EXPBUF, proxy_export},         {VIDIOC_S_PARM, call_parm},
        {VIDIOC_G_EXT_CTRLS, call_controls},   {VIDIOC_S_EXT_CTRLS, call_controls},
        {VIDIOC_TRY_EXT_CTRLS, call_controls},
};

int proxy_call(struct proxy_session *own, struct media_call *call)
{
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
                if (rules[i].code == call->row->code)
                        return rules[i].make(own, call);
        return node_ioctl(own, call->row->code, call->payload);
}
