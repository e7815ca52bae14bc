/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for replies and acknowledgements: exactly one where it is due, none where it was not asked for. valid[] has a
 * correct form of each request, in the order in which a front-end sends them; is_acknowledged() sends all up to the one
 * that its row names, since later ones need the earlier. A peer that closes or stays silent on the way fails the case.
 *
 * A case begins on a connection of its own with features negotiated (run() in cases.c), and has passed only if the
 * process lives afterwards. */

#include "conform/backend/backend.h"

#include <linux/virtio_config.h>

#define SECTION "VHOST_USER_PROTOCOL_F_REPLY_ACK"

/* A valid form of a request. Its descriptor, if it takes one, is @fd. */
struct valid {
        uint32_t request;
        void (*fill)(struct back_end *b, struct message *message); /* NULL: it has no payload, or a u64: */
        uint64_t value;
};

static void fill_features(struct back_end *b, struct message *message)
{
        message_set_u64(message, back_least_features(b));
}

static void fill_protocol_features(struct back_end *b, struct message *message)
{
        message_set_u64(message, b->agreement.protocol_features);
}

static void fill_region(struct back_end *b, struct message *message)
{
        struct oriel_wire_mem_reg region = {
                .region = {GUEST_ADDRESS + 2 * GUEST_SIZE, 0x10000, UINT64_C(0x7000000000), 0}};

        message_set(message, &region, sizeof(region));
        if (message->header.request == ORIEL_FRONTEND_ADD_MEM_REG)
                wire_add_fd(message, b->memory_fd);
}

static void fill_state(struct back_end *b, struct message *message)
{
        static const uint32_t nums[] = {
                [ORIEL_FRONTEND_SET_VRING_NUM] = RING_SIZE,
                [ORIEL_FRONTEND_SET_VRING_BASE] = 0,
                [ORIEL_FRONTEND_SET_VRING_ENABLE] = 1,
        };
        struct vhost_vring_state state = {0, nums[message->header.request]};

        message_set(message, &state, sizeof(state));
}

static void fill_addr(struct back_end *b, struct message *message)
{
        struct vhost_vring_addr addr = back_ring_addr(b, 0);

        back_ring(b, 0);
        message_set(message, &addr, sizeof(addr));
}

/* In the order in which a front-end sends them. */
static const struct valid valid[] = {
        {ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, fill_protocol_features},
        {ORIEL_FRONTEND_SET_STATUS, NULL, VIRTIO_CONFIG_S_ACKNOWLEDGE},
        {ORIEL_FRONTEND_SET_FEATURES, fill_features},
        {ORIEL_FRONTEND_SET_MEM_TABLE, back_init_memory},
        {ORIEL_FRONTEND_ADD_MEM_REG, fill_region},
        {ORIEL_FRONTEND_REM_MEM_REG, fill_region},
        {ORIEL_FRONTEND_SET_VRING_NUM, fill_state},
        {ORIEL_FRONTEND_SET_VRING_BASE, fill_state},
        {ORIEL_FRONTEND_SET_VRING_ADDR, fill_addr},
        {ORIEL_FRONTEND_SET_VRING_CALL, NULL, ORIEL_VRING_FD_NONE},
        {ORIEL_FRONTEND_SET_VRING_ERR, NULL, ORIEL_VRING_FD_NONE},
        {ORIEL_FRONTEND_SET_VRING_KICK, NULL, ORIEL_VRING_FD_NONE},
        {ORIEL_FRONTEND_SET_VRING_ENABLE, fill_state},
        {ORIEL_FRONTEND_RESET_DEVICE, NULL},
};

/* The next request that may be sent, from valid[*@i] on: its row, and @message. NULL: there are no more. */
static const struct oriel_message_row *next_valid(struct back_end *b, size_t *i, struct message *message)
{
        while (*i < ARRAY_SIZE(valid)) {
                const struct valid *next = &valid[(*i)++];
                const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, next->request);

                if (!back_may_send(b, row))
                        continue;
                wire_init(message, row->id, NULL, 0);
                if (next->fill)
                        next->fill(b, message);
                else if (row->size.min > 0)
                        message_set_u64(message, next->value);
                return row;
        }
        return NULL;
}

/* Sends all requests up to the row's, whose answer is checked. */
static enum verdict is_acknowledged(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        const struct oriel_message_row *row;
        struct message message;
        size_t i = 0;

        if (!back_has(b, ORIEL_PROTOCOL_F_REPLY_ACK))
                return skips(trial, "REPLY_ACK is not offered");
        while ((row = next_valid(b, &i, &message))) {
                enum answer answer = back_ask(b, &message);

                if (row->id == trial->row->argument || answer == CLOSED || answer == SILENT)
                        return expect(trial, row->name, answer, BIT(DONE));
        }
        return skips(trial, "it can't be sent");
}

static enum verdict set_owner(struct trial *trial)
{
        return expect(trial, "SET_OWNER", trial->back_end->owner, BIT(DONE));
}

/* Sends all of them at once without need_reply: only the last one's reply may come. */
static enum verdict not_asked(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        struct message message;
        unsigned unasked;
        size_t i = 0;

        while (next_valid(b, &i, &message))
                wire_send(b->main.fd, &message, b->timeout_ms);
        if (expect(trial, "GET_FEATURES", back_barrier(b, &unasked), BIT(DONE)) != PASSED)
                return FAILED;
        if (unasked > 0)
                return fails(trial, "%u answers that nobody asked for", unasked);
        return PASSED;
}

/* need_reply does not change a request that has a reply. */
static enum verdict one_reply(struct trial *trial)
{
        static const uint32_t requests[] = {ORIEL_FRONTEND_GET_FEATURES, ORIEL_FRONTEND_GET_PROTOCOL_FEATURES,
                                            ORIEL_FRONTEND_GET_QUEUE_NUM, ORIEL_FRONTEND_GET_MAX_MEM_SLOTS,
                                            ORIEL_FRONTEND_GET_SHMEM_CONFIG};
        struct back_end *b = trial->back_end;
        unsigned unasked;

        for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
                const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, requests[i]);
                struct message message;

                if (!back_may_send(b, row))
                        continue;
                wire_init(&message, row->id, NULL, 0);
                message.header.flags |= trial->row->argument;
                wire_send(b->main.fd, &message, b->timeout_ms);
                if (expect(trial, row->name, back_take(b, row, row->id, b->timeout_ms), BIT(DONE)) != PASSED)
                        return FAILED;
        }
        if (expect(trial, "GET_FEATURES", back_barrier(b, &unasked), BIT(DONE)) != PASSED)
                return FAILED;
        if (unasked > 0)
                return fails(trial, "%u answers too many", unasked);
        return PASSED;
}

#define ACK(title, request, needs)                                                                           \
        {                                                                                                    \
                "ack-" title, SECTION, is_acknowledged, needs, ORIEL_FRONTEND_##request,                     \
                        #request " as it should be, with need_reply", "a u64 of 0, flagged as a reply to it" \
        }

static const struct conform_case rows[] = {
        {"replies", "Header", one_reply, NO_FEATURE, 0, "each request that has a reply and no payload",
         "one reply each: version 1, reply flag, the request's number, the right size"},
        {"replies-need-reply", SECTION, one_reply, ORIEL_PROTOCOL_F_REPLY_ACK, ORIEL_FLAG_NEED_REPLY,
         "the same with need_reply", "the same: one reply each"},
        {"ack-set-owner", SECTION, set_owner, ORIEL_PROTOCOL_F_REPLY_ACK, 0, "SET_OWNER, once, with need_reply",
         "a u64 of 0, flagged as a reply to it"},
        ACK("set-protocol-features", SET_PROTOCOL_FEATURES, ORIEL_PROTOCOL_F_REPLY_ACK),
        ACK("set-status", SET_STATUS, ORIEL_PROTOCOL_F_STATUS),
        ACK("set-features", SET_FEATURES, ORIEL_PROTOCOL_F_REPLY_ACK),
        ACK("set-mem-table", SET_MEM_TABLE, ORIEL_PROTOCOL_F_REPLY_ACK),
        ACK("add-mem-reg", ADD_MEM_REG, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS),
        ACK("rem-mem-reg", REM_MEM_REG, ORIEL_PROTOCOL_F_CONFIGURE_MEM_SLOTS),
        ACK("set-vring-num", SET_VRING_NUM, ORIEL_PROTOCOL_F_REPLY_ACK),
        ACK("set-vring-base", SET_VRING_BASE, ORIEL_PROTOCOL_F_REPLY_ACK),
        ACK("set-vring-addr", SET_VRING_ADDR, ORIEL_PROTOCOL_F_REPLY_ACK),
        ACK("set-vring-call", SET_VRING_CALL, ORIEL_PROTOCOL_F_REPLY_ACK),
        ACK("set-vring-err", SET_VRING_ERR, ORIEL_PROTOCOL_F_REPLY_ACK),
        ACK("set-vring-kick", SET_VRING_KICK, ORIEL_PROTOCOL_F_REPLY_ACK),
        ACK("set-vring-enable", SET_VRING_ENABLE, ORIEL_PROTOCOL_F_REPLY_ACK),
        ACK("reset-device", RESET_DEVICE, ORIEL_PROTOCOL_F_RESET_DEVICE),
        {"no-ack-unasked", SECTION, not_asked, NO_FEATURE, 0, "all of these without need_reply, then GET_FEATURES",
         "nothing but the reply to GET_FEATURES"},
};

const struct conform_group backend_ack_cases = GROUP(rows);
