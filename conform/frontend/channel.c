/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for the back-end channel itself: requests that are unknown, were not negotiated or have the wrong size, invalid
 * headers, noise, and a message sent byte by byte. After an invalid message the state of the stream is undefined, so
 * those cases drop the connection (front_drop()) and the next case gets another.
 *
 * A case begins with a device that the driver has started, and a MiB of the region for itself (front_area()); mappings
 * made by front_map() are unmapped when it ends. */

#include "conform/frontend/frontend.h"

#define ACK      "VHOST_USER_PROTOCOL_F_REPLY_ACK"
#define QUIET_MS 200

static enum verdict channel_config_changed(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        struct message request;

        wire_init(&request, ORIEL_BACKEND_CONFIG_CHANGE_MSG, NULL, 0);
        return expect(trial, "CONFIG_CHANGE_MSG", front_ask(f, &request), ACCEPTED | REFUSAL);
}

/* An unknown request, or one whose feature was not offered. */
static enum verdict frontend_not_negotiated(struct trial *trial)
{
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_BACKEND, trial->row->argument);
        struct front_end *f = trial->front_end;
        struct message request;

        wire_init(&request, trial->row->argument, NULL, 0);
        if (row)
                wire_init_least(&request, row, -1);
        return expect(trial, "the request", front_ask(f, &request), TURNED_DOWN);
}

static enum verdict odd_size(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        struct message request;

        front_init_map(&request, &f->page, f->file);
        request.header.size = trial->row->argument;
        return expect(trial, "SHMEM_MAP", front_ask(f, &request), TURNED_DOWN);
}

/* An invalid request: any reaction is allowed, but the process must live. The connection is dropped. */
static enum verdict odd_header(struct trial *trial)
{
        struct front_end *f = trial->front_end;

        wire_send_bytes(f->back.fd, trial->row->with, sizeof(struct oriel_wire_header), f->timeout_ms);

        int r = front_step(f, now_ms() + QUIET_MS);
        enum verdict verdict = passes(trial, "%s",
                                      r < 0 || f->back.fd < 0 ? answer_name(CLOSED)
                                      : r == 1                ? "answered"
                                                              : "waits");

        front_drop(f);
        return verdict;
}

static enum verdict send_garbage(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        uint8_t bytes[1024];

        wire_make_noise(bytes, sizeof(bytes));
        wire_send_bytes(f->back.fd, bytes, sizeof(bytes), f->timeout_ms);
        front_serve_for(f, QUIET_MS);
        front_drop(f);
        return PASSED;
}

static enum verdict channel_in_pieces(struct trial *trial)
{
        struct front_end *f = trial->front_end;
        struct message request;

        if (!agreed(&f->agreement, ORIEL_PROTOCOL_F_REPLY_ACK))
                return skips(trial, "REPLY_ACK is not negotiated");
        front_init_map(&request, &f->page, f->file);
        request.header.flags |= ORIEL_FLAG_NEED_REPLY;
        for (size_t i = 0; i < WIRE_HEADER + sizeof(f->page); i++)
                if (wire_send_part(f->back.fd, &request, i, i + 1, f->timeout_ms) < 0)
                        return fails(trial, "closed the connection after %zu bytes", i);
        if (expect(trial, "SHMEM_MAP", front_take(f, ORIEL_BACKEND_SHMEM_MAP, f->timeout_ms), BIT(DONE)) != PASSED)
                return FAILED;
        f->placed[f->n_placed++] = f->page;
        return PASSED;
}

#define UNKNOWN(title, id)                                                                              \
        {                                                                                               \
                "unknown-request-" title, ACK, frontend_not_negotiated, ORIEL_PROTOCOL_F_REPLY_ACK, id, \
                        "request " title " of the back-end, with need_reply",                           \
                        "an acknowledgement that is not 0, or closed; the process lives"                \
        }
#define NOT_NEGOTIATED(title, request)                                                                               \
        {                                                                                                            \
                "not-negotiated-" title, "Protocol features", frontend_not_negotiated, ORIEL_PROTOCOL_F_BACKEND_REQ, \
                        ORIEL_BACKEND_##request, #request ", whose feature is not offered",                          \
                        "refused, or closed; the process lives"                                                      \
        }
#define ODD_SIZE(title, size)                                                             \
        {                                                                                 \
                "payload-" title, ROBUSTNESS, odd_size, ORIEL_PROTOCOL_F_SHMEM_MAP, size, \
                        "SHMEM_MAP with " title " bytes of payload instead of 40",        \
                        "refused, or closed; the process lives"                           \
        }
#define FLAGS(title, flags, words)                                                                          \
        {                                                                                                   \
                title, ROBUSTNESS, odd_header, ORIEL_PROTOCOL_F_BACKEND_REQ, 0, "CONFIG_CHANGE_MSG " words, \
                        "anything; the process lives",                                                      \
                        WITH(struct oriel_wire_header, ORIEL_BACKEND_CONFIG_CHANGE_MSG, flags, 0)           \
        }
#define LARGE(title, size)                                                                                      \
        {                                                                                                       \
                "payload-" title, ROBUSTNESS, odd_header, ORIEL_PROTOCOL_F_BACKEND_REQ, 0,                      \
                        "a header that announces " title " bytes", "anything; the process lives",               \
                        WITH(struct oriel_wire_header, ORIEL_BACKEND_SHMEM_UNMAP, ORIEL_PROTOCOL_VERSION, size) \
        }

static const struct conform_case rows[] = {
        {"config-change", "VHOST_USER_BACKEND_CONFIG_CHANGE_MSG", channel_config_changed, ORIEL_PROTOCOL_F_CONFIG, 0,
         "CONFIG_CHANGE_MSG with need_reply", "answered"},
        {"byte-by-byte", ROBUSTNESS, channel_in_pieces, ORIEL_PROTOCOL_F_SHMEM_MAP, 0,
         "SHMEM_MAP with its descriptor, a byte at a time", "accepted"},
        UNKNOWN("0", 0),
        UNKNOWN("99", 99),
        UNKNOWN("4294967295", UINT32_MAX),
        NOT_NEGOTIATED("shared-object", SHARED_OBJECT_ADD),
        NOT_NEGOTIATED("vring-call", VRING_CALL),
        NOT_NEGOTIATED("host-notifier", VRING_HOST_NOTIFIER_MSG),
        ODD_SIZE("0", 0),
        ODD_SIZE("8", 8),
        ODD_SIZE("39", 39),
        ODD_SIZE("48", 48),
        ODD_SIZE("4096", 4096),
        FLAGS("version-0", 0, "with version 0"),
        FLAGS("version-2", 2, "with version 2"),
        FLAGS("reply-flag", ORIEL_PROTOCOL_VERSION | ORIEL_FLAG_REPLY, "flagged as a reply"),
        LARGE("4097", 4097),
        LARGE("4294967295", UINT32_MAX),
        {"garbage", ROBUSTNESS, send_garbage, ORIEL_PROTOCOL_F_BACKEND_REQ, 0, "1024 bytes of noise",
         "anything; the process lives"},
};

const struct conform_group frontend_channel_cases = GROUP(rows);
