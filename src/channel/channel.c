/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The messages of vhost-user over a Unix socket, each with its header, payload and file descriptors.  A message may
 * come in pieces; it is handed on when it is whole.
 */
#include "channel/channel.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "channel/rights.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

USES_SYSCALLS(SYSCALL(recvmsg), SYSCALL(sendmsg), SYSCALL(getsockopt), SYSCALL(poll));

#define HEADER sizeof(struct oriel_wire_header)

/* Ancillary data that a peer can have the kernel add to each message by options of the socket that it passed to us: a
 * pidfd, which has to be closed, credentials and a security label. */
#ifndef SCM_PIDFD
#define SCM_PIDFD 0x04
#endif
#define UNASKED (CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(256))

union control {
        struct cmsghdr align;
        char room[CMSG_SPACE(ORIEL_MAX_FDS * sizeof(int)) + UNASKED];
};

int channel_check_socket(int fd)
{
        int type;

        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &(socklen_t){sizeof(type)}) < 0)
                return -errno;
        return type == SOCK_STREAM ? 0 : -EPROTOTYPE;
}

int channel_init(struct channel *channel, int fd)
{
        channel->fd = fd;
        channel->have = 0;
        channel->tolerated = 0;
        message_init(&channel->in, 0, 0);
        return fd_set_nonblocking(fd, 1);
}

void channel_close(struct channel *channel)
{
        channel_done(channel);
        channel->fd = fd_close(channel->fd);
}

void channel_done(struct channel *channel)
{
        message_close_fds(&channel->in);
        channel->have = 0;
        channel->in.lost_fds = false;
}

/* Stores every received fd where it will be closed, whatever is wrong with the message. The kernel closes fds for which
 * the control buffer or this process's descriptor table has no room, and sets MSG_CTRUNC. */
static int channel_take_fds(struct channel *channel, struct msghdr *msg, size_t had, struct complaint *complaint)
{
        unsigned came = 0;
        bool lost = false;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
                if (c->cmsg_level != SOL_SOCKET || (c->cmsg_type != SCM_RIGHTS && c->cmsg_type != SCM_PIDFD))
                        continue;

                size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                int fds[sizeof(union control) / sizeof(int)];

                memcpy(fds, CMSG_DATA(c), n * sizeof(int));
                if (c->cmsg_type == SCM_PIDFD) {
                        fd_close_all(fds, n);
                        continue;
                }
                came += (unsigned)n;
                if (had > 0 || channel->in.n_fds + n > ORIEL_MAX_FDS) {
                        lost |= had == 0;
                        fd_close_all(fds, n);
                        continue;
                }
                memcpy(channel->in.fds + channel->in.n_fds, fds, n * sizeof(int));
                channel->in.n_fds += (unsigned)n;
        }
        if (lost) {
                complain(complaint, "more than %d fds came in one message", ORIEL_MAX_FDS);
                return -EPROTO;
        }
        /* The control buffer had room for more, so this process has no descriptor left. The message is handed on
         * without fds, and its request fails for want of them; the connection goes on. */
        if (msg->msg_flags & MSG_CTRUNC) {
                message_close_fds(&channel->in);
                channel->in.lost_fds = true;
        }
        if (came > 0 && had > 0) {
                complain(complaint, "request %u: fds came after the first byte of the message",
                         had >= HEADER ? channel->in.header.request : 0);
                return -EPROTO;
        }
        return 0;
}

/* The only caller of recvmsg(). Reads at most @n bytes behind those already received. */
static ssize_t channel_receive_some(struct channel *channel, size_t n, struct complaint *complaint)
{
        size_t had = channel->have, of_header = had < HEADER ? HEADER - had : 0;
        struct iovec iov[2] = {
                {(uint8_t *)&channel->in.header + had, of_header < n ? of_header : n},
                {channel->in.payload.bytes + (had > HEADER ? had - HEADER : 0), n > of_header ? n - of_header : 0},
        };
        union control control;
        struct msghdr msg = {
                .msg_iov = of_header ? iov : iov + 1,
                .msg_iovlen = of_header && iov[1].iov_len ? 2 : 1,
                .msg_control = control.room,
                .msg_controllen = sizeof(control.room),
        };
        ssize_t got;

        do
                got = recvmsg(channel->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        while (got < 0 && errno == EINTR);
        if (got < 0) {
                int error = errno;

                if (error != EAGAIN)
                        complain(complaint, "recvmsg: %s", strerror(error));
                return -error;
        }

        int r = channel_take_fds(channel, &msg, had, complaint);

        channel->have += (size_t)got;
        return r < 0 ? r : got;
}

static int end_of_stream(const struct channel *channel, struct complaint *complaint)
{
        if (channel->have == 0) {
                complain(complaint, "the peer has closed the connection");
                return -ENOTCONN;
        }
        if (channel->have < HEADER)
                complain(complaint, "the peer has closed the connection inside a message's header");
        else
                complain(complaint, "request %u: the peer has closed the connection after %zu of %u payload bytes",
                         channel->in.header.request, channel->have - HEADER, channel->in.header.size);
        return -EPROTO;
}

/* The length of the message as far as it is known: that of the header until the header is complete. -EPROTO. */
static ssize_t message_length(const struct channel *channel, struct complaint *complaint)
{
        if (channel->have < HEADER)
                return HEADER;

        int r = header_check(&channel->in.header, complaint);

        return r < 0 ? r : (ssize_t)(HEADER + channel->in.header.size);
}

int channel_receive(struct channel *channel, uint32_t expected, struct complaint *complaint)
{
        for (;;) {
                ssize_t length = message_length(channel, complaint);

                if (length < 0)
                        return (int)length;
                if (channel->have > (size_t)length) {
                        complain(complaint, "request %u: payload size %u where %u is due", channel->in.header.request,
                                 channel->in.header.size, expected);
                        return -EPROTO;
                }
                if (channel->have >= HEADER && channel->have == (size_t)length)
                        return 1;

                size_t want = (size_t)length - channel->have;

                if (channel->have < HEADER && expected <= ORIEL_MAX_PAYLOAD)
                        want += expected;

                ssize_t got = channel_receive_some(channel, want, complaint);

                if (got == -EAGAIN)
                        return 0;
                if (got == -ECONNRESET)
                        got = 0;
                if (got == 0)
                        return end_of_stream(channel, complaint);
                if (got < 0)
                        return (int)got;
        }
}

int channel_wait(const struct channel *channel, int64_t deadline_ms)
{
        struct pollfd p = {.fd = channel->fd, .events = POLLIN};

        for (;;) {
                int r = poll(&p, 1, poll_timeout(deadline_ms));

                if (r > 0)
                        return 0;
                if (r == 0)
                        return -ETIMEDOUT;
                if (errno != EINTR)
                        return -errno;
        }
}

static ssize_t channel_send_some(struct channel *channel, const struct message *message, size_t sent)
{
        size_t of_header = sent < HEADER ? HEADER - sent : 0;
        size_t of_payload = sent > HEADER ? sent - HEADER : 0;
        struct iovec iov[2] = {
                {(uint8_t *)&message->header + sent, of_header},
                {(uint8_t *)message->payload.bytes + of_payload, message->header.size - of_payload},
        };
        struct msghdr msg = {.msg_iov = of_header ? iov : iov + 1, .msg_iovlen = of_header ? 2 : 1};
        union control control;
        ssize_t n;

        if (sent == 0 && message->n_fds > 0)
                rights_attach(&msg, &control, message->fds, message->n_fds);
        do
                n = sendmsg(channel->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);

        return n < 0 ? -errno : n;
}

static int channel_wait_writable(const struct channel *channel, int64_t deadline_ms)
{
        struct pollfd p = {.fd = channel->fd, .events = POLLOUT};
        int r;

        do
                r = poll(&p, 1, poll_timeout(deadline_ms));
        while (r < 0 && errno == EINTR);

        return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

bool channel_is_lost(int error)
{
        return error == -ENOTCONN || error == -EPROTO || error == -ETIMEDOUT;
}

/* After a part of a message was sent, only its rest may follow: the channel is lost. */
static int channel_send_error(size_t sent, int error)
{
        bool gone = error == -EPIPE || error == -ECONNRESET;

        return gone || (sent > 0 && !channel_is_lost(error)) ? -ENOTCONN : error;
}

int channel_send(struct channel *channel, const struct message *message, int64_t deadline_ms)
{
        size_t length = HEADER + message->header.size;

        for (size_t sent = 0; sent < length;) {
                ssize_t n = channel_send_some(channel, message, sent);

                if (n == -EAGAIN && deadline_ms == 0 && sent == 0)
                        return -EAGAIN;
                if (n == -EAGAIN) {
                        int r = channel_wait_writable(channel, deadline_ms);

                        if (r < 0)
                                return channel_send_error(sent, r);
                        continue;
                }
                if (n < 0)
                        return channel_send_error(sent, (int)n);
                sent += (size_t)n;
        }
        return 0;
}
