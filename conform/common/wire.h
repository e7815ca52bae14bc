/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CONFORM_COMMON_WIRE_H
#define CONFORM_COMMON_WIRE_H

#include "channel/channel.h"
#include "conform/common/suite.h"

/* Raw messages on a socket, without a check against the table. */

#define WIRE_HEADER sizeof(struct oriel_wire_header)

/* A request with @payload. Descriptors are added with wire_add_fd(), and stay the caller's. */
void wire_init(struct message *message, uint32_t request, const void *payload, uint32_t size);
void wire_add_fd(struct message *message, int fd);

/* Sends the bytes [@from, @to) of @message; its descriptors go with the first byte. The header's size may be wrong. 0,
 * -EPIPE: the peer is gone, -ETIMEDOUT: it does not read. */
int wire_send_part(int socket, const struct message *message, size_t from, size_t to, int timeout_ms);
int wire_send(int socket, const struct message *message, int timeout_ms);

/* Bytes without descriptors. */
int wire_send_bytes(int socket, const void *data, size_t size, int timeout_ms);

/* Receives the next whole message, in channel->in until channel_done(). DONE, CLOSED, SILENT or BROKEN (with details in
 * @complaint). */
enum answer wire_receive(struct channel *channel, int timeout_ms, struct complaint *complaint);

/* Checks an acknowledgement of request @id, which has no row. */
bool wire_is_acknowledgement(const struct message *reply, uint32_t id, struct complaint *complaint);

/* A request that its row accepts: the least size, the fewest descriptors (each @fd), consistent contents. */
void wire_init_least(struct message *message, const struct oriel_message_row *row, int fd);

/* Fills @out with bytes that are the same each time and have no meaning. */
void wire_make_noise(void *out, size_t size);

/* A memfd of @size bytes, or a negative errno. */
int wire_memfd(uint64_t size);

#endif
