/* SPDX-License-Identifier: BSD-2-Clause */

/* Buffers: their memory, and struct v4l2_buffer, which describes them and brings what the driver sets. Memory of the
 * device is a memfd for each plane, sealed, so that others who have it can't change its size. Memory of the guest is
 * held from when the buffer is prepared or queued until the driver has the buffer again. Memory of another device
 * stays mapped until the buffer gets another one, as drivers go through the same few again and again. */

#include "devices/media/core/buffer.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/range.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(memfd_create), SYSCALL(ftruncate), SYSCALL(lseek), SYSCALL(fstat), SYSCALL_FCNTL(F_ADD_SEALS),
              SYSCALL_WITH(ioctl, 1, UINT32_MAX, DMA_BUF_IOCTL_SYNC));

/* ---- their memory ---- */

void buffer_let_go(struct media_buffer *buffer)
{
        buffer->state = BUFFER_DEQUEUED;
        for (unsigned i = 0; i < buffer->queue->n_planes; i++)
                guest_memory_clear(&buffer->planes[i].guest);
}

static void plane_forget(struct media_buffer_plane *plane)
{
        if (plane->data)
                munmap(steal(plane->data), plane->length);
        plane->fd = fd_close(plane->fd);
}

void buffer_free(struct media_buffer *buffer)
{
        session_event_cancel(&buffer->event);
        buffer_let_go(buffer);
        for (unsigned i = 0; i < buffer->queue->n_planes; i++)
                plane_forget(&buffer->planes[i]);
        free(buffer);
}

static int buffer_file_map(int fd, uint32_t length, uint8_t **data)
{
        void *mapped = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        if (mapped == MAP_FAILED)
                return -errno;
        *data = mapped;
        return 0;
}

int buffer_file_new(uint32_t length, int *fd, uint8_t **data)
{
        const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        uint64_t size;

        *fd = memfd_create("oriel-media", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (!checked_round_up(length, page, &size))
                return -EINVAL;
        if (*fd < 0 || ftruncate(*fd, (off_t)size) < 0 ||
            fcntl(*fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
                return -errno;
        return buffer_file_map(*fd, length, data);
}

static void buffer_sent(struct session_event *event)
{
        buffer_let_go((struct media_buffer *)((char *)event - offsetof(struct media_buffer, event)));
}

int buffer_new(struct media_queue *queue, const uint32_t *sizes)
{
        struct media_buffer *buffer = calloc(1, sizeof(*buffer));
        int r = buffer ? 0 : -ENOMEM;

        if (r < 0)
                return r;
        buffer->queue = queue;
        buffer->index = queue->n;
        buffer->event.sent = buffer_sent;
        for (unsigned i = 0; i < queue->n_planes; i++) {
                buffer->planes[i].fd = -1;
                buffer->planes[i].length = sizes[i];
        }
        for (unsigned i = 0; r == 0 && queue->memory == V4L2_MEMORY_MMAP && i < queue->n_planes; i++)
                r = buffer_file_new(buffer->planes[i].length, &buffer->planes[i].fd, &buffer->planes[i].data);
        if (r < 0)
                buffer_free(buffer);
        else
                queue->buffers[queue->n++] = buffer;
        return r;
}

/* ---- struct v4l2_buffer ---- */

static const uint32_t state_flags[] = {
        [BUFFER_QUEUED] = V4L2_BUF_FLAG_QUEUED,
        [BUFFER_ACTIVE] = V4L2_BUF_FLAG_QUEUED,
        [BUFFER_DONE] = V4L2_BUF_FLAG_DONE,
};

static void plane_tell(const struct media_buffer *buffer, unsigned i, struct v4l2_plane *out)
{
        const struct media_buffer_plane *plane = &buffer->planes[i];

        *out = (struct v4l2_plane){plane->used, plane->length, .data_offset = plane->data_offset};
        if (buffer->queue->memory == V4L2_MEMORY_MMAP)
                out->m.mem_offset = (buffer->queue->first + buffer->index * MEDIA_MAX_PLANES + i) << COOKIE_SHIFT;
        else
                out->m.userptr = plane->number;
}

void buffer_tell(const struct media_buffer *buffer, struct v4l2_buffer *out, struct v4l2_plane *planes)
{
        const struct media_queue *queue = buffer->queue;
        const bool finished = buffer->state == BUFFER_DONE;
        struct v4l2_plane *pointer = out->m.planes, first;

        *out = (struct v4l2_buffer){
                .index = buffer->index,
                .type = queue->type,
                .flags = queue->timestamp_flags | state_flags[buffer->state],
                .field = finished ? buffer->field : queue->field,
                .memory = queue->memory,
        };
        if (finished)
                out->flags |= buffer->flags;
        else if (buffer->prepared)
                out->flags |= V4L2_BUF_FLAG_PREPARED;
        if (finished || (V4L2_TYPE_IS_OUTPUT(queue->type) && buffer->state != BUFFER_DEQUEUED))
                out->timestamp = buffer->timestamp;
        out->sequence = finished ? buffer->sequence : 0;
        if (V4L2_TYPE_IS_MULTIPLANAR(queue->type)) {
                out->m.planes = pointer;
                out->length = queue->n_planes;
                for (unsigned i = 0; i < queue->n_planes; i++)
                        plane_tell(buffer, i, &planes[i]);
                return;
        }
        plane_tell(buffer, 0, &first);
        out->length = first.length;
        out->bytesused = first.bytesused;
        out->m.userptr = first.m.userptr;
}

/* ---- what the driver sets ---- */

/* Returns the planes of a call's buffer; for a single-planar one, @first with the buffer's own fields. */
static const struct v4l2_plane *buffer_planes_of(const struct media_call *call, struct v4l2_plane *first)
{
        const struct v4l2_buffer *given = call->payload;

        *first = (struct v4l2_plane){given->bytesused, given->length, {.userptr = given->m.userptr}};
        return V4L2_TYPE_IS_MULTIPLANAR(given->type) ? call->trailer : first;
}

int buffer_take_memory(struct media_buffer *buffer, struct media_call *call)
{
        struct v4l2_plane first;
        const struct v4l2_plane *planes = buffer_planes_of(call, &first);
        uint32_t sizes[MEDIA_MAX_PLANES];
        const unsigned n = buffer->queue->ops->sizes(buffer->queue->userdata, sizes);

        if (call->n_memory != n || n != buffer->queue->n_planes)
                return -EINVAL;
        for (unsigned i = 0; i < n; i++)
                if (call->memory[i].size < sizes[i] || planes[i].m.userptr == 0)
                        return -EINVAL;
        for (unsigned i = 0; i < n; i++) {
                struct media_buffer_plane *plane = &buffer->planes[i];

                guest_memory_clear(&plane->guest);
                plane->guest = call->memory[i];
                call->memory[i] = (struct guest_memory){.memory = NULL};
                plane->length = (uint32_t)plane->guest.size;
                plane->number = planes[i].m.userptr;
        }
        return 0;
}

/* Sets *@out to the length that the driver says, or else to the file's. -EINVAL: less than @least, or more than the
 * file has. */
static int object_length(int fd, uint32_t said, uint32_t least, uint32_t *out)
{
        const off_t size = lseek(fd, 0, SEEK_END);

        *out = said > 0 ? said : size > 0 && size <= UINT32_MAX ? (uint32_t)size : 0;
        return *out < least || *out == 0 || (off_t)*out > size ? -EINVAL : 0;
}

static bool buffer_is_same_file(int one, int other)
{
        struct stat first, second;

        return one >= 0 && fstat(one, &first) == 0 && fstat(other, &second) == 0 && first.st_dev == second.st_dev &&
               first.st_ino == second.st_ino;
}

/* Makes @fd the plane's file, and takes it, unless it is that already. */
static int plane_renew(struct media_buffer *buffer, struct media_buffer_plane *plane, int *fd, uint32_t length)
{
        uint8_t *data = NULL;

        if (plane->length == length && buffer_is_same_file(plane->fd, *fd))
                return 0;

        int r = buffer_file_map(*fd, length, &data);

        if (r < 0)
                return r;
        plane_forget(plane);
        plane->fd = fd_take(fd);
        plane->data = data;
        plane->length = length;
        buffer->renewed = true;
        return 0;
}

int buffer_take_objects(struct media_buffer *buffer, struct media_call *call)
{
        struct v4l2_plane first;
        const struct v4l2_plane *planes = buffer_planes_of(call, &first);
        uint32_t sizes[MEDIA_MAX_PLANES], length;
        const unsigned n = buffer->queue->ops->sizes(buffer->queue->userdata, sizes);
        int r = call->n_objects < n || n != buffer->queue->n_planes ? -EINVAL : 0;

        for (unsigned i = 0; r == 0 && i < n; i++) {
                struct media_buffer_plane *plane = &buffer->planes[i];

                r = object_length(call->object_fds[i], planes[i].length, sizes[i], &length);
                if (r == 0)
                        r = plane_renew(buffer, plane, &call->object_fds[i], length);
                if (r == 0)
                        plane->number = planes[i].m.userptr;
        }
        return r;
}

void buffer_sync(const struct media_buffer *buffer, uint64_t when)
{
        struct dma_buf_sync sync = {.flags = when | DMA_BUF_SYNC_RW};

        for (unsigned i = 0; buffer->queue->memory == V4L2_MEMORY_DMABUF && i < buffer->queue->n_planes; i++)
                ioctl(buffer->planes[i].fd, DMA_BUF_IOCTL_SYNC, &sync);
}

int buffer_take_content(struct media_buffer *buffer, const struct media_call *call)
{
        const bool filled = V4L2_TYPE_IS_OUTPUT(buffer->queue->type);
        const struct v4l2_buffer *given = call->payload;
        struct v4l2_plane first;
        const struct v4l2_plane *planes = buffer_planes_of(call, &first);

        buffer->timestamp = given->timestamp;
        if (buffer->prepared)
                return 0;
        buffer->field = given->field == V4L2_FIELD_ANY ? buffer->queue->field : given->field;
        for (unsigned i = 0; i < buffer->queue->n_planes; i++) {
                struct media_buffer_plane *plane = &buffer->planes[i];

                plane->used = !filled ? 0 : planes[i].bytesused ? planes[i].bytesused : plane->length;
                plane->data_offset = filled ? planes[i].data_offset : 0;
                if (plane->used > plane->length || (plane->data_offset > 0 && plane->data_offset >= plane->used))
                        return -EINVAL;
        }
        return 0;
}
