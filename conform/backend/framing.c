/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for the framing of messages: invalid headers, each row of the protocol table broken in one way (spoilers[], by
 * the row's argument), messages in pieces, several at once, and connections that end inside a message. An invalid
 * message may be answered in any way or not at all; the case then waits SETTLE_MS and closes.
 *
 * A case begins on a connection of its own with features negotiated (run() in cases.c), and has passed only if the
 * process lives afterwards. */

#include "conform/backend/backend.h"

#define SETTLE_MS 100 /* time for the peer to react to an invalid message */
#define LARGE     0x100000

/* ---- headers ---- */

/* An invalid request: any reaction or none is allowed, but the process must live. */
static enum verdict send_header(struct trial *trial)
{
        const struct oriel_wire_header *header = trial->row->with;
        struct back_end *b = trial->back_end;

        wire_send_bytes(b->main.fd, header, sizeof(*header), b->timeout_ms);

        enum answer answer = back_take(b, NULL, header->request, SETTLE_MS);

        /* The peer may wait for the rest without limit. */
        back_close(b);
        return passes(trial, "%s", answer == SILENT ? "waits" : answer == CLOSED ? answer_name(CLOSED) : "answered");
}

/* ---- each row of the table, broken ---- */

static bool too_short(const struct oriel_message_row *row, struct message *message)
{
        message->header.size = row->size.min - 1;
        return row->size.min > 0;
}

static bool check_empty(const struct oriel_message_row *row, struct message *message)
{
        message->header.size = 0;
        return row->size.min > 1;
}

static bool too_long(const struct oriel_message_row *row, struct message *message)
{
        message->header.size = row->size.max + 8;
        return row->size.max + 8 <= ORIEL_MAX_PAYLOAD;
}

static bool check_longest(const struct oriel_message_row *row, struct message *message)
{
        message->header.size = ORIEL_MAX_PAYLOAD;
        return row->size.max < ORIEL_MAX_PAYLOAD;
}

static bool with_fd(const struct oriel_message_row *row, struct message *message)
{
        wire_add_fd(message, message->fds[ORIEL_MAX_FDS - 1]);
        return row->fds.max == 0;
}

static bool with_eight_fds(const struct oriel_message_row *row, struct message *message)
{
        while (message->n_fds < ORIEL_MAX_FDS)
                wire_add_fd(message, message->fds[ORIEL_MAX_FDS - 1]);
        return row->fds.max < ORIEL_MAX_FDS;
}

static bool without_fd(const struct oriel_message_row *row, struct message *message)
{
        message->n_fds = 0;
        return row->fds.min > 0;
}

static bool (*const spoilers[])(const struct oriel_message_row *row, struct message *message) = {
        too_short, check_empty, too_long, check_longest, with_fd, with_eight_fds, without_fd,
};

static enum verdict check_spoiled(struct trial *trial)
{
        struct back_end *b = trial->back_end;

        for (uint32_t id = 1; id < oriel_message_count(ORIEL_FROM_FRONTEND); id++) {
                const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, id);
                struct message message;

                if (!back_may_send(b, row))
                        continue;
                wire_init_least(&message, row, b->memory_fd);
                message.fds[ORIEL_MAX_FDS - 1] = b->memory_fd;
                if (!spoilers[trial->row->argument](row, &message))
                        continue;
                if (!row_replies(row, &b->agreement))
                        message.header.flags |= ORIEL_FLAG_NEED_REPLY;
                wire_send(b->main.fd, &message, b->timeout_ms);
                if (back_take(b, row, id, SETTLE_MS) == SILENT)
                        back_close(b);
                else if (b->main.fd >= 0 && back_barrier(b, NULL) == DONE)
                        continue;
                if (!back_reopen(b, 0))
                        return fails(trial, "after %s the peer can't be negotiated with any more", row->name);
        }
        return PASSED;
}

/* ---- the stream ---- */

static enum verdict framing_in_pieces(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_MEM_TABLE);
        struct message message;

        back_init_memory(b, &message);
        message.header.flags |= back_has(b, ORIEL_PROTOCOL_F_REPLY_ACK) ? ORIEL_FLAG_NEED_REPLY : 0;
        for (size_t i = 0; i < WIRE_HEADER + message.header.size; i++)
                if (wire_send_part(b->main.fd, &message, i, i + 1, b->timeout_ms) < 0)
                        return fails(trial, "closed the connection after %zu bytes", i);
        if (back_has(b, ORIEL_PROTOCOL_F_REPLY_ACK))
                if (expect(trial, "SET_MEM_TABLE", back_take(b, row, row->id, b->timeout_ms), BIT(DONE)) != PASSED)
                        return FAILED;
        return expect(trial, "GET_FEATURES", back_barrier(b, NULL), BIT(DONE));
}

static enum verdict check_together(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_GET_FEATURES);
        const struct oriel_wire_header headers[3] = {{row->id, ORIEL_PROTOCOL_VERSION, 0},
                                                     {row->id, ORIEL_PROTOCOL_VERSION, 0},
                                                     {row->id, ORIEL_PROTOCOL_VERSION, 0}};

        wire_send_bytes(b->main.fd, headers, sizeof(headers), b->timeout_ms);
        for (size_t i = 0; i < ARRAY_SIZE(headers); i++)
                if (expect(trial, "GET_FEATURES", back_take(b, row, row->id, b->timeout_ms), BIT(DONE)) != PASSED)
                        return FAILED;
        return PASSED;
}

/* Each message with its own descriptor, and without waiting for answers in between. */
static enum verdict check_pipelined(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        unsigned unasked;

        for (int i = 0; i < 64; i++) {
                struct message message;

                back_init_memory(b, &message);
                if (wire_send(b->main.fd, &message, b->timeout_ms) < 0)
                        return fails(trial, "closed the connection at message %d", i);
        }
        if (expect(trial, "GET_FEATURES", back_barrier(b, &unasked), BIT(DONE)) != PASSED)
                return FAILED;
        return unasked ? fails(trial, "%u answers that nobody asked for", unasked) : PASSED;
}

/* The connection ends after @argument bytes of a SET_MEM_TABLE with its descriptor. */
static enum verdict broken_off(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        struct message message;

        wire_init_least(&message, oriel_message_find(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_MEM_TABLE), -1);
        message.header.size = offsetof(struct oriel_wire_memory, regions[1]);
        wire_add_fd(&message, b->memory_fd);
        wire_send_part(b->main.fd, &message, 0, trial->row->argument, b->timeout_ms);
        if (!back_reopen(b, 0))
                return fails(trial, "no new connection can be negotiated");
        return expect(trial, "GET_FEATURES on a new connection", back_barrier(b, NULL), BIT(DONE));
}

#define UNKNOWN(title, id)                                                                                             \
        {                                                                                                              \
                "unknown-request-" title, "VHOST_USER_PROTOCOL_F_REPLY_ACK", back_try, ORIEL_PROTOCOL_F_REPLY_ACK, id, \
                        "request " title " with need_reply",                                                           \
                        "an acknowledgement that is not 0, or closed; the process lives", TURNED_DOWN                  \
        }
#define FLAGS(title, flags, words)                                                                                   \
        {                                                                                                            \
                title, ROBUSTNESS, send_header, NO_FEATURE, 0, "GET_FEATURES " words, "anything; the process lives", \
                        WITH(struct oriel_wire_header, ORIEL_FRONTEND_GET_FEATURES, flags, 0)                        \
        }
#define LARGE_PAYLOAD(title, size)                                                                                \
        {                                                                                                         \
                "payload-" title, ROBUSTNESS, send_header, NO_FEATURE, 0, "a header that announces " title,       \
                        "anything; the process lives",                                                            \
                        WITH(struct oriel_wire_header, ORIEL_FRONTEND_SET_FEATURES, ORIEL_PROTOCOL_VERSION, size) \
        }
#define SPOILED(title, index, words)                                                         \
        {                                                                                    \
                title, ROBUSTNESS, check_spoiled, NO_FEATURE, index,                         \
                        "each request of the table, if negotiated, " words,                  \
                        "any answer, or closed; the process lives and takes new connections" \
        }
#define BROKEN_OFF(title, bytes, words)                                                         \
        {                                                                                       \
                title, ROBUSTNESS, broken_off, NO_FEATURE, bytes, "the connection ends " words, \
                        "a new connection is served"                                            \
        }

static const struct conform_case rows[] = {
        UNKNOWN("0", 0),
        UNKNOWN("200", 200),
        UNKNOWN("4294967295", UINT32_MAX),
        FLAGS("version-0", 0, "with version 0"),
        FLAGS("version-2", 2, "with version 2"),
        FLAGS("reply-flag", ORIEL_PROTOCOL_VERSION | ORIEL_FLAG_REPLY, "flagged as a reply"),
        FLAGS("flags-unknown", ~0u ^ 2u ^ ORIEL_FLAG_REPLY, "with all flags that have no meaning"),
        LARGE_PAYLOAD("4097", 4097),
        LARGE_PAYLOAD("1048576", LARGE),
        LARGE_PAYLOAD("4294967295", UINT32_MAX),
        SPOILED("payload-short", 0, "with a payload of a byte less than it must have"),
        SPOILED("payload-empty", 1, "without the payload that it must have"),
        SPOILED("payload-long", 2, "with a payload of 8 bytes more than it may have"),
        SPOILED("payload-longest", 3, "with a payload of 4096 bytes"),
        SPOILED("fd-unexpected", 4, "with a descriptor where none is due"),
        SPOILED("fds-eight", 5, "with eight descriptors"),
        SPOILED("fd-missing", 6, "without the descriptor that it must have"),
        {"byte-by-byte", ROBUSTNESS, framing_in_pieces, NO_FEATURE, 0,
         "SET_MEM_TABLE with its descriptor, a byte at a time", "accepted"},
        {"three-at-once", ROBUSTNESS, check_together, NO_FEATURE, 0, "three GET_FEATURES in one piece",
         "three replies"},
        {"pipelined", ROBUSTNESS, check_pipelined, NO_FEATURE, 0,
         "64 times SET_MEM_TABLE with a descriptor, without need_reply, then GET_FEATURES", "one reply"},
        BROKEN_OFF("end-in-header", 5, "after 5 bytes of a header"),
        BROKEN_OFF("end-after-header", WIRE_HEADER, "after a header whose payload is missing"),
        BROKEN_OFF("end-in-payload", WIRE_HEADER + 7, "after 7 bytes of a payload"),
};

const struct conform_group backend_framing_cases = GROUP(rows);
