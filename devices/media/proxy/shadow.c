/* SPDX-License-Identifier: BSD-2-Clause */

/* Memory for buffers which guest and device can't share, so that each frame is copied once: buffers of a driver that
 * can't export (VIDIOC_EXPBUF), and pages of the guest (USERPTR), which are scattered here, while V4L2 takes one
 * address. The bytes of all shadows are limited to the window's size. */

#include "devices/media/proxy/state.h"

#include "base/fd.h"
#include "devices/media/core/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>

struct proxy_shadow *shadow_find(const struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane)
{
        struct proxy_shadow *shadow;

        LIST_FOREACH(shadow, &own->shadows, entry)
        if (shadow->type == buffer->type && shadow->index == buffer->index && shadow->plane == plane)
                return shadow;
        return NULL;
}

static size_t shadow_cost(const struct proxy_shadow *shadow)
{
        return sizeof(*shadow) + shadow->size;
}

void proxy_shadow_free(struct proxy_session *own, struct proxy_shadow *shadow)
{
        if (shadow->node)
                munmap(shadow->node, shadow->size);
        if (shadow->file)
                munmap(shadow->file, shadow->size);
        fd_close(shadow->fd);
        guest_memory_clear(&shadow->guest);
        own->proxy->held -= shadow_cost(shadow);
        LIST_REMOVE(shadow, entry);
        free(shadow);
}

void shadows_end(struct proxy_session *own, uint32_t type)
{
        struct proxy_shadow *shadow, *next;

        for (shadow = LIST_FIRST(&own->shadows); shadow; shadow = next) {
                next = LIST_NEXT(shadow, entry);
                if (type == 0 || shadow->type == type)
                        proxy_shadow_free(own, shadow);
        }
}

void shadows_let_go(struct proxy_session *own, uint32_t type)
{
        struct proxy_shadow *shadow;

        LIST_FOREACH(shadow, &own->shadows, entry)
        if (shadow->type == type)
                guest_memory_clear(&shadow->guest);
}

/* @fd, @offset: as for mmap(2); -1: anonymous memory. */
static int proxy_shadow_new(struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane, uint32_t size,
                            int fd, off_t offset, struct proxy_shadow **out)
{
        struct proxy *proxy = own->proxy;
        struct proxy_shadow *shadow = calloc(1, sizeof(*shadow));

        if (!shadow)
                return -ENOMEM;
        *shadow = (struct proxy_shadow){
                .type = buffer->type, .index = buffer->index, .plane = plane, .size = size, .fd = -1};
        proxy->held += shadow_cost(shadow);
        LIST_INSERT_HEAD(&own->shadows, shadow, entry);

        void *node = MAP_FAILED;

        errno = ENOMEM;
        if (proxy->held <= proxy->node.media->options.window_size && size == 0)
                node = NULL;
        else if (proxy->held <= proxy->node.media->options.window_size)
                node = mmap(NULL, size, PROT_READ | PROT_WRITE, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd,
                            offset);
        if (node == MAP_FAILED) {
                const int error = errno;

                proxy_shadow_free(own, shadow);
                return -error;
        }
        shadow->node = node;
        *out = shadow;
        return 0;
}

int shadow_map(struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane, uint32_t offset,
               uint32_t size, struct proxy_shadow **out)
{
        struct proxy_shadow *shadow;
        int r = proxy_shadow_new(own, buffer, plane, size, own->fd, offset, &shadow);

        if (r < 0)
                return r;
        r = buffer_file_new(size, &shadow->fd, &shadow->file);
        if (r < 0)
                proxy_shadow_free(own, shadow);
        else
                *out = shadow;
        return r;
}

/* Keeps memory of the same size, so that the kernel need not pin its pages again. */
int shadow_take(struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane, uint64_t number,
                struct guest_memory *guest)
{
        struct proxy_shadow *shadow = shadow_find(own, buffer, plane);
        int r = 0;

        if (shadow && (shadow->file || shadow->size != guest->size)) {
                proxy_shadow_free(own, shadow);
                shadow = NULL;
        }
        if (!shadow)
                r = proxy_shadow_new(own, buffer, plane, (uint32_t)guest->size, -1, 0, &shadow);
        if (!shadow)
                return r;
        guest_memory_clear(&shadow->guest);
        shadow->guest = *guest;
        *guest = (struct guest_memory){.memory = NULL};
        shadow->number = number;
        return 0;
}

int shadow_note(struct proxy_session *own, const struct v4l2_buffer *buffer, uint32_t plane, uint64_t number)
{
        struct proxy_shadow *shadow = shadow_find(own, buffer, plane);
        int r = shadow ? 0 : proxy_shadow_new(own, buffer, plane, 0, -1, 0, &shadow);

        if (r == 0)
                shadow->number = number;
        return r;
}

void shadow_push(struct proxy_shadow *shadow, size_t size)
{
        size = MIN(size, shadow->size);
        if (shadow->file)
                memcpy(shadow->node, shadow->file, size);
        else
                guest_memory_read(&shadow->guest, shadow->node, size);
}

void shadow_pull(struct proxy_session *own, struct proxy_shadow *shadow, size_t size)
{
        size = MIN(size, shadow->size);
        if (shadow->file)
                memcpy(shadow->file, shadow->node, size);
        else
                guest_memory_write(own->proxy->node.media, &shadow->guest, shadow->node, size);
}
