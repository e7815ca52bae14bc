/* SPDX-License-Identifier: BSD-2-Clause */
#include "conform/backend/backend.h"

#define SECTION "VHOST_USER_GET_CONFIG"

static enum answer ask_config(struct back_end *b, enum oriel_frontend_request id, uint32_t offset, uint32_t size,
                              uint32_t payload)
{
        struct oriel_wire_config config = {offset, size, ORIEL_CONFIG_WRITABLE, {0}};

        return back_ask_with(b, id, &config, (uint32_t)offsetof(struct oriel_wire_config, payload) + payload);
}

struct range {
        uint32_t offset, size;
};

static enum verdict config_read_range(struct trial *trial)
{
        const struct range *range = trial->row->with;
        struct back_end *b = trial->back_end;
        uint32_t offset = range->offset, size = range->size;
        enum answer answer = ask_config(b, ORIEL_FRONTEND_GET_CONFIG, offset, size, size);
        uint32_t due = (uint32_t)offsetof(struct oriel_wire_config, payload) + size;

        if (answer == DONE && b->reply.header.size != due)
                return fails(trial, "a reply of %u bytes to a request of %u", b->reply.header.size, due);
        if (answer == DONE && (b->reply.payload.config.offset != offset || b->reply.payload.config.size != size))
                return fails(trial, "the reply is about %u bytes at %u", b->reply.payload.config.size,
                             b->reply.payload.config.offset);
        return expect(trial, "GET_CONFIG", answer, trial->row->allowed);
}

static enum verdict config_in_pieces(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        uint8_t whole[8];

        if (ask_config(b, ORIEL_FRONTEND_GET_CONFIG, 0, sizeof(whole), sizeof(whole)) != DONE)
                return skips(trial, "there are no 8 bytes of config space");
        for (uint32_t i = 0; i < sizeof(whole); i++)
                whole[i] = b->reply.payload.config.payload[i];
        for (uint32_t i = 0; i < sizeof(whole); i++) {
                if (expect(trial, "GET_CONFIG of one byte", ask_config(b, ORIEL_FRONTEND_GET_CONFIG, i, 1, 1),
                           BIT(DONE)) != PASSED)
                        return FAILED;
                if (b->reply.payload.config.payload[0] != whole[i])
                        return fails(trial, "byte %u is 0x%02x alone and 0x%02x among others", i,
                                     b->reply.payload.config.payload[0], whole[i]);
        }
        return PASSED;
}

static enum verdict too_little(struct trial *trial)
{
        struct back_end *b = trial->back_end;

        return expect(trial, "GET_CONFIG", ask_config(b, ORIEL_FRONTEND_GET_CONFIG, 0, trial->row->argument, 0),
                      EITHER | BIT(BROKEN) | BIT(SILENT));
}

static enum verdict write_far_away(struct trial *trial)
{
        struct back_end *b = trial->back_end;

        return expect(trial, "SET_CONFIG", ask_config(b, ORIEL_FRONTEND_SET_CONFIG, UINT32_MAX - 15, 64, 64),
                      TURNED_DOWN);
}

static const struct conform_case rows[] = {
        {"config-1", SECTION, config_read_range, ORIEL_PROTOCOL_F_CONFIG, 0, "GET_CONFIG of the first byte",
         "a reply of the request's size, or of 0 bytes", EITHER & ~BIT(CLOSED), WITH(struct range, 0, 1)},
        {"config-256", SECTION, config_read_range, ORIEL_PROTOCOL_F_CONFIG, 0,
         "GET_CONFIG of 256 bytes, the most there can be", "a reply of the request's size, or of 0 bytes",
         EITHER & ~BIT(CLOSED), WITH(struct range, 0, 256)},
        {"config-in-pieces", SECTION, config_in_pieces, ORIEL_PROTOCOL_F_CONFIG, 0,
         "GET_CONFIG of 8 bytes at once, then of each alone", "the same bytes"},
        {"config-past-the-end", SECTION, config_read_range, ORIEL_PROTOCOL_F_CONFIG, 0,
         "GET_CONFIG of bytes 252 to 259", "a reply of the request's size or of 0 bytes, or closed; the process lives",
         EITHER, WITH(struct range, 252, 8)},
        {"config-far-away", SECTION, config_read_range, ORIEL_PROTOCOL_F_CONFIG, 0, "GET_CONFIG of 64 bytes at 1 GiB",
         "a reply of 0 bytes, or closed; the process lives", TURNED_DOWN, WITH(struct range, 1 << 30, 64)},
        {"config-overflow", SECTION, config_read_range, ORIEL_PROTOCOL_F_CONFIG, 0,
         "GET_CONFIG of 64 bytes whose end does not fit 32 bits", "a reply of 0 bytes, or closed; the process lives",
         TURNED_DOWN, WITH(struct range, UINT32_MAX - 15, 64)},
        {"config-payload-missing", ROBUSTNESS, too_little, ORIEL_PROTOCOL_F_CONFIG, 256,
         "GET_CONFIG that says 256 bytes and carries none", "any answer, or closed; the process lives"},
        {"config-size-huge", ROBUSTNESS, too_little, ORIEL_PROTOCOL_F_CONFIG, UINT32_MAX,
         "GET_CONFIG that says 4 GiB and carries nothing", "any answer, or closed; the process lives"},
        {"set-config-overflow", "VHOST_USER_SET_CONFIG", write_far_away, ORIEL_PROTOCOL_F_CONFIG, 0,
         "SET_CONFIG of 64 bytes whose end does not fit 32 bits", "refused, or closed; the process lives"},
};

const struct conform_group backend_config_cases = GROUP(rows);
