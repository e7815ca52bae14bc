/* SPDX-License-Identifier: BSD-2-Clause */

/* Sending and receiving messages as a hostile or careless peer may: any header, size, number of descriptors, or a part
 * of a message. Nothing is checked against the protocol's table on the way out. Descriptors go with the first byte,
 * and stay the caller's. Sockets are used with MSG_DONTWAIT and polled up to the deadline; an interrupt by the user
 * ends each wait as a time-out does. */

#include "conform/common/wire.h"
#include "base/fd.h"
#include "channel/rights.h"
#include "conform/common/process.h"
#include "program/signals.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

union control {
        struct cmsghdr align;
        char room[CMSG_SPACE(ORIEL_MAX_FDS * sizeof(int))];
};

void wire_init(struct message *message, uint32_t request, const void *payload, uint32_t size)
{
        message_init(message, request, 0);
        memset(&message->payload, 0, sizeof(message->payload));
        if (size > 0)
                message_set(message, payload, size);
}

void wire_add_fd(struct message *message, int fd)
{
        if (message->n_fds < ORIEL_MAX_FDS)
                message->fds[message->n_fds++] = fd;
}

void wire_init_least(struct message *message, const struct oriel_message_row *row, int fd)
{
        wire_init(message, row->id, NULL, 0);
        message->header.size = row->size.min;
        for (unsigned i = 0; i < row->fds.min; i++)
                wire_add_fd(message, fd);
        if (row->payload == ORIEL_PAYLOAD_VRING_FD || row->payload == ORIEL_PAYLOAD_VRING_AREA)
                message->payload.u64 = ORIEL_VRING_FD_NONE;
}

static int send_bytes(int socket, const uint8_t *data, size_t size, const struct message *fds, int64_t deadline)
{
        for (size_t sent = 0; sent < size;) {
                struct iovec iov = {(uint8_t *)data + sent, size - sent};
                struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
                union control control;

                if (sent == 0 && fds && fds->n_fds > 0)
                        rights_attach(&msg, &control, fds->fds, fds->n_fds);

                ssize_t n = sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

                if (n < 0 && errno != EAGAIN && errno != EINTR)
                        return errno == ECONNRESET ? -EPIPE : -errno;
                if (n < 0) {
                        struct pollfd p = {.fd = socket, .events = POLLOUT};

                        if (poll(&p, 1, poll_timeout(deadline)) == 0 || signals_noted())
                                return -ETIMEDOUT;
                        continue;
                }
                sent += (size_t)n;
        }
        return 0;
}

int wire_send_part(int socket, const struct message *message, size_t from, size_t to, int timeout_ms)
{
        uint8_t bytes[WIRE_HEADER + ORIEL_MAX_PAYLOAD];

        memcpy(bytes, &message->header, WIRE_HEADER);
        memcpy(bytes + WIRE_HEADER, &message->payload, ORIEL_MAX_PAYLOAD);
        if (to > sizeof(bytes))
                to = sizeof(bytes);
        return send_bytes(socket, bytes + from, to - from, from == 0 ? message : NULL, now_ms() + timeout_ms);
}

int wire_send(int socket, const struct message *message, int timeout_ms)
{
        return wire_send_part(socket, message, 0, WIRE_HEADER + message->header.size, timeout_ms);
}

int wire_send_bytes(int socket, const void *data, size_t size, int timeout_ms)
{
        return send_bytes(socket, data, size, NULL, now_ms() + timeout_ms);
}

enum answer wire_receive(struct channel *channel, int timeout_ms, struct complaint *complaint)
{
        int64_t deadline = now_ms() + timeout_ms;

        for (;;) {
                int r = channel_receive(channel, UINT32_MAX, complaint);

                if (r == 1)
                        return DONE;
                if (r < 0)
                        return r == -EPROTO ? BROKEN : CLOSED;

                struct pollfd p = {.fd = channel->fd, .events = POLLIN};

                if (poll(&p, 1, poll_timeout(deadline)) == 0 || signals_noted())
                        return SILENT;
        }
}

bool wire_is_acknowledgement(const struct message *reply, uint32_t id, struct complaint *complaint)
{
        const struct oriel_wire_header *header = &reply->header;

        if (header->request == id && header->flags & ORIEL_FLAG_REPLY && header->size == sizeof(uint64_t))
                return true;
        complain(complaint, "request %u, flags 0x%x, %u bytes of payload", header->request, header->flags,
                 header->size);
        return false;
}

void wire_make_noise(void *out, size_t size)
{
        uint32_t state = 0x6f7269e1;

        for (size_t i = 0; i < size; i++) {
                state = state * 1664525 + 1013904223;
                ((uint8_t *)out)[i] = (uint8_t)(state >> 24);
        }
}

int wire_memfd(uint64_t size)
{
        int fd = memfd_create("conform", MFD_CLOEXEC);

        if (fd < 0)
                return -errno;
        if (ftruncate(fd, (off_t)size) < 0)
                fd = fd_close(fd);
        return fd < 0 ? -ENOMEM : fd;
}
