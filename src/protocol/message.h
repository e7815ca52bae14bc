/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROTOCOL_MESSAGE_H
#define PROTOCOL_MESSAGE_H

#include "base/log.h"

#include <oriel/protocol.h>

/* A message with the fds that came or go with it. The holder of the message owns the fds; a slot that was taken is
 * -1. */
struct message {
        struct oriel_wire_header header;
        unsigned n_fds;
        bool lost_fds; /* the kernel dropped its descriptors because this process had no room: n_fds is 0 */
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

/* The features that both ends have negotiated so far; the gate of a row is checked against it. */
struct agreement {
        bool offers_protocol_features; /* the back-end offers VHOST_USER_F_PROTOCOL_FEATURES */
        uint64_t protocol_features;    /* negotiated, in the standard's numbering */
        uint64_t virtio_features;      /* acknowledged by SET_FEATURES */
        bool postcopy;                 /* from POSTCOPY_LISTEN to POSTCOPY_END */
};

/* Why a message was refused, with the names of message and field. */
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
/* Copies the payload out; bytes that are missing are zero. */
void message_get(const struct message *message, void *out, size_t size);
/* Moves the fd out of the message; -1 if there is none. */
int message_take_fd(struct message *message, unsigned index);
void message_close_fds(struct message *message);

/* -EPROTO if this header can't begin a message, so that the rest of the stream makes no sense. */
int header_check(const struct oriel_wire_header *header, struct complaint *complaint);

/* Checks a request against its whole row, before any handler. 0 and the row; 1: a rule is broken, as @complaint says,
 * but harmlessly; -EINVAL: the request must fail; -EPROTO: the connection must end; -EMFILE: the request must fail
 * because this process lacked descriptors, which is not the peer's fault. */
int message_check_request(enum oriel_direction direction, const struct message *message,
                          const struct agreement *agreement, const struct oriel_message_row **row,
                          struct complaint *complaint);
/* Logs a violation for which one of these two functions returned 1, once per row. @said is the channel's, 0 at first;
 * @budget is the connection's. */
void message_tolerate(const struct oriel_message_row *row, const struct complaint *complaint, uint64_t *said,
                      struct log_budget *budget, const struct oriel_log *log);
/* Checks a reply against the row of its request. 0, 1 and -EMFILE as above, or -EPROTO. */
int message_check_reply(const struct oriel_message_row *row, const struct message *reply,
                        const struct agreement *agreement, struct complaint *complaint);

/* Writes the message as a line to the log, at its lowest level: "from the front-end: SET_VRING_NUM need_reply: index 0
 * num 256". @whence says to or from whom it goes; @direction is that of the request, also for its answer. */
void message_log(const struct oriel_log *log, const char *whence, enum oriel_direction direction,
                 const struct message *message);

/* Whether @row is answered with its reply payload, and whether @header asks for an acknowledgement that it gets. */
bool row_replies(const struct oriel_message_row *row, const struct agreement *agreement);
bool row_acknowledges(const struct oriel_message_row *row, const struct oriel_wire_header *header,
                      const struct agreement *agreement);

#endif
