/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_DECODER_STATE_H
#define DEVICES_MEDIA_DECODER_STATE_H

#include "devices/media/core/control.h"
#include "devices/media/core/queue.h"
#include "devices/media/decoder/decoder.h"
#include "devices/media/decoder/protocol.h"

/* Shared by the files of the decoder. All with the media's lock held. */

/* Limit of streams that have had buffers: each may have a process of its own. */
enum { STREAMS_MAX = 16 };

struct coded_format {
        enum codec codec;
        uint32_t fourcc;
        const char *name;
};

struct decoder {
        struct media_node node;
        int broker;
        int spare; /* a process for the next stream, as its libraries take a while to load; -1: there is none */
        unsigned codecs, n_streams; /* streams that count for STREAMS_MAX */
};

/* A session. */
struct decoder_stream {
        struct decoder *decoder;
        struct node_session *session;
        bool placed;                  /* counts for STREAMS_MAX */
        struct media_queue queues[2]; /* enum stream_queue */
        struct media_controls controls;

        const struct coded_format *coded;
        uint32_t coded_size; /* of an OUTPUT buffer */
        uint32_t colorspace, ycbcr_enc, quantization, xfer_func;
        struct codec_picture picture; /* in CAPTURE buffers: as OUTPUT's format says, and then as the bitstream does */

        int codec_fd; /* of the process that decodes; -1: there is none */
        pthread_t thread;
        bool ending;                   /* the thread is to end, without an error */
        uint64_t formats, flush, take; /* counts: protocol.h */
        uint64_t generation;           /* of the CAPTURE buffers that the codec knows */
        uint32_t known, given;         /* masks of these buffers */
        bool consuming;                /* the first queued OUTPUT buffer is being decoded */
        bool draining, drain_asked;
        bool drained, changing; /* CAPTURE stops until the driver goes on */
        bool last_due;          /* an empty buffer with V4L2_BUF_FLAG_LAST is due */
        uint32_t n_consumed, n_captured;
};

enum stream_queue { QUEUE_CODED, QUEUE_CAPTURE };

/* stream.c */
void stream_init(struct decoder_stream *stream);
/* Does all that is possible now. Called after each ioctl and each answer. */
void stream_go_on(struct decoder_stream *stream);
void stream_drain(struct decoder_stream *stream);
void stream_resume(struct decoder_stream *stream);
/* Ends the process, if there is one. Releases the lock meanwhile. */
void stream_stop_codec(struct decoder_stream *stream);

/* ioctls.c. NULL: there are no more. */
const struct coded_format *coded_format(const struct decoder *decoder, uint32_t index);
void coded_format_init(struct decoder_stream *stream);
/* An ioctl that is neither the queues' nor the controls'. */
int stream_own_ioctl(struct decoder_stream *stream, struct media_call *call);

#endif
