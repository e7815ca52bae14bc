/* SPDX-License-Identifier: BSD-2-Clause */

/* A stream: two queues, and the process that decodes, whose answers a thread receives. One function advances the stream
 * (stream_go_on()): after each ioctl and each answer it does whatever is possible then. So the order in which a driver
 * does things, which differs from one program to the next, does not matter.
 *
 * No call waits: a buffer stays queued while the codec works on it, and is taken when the codec has answered.
 * Answers about buffers that were given before the driver took them back, or before a seek, are recognized by their
 * counts and ignored. The codec's answers are hostile input too. */

#include "devices/media/decoder/state.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "devices/media/decoder/broker.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(poll), SYSCALL(shutdown));

#define SECOND INT64_C(1000000)

static void stream_fail(struct decoder_stream *stream)
{
        struct media *media = stream->session->media;

        log_within(media->options.lines, &media->options.log, ORIEL_LOG_WARNING, "a decoder's process has ended");
        shutdown(stream->codec_fd, SHUT_RDWR);
        media_session_fail(stream->session, -EIO);
}

static void codec_ask(struct decoder_stream *stream, struct codec_request request, int fd)
{
        if (stream->codec_fd >= 0 && !codec_send(stream->codec_fd, &request, sizeof(request), fd))
                stream_fail(stream);
}

static void stream_raise(struct decoder_stream *stream, const struct v4l2_event *event)
{
        struct media_subscription *subscription = media_subscription_find(stream->session, event->type, 0);

        if (subscription)
                media_subscription_raise(stream->session, subscription, event);
}

/* ---- what is possible now ---- */

static int64_t timestamp_pack(struct timeval time)
{
        return (int64_t)((uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_usec);
}

static void decode_next(struct decoder_stream *stream)
{
        struct media_queue *queue = &stream->queues[QUEUE_CODED];
        struct media_buffer *buffer = TAILQ_FIRST(&queue->queued);

        if (!queue->streaming || stream->consuming || stream->drained || stream->drain_asked)
                return;
        if (buffer) {
                const struct media_buffer_plane *plane = &buffer->planes[0];

                stream->consuming = true;
                codec_ask(stream,
                          (struct codec_request){.type = REQUEST_DECODE,
                                                 .offset = plane->data_offset,
                                                 .size = plane->used - plane->data_offset,
                                                 .timestamp = timestamp_pack(buffer->timestamp)},
                          plane->fd);
        } else if (stream->draining) {
                stream->drain_asked = true;
                codec_ask(stream, (struct codec_request){.type = REQUEST_DRAIN}, -1);
        }
}

static void give_last(struct decoder_stream *stream)
{
        struct media_buffer *buffer = stream->last_due ? media_queue_take(&stream->queues[QUEUE_CAPTURE]) : NULL;

        if (!buffer)
                return;
        stream->last_due = false;
        /* The process may have this buffer and others: it must fill none of them until they are given again. */
        stream->given = 0;
        codec_ask(stream, (struct codec_request){.type = REQUEST_TAKE, .count = ++stream->take}, -1);
        buffer->planes[0].used = 0;
        buffer->flags = V4L2_BUF_FLAG_LAST;
        buffer->field = V4L2_FIELD_NONE;
        buffer->sequence = stream->n_captured++;
        buffer->timestamp = (struct timeval){0};
        media_queue_done(buffer);
}

/* Gives known buffers in one message: a busy codec reads none meanwhile, and a program may seek many times. */
static void give_buffers(struct decoder_stream *stream)
{
        const struct media_queue *queue = &stream->queues[QUEUE_CAPTURE];
        struct codec_request request = {.type = REQUEST_GIVE, .count = stream->formats};
        struct media_buffer *buffer;
        uint32_t again = 0;

        TAILQ_FOREACH(buffer, &queue->queued, entry)
        {
                const uint32_t bit = UINT32_C(1) << buffer->index;

                if (stream->given & bit)
                        continue;
                if (buffer->renewed)
                        stream->known &= ~bit;
                buffer->renewed = false;
                if (stream->known & bit) {
                        again |= bit;
                } else {
                        request.index = buffer->index;
                        request.size = buffer->planes[0].length;
                        codec_ask(stream, request, buffer->planes[0].fd);
                }
                stream->known |= bit;
                stream->given |= bit;
        }
        request.index = again;
        if (again)
                codec_ask(stream, request, -1);
}

void stream_go_on(struct decoder_stream *stream)
{
        const struct media_queue *capture = &stream->queues[QUEUE_CAPTURE];

        if (stream->codec_fd >= 0 && stream->generation != capture->generation) {
                codec_ask(stream, (struct codec_request){.type = REQUEST_FORGET}, -1);
                stream->generation = capture->generation;
                stream->known = stream->given = 0;
        }
        decode_next(stream);
        give_last(stream);
        if (stream->codec_fd >= 0 && capture->streaming && !stream->drained && !stream->changing)
                give_buffers(stream);
}

void stream_drain(struct decoder_stream *stream)
{
        if (stream->queues[QUEUE_CODED].streaming && !stream->drained)
                stream->draining = true;
}

void stream_resume(struct decoder_stream *stream)
{
        if (stream->last_due)
                return;
        stream->drained = stream->changing = false;
}

/* ---- answers ---- */

/* The first buffer of OUTPUT is decoded. */
static bool answer_consumed(struct decoder_stream *stream, const struct codec_answer *answer)
{
        struct media_buffer *buffer = stream->consuming ? media_queue_take(&stream->queues[QUEUE_CODED]) : NULL;

        if (!buffer)
                return false;
        stream->consuming = false;
        buffer->flags = answer->failed ? V4L2_BUF_FLAG_ERROR : 0;
        buffer->sequence = stream->n_consumed++;
        media_queue_done(buffer);
        return true;
}

static bool answer_frame(struct decoder_stream *stream, const struct codec_answer *answer)
{
        if (answer->take != stream->take)
                return true;
        if (answer->index >= VIDEO_MAX_FRAME || !(stream->given & UINT32_C(1) << answer->index))
                return false;

        struct media_buffer *buffer = media_queue_take_at(&stream->queues[QUEUE_CAPTURE], answer->index);

        if (!buffer)
                return false;
        stream->given &= ~(UINT32_C(1) << answer->index);
        buffer->planes[0].used = MIN(picture_layout(&stream->picture).used, buffer->planes[0].length);
        buffer->flags = (answer->failed ? V4L2_BUF_FLAG_ERROR : 0) | (answer->key ? V4L2_BUF_FLAG_KEYFRAME : 0);
        buffer->field = V4L2_FIELD_NONE;
        buffer->sequence = stream->n_captured++;
        buffer->timestamp = (struct timeval){answer->timestamp / SECOND, answer->timestamp % SECOND};
        media_queue_done(buffer);
        return true;
}

static bool answer_drained(struct decoder_stream *stream, const struct codec_answer *answer)
{
        if (!stream->drain_asked)
                return false;
        stream->draining = stream->drain_asked = false;
        stream->drained = stream->last_due = true;
        stream_raise(stream, &(struct v4l2_event){.type = V4L2_EVENT_EOS});
        return true;
}

static bool looks_as_before(const struct codec_picture *one, const struct codec_picture *other)
{
        const struct picture_layout first = picture_layout(one), second = picture_layout(other);

        return first.stride == second.stride && first.rows == second.rows && one->left == other->left &&
               one->top == other->top && one->visible_width == other->visible_width &&
               one->visible_height == other->visible_height;
}

/* A driver that has guessed the format right, and streams already, is not told. */
static bool answer_format(struct decoder_stream *stream, const struct codec_answer *answer)
{
        const struct media_queue *capture = &stream->queues[QUEUE_CAPTURE];

        if (answer->count != stream->formats + 1 || !picture_is_valid(&answer->picture))
                return false;

        const bool same = looks_as_before(&stream->picture, &answer->picture);

        stream->formats = answer->count;
        stream->given = 0;
        stream->controls.values[1] = (int32_t)MIN(MAX(answer->index, 2U), VIDEO_MAX_FRAME);
        stream->picture = answer->picture;
        if (same && capture->streaming)
                return true;
        stream->changing = stream->last_due = capture->streaming;
        stream_raise(stream, &(struct v4l2_event){.type = V4L2_EVENT_SOURCE_CHANGE,
                                                  .u.src_change.changes = V4L2_EVENT_SRC_CH_RESOLUTION});
        return true;
}

static bool answer_handle(struct decoder_stream *stream, const struct codec_answer *answer)
{
        static bool (*const handlers[])(struct decoder_stream *, const struct codec_answer *) = {
                [ANSWER_CONSUMED] = answer_consumed,
                [ANSWER_FORMAT] = answer_format,
                [ANSWER_FRAME] = answer_frame,
                [ANSWER_DRAINED] = answer_drained,
        };

        if (answer->type == ANSWER_HELLO)
                return true;
        if (answer->type >= ARRAY_SIZE(handlers))
                return false;
        /* The answer is older than a seek; but formats stay valid. */
        if (answer->flush != stream->flush && answer->type != ANSWER_FORMAT)
                return true;
        return handlers[answer->type](stream, answer);
}

static void *stream_run(void *userdata)
{
        struct decoder_stream *stream = userdata;
        pthread_mutex_t *lock = &stream->session->media->lock;
        struct codec_answer answer;
        bool goes_on = true;

        while (goes_on) {
                _cleanup_(fd_closep) int fd = -1;

                goes_on = codec_receive(stream->codec_fd, &answer, sizeof(answer), &fd);
                pthread_mutex_lock(lock);
                goes_on = goes_on && !stream->ending && answer_handle(stream, &answer);
                if (goes_on)
                        stream_go_on(stream);
                else if (!stream->ending)
                        stream_fail(stream);
                pthread_mutex_unlock(lock);
        }
        return NULL;
}

/* ---- streaming ---- */

/* Returns the socket of a process for a stream, the caller's, or a negative errno. */
static int codec_take(struct decoder *decoder)
{
        struct pollfd spare = {.fd = decoder->spare};
        const bool lives = spare.fd >= 0 && poll(&spare, 1, 0) == 0;
        int fd = lives ? fd_take(&decoder->spare) : codec_broker_spawn(decoder->broker);

        fd_close(decoder->spare);
        decoder->spare = codec_broker_spawn(decoder->broker);
        return fd;
}

static int stream_start_codec(struct decoder_stream *stream)
{
        if (stream->codec_fd >= 0)
                return 0;

        const int fd = codec_take(stream->decoder);

        if (fd < 0)
                return fd == -EPIPE ? -EIO : fd;
        stream->codec_fd = fd;
        stream->ending = false;
        stream->formats = stream->flush = stream->take = 0;
        stream->known = stream->given = 0;

        int r = thread_start(&stream->thread, stream_run, stream);

        if (r < 0)
                stream->codec_fd = fd_close(fd);
        else
                codec_ask(stream, (struct codec_request){.type = REQUEST_START, .index = stream->coded->codec}, -1);
        return r;
}

void stream_stop_codec(struct decoder_stream *stream)
{
        pthread_mutex_t *lock = &stream->session->media->lock;

        if (stream->codec_fd < 0)
                return;
        stream->ending = true;
        shutdown(stream->codec_fd, SHUT_RDWR);
        pthread_mutex_unlock(lock);
        pthread_join(stream->thread, NULL);
        pthread_mutex_lock(lock);
        stream->codec_fd = fd_close(stream->codec_fd);
}

static unsigned coded_sizes(void *userdata, uint32_t sizes[MEDIA_MAX_PLANES])
{
        sizes[0] = ((struct decoder_stream *)userdata)->coded_size;
        return 1;
}

static int coded_start(void *userdata)
{
        struct decoder_stream *stream = userdata;

        stream->n_consumed = 0;
        /* A seek: the driver does not wait for the last buffer of the old stream. */
        if (!stream->changing) {
                stream->last_due = false;
                stream_resume(stream);
        }
        return stream_start_codec(stream);
}

/* A seek, or the end of the stream. */
static void coded_stop(void *userdata)
{
        struct decoder_stream *stream = userdata;

        stream->consuming = stream->draining = stream->drain_asked = false;
        stream->given = 0;
        codec_ask(stream, (struct codec_request){.type = REQUEST_FLUSH, .count = ++stream->flush}, -1);
}

static unsigned capture_sizes(void *userdata, uint32_t sizes[MEDIA_MAX_PLANES])
{
        sizes[0] = picture_layout(&((struct decoder_stream *)userdata)->picture).size;
        return 1;
}

static int capture_start(void *userdata)
{
        struct decoder_stream *stream = userdata;
        const struct media_queue *queue = &stream->queues[QUEUE_CAPTURE];

        for (unsigned i = 0; i < queue->n; i++)
                if (queue->buffers[i]->planes[0].length < picture_layout(&stream->picture).size)
                        return -EINVAL;
        stream->n_captured = 0;
        stream_resume(stream);
        return 0;
}

static void capture_stop(void *userdata)
{
        struct decoder_stream *stream = userdata;

        stream->last_due = false;
        stream->given = 0;
        codec_ask(stream, (struct codec_request){.type = REQUEST_TAKE, .count = ++stream->take}, -1);
}

void stream_init(struct decoder_stream *stream)
{
        static const struct media_queue_ops ops[] = {
                [QUEUE_CODED] = {.sizes = coded_sizes, .start = coded_start, .stop = coded_stop},
                [QUEUE_CAPTURE] = {.sizes = capture_sizes, .start = capture_start, .stop = capture_stop},
        };

        stream->codec_fd = -1;
        for (unsigned i = 0; i < ARRAY_SIZE(stream->queues); i++) {
                struct media_queue *queue = &stream->queues[i];

                queue->ops = &ops[i];
                queue->userdata = stream;
                queue->media = stream->session->media;
                queue->type = i == QUEUE_CODED ? V4L2_BUF_TYPE_VIDEO_OUTPUT_MPLANE : V4L2_BUF_TYPE_VIDEO_CAPTURE_MPLANE;
                queue->first = i * VIDEO_MAX_FRAME * MEDIA_MAX_PLANES;
                queue->field = V4L2_FIELD_NONE;
                queue->memories = QUEUE_MEMORY(MMAP) | (i == QUEUE_CODED ? 0 : QUEUE_MEMORY(DMABUF));
                queue->timestamp_flags = V4L2_BUF_FLAG_TIMESTAMP_COPY;
                media_queue_init(queue);
        }
}
