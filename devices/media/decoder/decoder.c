/* SPDX-License-Identifier: BSD-2-Clause */

/* The node: sessions, each of which is a stream with two queues (stream.c), as every open file of a memory-to-memory
 * device is. Names and rules of the interface, here and in the other files, are those of Linux's document
 * "Memory-to-Memory Stateful Video Decoder Interface". */

#include "devices/media/decoder/state.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "devices/media/decoder/broker.h"

#include <errno.h>
#include <string.h>

static const struct media_control controls[] = {
        {.id = V4L2_CID_USER_CLASS,
         .type = V4L2_CTRL_TYPE_CTRL_CLASS,
         .name = "User Controls",
         .flags = V4L2_CTRL_FLAG_READ_ONLY | V4L2_CTRL_FLAG_WRITE_ONLY},
        {.id = V4L2_CID_MIN_BUFFERS_FOR_CAPTURE,
         .type = V4L2_CTRL_TYPE_INTEGER,
         .name = "Min Number of Capture Buffers",
         .minimum = 1,
         .maximum = VIDEO_MAX_FRAME,
         .step = 1,
         .initial = 4,
         .flags = V4L2_CTRL_FLAG_READ_ONLY | V4L2_CTRL_FLAG_VOLATILE},
};

static int decoder_open(struct media_node *node, struct node_session *session)
{
        struct decoder *decoder = (struct decoder *)node;
        struct decoder_stream *stream = calloc(1, sizeof(*stream));

        if (!stream)
                return -ENOMEM;
        stream->decoder = decoder;
        stream->session = session;
        stream_init(stream);
        coded_format_init(stream);
        media_controls_init(&stream->controls, controls, ARRAY_SIZE(controls));
        session->handle = stream;
        return 0;
}

static void decoder_close(struct media_node *node, struct node_session *session)
{
        struct decoder *decoder = (struct decoder *)node;
        struct decoder_stream *stream = session->handle;

        stream_stop_codec(stream);
        for (size_t i = 0; i < ARRAY_SIZE(stream->queues); i++) {
                media_queue_leave(&stream->queues[i], session);
                media_queue_free(&stream->queues[i]);
        }
        decoder->n_streams -= stream->placed;
        free(stream);
}

/* Subscriptions to a decoder's own events; media_controls_ioctl() has those of controls. */
static int handle_subscribe(struct decoder_stream *stream, const struct media_call *call)
{
        const struct v4l2_event_subscription *wanted = call->payload;
        struct media_subscription *made;

        if (call->row->code != VIDIOC_SUBSCRIBE_EVENT ||
            (wanted->type != V4L2_EVENT_SOURCE_CHANGE && wanted->type != V4L2_EVENT_EOS))
                return -ENOTTY;
        return wanted->id == 0 ? media_subscribe(stream->session, wanted, &made) : -EINVAL;
}

/* Files can be opened without limit; buffers and processes are limited to STREAMS_MAX streams. */
static int take_place(struct decoder_stream *stream, uint32_t code)
{
        struct decoder *decoder = stream->decoder;

        if (stream->placed || (code != VIDIOC_REQBUFS && code != VIDIOC_CREATE_BUFS))
                return 0;
        if (decoder->n_streams == STREAMS_MAX)
                return -EBUSY;
        decoder->n_streams++;
        stream->placed = true;
        return 0;
}

static int decoder_ioctl(struct media_node *node, struct node_session *session, struct media_call *call)
{
        struct decoder_stream *stream = session->handle;
        int r = call->row->changes ? media_priority_check(session) : 0;

        if (r == 0)
                r = take_place(stream, call->row->code);
        if (r == 0)
                r = media_queue_ioctl(stream->queues, ARRAY_SIZE(stream->queues), session, call);
        if (r == -ENOTTY)
                r = handle_subscribe(stream, call);
        if (r == -ENOTTY)
                r = media_controls_ioctl(&stream->controls, session, call);
        if (r == -ENOTTY)
                r = stream_own_ioctl(stream, call);
        stream_go_on(stream);
        return r;
}

static int decoder_file(struct media_node *node, struct node_session *session, uint32_t offset, struct media_file *out)
{
        const struct decoder_stream *stream = session->handle;
        int r = media_queue_file(&stream->queues[QUEUE_CODED], offset, out);

        return r < 0 ? media_queue_file(&stream->queues[QUEUE_CAPTURE], offset, out) : r;
}

static void decoder_reset(struct media_node *node)
{
}

static void decoder_free(struct media_node *node)
{
        fd_close(((struct decoder *)node)->spare);
        fd_close(((struct decoder *)node)->broker);
        free(node);
}

int decoder_new(int broker, unsigned codecs, const char *card, struct media_node **out)
{
        static const struct media_node_ops ops = {decoder_open, decoder_close, decoder_ioctl,
                                                  decoder_file, decoder_reset, decoder_free};
        struct decoder *decoder = calloc(1, sizeof(*decoder));

        if (!decoder) {
                fd_close(broker);
                return -ENOMEM;
        }
        decoder->node.ops = &ops;
        decoder->node.config.device_type = MEDIA_TYPE_VIDEO;
        decoder->node.config.device_caps = V4L2_CAP_VIDEO_M2M_MPLANE | V4L2_CAP_STREAMING | V4L2_CAP_EXT_PIX_FORMAT;
        memcpy(decoder->node.config.card, card, strnlen(card, sizeof(decoder->node.config.card)));
        decoder->broker = broker;
        decoder->spare = codec_broker_spawn(broker);
        decoder->codecs = codecs;
        *out = &decoder->node;
        return 0;
}
