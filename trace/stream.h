/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TRACE_STREAM_H
#define TRACE_STREAM_H

#include "trace/record.h"

/* One direction of one channel: what comes from one socket goes to the other, byte for byte, each fd with the bytes it
 * came with, and is recorded once it is gone. It holds at most one message; while that is not taken, nothing more is
 * read, so that the sender meets the receiver's back-pressure. Nothing here waits, and no flag of a socket is changed:
 * a peer may share it. */

#define STREAM_HEADER  sizeof(struct oriel_wire_header)
#define STREAM_MAX_FDS 253 /* what the kernel passes along with one sendmsg: SCM_MAX_FD */

/* Fds and the first byte of what they came with. */
struct cargo {
        size_t at; /* in stream->bytes */
        unsigned n;
        int fds[STREAM_MAX_FDS];
};

enum stream_state {
        STREAM_OPEN,
        STREAM_ENDING, /* no more comes; what is held has to go out */
        STREAM_CLOSED,
};

struct stream {
        int from, to; /* borrowed */
        enum stream_state state;
        bool blocked; /* the receiver has no room */
        bool crowded; /* blocked because too many fds are on their way; no event tells when that is over */
        bool raw;     /* not vhost-user: no messages are looked for */

        /* The message under way, or in a raw stream any piece of it. */
        size_t have; /* bytes that came */
        size_t sent; /* bytes of it that are gone again */
        uint8_t bytes[STREAM_HEADER + ORIEL_MAX_PAYLOAD];
        struct cargo cargo[2];
        unsigned n_cargo;
        int64_t at_ns;
        struct complaint note;
        struct description *fds; /* of those that are gone */
        unsigned n_fds;

        /* How its records begin. */
        struct record_log *log;
        unsigned session;
        unsigned channel;
        enum side side;
        uint64_t total; /* bytes passed on */

        /* SET_BACKEND_REQ_FD is on its way: put another fd in @slot, or leave it. NULL: nobody asks. */
        void (*divert)(struct stream *stream, int *slot);
        void *owner;
};

/* Pass on what is there, at most to the end of a message. */
void stream_pump(struct stream *stream);
/* The receiver is gone altogether: nothing more is read. */
void stream_break(struct stream *stream);
void stream_close(struct stream *stream);

static inline bool stream_wants_read(const struct stream *stream)
{
        return stream->state == STREAM_OPEN && !stream->blocked;
}

static inline bool stream_wants_write(const struct stream *stream)
{
        return stream->blocked && !stream->crowded;
}

#endif
