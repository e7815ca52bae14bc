/* SPDX-License-Identifier: BSD-2-Clause */

/* A camera: a node with one queue, and a thread that fills a buffer whenever a picture is due. Picture n of a stream
 * is due n intervals after the stream began. A picture for which there is no buffer, or which is late by more than
 * an interval, is left out, and its sequence number is skipped. The thread draws without the media's lock: into the
 * buffer if that is the device's own memory, else into memory beside it, from which it copies. */

#include "devices/media/camera/state.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>

#define NS INT64_C(1000000000)

static struct camera *camera_of(struct media_node *node)
{
        return (struct camera *)node;
}

#define SLIDER(cid, text, least, most, middle)                                                                      \
        {                                                                                                           \
                .id = (cid), .type = V4L2_CTRL_TYPE_INTEGER, .name = (text), .minimum = (least), .maximum = (most), \
                .step = 1, .initial = (middle), .flags = V4L2_CTRL_FLAG_SLIDER                                      \
        }

static const struct media_control controls[] = {
        {.id = V4L2_CID_USER_CLASS,
         .type = V4L2_CTRL_TYPE_CTRL_CLASS,
         .name = "User Controls",
         .flags = V4L2_CTRL_FLAG_READ_ONLY | V4L2_CTRL_FLAG_WRITE_ONLY},
        SLIDER(V4L2_CID_BRIGHTNESS, "Brightness", 0, 255, 128),
        SLIDER(V4L2_CID_CONTRAST, "Contrast", 0, 255, 128),
        SLIDER(V4L2_CID_SATURATION, "Saturation", 0, 255, 128),
        SLIDER(V4L2_CID_HUE, "Hue", -180, 180, 0),
};

/* ---- streaming ---- */

static unsigned stream_sizes(void *userdata, uint32_t least[MEDIA_MAX_PLANES])
{
        const struct camera *camera = userdata;

        least[0] = format_size(camera->format, camera->width, camera->height);
        return 1;
}

static int stream_start(void *userdata)
{
        struct camera *camera = userdata;

        if (camera->queue.memory == V4L2_MEMORY_USERPTR) {
                camera->beside = malloc(format_size(camera->format, camera->width, camera->height));
                if (!camera->beside)
                        return -ENOMEM;
        }
        camera->begin_ns = now_ns();
        camera->number = 0;
        pthread_cond_signal(&camera->changed);
        return 0;
}

static void stream_stop(void *userdata)
{
        struct camera *camera = userdata;

        free(steal(camera->beside));
}

static const struct media_queue_ops stream_ops = {.sizes = stream_sizes, .start = stream_start, .stop = stream_stop};

static int64_t due_ns(const struct camera *camera, uint64_t number)
{
        const __int128 ns = (__int128)number * camera->interval.numerator * NS / camera->interval.denominator;

        return camera->begin_ns + (int64_t)ns;
}

/* The number of the last picture that is due. */
static uint64_t number_at(const struct camera *camera, int64_t now)
{
        const __int128 elapsed = (__int128)(now - camera->begin_ns) * camera->interval.denominator;

        return (uint64_t)(elapsed / NS / camera->interval.numerator);
}

static struct color color_of(const struct camera *camera)
{
        const struct media_controls *own = &camera->controls;

        return color_make(media_controls_get(own, V4L2_CID_BRIGHTNESS), media_controls_get(own, V4L2_CID_CONTRAST),
                          media_controls_get(own, V4L2_CID_SATURATION), media_controls_get(own, V4L2_CID_HUE));
}

/* Fills @buffer with picture @number. It releases the lock meanwhile; the format can't change as long as there are
 * buffers. */
static void camera_fill(struct camera *camera, struct media_buffer *buffer, uint64_t number)
{
        struct media *media = camera->node.media;
        struct media_buffer_plane *plane = &buffer->planes[0];
        struct camera_source *source = camera->source;
        const struct camera_image image = {camera->format, camera->width, camera->height,
                                           camera->beside ? camera->beside : plane->data};
        const struct color color = color_of(camera);
        const int64_t now = now_ns();
        size_t used = 0;

        pthread_mutex_unlock(&media->lock);

        int r = source->ops->advance(source, number, camera->interval);

        if (r > 0)
                used = source->ops->draw(source, &image, &color);
        if (r > 0 && camera->beside)
                guest_memory_write(media, &plane->guest, image.data, used);
        pthread_mutex_lock(&media->lock);
        if (r == 0) {
                media_queue_give_back(buffer);
                return;
        }
        if (r < 0)
                log_within(media->options.lines, &media->options.log, ORIEL_LOG_WARNING, "the source: %s",
                           strerror(-r));
        buffer->flags = r < 0 ? V4L2_BUF_FLAG_ERROR : 0;
        buffer->field = V4L2_FIELD_NONE;
        buffer->sequence = (uint32_t)number;
        buffer->timestamp = (struct timeval){now / NS, now % NS / 1000};
        plane->used = (uint32_t)used;
        media_queue_done(buffer);
}

/* Called with the lock held. Returns when the next picture is due, or sooner. */
static void camera_wait(struct camera *camera)
{
        pthread_mutex_t *mutex = &camera->node.media->lock;
        const int64_t due = due_ns(camera, camera->number);

        if (camera->queue.streaming)
                pthread_cond_timedwait(&camera->changed, mutex, &(struct timespec){due / NS, due % NS});
        else
                pthread_cond_wait(&camera->changed, mutex);
}

static void *camera_run(void *userdata)
{
        struct camera *camera = userdata;

        pthread_mutex_lock(&camera->node.media->lock);
        while (!camera->ending) {
                if (!camera->queue.streaming || now_ns() < due_ns(camera, camera->number)) {
                        camera_wait(camera);
                        continue;
                }

                struct media_buffer *buffer = media_queue_take(&camera->queue);
                /* Leaves out pictures that are late already. */
                const uint64_t number = MAX(camera->number, number_at(camera, now_ns()));

                camera->number = number + 1;
                if (buffer)
                        camera_fill(camera, buffer, number);
        }
        pthread_mutex_unlock(&camera->node.media->lock);
        return NULL;
}

/* ---- the node ---- */

static int camera_ioctl(struct media_node *node, struct node_session *session, struct media_call *call)
{
        struct camera *camera = camera_of(node);
        int r = call->row->changes ? media_priority_check(session) : 0;

        if (r == 0)
                r = media_queue_ioctl(&camera->queue, 1, session, call);
        if (r == -ENOTTY)
                r = media_controls_ioctl(&camera->controls, session, call);
        return r == -ENOTTY ? camera_own_ioctl(camera, call) : r;
}

/* Starts the thread with the first session, because node->media is set by then. */
static int camera_open(struct media_node *node, struct node_session *session)
{
        struct camera *camera = camera_of(node);

        camera->queue.media = node->media;
        if (camera->thread)
                return 0;
        return thread_start(&camera->thread, camera_run, camera);
}

static void camera_close(struct media_node *node, struct node_session *session)
{
        media_queue_leave(&camera_of(node)->queue, session);
}

static int camera_file(struct media_node *node, struct node_session *session, uint32_t offset, struct media_file *out)
{
        return media_queue_file(&camera_of(node)->queue, offset, out);
}

static void camera_reset(struct media_node *node)
{
        struct camera *camera = camera_of(node);
        struct v4l2_frmsize_discrete size;

        camera->format = camera_format(camera, 0);
        camera_size(camera, 0, &size);
        camera->width = size.width;
        camera->height = size.height;
        camera_interval(camera, 0, &camera->interval);
        /* Pictures that are passed on unchanged have no controls. */
        media_controls_init(&camera->controls, controls, camera->source->fourcc ? 0 : ARRAY_SIZE(controls));
}

static void camera_free(struct media_node *node)
{
        struct camera *camera = camera_of(node);

        if (camera->thread) {
                pthread_mutex_lock(&node->media->lock);
                camera->ending = true;
                pthread_cond_signal(&camera->changed);
                pthread_mutex_unlock(&node->media->lock);
                pthread_join(camera->thread, NULL);
        }
        camera->source->ops->free(camera->source);
        media_queue_free(&camera->queue);
        pthread_cond_destroy(&camera->changed);
        free(camera);
}

static void make_condition(pthread_cond_t *condition)
{
        pthread_condattr_t attributes;

        pthread_condattr_init(&attributes);
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
        pthread_cond_init(condition, &attributes);
        pthread_condattr_destroy(&attributes);
}

int camera_new(struct camera_source *source, const char *card, unsigned fps, struct media_node **out)
{
        static const struct media_node_ops ops = {camera_open, camera_close, camera_ioctl,
                                                  camera_file, camera_reset, camera_free};
        struct camera *camera = calloc(1, sizeof(*camera));

        if (!camera) {
                source->ops->free(source);
                return -ENOMEM;
        }
        camera->node.ops = &ops;
        camera->node.config.device_type = MEDIA_TYPE_VIDEO;
        camera->node.config.device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING | V4L2_CAP_EXT_PIX_FORMAT;
        memcpy(camera->node.config.card, card, strnlen(card, sizeof(camera->node.config.card)));
        camera->source = source;
        camera->fps = fps;
        camera->queue.ops = &stream_ops;
        camera->queue.userdata = camera;
        camera->queue.type = V4L2_BUF_TYPE_VIDEO_CAPTURE;
        camera->queue.field = V4L2_FIELD_NONE;
        camera->queue.timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC | V4L2_BUF_FLAG_TSTAMP_SRC_SOE;
        camera->queue.memories = QUEUE_MEMORY(MMAP) | QUEUE_MEMORY(USERPTR) | QUEUE_MEMORY(DMABUF);
        media_queue_init(&camera->queue);
        camera_reset(&camera->node);
        make_condition(&camera->changed);
        *out = &camera->node;
        return 0;
}
