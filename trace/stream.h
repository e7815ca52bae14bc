/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_STREAM_H
#define TRACE_STREAM_H

#include "trace/record.h"

/* One direction of one channel: bytes from one socket are sent to the other, each fd with the bytes it came with, and
 * recorded once they were sent. It holds at most one message; while that can't be sent, nothing more is read, so that
 * the sender meets the receiver's back-pressure. Nothing here waits, and no flag of a socket is changed: a peer may
 * share it. */

#define STREAM_HEADER  sizeof(struct oriel_wire_header)
#define STREAM_MAX_FDS 253 /* the most that one sendmsg() can pass: the kernel's SCM_MAX_FD */

/* Fds, and the position of the byte that they came with. */
struct cargo {
        size_t at; /* in stream->bytes */
        unsigned n;
        int fds[STREAM_MAX_FDS];
};

enum stream_state {
        STREAM_OPEN,
        STREAM_ENDING, /* nothing more is received; the rest has to be sent */
        STREAM_CLOSED,
};

struct trace_stream {
        int from, to; /* borrowed */
        enum stream_state state;
        bool blocked; /* the receiver has no room */
        bool crowded; /* blocked by the limit on fds in flight; no event tells when that is over */
        bool raw;     /* not vhost-user: not divided into messages */

        /* The message under way, or in a raw stream any piece of data. */
        size_t have; /* bytes that came */
        size_t sent; /* bytes of it that were sent */
        uint8_t bytes[STREAM_HEADER + ORIEL_MAX_PAYLOAD];
        struct cargo cargo[2];
        unsigned n_cargo;
        int64_t at_ns;
        struct complaint note;
        struct description *fds; /* of those that were sent */
        unsigned n_fds;

        /* Members of its records. */
        struct record_log *log;
        unsigned session;
        unsigned channel;
        enum side side;
        uint64_t total; /* bytes passed on */

        /* A descriptor of SET_BACKEND_REQ_FD is about to be sent: replaces the one in @slot, or leaves it. NULL: not
         * needed. */
        void (*divert)(struct trace_stream *stream, int *slot);
        void *owner;
};

/* Receives and sends what is possible, at most to the end of a message. */
void stream_pump(struct trace_stream *stream);
/* The receiver has closed: nothing more is read. */
void stream_break(struct trace_stream *stream);
void stream_close(struct trace_stream *stream);

static inline bool stream_wants_read(const struct trace_stream *stream)
{
        return stream->state == STREAM_OPEN && !stream->blocked;
}

static inline bool stream_wants_write(const struct trace_stream *stream)
{
        return stream->blocked && !stream->crowded;
}

#endif
