/* SPDX-License-Identifier: BSD-2-Clause */

/* Tests of the message tables: each row with a message that is too short, too long or has the wrong descriptors,
 * features that were not negotiated, payloads with wrong contents, replies, dialects, and messages in words. */

#include "base/cleanup.h"
#include "base/test.h"
#include "protocol/message.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <string.h>

static const enum oriel_direction directions[] = {ORIEL_FROM_FRONTEND, ORIEL_FROM_BACKEND};

static const struct agreement everything = {
        .offers_protocol_features = true,
        .protocol_features = UINT64_MAX,
        .virtio_features = UINT64_MAX,
};
static const struct agreement nothing;

/* Makes a request that its row accepts, of the least size. */
static void make_valid(const struct oriel_message_row *row, struct message *message)
{
        memset(message, 0, sizeof(*message));
        message_init(message, row->id, 0);
        message->header.size = row->size.min;
        message->n_fds = row->fds.min;
        for (unsigned i = 0; i < ORIEL_MAX_FDS; i++)
                message->fds[i] = -1;
        if (row->payload == ORIEL_PAYLOAD_VRING_FD || row->payload == ORIEL_PAYLOAD_VRING_AREA)
                message->payload.u64 = ORIEL_VRING_FD_NONE;
}

static int check(enum oriel_direction direction, const struct message *message, const struct agreement *agreement,
                 struct complaint *complaint)
{
        const struct oriel_message_row *row;

        complaint->text[0] = '\0';
        return message_check_request(direction, message, agreement, &row, complaint);
}

/* Ways to break a row. Each returns the expected result, or 1 where the row can't be broken that way. */
static int too_short(const struct oriel_message_row *row, struct message *message)
{
        message->header.size = row->size.min - 1;
        return row->size.min ? -EINVAL : 1;
}

static int too_long(const struct oriel_message_row *row, struct message *message)
{
        message->header.size = row->size.max + 1;
        return row->size.max < ORIEL_MAX_PAYLOAD ? -EINVAL : 1;
}

static int too_many_fds(const struct oriel_message_row *row, struct message *message)
{
        message->n_fds = row->fds.max + 1;
        return -EINVAL;
}

static int too_few_fds(const struct oriel_message_row *row, struct message *message)
{
        message->n_fds = row->fds.min - 1;
        return row->fds.min ? -EINVAL : 1;
}

static int reply_flag(const struct oriel_message_row *row, struct message *message)
{
        message->header.flags |= ORIEL_FLAG_REPLY;
        return -EPROTO;
}

static const struct {
        int (*spoil)(const struct oriel_message_row *row, struct message *message);
        const char *words;
} wrongs[] = {
        {too_short, "payload size"},    {too_long, "payload size"}, {too_many_fds, "number of fds"},
        {too_few_fds, "number of fds"}, {reply_flag, "reply flag"},
};

static void test_every_row(void **state)
{
        struct message message;
        struct complaint complaint;

        for (size_t d = 0; d < ARRAY_SIZE(directions); d++)
                for (uint32_t id = 1; id < oriel_message_count(directions[d]); id++) {
                        const struct oriel_message_row *row = oriel_message_find(directions[d], id);

                        assert_non_null(row);
                        assert_int_equal(row->id, id);
                        make_valid(row, &message);
                        assert_int_equal(check(directions[d], &message, &everything, &complaint), 0);
                        assert_int_equal(check(directions[d], &message, &nothing, &complaint),
                                         row->gate == ORIEL_GATE_NONE ? 0 : -EINVAL);
                        for (size_t w = 0; w < ARRAY_SIZE(wrongs); w++) {
                                make_valid(row, &message);

                                int expected = wrongs[w].spoil(row, &message);

                                if (expected > 0)
                                        continue;
                                assert_int_equal(check(directions[d], &message, &everything, &complaint), expected);
                                assert_non_null(strstr(complaint.text, row->name));
                                assert_non_null(strstr(complaint.text, wrongs[w].words));
                        }
                }
}

static void test_ids_are_the_specifications(void **state)
{
        assert_int_equal(oriel_message_count(ORIEL_FROM_FRONTEND), 45);
        assert_int_equal(oriel_message_count(ORIEL_FROM_BACKEND), 11);
        assert_null(oriel_message_find(ORIEL_FROM_FRONTEND, 0));
        assert_null(oriel_message_find(ORIEL_FROM_FRONTEND, 45));
        assert_null(oriel_message_find(ORIEL_FROM_BACKEND, UINT32_MAX));
        assert_string_equal(oriel_message_find(ORIEL_FROM_FRONTEND, 44)->name, "GET_SHMEM_CONFIG");
        assert_string_equal(oriel_message_find(ORIEL_FROM_BACKEND, 9)->name, "SHMEM_MAP");
        assert_int_equal(oriel_message_find(ORIEL_FROM_BACKEND, 9)->size.max, 40);
        assert_int_equal(oriel_message_find(ORIEL_FROM_FRONTEND, 44)->reply_size.min, 2056);
        assert_string_equal(oriel_protocol_feature_name(22), "SHMEM_MAP");
        assert_null(oriel_protocol_feature_name(23));
        assert_string_equal(oriel_virtio_feature_name(0, 30), "VHOST_USER_F_PROTOCOL_FEATURES");
        assert_string_equal(oriel_virtio_feature_name(VIRTIO_ID_NET, VIRTIO_NET_F_MAC), "VIRTIO_NET_F_MAC");
        assert_null(oriel_virtio_feature_name(0, VIRTIO_NET_F_MAC));
}

static void test_headers(void **state)
{
        struct complaint complaint;

        assert_int_equal(header_check(&(struct oriel_wire_header){1, 1, 0}, &complaint), 0);
        assert_int_equal(header_check(&(struct oriel_wire_header){1, 1, ORIEL_MAX_PAYLOAD}, &complaint), 0);
        assert_int_equal(header_check(&(struct oriel_wire_header){1, 0, 0}, &complaint), -EPROTO);
        assert_int_equal(header_check(&(struct oriel_wire_header){1, 2, 0}, &complaint), -EPROTO);
        assert_non_null(strstr(complaint.text, "version 2"));
        assert_int_equal(header_check(&(struct oriel_wire_header){1, 1, ORIEL_MAX_PAYLOAD + 1}, &complaint), -EPROTO);
        assert_int_equal(header_check(&(struct oriel_wire_header){1, 1, UINT32_MAX}, &complaint), -EPROTO);
}

static void expect(int result, enum oriel_direction direction, uint32_t id, const void *payload, uint32_t size,
                   unsigned n_fds, const char *words)
{
        struct message message;
        struct complaint complaint;

        message_init(&message, id, 0);
        message_set(&message, payload, size);
        message.n_fds = n_fds;
        assert_int_equal(check(direction, &message, &everything, &complaint), result);
        if (!strstr(complaint.text, words))
                fail_msg("'%s' lacks '%s'", complaint.text, words);
}

static void refuse(enum oriel_direction direction, uint32_t id, const void *payload, uint32_t size, unsigned n_fds,
                   const char *words)
{
        expect(-EINVAL, direction, id, payload, size, n_fds, words);
}

static void tolerate(enum oriel_direction direction, uint32_t id, const void *payload, uint32_t size, unsigned n_fds,
                     const char *words)
{
        expect(1, direction, id, payload, size, n_fds, words);
}

static void test_contents(void **state)
{
        const struct oriel_wire_mmap map = {.flags = 2};
        const struct oriel_wire_memory memory = {.num_regions = 2}, many = {.num_regions = 9};
        const struct oriel_wire_config config = {.size = 8}, long_config = {.size = UINT32_MAX};
        const struct oriel_wire_config flags = {.flags = 2};
        const struct oriel_wire_device_state state_phase = {.phase = 1}, state_direction = {.direction = 2};
        const struct vhost_vring_state vring = {.num = 1};
        const uint64_t bits = 0x200, no_fd = ORIEL_VRING_FD_NONE, with_fd = 0;
        const struct oriel_wire_log log = {0};

        refuse(ORIEL_FROM_BACKEND, ORIEL_BACKEND_SHMEM_MAP, &map, sizeof(map), 1, "flags");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_MEM_TABLE, &memory, 8 + 32, 2, "num_regions");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_MEM_TABLE, &memory, 8 + 64, 1, "fds");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_MEM_TABLE, &many, 8 + 64, 1, "above 8");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_GET_CONFIG, &config, 12 + 7, 0, "payload size");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_GET_CONFIG, &long_config, 12, 0, "above 256");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_CONFIG, &flags, 12, 0, "flags");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_DEVICE_STATE_FD, &state_phase, 8, 1, "phase");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_DEVICE_STATE_FD, &state_direction, 8, 1, "direction");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_VRING_KICK, &bits, 8, 0, "missing");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_VRING_KICK, &no_fd, 8, 1, "invalid-fd");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_VRING_KICK, &with_fd, 8, 0, "missing");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_LOG_BASE, &log, 16, 0, "missing");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_LOG_BASE, &log, 8, 1, "without");
        refuse(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_LOG_BASE, &log, 12, 0, "neither");
        refuse(ORIEL_FROM_FRONTEND, 77, &bits, 0, 0, "no such message");

        /* Fields that nobody reads. */
        tolerate(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_GET_VRING_BASE, &vring, sizeof(vring), 0, "num");
        tolerate(ORIEL_FROM_BACKEND, ORIEL_BACKEND_VRING_CALL, &vring, sizeof(vring), 0, "num");
        tolerate(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_SET_VRING_KICK, &bits, 8, 1, "reserved");
}

static int check_config_reply(uint32_t num_regions, uint64_t size)
{
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_GET_SHMEM_CONFIG);
        struct oriel_wire_shmem_config config = {.num_regions = num_regions, .sizes = {[3] = size}};
        struct message message;
        struct complaint complaint;

        message_init(&message, row->id, ORIEL_FLAG_REPLY);
        message_set(&message, &config, sizeof(config));
        return message_check_reply(row, &message, &everything, &complaint);
}

static void test_replies(void **state)
{
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_GET_FEATURES);
        struct message message;
        struct complaint complaint;

        assert_int_equal(check_config_reply(1, 8192), 0);
        assert_int_equal(check_config_reply(1, 8191), -EPROTO);
        assert_int_equal(check_config_reply(2, 8192), 1);

        message_init(&message, row->id, ORIEL_FLAG_REPLY);
        message_set_u64(&message, 1);
        assert_int_equal(message_check_reply(row, &message, &everything, &complaint), 0);
        message.header.size = 4;
        assert_int_equal(message_check_reply(row, &message, &everything, &complaint), -EPROTO);
        message.header.size = 8;
        message.n_fds = 1;
        assert_int_equal(message_check_reply(row, &message, &everything, &complaint), -EPROTO);
        message.n_fds = 0;
        message.header.request++;
        assert_int_equal(message_check_reply(row, &message, &everything, &complaint), -EPROTO);
        message_init(&message, row->id, 0);
        message_set_u64(&message, 1);
        assert_int_equal(message_check_reply(row, &message, &everything, &complaint), -EPROTO);
}

static void test_dialects(void **state)
{
        const struct oriel_dialect *old = oriel_dialect_find("shmem-21"), *oldest = oriel_dialect_find("shmem-20");
        const uint64_t shmem = ORIEL_FEATURE(ORIEL_PROTOCOL_F_SHMEM_MAP), gpa = ORIEL_FEATURE(21), mq = 1;

        assert_int_equal(oriel_dialect_to_wire(NULL, shmem | gpa | mq), shmem | gpa | mq);
        assert_int_equal(oriel_dialect_to_wire(old, shmem | mq), ORIEL_FEATURE(21) | mq);
        assert_int_equal(oriel_dialect_to_wire(old, gpa | mq), mq);
        assert_int_equal(oriel_dialect_from_wire(old, ORIEL_FEATURE(21) | mq), shmem | mq);
        assert_int_equal(oriel_dialect_from_wire(old, ORIEL_FEATURE(22)), 0);
        assert_int_equal(oriel_dialect_from_wire(oldest, ORIEL_FEATURE(20) | ORIEL_FEATURE(21)), shmem);
        assert_int_equal(oriel_dialect_from_wire(oriel_dialect_get(0), ORIEL_FEATURE(21)), gpa);
        assert_null(oriel_dialect_find("guess"));
        assert_null(oriel_dialect_get(3));
}

static void test_print(void **state)
{
        const struct oriel_wire_mmap map = {.shmid = 3, .shm_offset = 0x200000, .len = 0x1000, .flags = 1};
        char text[4096], tiny[4], *bytes = test_malloc(ORIEL_MAX_PAYLOAD);

        oriel_payload_print(ORIEL_PAYLOAD_MMAP, &map, sizeof(map), text, sizeof(text));
        assert_string_equal(text, "shmid 3 fd_offset 0x0 shm_offset 0x200000 len 0x1000 read-write");
        assert_true(oriel_payload_print(ORIEL_PAYLOAD_MMAP, &map, sizeof(map), tiny, sizeof(tiny)) > 60);
        assert_string_equal(tiny, "shm");
        test_free(bytes);

        /* A printer reads no more than the given size: the buffers are exact, so that a sanitizer finds it. */
        for (int kind = 0; kind < ORIEL_PAYLOADS; kind++)
                for (size_t size = 0; size < 320; size++) {
                        bytes = test_malloc(size + 1);
                        memset(bytes, 0xff, size);
                        oriel_payload_print((enum oriel_payload)kind, bytes, size, text, sizeof(text));
                        test_free(bytes);
                }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_every_row), counted_test(test_ids_are_the_specifications),
                counted_test(test_headers),   counted_test(test_contents),
                counted_test(test_replies),   counted_test(test_dialects),
                counted_test(test_print),
        };

        return run_counted("protocol", tests);
}
