/* SPDX-License-Identifier: BSD-2-Clause */

/* One direction of a traced channel. stream_pump() receives at most to the end of one message, sends what it has, and
 * records the message when all of it was sent. Each recvmsg() asks for no byte past the message, as descriptors of the
 * next would come along; descriptors are sent with the byte that they came with, then described for the record and
 * closed. Data that is not vhost-user makes the stream raw: bytes pass as they come.
 *
 * Sockets are non-blocking by MSG_DONTWAIT alone, since their flags are shared with the peers. A stream owns the
 * descriptors in its cargo, and not its two sockets. One thread, the relay's. */

#include "trace/stream.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "channel/rights.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Ancillary data that a peer can have the kernel add to each message by options of a socket: see channel.c. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif
#define UNASKED (CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(256))

union control {
        struct cmsghdr align;
        char room[CMSG_SPACE(STREAM_MAX_FDS * sizeof(int)) + UNASKED];
};

static void header_of(const struct trace_stream *stream, struct oriel_wire_header *header)
{
        memcpy(header, stream->bytes, sizeof(*header));
}

/* ---- recording ---- */

/* A record with the session, channel and time of @stream. NULL for want of memory. */
static struct record *make_record(const struct trace_stream *stream, enum record_kind kind, const void *payload,
                                  uint32_t size)
{
        struct record *record = record_new(kind, payload, size);

        if (!record)
                return NULL;
        record->session = stream->session;
        record->channel = stream->channel;
        record->from = stream->side;
        record->at_ns = now_ns();
        return record;
}

static void forget_fds(struct trace_stream *stream)
{
        for (unsigned i = 0; i < stream->n_fds; i++)
                description_clear(&stream->fds[i]);
        free(steal(stream->fds));
        stream->n_fds = 0;
}

/* Records the message: all of it, or the part that had come when the stream ended. */
static void record_message(struct trace_stream *stream)
{
        size_t of_header = stream->have < STREAM_HEADER ? stream->have : STREAM_HEADER;
        struct record *record =
                make_record(stream, RECORD_MESSAGE, stream->bytes + of_header, (uint32_t)(stream->have - of_header));

        if (record) {
                memcpy(&record->header, stream->bytes, of_header);
                record->header_bytes = (uint32_t)of_header;
                record->at_ns = stream->at_ns;
                record->note = stream->note;
                record->n_fds = stream->n_fds;
                record->fds = steal(stream->fds);
                stream->n_fds = 0;
        }
        record_log_put(stream->log, record);
}

static void begin_message(struct trace_stream *stream)
{
        forget_fds(stream);
        stream->have = stream->sent = 0;
        stream->note.text[0] = '\0';
}

static void stream_note(struct trace_stream *stream, const char *text)
{
        if (!stream->note.text[0])
                complain(&stream->note, "%s", text);
}

/* ---- receiving ---- */

static void stream_take_fds(struct trace_stream *stream, struct msghdr *msg)
{
        struct cargo *cargo = &stream->cargo[stream->n_cargo];

        cargo->at = stream->have;
        cargo->n = 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
                if (c->cmsg_level != SOL_SOCKET || (c->cmsg_type != SCM_RIGHTS && c->cmsg_type != SCM_PIDFD))
                        continue;

                size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                int fds[sizeof(union control) / sizeof(int)];

                memcpy(fds, CMSG_DATA(c), n * sizeof(int));
                if (c->cmsg_type == SCM_PIDFD || cargo->n + n > STREAM_MAX_FDS) {
                        fd_close_all(fds, n);
                        continue;
                }
                memcpy(cargo->fds + cargo->n, fds, n * sizeof(int));
                cargo->n += (unsigned)n;
        }
        if (msg->msg_flags & MSG_CTRUNC)
                stream_note(stream, "fds were lost: the tracer has no descriptor left");
        if (cargo->n == 0)
                return;
        if (stream->have > 0 && !stream->raw)
                stream_note(stream, "fds came after the first byte of the message");
        stream->n_cargo++;
}

/* The end of the message as far as it is known: that of the header until the header is complete. */
static size_t stream_goal(const struct trace_stream *stream)
{
        struct oriel_wire_header header;

        if (stream->raw)
                return sizeof(stream->bytes);
        if (stream->have < STREAM_HEADER)
                return STREAM_HEADER;
        header_of(stream, &header);
        return STREAM_HEADER + header.size;
}

static bool stream_is_whole(const struct trace_stream *stream)
{
        return stream->have >= STREAM_HEADER && stream->have == stream_goal(stream);
}

/* Never reads past the end of the message: fds of the next one would come along, and could not be told apart. 1: bytes
 * were read, 0: none are there, or a negative errno, -ENODATA at the end. */
static int stream_receive_some(struct trace_stream *stream)
{
        struct iovec iov = {stream->bytes + stream->have, stream_goal(stream) - stream->have};
        union control control;
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
        ssize_t got;

        do
                got = recvmsg(stream->from, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        while (got < 0 && errno == EINTR);
        if (got < 0)
                return errno == EAGAIN ? 0 : -errno;
        stream_take_fds(stream, &msg);
        stream->have += (size_t)got;
        return got == 0 ? -ENODATA : 1;
}

static void turn_raw(struct trace_stream *stream, const struct complaint *why)
{
        struct record *record = make_record(stream, RECORD_RAW, stream->bytes, (uint32_t)stream->have);

        if (record)
                record->note = *why;
        record_log_put(stream->log, record);
        stream->raw = true;
}

static void inspect_header(struct trace_stream *stream)
{
        struct oriel_wire_header header;
        struct complaint complaint = {""};

        header_of(stream, &header);
        if (header_check(&header, &complaint) < 0)
                turn_raw(stream, &complaint);
        else if (stream->divert && header.request == ORIEL_FRONTEND_SET_BACKEND_REQ_FD &&
                 !(header.flags & ORIEL_FLAG_REPLY) && stream->n_cargo == 1 && stream->cargo[0].n == 1)
                stream->divert(stream, &stream->cargo[0].fds[0]);
}

/* Reads what the sender has of this message, while it is parsed as messages. */
static void stream_receive_message(struct trace_stream *stream)
{
        int r = 1;

        while (r == 1 && stream->n_cargo < ARRAY_SIZE(stream->cargo) && !(stream->raw && stream->have)) {
                bool had_header = stream->have >= STREAM_HEADER;

                if (stream_is_whole(stream))
                        break;
                r = stream_receive_some(stream);
                if (!stream->raw && !had_header && stream->have >= STREAM_HEADER)
                        inspect_header(stream);
        }
        stream->at_ns = now_ns();
        if (r < 0)
                stream->state = STREAM_ENDING;
}

/* ---- sending ---- */

/* A header with fds may be that of SET_BACKEND_REQ_FD, whose fd must not be passed on unchanged. Raw streams have
 * none. */
static bool is_withheld(const struct trace_stream *stream)
{
        static const struct oriel_wire_header due = {.request = ORIEL_FRONTEND_SET_BACKEND_REQ_FD};
        size_t n = stream->have < sizeof(due.request) ? stream->have : sizeof(due.request);

        return stream->divert && !stream->raw && stream->state == STREAM_OPEN && stream->n_cargo == 1 &&
               stream->have < STREAM_HEADER && memcmp(stream->bytes, &due, n) == 0;
}

/* Closes descriptors that were sent, and keeps their descriptions for the record. */
static void let_go(struct trace_stream *stream)
{
        struct cargo *cargo = &stream->cargo[0];
        struct description *fds = reallocarray(stream->fds, stream->n_fds + cargo->n, sizeof(fds[0]));

        if (fds) {
                for (unsigned i = 0; i < cargo->n; i++)
                        describe_fd(cargo->fds[i], &fds[stream->n_fds + i]);
                stream->fds = fds;
                stream->n_fds += cargo->n;
        }
        fd_close_all(cargo->fds, cargo->n);
        stream->n_cargo--;
        memmove(&stream->cargo[0], &stream->cargo[1], stream->n_cargo * sizeof(stream->cargo[0]));
}

/* Sends one piece: to the end of the received bytes, or to where the next fds belong. */
static ssize_t stream_send_some(struct trace_stream *stream)
{
        struct cargo *next = stream->n_cargo ? &stream->cargo[0] : NULL;
        bool loaded = next && next->at == stream->sent;
        size_t end = stream->have;
        union control control;

        if (next && !loaded)
                end = next->at;
        else if (loaded && stream->n_cargo > 1)
                end = stream->cargo[1].at;

        struct iovec iov = {stream->bytes + stream->sent, end - stream->sent};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        ssize_t n;

        if (loaded)
                rights_attach(&msg, &control, next->fds, next->n);
        do
                n = sendmsg(stream->to, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        stream->sent += (size_t)n;
        stream->total += (uint64_t)n;
        if (loaded)
                let_go(stream);
        return n;
}

static void send_message(struct trace_stream *stream)
{
        stream->blocked = stream->crowded = false;
        while (stream->sent < stream->have && !is_withheld(stream)) {
                ssize_t n = stream_send_some(stream);

                if (n >= 0)
                        continue;
                stream->crowded = n == -ETOOMANYREFS;
                stream->blocked = n == -EAGAIN || stream->crowded;
                if (!stream->blocked)
                        stream_break(stream);
                return;
        }
}

/* ---- the end ---- */

/* Before the message is recorded: its descriptors belong to the record although they were not sent. */
static void drop_cargo(struct trace_stream *stream)
{
        while (stream->n_cargo > 0)
                let_go(stream);
}

static void stream_finish(struct trace_stream *stream, const char *words)
{
        struct record *record;

        if (stream->have > 0 && !stream->raw) {
                stream_note(stream, "the stream ends inside this message");
                record_message(stream);
        }
        record = make_record(stream, RECORD_END, NULL, 0);
        if (record) {
                record->bytes = stream->total;
                complain(&record->note, "%s", words);
        }
        record_log_put(stream->log, record);
        begin_message(stream);
        stream->state = STREAM_CLOSED;
        stream->blocked = stream->crowded = false;
}

void stream_break(struct trace_stream *stream)
{
        if (stream->state == STREAM_CLOSED)
                return;
        shutdown(stream->from, SHUT_RD);
        if (stream->sent < stream->have)
                stream_note(stream, "not passed on to its end: the receiver is gone");
        drop_cargo(stream);
        stream_finish(stream, stream->sent < stream->have ? "the receiver is gone" : "");
}

void stream_close(struct trace_stream *stream)
{
        drop_cargo(stream);
        if (stream->state != STREAM_CLOSED)
                stream_finish(stream, "");
        forget_fds(stream);
}

void stream_pump(struct trace_stream *stream)
{
        if (stream->state == STREAM_OPEN && !stream->blocked)
                stream_receive_message(stream);
        if (stream->state == STREAM_CLOSED)
                return;
        send_message(stream);
        if (stream->state == STREAM_CLOSED || stream->blocked)
                return;
        if (stream->raw)
                begin_message(stream);
        else if (stream_is_whole(stream)) {
                record_message(stream);
                begin_message(stream);
        }
        if (stream->state == STREAM_ENDING) {
                drop_cargo(stream);
                shutdown(stream->to, SHUT_WR);
                stream_finish(stream, "");
        }
}
