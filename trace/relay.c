/* SPDX-License-Identifier: BSD-2-Clause */

/* The loop of one traced session: a pair of sockets and two streams for each channel, polled together. Pair 0 is the
 * main channel and stays until the session ends; SET_BACKEND_REQ_FD adds another (relay_divert()): the back-end gets an
 * end of a new socket pair instead of the front-end's socket. A pair owns its two sockets. A stream that is crowded has
 * no event to wait for, so relay_step() polls with RETRY_MS then. One thread; records go to another through record_log.
 */

#include "trace/relay.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "trace/stream.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_CHANNELS 32 /* the main one, and the back-end channels of a front-end that makes new ones */

/* Time to poll for the next message before sleeping: the next one mostly comes sooner, and a wake-up takes longer than
 * passing a message on. */
#define LINGER_NS (50 * 1000)

/* Interval at which a crowded stream tries again. */
#define RETRY_MS 1

/* One channel: the sockets towards both peers, and a stream each way. */
struct pair {
        int fds[2];                     /* by enum side */
        bool hung_up[2];                /* that peer has closed; data that it sent may still be here */
        struct trace_stream streams[2]; /* by the side that sends */
};

struct relay {
        struct pair *pairs[MAX_CHANNELS];
        unsigned n_pairs;
        unsigned n_channels; /* in all, with closed ones */
        struct record_log *log;
        unsigned session;
};

static enum side relay_other(enum side side)
{
        return side == SIDE_FRONTEND ? SIDE_BACKEND : SIDE_FRONTEND;
}

static bool relay_is_over(const struct pair *pair)
{
        return pair->streams[SIDE_FRONTEND].state == STREAM_CLOSED &&
               pair->streams[SIDE_BACKEND].state == STREAM_CLOSED;
}

static void pair_free(struct pair *pair)
{
        stream_close(&pair->streams[SIDE_FRONTEND]);
        stream_close(&pair->streams[SIDE_BACKEND]);
        fd_close_all(pair->fds, ARRAY_SIZE(pair->fds));
        free(pair);
}

/* Takes both fds. */
static struct pair *add_pair(struct relay *relay, int frontend, int backend)
{
        struct pair *pair = relay->n_pairs < MAX_CHANNELS ? calloc(1, sizeof(*pair)) : NULL;
        int fds[] = {[SIDE_FRONTEND] = frontend, [SIDE_BACKEND] = backend};

        if (!pair) {
                fd_close_all(fds, ARRAY_SIZE(fds));
                return NULL;
        }
        memcpy(pair->fds, fds, sizeof(fds));
        for (enum side side = SIDE_FRONTEND; side <= SIDE_BACKEND; side++) {
                struct trace_stream *stream = &pair->streams[side];

                stream->from = fds[side];
                stream->to = fds[relay_other(side)];
                stream->side = side;
                stream->log = relay->log;
                stream->session = relay->session;
                stream->channel = relay->n_channels;
                stream->owner = relay;
        }
        relay->n_channels++;
        relay->pairs[relay->n_pairs++] = pair;
        return pair;
}

/* ---- the back-end channel ---- */

static int option_of(int fd, int option)
{
        int value = -1;
        socklen_t size = sizeof(value);

        return getsockopt(fd, SOL_SOCKET, option, &value, &size) == 0 ? value : -1;
}

static bool is_connected_stream(int fd)
{
        struct sockaddr_storage peer;
        socklen_t size = sizeof(peer);

        return option_of(fd, SO_DOMAIN) == AF_UNIX && option_of(fd, SO_TYPE) == SOCK_STREAM &&
               getpeername(fd, (struct sockaddr *)&peer, &size) == 0;
}

/* Passes an end of a new socket pair to the back-end, and keeps the front-end's descriptor. */
static void relay_divert(struct trace_stream *stream, int *slot)
{
        struct relay *relay = stream->owner;
        int fds[2];

        if (!is_connected_stream(*slot)) {
                complain(&stream->note, "the fd is no connected Unix stream socket: passed on, not traced");
                return;
        }
        if (relay->n_pairs == MAX_CHANNELS || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
                complain(&stream->note, "the back-end channel is passed on, not traced: no room for it");
                return;
        }
        if (add_pair(relay, *slot, fds[0]))
                *slot = fds[1];
        else
                *slot = fd_close(fds[1]);
}

/* ---- waiting ---- */

static short events_of(const struct pair *pair, enum side side)
{
        return (short)((stream_wants_read(&pair->streams[side]) ? POLLIN : 0) |
                       (stream_wants_write(&pair->streams[relay_other(side)]) ? POLLOUT : 0));
}

/* The descriptor of a peer that has closed is always ready: polled only while there is something to read or write. */
static void relay_fill(const struct pair *pair, struct pollfd *polled)
{
        for (enum side side = SIDE_FRONTEND; side <= SIDE_BACKEND; side++) {
                short events = events_of(pair, side);

                polled[side] = (struct pollfd){.fd = pair->fds[side], .events = events};
                if ((pair->hung_up[side] && !events) || relay_is_over(pair))
                        polled[side].fd = -1;
        }
}

static void relay_handle(struct pair *pair, const struct pollfd *polled)
{
        for (enum side side = SIDE_FRONTEND; side <= SIDE_BACKEND; side++) {
                struct trace_stream *sent = &pair->streams[side], *received = &pair->streams[relay_other(side)];

                if (polled[side].revents & POLLHUP) {
                        pair->hung_up[side] = true;
                        stream_break(received);
                }
                if ((polled[side].revents & POLLOUT) || received->crowded)
                        stream_pump(received);
                if (polled[side].revents & (POLLIN | POLLHUP | POLLERR))
                        stream_pump(sent);
        }
}

static void drop_finished(struct relay *relay)
{
        for (unsigned i = relay->n_pairs; i-- > 1;)
                if (relay_is_over(relay->pairs[i])) {
                        pair_free(relay->pairs[i]);
                        relay->pairs[i] = relay->pairs[--relay->n_pairs];
                }
}

static bool is_crowded(const struct relay *relay)
{
        for (unsigned i = 0; i < relay->n_pairs; i++)
                for (enum side side = SIDE_FRONTEND; side <= SIDE_BACKEND; side++)
                        if (relay->pairs[i]->streams[side].crowded)
                                return true;
        return false;
}

static int wait_for_events(struct pollfd *polled, nfds_t n, int timeout_ms)
{
        int64_t until = now_ns() + LINGER_NS;
        int r;

        do
                r = poll(polled, n, 0);
        while (r == 0 && now_ns() < until);

        return r == 0 ? poll(polled, n, timeout_ms) : r;
}

/* 1: @stop can be read. 0: something was done, or is to be tried again. -ETIMEDOUT: nothing happened. */
static int relay_step(struct relay *relay, int stop, int timeout_ms)
{
        struct pollfd polled[1 + 2 * MAX_CHANNELS] = {{.fd = stop, .events = POLLIN}};
        unsigned n = relay->n_pairs;

        for (unsigned i = 0; i < n; i++)
                relay_fill(relay->pairs[i], &polled[1 + 2 * i]);

        bool crowded = is_crowded(relay);
        int r = wait_for_events(polled, 1 + 2 * n, crowded ? RETRY_MS : timeout_ms);

        if (r < 0)
                return errno == EINTR ? 0 : -errno;
        if (r == 0 && !crowded)
                return -ETIMEDOUT;
        for (unsigned i = 0; i < n; i++)
                relay_handle(relay->pairs[i], &polled[1 + 2 * i]);
        drop_finished(relay);
        return polled[0].revents ? 1 : 0;
}

static void record_session(struct relay *relay, enum record_kind kind)
{
        struct record *record = record_new(kind, NULL, 0);

        if (record) {
                record->session = relay->session;
                record->at_ns = now_ns();
        }
        record_log_put(relay->log, record);
}

int relay_run(int frontend, int backend, int stop, struct record_log *log, unsigned session)
{
        struct relay relay = {.log = log, .session = session};

        record_session(&relay, RECORD_SESSION);

        struct pair *channel = add_pair(&relay, frontend, backend);
        int r = channel ? 0 : -ENOMEM;

        if (channel)
                channel->streams[SIDE_FRONTEND].divert = relay_divert;
        while (r == 0 && !relay_is_over(channel))
                r = relay_step(&relay, stop, -1);
        /* Passes on the rest of the back-end channels. */
        while (r == 0 && relay.n_pairs > 1)
                r = relay_step(&relay, stop, 0);
        for (unsigned i = 0; i < relay.n_pairs; i++)
                pair_free(relay.pairs[i]);
        record_session(&relay, RECORD_SESSION_END);
        return r < 0 && r != -ETIMEDOUT ? r : 0;
}
