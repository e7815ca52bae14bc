/* SPDX-License-Identifier: BSD-2-Clause */

/* struct v4l2_buffer between guest and device: the guest never sees addresses or descriptors of this process, nor
 * the device the guest's. The device gets buffers in guest memory by the address of a shadow, and objects of other
 * devices by their descriptor; the guest gets its own numbers back. A buffer of the device that the guest maps is
 * exported (VIDIOC_EXPBUF), or gets a shadow if the driver can't export. */

#include "devices/media/proxy/state.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/param.h>

/* More than any driver has. */
enum { BUFFERS_MAX = 1024 };

unsigned plane_fields(struct v4l2_buffer *buffer, struct v4l2_plane *planes, struct plane_fields out[MEDIA_MAX_PLANES])
{
        if (!V4L2_TYPE_IS_MULTIPLANAR(buffer->type)) {
                out[0] = (struct plane_fields){&buffer->bytesused, &buffer->length, &buffer->m.userptr};
                return 1;
        }

        const unsigned n = buffer->length < MEDIA_MAX_PLANES ? buffer->length : MEDIA_MAX_PLANES;

        for (unsigned i = 0; i < n; i++)
                out[i] = (struct plane_fields){&planes[i].bytesused, &planes[i].length, &planes[i].m.userptr};
        return n;
}

/* ---- the ioctls of buffers ---- */

/* Prepares a buffer for the device: sets the numbers of its planes, and copies the contents of shadows. */
static int buffer_give(struct proxy_session *own, struct media_call *call)
{
        struct v4l2_buffer *buffer = call->payload;
        struct plane_fields fields[MEDIA_MAX_PLANES];
        const unsigned n = plane_fields(buffer, call->trailer, fields);
        size_t taken = 0;
        int r = 0;

        for (unsigned i = 0; i < n; i++) {
                const struct plane_fields *plane = &fields[i];
                const bool listed = *plane->length > 0 && taken < call->n_memory;

                if (listed)
                        r = shadow_take(own, buffer, i, *plane->number, &call->memory[taken++]);
                if (r < 0)
                        return r;

                struct proxy_shadow *shadow = shadow_find(own, buffer, i);

                if (buffer->memory == V4L2_MEMORY_USERPTR)
                        *plane->number = listed ? (uintptr_t)shadow->node : 0;
                else if (buffer->memory == V4L2_MEMORY_DMABUF)
                        *plane->number = (unsigned)call->object_fds[i];
                if (shadow && V4L2_TYPE_IS_OUTPUT(buffer->type))
                        shadow_push(shadow, *plane->used ? *plane->used : shadow->size);
        }
        return 0;
}

/* Replaces this process's numbers by the guest's. For memory of the device the number is an offset, the lower half
 * of the field. */
static void buffer_hide(const struct proxy_session *own, const struct v4l2_buffer *buffer,
                        const struct plane_fields *fields, unsigned n)
{
        for (unsigned i = 0; i < n; i++) {
                const struct proxy_shadow *shadow = shadow_find(own, buffer, i);

                if (buffer->memory == V4L2_MEMORY_MMAP)
                        *fields[i].number &= UINT32_MAX;
                else
                        *fields[i].number = shadow ? shadow->number : 0;
        }
}

/* The device may report fewer planes than it was given: those that were given are hidden, all of them. */
int buffer_ioctl(const struct proxy_session *own, uint32_t code, struct v4l2_buffer *buffer, struct v4l2_plane *planes)
{
        const struct v4l2_buffer asked = *buffer;
        const bool multi = V4L2_TYPE_IS_MULTIPLANAR(asked.type);
        struct plane_fields fields[MEDIA_MAX_PLANES];
        const unsigned n = plane_fields(buffer, planes, fields);

        if (multi)
                buffer->m.planes = planes;

        int r = node_ioctl(own, code, buffer);

        buffer->type = asked.type;
        if (asked.memory != V4L2_MEMORY_MMAP && code != VIDIOC_QUERYBUF)
                buffer->memory = asked.memory;
        if (multi) {
                buffer->m.planes = asked.m.planes;
                buffer->length = MIN(buffer->length, asked.length);
        }
        buffer_hide(own, buffer, fields, n);
        return r;
}

static bool buffer_can_pass(const struct v4l2_buffer *buffer)
{
        return buffer->memory == V4L2_MEMORY_MMAP || buffer->memory == V4L2_MEMORY_USERPTR ||
               buffer->memory == V4L2_MEMORY_DMABUF;
}

int proxy_buffer_call(struct proxy_session *own, struct media_call *call)
{
        struct v4l2_buffer *buffer = call->payload;
        const bool objects = buffer->memory == V4L2_MEMORY_DMABUF && call->n_objects > 0;
        struct plane_fields fields[MEDIA_MAX_PLANES];
        const unsigned n = plane_fields(buffer, call->trailer, fields);
        unsigned long numbers[MEDIA_MAX_PLANES];
        int r = 0;

        for (unsigned i = 0; i < n; i++)
                numbers[i] = *fields[i].number;
        /* For other kinds of memory the fields are descriptors, which would be taken for this process's. QUERYBUF
         * only asks. */
        if (call->row->code != VIDIOC_QUERYBUF) {
                if (!buffer_can_pass(buffer))
                        return -EINVAL;
                if (buffer->flags & V4L2_BUF_FLAG_REQUEST_FD)
                        return -EBADR;
                r = buffer_give(own, call);
        }
        if (r < 0)
                return r;
        r = buffer_ioctl(own, call->row->code, buffer, call->trailer);
        /* The device has the buffer, so the number of shadows is bounded. */
        for (unsigned i = 0; i < n && objects; i++) {
                *fields[i].number = numbers[i];
                if (r == 0)
                        shadow_note(own, buffer, i, numbers[i]);
        }
        return r;
}

void proxy_buffer_done(struct proxy_session *own, struct v4l2_buffer *buffer, struct v4l2_plane *planes)
{
        struct plane_fields fields[MEDIA_MAX_PLANES];
        const unsigned n = plane_fields(buffer, planes, fields);

        for (unsigned i = 0; i < n; i++) {
                struct proxy_shadow *shadow = shadow_find(own, buffer, i);

                if (!shadow)
                        continue;
                if (!V4L2_TYPE_IS_OUTPUT(buffer->type))
                        shadow_pull(own, shadow, *fields[i].used);
                guest_memory_clear(&shadow->guest);
        }
        buffer->flags &= ~(uint32_t)V4L2_BUF_FLAG_DONE;
}

/* ---- buffers that are mapped ---- */

/* A plane whose mem_offset has been asked for. */
struct plane_place {
        struct v4l2_buffer buffer;
        uint32_t plane, offset, length;
};

/* Whether a plane of the buffer at the index of @place has its offset. A negative errno: there is no such buffer. */
static int buffer_has(const struct proxy_session *own, struct plane_place *place)
{
        struct v4l2_plane planes[MEDIA_MAX_PLANES] = {{0}};
        struct v4l2_buffer *buffer = &place->buffer;
        struct plane_fields fields[MEDIA_MAX_PLANES];

        if (V4L2_TYPE_IS_MULTIPLANAR(buffer->type))
                buffer->length = MEDIA_MAX_PLANES;

        int r = buffer_ioctl(own, VIDIOC_QUERYBUF, buffer, planes);

        if (r < 0)
                return r;

        const unsigned n = plane_fields(buffer, planes, fields);

        for (place->plane = 0; place->plane < n; place->plane++) {
                place->length = *fields[place->plane].length;
                /* A union, of which the offset is the lower half. */
                if (buffer->memory == V4L2_MEMORY_MMAP && (uint32_t)*fields[place->plane].number == place->offset)
                        return place->length > 0;
        }
        return 0;
}

/* Asks for the offsets each time: those of another session's buffers may be equal. */
static bool plane_find(const struct proxy_session *own, struct plane_place *place)
{
        for (uint32_t type = 1; type < STREAM_TYPES; type++) {
                int r = 0;

                for (uint32_t i = 0; r == 0 && i < BUFFERS_MAX; i++) {
                        place->buffer = (struct v4l2_buffer){.type = type, .index = i, .memory = V4L2_MEMORY_MMAP};
                        r = buffer_has(own, place);
                }
                if (r > 0)
                        return true;
        }
        return false;
}

/* The file belongs to the proxy until the next one is exported. */
static int node_export(struct proxy_session *own, struct v4l2_exportbuffer *export)
{
        export->flags = O_RDWR | O_CLOEXEC;

        const int r = node_ioctl(own, VIDIOC_EXPBUF, export);

        if (r < 0)
                return r;
        fd_close(own->exported);
        own->exported = export->fd;
        return export->fd;
}

int proxy_export(struct proxy_session *own, struct media_call *call)
{
        struct v4l2_exportbuffer *wanted = call->payload, export = *wanted;

        if (wanted->flags & ~(uint32_t)(O_ACCMODE | O_CLOEXEC))
                return -EINVAL;
        call->exported = node_export(own, &export);
        return call->exported < 0 ? call->exported : 0;
}

/* Returns the plane's file, which stays the node's. */
static int plane_file(struct proxy_session *own, const struct plane_place *place)
{
        struct v4l2_exportbuffer export = {
                .type = place->buffer.type,
                .index = place->buffer.index,
                .plane = place->plane,
        };
        struct media *media = own->proxy->node.media;
        struct proxy_shadow *shadow = shadow_find(own, &place->buffer, place->plane);

        /* A shadow for another kind of memory, which the device has not taken. */
        if (shadow && shadow->fd < 0)
                proxy_shadow_free(own, steal(shadow));

        int r = shadow ? shadow->fd : node_export(own, &export);

        if (r != -ENOTTY && r != -EINVAL)
                return r;
        if (!own->proxy->copies)
                log_info(&media->options.log, "the device's driver exports no buffers: each frame is copied");
        own->proxy->copies = true;
        r = shadow_map(own, &place->buffer, place->plane, place->offset, place->length, &shadow);
        return r < 0 ? r : shadow->fd;
}

int proxy_file(struct media_node *node, struct node_session *session, uint32_t offset, struct media_file *out)
{
        struct proxy_session *own = session->handle;
        struct plane_place place = {.offset = offset};

        if (!plane_find(own, &place))
                return -EINVAL;

        const int fd = plane_file(own, &place);

        if (fd < 0)
                return fd;
        *out = (struct media_file){fd, place.length, own->generation};
        return 0;
}
