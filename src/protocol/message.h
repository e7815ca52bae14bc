/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROTOCOL_MESSAGE_H
#define PROTOCOL_MESSAGE_H

#include "base/log.h"

#include <oriel/protocol.h>

/* One message with the fds that came or go with it. Who holds the message owns the fds; a slot that was taken is -1. */
struct message {
        struct oriel_wire_header header;
        unsigned n_fds;
        bool lost_fds; /* it came with descriptors that this process had no room for: n_fds is 0 */
        int fds[ORIEL_MAX_FDS];
        union {
                uint8_t bytes[ORIEL_MAX_PAYLOAD];
                uint64_t u64;
                struct vhost_vring_state vring_state;
                struct vhost_vring_addr vring_addr;
                struct oriel_wire_memory memory;
                struct oriel_wire_mem_reg mem_reg;
                struct oriel_wire_log log;
                struct vhost_iotlb_msg iotlb;
                struct oriel_wire_config config;
                struct oriel_wire_vring_area vring_area;
                struct oriel_wire_inflight inflight;
                struct oriel_wire_shared_object shared_object;
                struct oriel_wire_device_state device_state;
                struct oriel_wire_mmap mmap;
                struct oriel_wire_shmem_config shmem_config;
        } payload;
};

/* What both ends have agreed on so far; each gate of a row is a question to it. */
struct agreement {
        bool offers_protocol_features; /* the back-end offers VHOST_USER_F_PROTOCOL_FEATURES */
        uint64_t protocol_features;    /* negotiated, in the standard's numbering */
        uint64_t virtio_features;      /* acknowledged by SET_FEATURES */
        bool postcopy;                 /* from POSTCOPY_LISTEN to POSTCOPY_END */
};

/* Why a message was turned down, naming message and field. */
struct complaint {
        char text[192];
};

void complain(struct complaint *complaint, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline bool agreed(const struct agreement *agreement, unsigned protocol_feature)
{
        return agreement->protocol_features & ORIEL_FEATURE(protocol_feature);
}

/* A message without payload or fds. The payload is not cleared. */
void message_init(struct message *message, uint32_t request, uint32_t flags);
void message_set(struct message *message, const void *payload, uint32_t size);
void message_set_u64(struct message *message, uint64_t value);
/* Copied out, what is missing zero. */
void message_get(const struct message *message, void *out, size_t size);
/* The fd leaves the message; -1 if there is none. */
int message_take_fd(struct message *message, unsigned index);
void message_close_fds(struct message *message);

/* Whether the header can begin a message at all: -EPROTO if the stream makes no sense from here on. */
int header_check(const struct oriel_wire_header *header, struct complaint *complaint);

/* A request against its whole row, before any handler. 0 and the row; 1: a rule is broken, as @complaint says, in a way
 * that harms nobody; -EINVAL: the request is to fail, -EPROTO: the connection is. -EMFILE: the request is to fail for
 * want of descriptors, which is not the peer's fault. */
int message_check_request(enum oriel_direction direction, const struct message *message,
                          const struct agreement *agreement, const struct oriel_message_row **row,
                          struct complaint *complaint);
/* Go on after a 1 of these two, and say so once: @said is the channel's, 0 at first, @budget the connection's. */
void message_tolerate(const struct oriel_message_row *row, const struct complaint *complaint, uint64_t *said,
                      struct log_budget *budget, const struct oriel_log *log);
/* A reply against the row of its request. 0, 1 and -EMFILE as above, -EPROTO. */
int message_check_reply(const struct oriel_message_row *row, const struct message *reply,
                        const struct agreement *agreement, struct complaint *complaint);

/* The message as a line of the log at its lowest level: "from the front-end: SET_VRING_NUM need_reply: index 0 num
 * 256".
 * @whence says who to or from; @direction whose request it is or answers. */
void message_log(const struct oriel_log *log, const char *whence, enum oriel_direction direction,
                 const struct message *message);

/* Whether @row is answered with its reply payload, and whether @header asks for an acknowledgement that it gets. */
bool row_replies(const struct oriel_message_row *row, const struct agreement *agreement);
bool row_acknowledges(const struct oriel_message_row *row, const struct oriel_wire_header *header,
                      const struct agreement *agreement);

#endif
