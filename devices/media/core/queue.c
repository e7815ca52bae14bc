/* SPDX-License-Identifier: BSD-2-Clause */

/* The states of buffers, and the ioctls that change them, as in Linux's videobuf2, which programs expect. Buffers
 * belong to the session that has made them, until it asks for none or ends. A done buffer stays BUFFER_DONE until
 * the driver has its event, so that it can't be queued twice, and there are never more events than buffers. A new
 * set of buffers, with the same offsets for mmap(), is a new generation. */

#include "devices/media/core/buffer.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <string.h>

/* CREATE_BUFS may ask for up to twice what a plane needs, and this much more. */
#define PLANE_MORE (UINT32_C(1) << 20)

/* Makes as many of @n buffers as there is memory for: at least one, or an error. */
static int buffers_new(struct media_queue *queue, uint32_t n, const uint32_t *sizes, uint32_t *made)
{
        int r = 0;

        *made = 0;
        while (*made < n && queue->n < VIDEO_MAX_FRAME && (r = buffer_new(queue, sizes)) == 0)
                ++*made;
        return *made > 0 || n == 0 ? 0 : r < 0 ? -ENOMEM : -ENOBUFS;
}

static void queue_stop(struct media_queue *queue)
{
        const bool streamed = queue->streaming;

        queue->streaming = false;
        while (queue->active > 0)
                pthread_cond_wait(&queue->settled, &queue->media->lock);
        if (streamed)
                queue->ops->stop(queue->userdata);
        TAILQ_INIT(&queue->queued);
        for (unsigned i = 0; i < queue->n; i++) {
                struct media_buffer *buffer = queue->buffers[i];

                session_event_cancel(&buffer->event);
                if (buffer->state == BUFFER_QUEUED)
                        buffer_sync(buffer, DMA_BUF_SYNC_END);
                buffer_let_go(buffer);
                buffer->prepared = false;
        }
}

static void buffers_end(struct media_queue *queue)
{
        queue_stop(queue);
        if (queue->owner)
                media_objects_end(queue->owner, queue->type);
        while (queue->n > 0)
                buffer_free(queue->buffers[--queue->n]);
        queue->owner = NULL;
}

/* ---- the ioctls ---- */

/* Finds the buffer that a call names, and checks that the call has room for its planes. */
static int buffer_of(struct media_queue *queue, const struct v4l2_buffer *named, struct media_buffer **out)
{
        if (named->index >= queue->n || (V4L2_TYPE_IS_MULTIPLANAR(queue->type) && named->length < queue->n_planes))
                return -EINVAL;
        *out = queue->buffers[named->index];
        return 0;
}

static int owner_check(const struct media_queue *queue, const struct node_session *session)
{
        return queue->owner && queue->owner != session ? -EBUSY : 0;
}

/* Without objects of the front-end there is no DMABUF. */
static uint32_t queue_memories(const struct media_queue *queue)
{
        const struct media_options *options = &queue->media->options;

        return options->ops->shares_objects(options->userdata) ? queue->memories
                                                               : queue->memories & ~QUEUE_MEMORY(DMABUF);
}

static bool memory_known(const struct media_queue *queue, uint32_t memory)
{
        return memory < 32 && queue_memories(queue) >> memory & 1;
}

static uint32_t queue_capabilities_of(const struct media_queue *queue)
{
        const uint32_t memories = queue_memories(queue);

        return V4L2_BUF_CAP_SUPPORTS_MMAP | V4L2_BUF_CAP_SUPPORTS_ORPHANED_BUFS |
               (memories & QUEUE_MEMORY(USERPTR) ? V4L2_BUF_CAP_SUPPORTS_USERPTR : 0) |
               (memories & QUEUE_MEMORY(DMABUF) ? V4L2_BUF_CAP_SUPPORTS_DMABUF : 0);
}

static int queue_reqbufs(struct media_queue *queue, struct node_session *session, struct media_call *call)
{
        struct v4l2_requestbuffers *request = call->payload;
        uint32_t sizes[MEDIA_MAX_PLANES], made = 0;

        if (!memory_known(queue, request->memory))
                return -EINVAL;
        if (owner_check(queue, session) < 0 || queue->streaming)
                return -EBUSY;
        buffers_end(queue);
        queue->memory = request->memory;
        queue->n_planes = queue->ops->sizes(queue->userdata, sizes);
        queue->generation++;

        int r = buffers_new(queue, request->count, sizes, &made);

        if (r < 0)
                return r;
        queue->owner = made > 0 ? session : NULL;
        *request = (struct v4l2_requestbuffers){
                .count = made,
                .type = queue->type,
                .memory = queue->memory,
                .capabilities = queue_capabilities_of(queue),
        };
        return 0;
}

/* Sets @sizes to those of the format in @create. */
static int sizes_of(const struct media_queue *queue, const struct v4l2_create_buffers *create, uint32_t *sizes)
{
        const struct v4l2_format *format = &create->format;
        const bool multi = V4L2_TYPE_IS_MULTIPLANAR(queue->type);
        uint32_t least[MEDIA_MAX_PLANES];
        const unsigned n = queue->ops->sizes(queue->userdata, least);

        if (multi && format->fmt.pix_mp.num_planes != n)
                return -EINVAL;
        for (unsigned i = 0; i < n; i++) {
                sizes[i] = multi ? format->fmt.pix_mp.plane_fmt[i].sizeimage : format->fmt.pix.sizeimage;
                if (sizes[i] < least[i] || sizes[i] / 2 > least[i] + PLANE_MORE / 2)
                        return -EINVAL;
        }
        return (int)n;
}

static int queue_create(struct media_queue *queue, struct node_session *session, struct media_call *call)
{
        struct v4l2_create_buffers *create = call->payload;
        const uint32_t index = queue->n;
        uint32_t sizes[MEDIA_MAX_PLANES], made = 0;
        int n;

        if (!memory_known(queue, create->memory))
                return -EINVAL;
        if (create->count > 0) {
                if (owner_check(queue, session) < 0)
                        return -EBUSY;
                n = sizes_of(queue, create, sizes);
                if (n < 0 || (queue->n > 0 && queue->memory != create->memory))
                        return -EINVAL;
                queue->memory = create->memory;
                queue->n_planes = (unsigned)n;
                queue->generation += queue->n == 0;

                int r = buffers_new(queue, create->count, sizes, &made);

                if (r < 0)
                        return r;
                queue->owner = session;
        }
        create->index = index;
        create->count = made;
        create->capabilities = queue_capabilities_of(queue);
        create->flags = 0;
        memset(create->reserved, 0, sizeof(create->reserved));
        return 0;
}

static int queue_querybuf(struct media_queue *queue, struct node_session *session, struct media_call *call)
{
        struct media_buffer *buffer;
        int r = buffer_of(queue, call->payload, &buffer);

        if (r == 0)
                buffer_tell(buffer, call->payload, call->trailer);
        return r;
}

static int buffer_prepare(struct media_queue *queue, struct node_session *session, struct media_call *call,
                          struct media_buffer **out)
{
        const struct v4l2_buffer *given = call->payload;
        int r = owner_check(queue, session);

        if (r == 0)
                r = buffer_of(queue, given, out);
        if (r < 0)
                return r;
        if (given->flags & V4L2_BUF_FLAG_REQUEST_FD)
                return -EBADR;
        if (given->memory != queue->memory || (*out)->state != BUFFER_DEQUEUED)
                return -EINVAL;
        if (queue->memory == V4L2_MEMORY_USERPTR && !(*out)->prepared)
                r = buffer_take_memory(*out, call);
        else if (queue->memory == V4L2_MEMORY_DMABUF && !(*out)->prepared)
                r = buffer_take_objects(*out, call);
        if (r == 0)
                r = buffer_take_content(*out, call);
        return r;
}

static int queue_prepare(struct media_queue *queue, struct node_session *session, struct media_call *call)
{
        struct media_buffer *buffer;
        int r = buffer_prepare(queue, session, call, &buffer);

        if (r < 0)
                return r;
        if (buffer->prepared)
                return -EINVAL;
        buffer->prepared = true;
        buffer_tell(buffer, call->payload, call->trailer);
        return 0;
}

static int queue_qbuf(struct media_queue *queue, struct node_session *session, struct media_call *call)
{
        struct media_buffer *buffer;
        int r = buffer_prepare(queue, session, call, &buffer);

        if (r < 0)
                return r;
        buffer->prepared = false;
        buffer->state = BUFFER_QUEUED;
        buffer->flags = 0;
        TAILQ_INSERT_TAIL(&queue->queued, buffer, entry);
        buffer_sync(buffer, DMA_BUF_SYNC_START);
        buffer_tell(buffer, call->payload, call->trailer);
        return 0;
}

static int queue_expbuf(struct media_queue *queue, struct node_session *session, struct media_call *call)
{
        const struct v4l2_exportbuffer *export = call->payload;
        int r = owner_check(queue, session);

        if (r < 0)
                return r;
        if (queue->memory != V4L2_MEMORY_MMAP || export->index >= queue->n || export->plane >= queue->n_planes ||
            export->flags & ~(uint32_t)(O_ACCMODE | O_CLOEXEC))
                return -EINVAL;
        call->exported = queue->buffers[export->index]->planes[export->plane].fd;
        return 0;
}

static int queue_streamon(struct media_queue *queue, struct node_session *session, struct media_call *call)
{
        int r = owner_check(queue, session);

        if (r < 0 || queue->streaming)
                return r;
        if (queue->n == 0)
                return -EINVAL;
        r = queue->ops->start(queue->userdata);
        queue->streaming = r == 0;
        return r;
}

static int queue_streamoff(struct media_queue *queue, struct node_session *session, struct media_call *call)
{
        int r = owner_check(queue, session);

        if (r == 0)
                queue_stop(queue);
        return r;
}

static const struct {
        uint32_t code;
        size_t type; /* its offset in the payload */
        int (*handle)(struct media_queue *queue, struct node_session *session, struct media_call *call);
} handlers[] = {
        {VIDIOC_REQBUFS, offsetof(struct v4l2_requestbuffers, type), queue_reqbufs},
        {VIDIOC_CREATE_BUFS, offsetof(struct v4l2_create_buffers, format.type), queue_create},
        {VIDIOC_QUERYBUF, offsetof(struct v4l2_buffer, type), queue_querybuf},
        {VIDIOC_PREPARE_BUF, offsetof(struct v4l2_buffer, type), queue_prepare},
        {VIDIOC_QBUF, offsetof(struct v4l2_buffer, type), queue_qbuf},
        {VIDIOC_EXPBUF, offsetof(struct v4l2_exportbuffer, type), queue_expbuf},
        {VIDIOC_STREAMON, 0, queue_streamon},
        {VIDIOC_STREAMOFF, 0, queue_streamoff},
};

int media_queue_ioctl(struct media_queue *queues, unsigned n, struct node_session *session, struct media_call *call)
{
        for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
                if (handlers[i].code != call->row->code)
                        continue;

                const uint32_t *type = (const void *)((const uint8_t *)call->payload + handlers[i].type);

                for (unsigned k = 0; k < n; k++)
                        if (queues[k].type == *type)
                                return handlers[i].handle(&queues[k], session, call);
                return -EINVAL;
        }
        return -ENOTTY;
}

/* ---- the node's side ---- */

void media_queue_init(struct media_queue *queue)
{
        TAILQ_INIT(&queue->queued);
        pthread_cond_init(&queue->settled, NULL);
}

void media_queue_free(struct media_queue *queue)
{
        pthread_cond_destroy(&queue->settled);
}

int media_queue_file(const struct media_queue *queue, uint32_t offset, struct media_file *out)
{
        const uint32_t number = (offset >> COOKIE_SHIFT) - queue->first;
        const uint32_t index = number / MEDIA_MAX_PLANES, plane = number % MEDIA_MAX_PLANES;

        if (!is_aligned(offset, UINT64_C(1) << COOKIE_SHIFT) || queue->memory != V4L2_MEMORY_MMAP ||
            index >= queue->n || plane >= queue->n_planes)
                return -EINVAL;

        const struct media_buffer_plane *found = &queue->buffers[index]->planes[plane];

        *out = (struct media_file){found->fd, found->length, queue->generation};
        return 0;
}

void media_queue_leave(struct media_queue *queue, struct node_session *session)
{
        if (queue->owner == session)
                buffers_end(queue);
}

static struct media_buffer *buffer_take(struct media_queue *queue, struct media_buffer *buffer)
{
        if (!buffer || !queue->streaming)
                return NULL;
        TAILQ_REMOVE(&queue->queued, buffer, entry);
        buffer->state = BUFFER_ACTIVE;
        queue->active++;
        return buffer;
}

struct media_buffer *media_queue_take(struct media_queue *queue)
{
        return buffer_take(queue, TAILQ_FIRST(&queue->queued));
}

struct media_buffer *media_queue_take_at(struct media_queue *queue, uint32_t index)
{
        struct media_buffer *buffer = index < queue->n ? queue->buffers[index] : NULL;

        return buffer_take(queue, buffer && buffer->state == BUFFER_QUEUED ? buffer : NULL);
}

static void buffer_settle(struct media_buffer *buffer)
{
        if (--buffer->queue->active == 0)
                pthread_cond_broadcast(&buffer->queue->settled);
}

void media_queue_give_back(struct media_buffer *buffer)
{
        buffer->state = BUFFER_QUEUED;
        TAILQ_INSERT_HEAD(&buffer->queue->queued, buffer, entry);
        buffer_settle(buffer);
}

void media_queue_done(struct media_buffer *buffer)
{
        struct media_event_dqbuf *content = &buffer->event.content.dqbuf;

        buffer_settle(buffer);
        buffer_sync(buffer, DMA_BUF_SYNC_END);
        buffer->state = BUFFER_DONE;
        memset(content, 0, sizeof(*content));
        buffer_tell(buffer, &content->buffer, content->planes);
        content->buffer.flags &= ~(uint32_t)V4L2_BUF_FLAG_DONE;
        session_event_send(&buffer->event, buffer->queue->owner, MEDIA_EVENT_DQBUF);
}
