/* SPDX-License-Identifier: BSD-2-Clause */

/* Messages: building them, taking descriptors out of them, and checking one against its row of the protocol table.
 * Both ends use the same checks, on a request before any handler and on a reply before anybody reads it: size, number
 * of descriptors, feature, contents. -EPROTO means that the stream makes no sense any more, -EINVAL that the request
 * fails, -EMFILE that this process lacked descriptors, 1 that a broken rule is tolerated. Nothing here blocks or has a
 * lock. */

#include "protocol/message.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "protocol/payload.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void complain(struct complaint *complaint, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(complaint->text, sizeof(complaint->text), format, args);
        va_end(args);
}

void message_init(struct message *message, uint32_t request, uint32_t flags)
{
        message->header = (struct oriel_wire_header){.request = request, .flags = ORIEL_PROTOCOL_VERSION | flags};
        message->n_fds = 0;
        message->lost_fds = false;
}

void message_set(struct message *message, const void *payload, uint32_t size)
{
        memcpy(message->payload.bytes, payload, size);
        message->header.size = size;
}

void message_set_u64(struct message *message, uint64_t value)
{
        message_set(message, &value, sizeof(value));
}

void message_get(const struct message *message, void *out, size_t size)
{
        size_t given = message->header.size < size ? message->header.size : size;

        memcpy(out, message->payload.bytes, given);
        memset((uint8_t *)out + given, 0, size - given);
}

int message_take_fd(struct message *message, unsigned index)
{
        return index < message->n_fds ? fd_take(&message->fds[index]) : -1;
}

void message_close_fds(struct message *message)
{
        fd_close_all(message->fds, message->n_fds);
        message->n_fds = 0;
}

int header_check(const struct oriel_wire_header *header, struct complaint *complaint)
{
        if ((header->flags & ORIEL_FLAG_VERSION) != ORIEL_PROTOCOL_VERSION) {
                complain(complaint, "request %u: version %u, must be %u", header->request,
                         header->flags & ORIEL_FLAG_VERSION, ORIEL_PROTOCOL_VERSION);
                return -EPROTO;
        }
        if (header->size > ORIEL_MAX_PAYLOAD) {
                complain(complaint, "request %u: payload size %u is above %u", header->request, header->size,
                         ORIEL_MAX_PAYLOAD);
                return -EPROTO;
        }
        return 0;
}

static bool within(uint32_t value, struct oriel_bounds bounds)
{
        return value >= bounds.min && value <= bounds.max;
}

/* "must be 8", or "must be 8 to 264". */
static int complain_bounds(struct complaint *complaint, const char *name, const char *what, uint32_t value,
                           struct oriel_bounds bounds)
{
        if (bounds.min == bounds.max)
                complain(complaint, "%s: %s %u, must be %u", name, what, value, bounds.min);
        else
                complain(complaint, "%s: %s %u, must be %u to %u", name, what, value, bounds.min, bounds.max);
        return -EINVAL;
}

static int check_gate(const struct oriel_message_row *row, const struct agreement *agreement,
                      struct complaint *complaint)
{
        const bool open[] = {
                [ORIEL_GATE_NONE] = true,
                [ORIEL_GATE_PROTOCOL_FEATURES] = agreement->offers_protocol_features,
                [ORIEL_GATE_PROTOCOL_FEATURE] = agreement->protocol_features & ORIEL_FEATURE(row->feature),
                [ORIEL_GATE_VIRTIO_FEATURE] = agreement->virtio_features & ORIEL_FEATURE(row->feature),
        };
        const char *names[] = {
                [ORIEL_GATE_NONE] = "",
                [ORIEL_GATE_PROTOCOL_FEATURES] = "VHOST_USER_F_PROTOCOL_FEATURES",
                [ORIEL_GATE_PROTOCOL_FEATURE] = oriel_protocol_feature_name(row->feature),
                [ORIEL_GATE_VIRTIO_FEATURE] = oriel_virtio_feature_name(0, row->feature),
        };

        if (open[row->gate])
                return 0;
        complain(complaint, "%s: feature %s was not negotiated", row->name, names[row->gate]);
        return -EINVAL;
}

/* 0, 1: wrong in a harmless way, or -EINVAL. */
static int check_contents(enum oriel_payload payload, const char *name, bool is_reply, const struct message *message,
                          struct complaint *complaint)
{
        enum payload_harm harm;
        const char *wrong = payload_check(payload, message->payload.bytes, message->header.size, message->n_fds, &harm);

        if (!wrong)
                return 0;
        complain(complaint, "%s: %s", name, wrong);
        return harm == PAYLOAD_HARMLESS || (harm == PAYLOAD_HARMLESS_REPLY && is_reply) ? 1 : -EINVAL;
}

/* The process has no descriptors left; the peer's message may be right. */
static int complain_lost(struct complaint *complaint, const char *name)
{
        complain(complaint,
                 "%s: this process may have no more descriptors for what it brings: raise the limit (ulimit -n)", name);
        return -EMFILE;
}

static int message_check_row(const struct oriel_message_row *row, const struct message *message,
                             const struct agreement *agreement, struct complaint *complaint)
{
        if (!within(message->header.size, row->size))
                return complain_bounds(complaint, row->name, "payload size", message->header.size, row->size);
        if (message->lost_fds)
                return complain_lost(complaint, row->name);
        if (!within(message->n_fds, row->fds))
                return complain_bounds(complaint, row->name, "number of fds", message->n_fds, row->fds);

        int r = check_gate(row, agreement, complaint);

        return r < 0 ? r : check_contents(row->payload, row->name, false, message, complaint);
}

int message_check_request(enum oriel_direction direction, const struct message *message,
                          const struct agreement *agreement, const struct oriel_message_row **row,
                          struct complaint *complaint)
{
        *row = oriel_message_find(direction, message->header.request);
        if (message->header.flags & ORIEL_FLAG_REPLY) {
                complain(complaint, "%s (request %u): the reply flag is set where a request is due",
                         *row ? (*row)->name : "unknown", message->header.request);
                return -EPROTO;
        }
        if (!*row) {
                complain(complaint, "request %u: the specification has no such message", message->header.request);
                return -EINVAL;
        }
        return message_check_row(*row, message, agreement, complaint);
}

static int check_reply_contents(const struct oriel_message_row *row, const struct message *reply,
                                const struct agreement *agreement, struct complaint *complaint)
{
        static const struct oriel_bounds u64 = PAYLOAD_SIZE_U64, none = PAYLOAD_SIZE_NONE;
        bool full = row_replies(row, agreement);
        struct oriel_bounds size = full ? row->reply_size : u64, fds = full ? row->reply_fds : none;

        if (!within(reply->header.size, size))
                return complain_bounds(complaint, row->name, "reply's payload size", reply->header.size, size);
        if (reply->lost_fds)
                return complain_lost(complaint, row->name);
        if (!within(reply->n_fds, fds))
                return complain_bounds(complaint, row->name, "reply's number of fds", reply->n_fds, fds);
        /* A GET_CONFIG that fails is answered without a payload. */
        if (!full || reply->header.size == 0)
                return 0;
        return check_contents(row->reply_payload, row->name, true, reply, complaint);
}

int message_check_reply(const struct oriel_message_row *row, const struct message *reply,
                        const struct agreement *agreement, struct complaint *complaint)
{
        if (!(reply->header.flags & ORIEL_FLAG_REPLY)) {
                complain(complaint, "%s: the reply flag is missing", row->name);
                return -EPROTO;
        }
        if (reply->header.request != row->id) {
                complain(complaint, "%s: the reply is to request %u", row->name, reply->header.request);
                return -EPROTO;
        }

        int r = check_reply_contents(row, reply, agreement, complaint);

        return r < 0 && r != -EMFILE ? -EPROTO : r;
}

void message_tolerate(const struct oriel_message_row *row, const struct complaint *complaint, uint64_t *said,
                      struct log_budget *budget, const struct oriel_log *log)
{
        const uint64_t bit = UINT64_C(1) << row->id % 64;

        if (!(*said & bit))
                log_within(budget, log, ORIEL_LOG_WARNING, "%s: taken as it is, and not said again", complaint->text);
        *said |= bit;
}

bool row_replies(const struct oriel_message_row *row, const struct agreement *agreement)
{
        const bool full[] = {
                [ORIEL_REPLY_WHEN_ASKED] = false,
                [ORIEL_REPLY_ALWAYS] = true,
                [ORIEL_REPLY_POSTCOPY] = agreement->postcopy,
                [ORIEL_REPLY_LOG_SHMFD] = agreed(agreement, ORIEL_PROTOCOL_F_LOG_SHMFD),
        };

        return full[row->reply];
}

bool row_acknowledges(const struct oriel_message_row *row, const struct oriel_wire_header *header,
                      const struct agreement *agreement)
{
        return !row_replies(row, agreement) && (header->flags & ORIEL_FLAG_NEED_REPLY) &&
               agreed(agreement, ORIEL_PROTOCOL_F_REPLY_ACK);
}

/* The form of the payload. A reply may be an acknowledgement where its row has another form too. */
static enum oriel_payload payload_of(const struct oriel_message_row *row, const struct message *message)
{
        if (!(message->header.flags & ORIEL_FLAG_REPLY))
                return row->payload;
        return row->reply == ORIEL_REPLY_ALWAYS || message->header.size != sizeof(uint64_t) ? row->reply_payload
                                                                                            : ORIEL_PAYLOAD_U64;
}

void message_log(const struct oriel_log *log, const char *whence, enum oriel_direction direction,
                 const struct message *message)
{
        const struct oriel_message_row *row = oriel_message_find(direction, message->header.request);
        bool reply = message->header.flags & ORIEL_FLAG_REPLY;
        char fds[24] = "", payload[320] = "";

        if (!log->write || log->level < ORIEL_LOG_DEBUG)
                return;
        if (message->n_fds > 0)
                snprintf(fds, sizeof(fds), ", %u fd%s", message->n_fds, message->n_fds > 1 ? "s" : "");
        oriel_payload_print(row ? payload_of(row, message) : ORIEL_PAYLOAD_NONE, message->payload.bytes,
                            message->header.size, payload, sizeof(payload));
        log_debug(log, "%s: %s%s%s%s%s%s", whence, reply ? "reply to " : "", row ? row->name : "an unknown request",
                  message->header.flags & ORIEL_FLAG_NEED_REPLY ? " need_reply" : "", fds, payload[0] ? ": " : "",
                  payload);
}
