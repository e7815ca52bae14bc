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

/* 0 if @fd is what a channel can be made of; -ENOTSOCK, or -EPROTOTYPE: not one of streams. */
int channel_check_socket(int fd);
/* Takes @fd. It becomes non-blocking; all waiting is done with poll(). */
int channel_init(struct channel *channel, int fd);
/* Closes everything that has come and was not taken. */
void channel_close(struct channel *channel);

/* Never blocks. 1: channel->in is a whole message, whose fds are now its own until they are taken or closed by
 * channel_done(). 0: not all is here yet. -ENOTCONN: the peer has closed between two messages. -EPROTO with @complaint:
 * the peer broke the framing (ended inside a message, bad header, fds elsewhere than at a message's first byte, more
 * fds than fit). Other errors: recvmsg's, named in @complaint. After an error the channel is of no more use.
 *
 * @expected is the payload size of the message that must come next, if that is known (a reply): it is then read along
 * with the header. A shorter message breaks the rules anyway, so nothing is lost by reading past its end. */
int channel_receive(struct channel *channel, uint32_t expected, struct complaint *complaint);
/* The message in channel->in has been dealt with: close what is left of its fds. */
void channel_done(struct channel *channel);

/* Send all of @message, whose fds stay the caller's. @deadline_ms is on the clock of now_ms(); 0: do not wait at all.
 * -ENOTCONN: the peer is gone. -EAGAIN with nothing sent, -ETIMEDOUT after a part or the deadline: the peer does not
 * read. Other errors are sendmsg's, of what was to be sent (-EBADF: an fd that is none, -ETOOMANYREFS: too many fds on
 * their way): nothing was sent, and the channel is as before. */
int channel_send(struct channel *channel, const struct message *message, int64_t deadline_ms);

/* Whether an error of channel_send() is the channel's end. */
bool channel_is_lost(int error);

/* Wait until the channel has something to read. 0, -ETIMEDOUT, or poll's error. -1: no deadline. */
int channel_wait(const struct channel *channel, int64_t deadline_ms);

#endif
