/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFORM_COMMON_WIRE_H
#define CONFORM_COMMON_WIRE_H

#include "channel/channel.h"
#include "conform/common/suite.h"

/* Messages as they are on a socket, whatever any table says of them. */

#define WIRE_HEADER sizeof(struct oriel_wire_header)

/* A request with @payload. Descriptors are added with wire_add_fd(), and stay the caller's. */
void wire_init(struct message *message, uint32_t request, const void *payload, uint32_t size);
void wire_add_fd(struct message *message, int fd);

/* The bytes [@from, @to) of @message; its descriptors go with the first byte. The header may lie about the size.
 * 0, -EPIPE: the peer is gone, -ETIMEDOUT: it does not read. */
int wire_send_part(int socket, const struct message *message, size_t from, size_t to, int timeout_ms);
int wire_send(int socket, const struct message *message, int timeout_ms);

/* Bytes without descriptors. */
int wire_send_bytes(int socket, const void *data, size_t size, int timeout_ms);

/* The next whole message, in channel->in until channel_done(). DONE, CLOSED, SILENT or BROKEN (of which @complaint says
 * more). */
enum answer wire_receive(struct channel *channel, int timeout_ms, struct complaint *complaint);

/* For an acknowledgement of request @id, that no row knows of. */
bool wire_is_acknowledgement(const struct message *reply, uint32_t id, struct complaint *complaint);

/* A request that its row accepts: the least size, the least descriptors (each @fd), contents that agree with
 * themselves. */
void wire_init_least(struct message *message, const struct oriel_message_row *row, int fd);

/* The same bytes each time, which mean nothing. */
void wire_make_noise(void *out, size_t size);

/* A memfd of @size bytes, or a negative errno. */
int wire_memfd(uint64_t size);

#endif
