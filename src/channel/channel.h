/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CHANNEL_CHANNEL_H
#define CHANNEL_CHANNEL_H

#include "base/clock.h"
#include "protocol/message.h"

#include <stdint.h>

/* Whole messages with their fds over a Unix stream socket. Receiving and sending are independent: one thread may do one
 * while another does the other; two senders or two receivers need a lock of the caller's. */
struct channel {
        int fd;
        size_t have;        /* bytes of @in received so far */
        uint64_t tolerated; /* see message_tolerate() */
        struct message in;
};

/* 0 if @fd is a stream socket; -ENOTSOCK, or -EPROTOTYPE: another type of socket. */
int channel_check_socket(int fd);
/* Takes @fd. It becomes non-blocking; all waiting is done with poll(). */
int channel_init(struct channel *channel, int fd);
/* Closes the socket, and the fds of a message that was not taken. */
void channel_close(struct channel *channel);

/* Never blocks. 1: channel->in is a whole message; it owns its fds until they are taken, or closed by channel_done().
 * 0: the message is not complete yet. -ENOTCONN: the peer has closed between two messages. -EPROTO with @complaint: the
 * peer broke the framing (end inside a message, bad header, fds elsewhere than at a message's first byte, too many
 * fds). Other errors: recvmsg's, named in @complaint. After an error the channel can't be used any more.
 *
 * @expected is the payload size of the next message, if that is known (a reply): the payload is then read along with
 * the header. A shorter message would break the rules anyway, so reading past its end loses nothing. */
int channel_receive(struct channel *channel, uint32_t expected, struct complaint *complaint);
/* Closes the remaining fds of the message in channel->in, once it has been handled. */
void channel_done(struct channel *channel);

/* Sends all of @message, whose fds stay the caller's. @deadline_ms is on the clock of now_ms(); 0: do not wait at all.
 * -ENOTCONN: the peer is gone. -EAGAIN with nothing sent, -ETIMEDOUT after a part or the deadline: the peer does not
 * read. Other errors are sendmsg's about the message (-EBADF: an fd is not open, -ETOOMANYREFS: too many fds in
 * flight): nothing was sent, and the channel remains usable. */
int channel_send(struct channel *channel, const struct message *message, int64_t deadline_ms);

/* Whether the channel can't be used any more after this error of channel_send(). */
bool channel_is_lost(int error);

/* Waits until there is something to read. 0, -ETIMEDOUT, or poll's error. @deadline_ms -1: no deadline. */
int channel_wait(const struct channel *channel, int64_t deadline_ms);

#endif
