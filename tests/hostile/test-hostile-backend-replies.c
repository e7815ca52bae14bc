/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/hostile/rows.h"
#include "tests/hostile/subject.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Our front-end against answers that are none. */

#define ALL  (oriel_frontend_supported())
#define FROM ORIEL_FROM_FRONTEND

/* The request of a row in its least form. */
static int ask(struct subject *subject, const struct oriel_message_row *row, void *reply, uint32_t *size)
{
        struct raw raw;

        raw_init(&raw, row, subject->fd);
        return oriel_frontend_request(subject->frontend, row->id, raw.payload, raw.header.size,
                                      raw.n_fds ? subject->fd : -1, reply, size);
}

/* Rows that this front-end can send: the others' features it never agrees on. */
static bool can_ask(const struct oriel_message_row *row)
{
        return row->gate != ORIEL_GATE_PROTOCOL_FEATURE || ALL & ORIEL_FEATURE(row->feature);
}

static void connect_all(struct subject *subject)
{
        subject_connect(subject, ALL);
        subject_reply(subject, ORIEL_FRONTEND_SET_FEATURES, 0, 8);
        assert_int_equal(oriel_frontend_set_features(subject->frontend, VIRTIO), 0);
        subject_drain(subject);
}

/* A reply that the row accepts. SET_LOG_BASE has one too, as LOG_SHMFD is agreed on. */
static void make_reply(const struct subject *subject, const struct oriel_message_row *row, struct raw *raw)
{
        bool full = !is_acknowledged(row);

        *raw = (struct raw){
                .header = {row->id, ORIEL_PROTOCOL_VERSION | ORIEL_FLAG_REPLY, full ? row->reply_size.min : 8}};
        for (unsigned i = 0; i < RAW_FDS; i++)
                raw->fds[i] = subject->fd;
}

/* ---- every way to answer wrongly ---- */

static bool no_flag(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.flags &= ~ORIEL_FLAG_REPLY;
        return true;
}

static bool other_request(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.request = row->id == 1 ? 2 : 1;
        return true;
}

static bool version_2(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.flags ^= ORIEL_FLAG_VERSION;
        return true;
}

static bool shorter(const struct oriel_message_row *row, struct raw *raw)
{
        if (raw->header.size == 0)
                return false;
        raw->header.size--;
        return true;
}

static bool longer(const struct oriel_message_row *row, struct raw *raw)
{
        uint32_t max = is_acknowledged(row) ? 8 : row->reply_size.max;

        raw->header.size = max + 1;
        return max < ORIEL_MAX_PAYLOAD;
}

static bool oversize(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.size = ORIEL_MAX_PAYLOAD + 1;
        return true;
}

static bool more_fds(const struct oriel_message_row *row, struct raw *raw)
{
        raw->n_fds = row->reply_fds.max + 1;
        return true;
}

static bool nine_fds(const struct oriel_message_row *row, struct raw *raw)
{
        raw->n_fds = 9;
        return true;
}

static const struct spoiler wrongs[] = {
        {"no reply flag", no_flag, "reply flag", false}, {"of another request", other_request, "reply is to", false},
        {"version 2", version_2, "version", false},      {"shorter", shorter, "payload size", false},
        {"longer", longer, "payload size", false},       {"oversize", oversize, "payload size", false},
        {"more fds", more_fds, "number of fds", false},  {"nine fds", nine_fds, "more than 8 fds", false},
};

static void try_row(struct subject *subject, const struct oriel_message_row *row, const struct spoiler *wrong)
{
        struct raw reply;

        make_reply(subject, row, &reply);
        if (!wrong->spoil(row, &reply))
                return;
        connect_all(subject);
        assert_true(raw_send(subject->main, &reply));

        int r = ask(subject, row, NULL, NULL);

        if (r != -EPROTO || oriel_frontend_connected(subject->frontend))
                fail_msg("%s, %s: %d", row->name, wrong->name, r);
        subject_expect_error(subject, row->name, wrong->name, wrong->field);
        subject_disconnect(subject);
}

static void test_every_reply_every_way(void **state)
{
        struct subject subject;
        unsigned rows = 0;

        subject_open(&subject, 1000);
        for (uint32_t id = 1; id < oriel_message_count(FROM); id++) {
                const struct oriel_message_row *row = oriel_message_find(FROM, id);

                if (!can_ask(row))
                        continue;
                rows++;
                for (size_t i = 0; i < ARRAY_SIZE(wrongs); i++)
                        try_row(&subject, row, &wrongs[i]);
        }
        assert_int_equal(rows, 43);
        subject_close(&subject);
}

static void test_every_reply_cut_at_every_byte(void **state)
{
        struct subject subject;

        subject_open(&subject, 1000);
        for (uint32_t id = 1; id < oriel_message_count(FROM); id++) {
                const struct oriel_message_row *row = oriel_message_find(FROM, id);
                struct raw reply;

                if (!can_ask(row))
                        continue;
                make_reply(&subject, row, &reply);
                for (size_t n = 0; n < sizeof(reply.header) + reply.header.size && n < 60; n++) {
                        connect_all(&subject);
                        assert_true(raw_send_part(subject.main, &reply, n));
                        shutdown(subject.main, SHUT_WR);
                        assert_int_equal(ask(&subject, row, NULL, NULL), n == 0 ? -ENOTCONN : -EPROTO);
                        subject_expect_error(&subject, row->name, "cut", "closed the connection");
                        subject_disconnect(&subject);
                }
        }
        subject_close(&subject);
}

static void test_every_reply_that_never_comes(void **state)
{
        struct subject subject;

        subject_open(&subject, 5);
        for (uint32_t id = 1; id < oriel_message_count(FROM); id++) {
                const struct oriel_message_row *row = oriel_message_find(FROM, id);

                if (!can_ask(row))
                        continue;
                connect_all(&subject);
                assert_int_equal(ask(&subject, row, NULL, NULL), -ETIMEDOUT);
                assert_false(oriel_frontend_connected(subject.frontend));
                subject_expect_error(&subject, row->name, "silence", "no reply within 5 ms");
                subject_disconnect(&subject);
        }
        subject_close(&subject);
}

/* A back-end may have to go through all the memory that it is told of: 1 ms more for each 16 KiB. */
static void test_silence_about_memory(void **state)
{
        const struct oriel_memory_region regions[] = {
                {.size = 1 << 20}, {.guest_address = 1 << 20, .user_address = 1 << 20, .size = 1 << 20}};
        const int fds[] = {0, 0};
        struct subject subject;

        subject_open(&subject, 5);
        connect_all(&subject);
        assert_int_equal(oriel_frontend_add_mem_reg(subject.frontend, &regions[0], fds[0]), -ETIMEDOUT);
        subject_expect_error(&subject, "ADD_MEM_REG", "silence", "no reply within 69 ms");
        subject_disconnect(&subject);
        connect_all(&subject);
        assert_int_equal(oriel_frontend_set_mem_table(subject.frontend, regions, fds, ARRAY_SIZE(regions)), -ETIMEDOUT);
        subject_expect_error(&subject, "SET_MEM_TABLE", "silence", "no reply within 133 ms");
        subject_disconnect(&subject);
        subject_close(&subject);
}

static void test_every_refusal(void **state)
{
        struct subject subject;

        subject_open(&subject, 1000);
        connect_all(&subject);
        for (uint32_t id = 1; id < oriel_message_count(FROM); id++) {
                const struct oriel_message_row *row = oriel_message_find(FROM, id);

                if (!can_ask(row) || !is_acknowledged(row))
                        continue;
                subject_reply(&subject, id, 1, 8);
                assert_int_equal(ask(&subject, row, NULL, NULL), -EREMOTEIO);
                subject_drain(&subject);
        }
        assert_true(subject_is_alive(&subject));
        assert_int_equal(subject.errors, 0);
        subject_close(&subject);
}

static void test_unsolicited_replies(void **state)
{
        struct subject subject;

        subject_open(&subject, 1000);
        for (uint32_t id = 0; id <= oriel_message_count(FROM); id++) {
                connect_all(&subject);
                subject_reply(&subject, id, 0, 8);
                assert_int_equal(oriel_frontend_dispatch(subject.frontend), -EPROTO);
                subject_expect_error(&subject, "row", "unsolicited", "unsolicited");
                subject_disconnect(&subject);
        }
        subject_close(&subject);
}

/* ---- contents ---- */

static void reply_bytes(struct subject *subject, uint32_t request, const void *data, uint32_t size, unsigned n_fds)
{
        struct raw raw = {.header = {request, ORIEL_PROTOCOL_VERSION | ORIEL_FLAG_REPLY, size}, .n_fds = n_fds};

        memcpy(raw.payload, data, size);
        raw.fds[0] = subject->fd;
        assert_true(raw_send(subject->main, &raw));
}

static void test_shmem_config_lies(void **state)
{
        static const struct {
                uint32_t num_regions;
                uint64_t size;
        } configs[] = {{1, 1}, {1, PAGE + 1}, {1, UINT64_MAX}};
        uint64_t sizes[ORIEL_MAX_SHMIDS];
        struct subject subject;

        subject_open(&subject, 1000);
        for (size_t i = 0; i < ARRAY_SIZE(configs); i++) {
                struct oriel_wire_shmem_config config = {.num_regions = configs[i].num_regions};

                config.sizes[i * 40] = configs[i].size;
                connect_all(&subject);
                reply_bytes(&subject, ORIEL_FRONTEND_GET_SHMEM_CONFIG, &config, sizeof(config), 0);
                assert_int_equal(oriel_frontend_get_shmem_config(subject.frontend, sizes), -EPROTO);
                subject_expect_error(&subject, "GET_SHMEM_CONFIG", "lie", "GET_SHMEM_CONFIG: ");
                subject_disconnect(&subject);
        }

        /* The sizes say how many regions there are; a number that says otherwise is said once. */
        struct oriel_wire_shmem_config miscounted = {.num_regions = 257, .sizes = {PAGE}};

        connect_all(&subject);
        for (int i = 0; i < 2; i++) {
                reply_bytes(&subject, ORIEL_FRONTEND_GET_SHMEM_CONFIG, &miscounted, sizeof(miscounted), 0);
                assert_int_equal(oriel_frontend_get_shmem_config(subject.frontend, sizes), 0);
                assert_int_equal(sizes[0], PAGE);
        }
        subject_close(&subject);
}

static int get_config(struct subject *subject, uint32_t offset, uint32_t size, uint32_t given)
{
        struct oriel_wire_config config = {.offset = offset, .size = size};
        uint8_t bytes[16];

        connect_all(subject);
        reply_bytes(subject, ORIEL_FRONTEND_GET_CONFIG, &config, given, 0);

        int r = oriel_frontend_get_config(subject->frontend, 4, bytes, sizeof(bytes));

        subject_disconnect(subject);
        return r;
}

static void test_config_lies(void **state)
{
        struct subject subject;

        subject_open(&subject, 1000);
        assert_int_equal(get_config(&subject, 4, 16, 28), 0);
        assert_int_equal(get_config(&subject, 4, 16, 0), -EREMOTEIO);
        assert_int_equal(get_config(&subject, 5, 16, 28), -EREMOTEIO);
        assert_int_equal(get_config(&subject, 4, 15, 27), -EREMOTEIO);
        assert_int_equal(get_config(&subject, 4, 17, 29), -EREMOTEIO);
        assert_int_equal(get_config(&subject, 4, 16, 27), -EREMOTEIO);
        assert_int_equal(get_config(&subject, 4, 257, 28), -EPROTO);
        assert_int_equal(get_config(&subject, 4, UINT32_MAX, 28), -EPROTO);
        assert_int_equal(get_config(&subject, 4, 16, 4), -EPROTO);
        subject_close(&subject);
}

/* A limit of this end's own: said as what it is, and the connection goes on. */
static void test_no_descriptor_for_a_reply(void **state)
{
        const struct oriel_wire_inflight inflight = {.mmap_size = PAGE, .num_queues = 1, .queue_size = 16};
        struct oriel_wire_inflight got = inflight;
        struct rlimit before;
        struct subject subject;
        int fd;

        subject_open(&subject, 1000);
        connect_all(&subject);
        reply_bytes(&subject, ORIEL_FRONTEND_GET_INFLIGHT_FD, &inflight, sizeof(inflight), 1);
        descriptors_run_out(&before);

        int r = oriel_frontend_get_inflight_fd(subject.frontend, &got, &fd);

        descriptors_come_back(&before);
        assert_int_equal(r, -EMFILE);
        subject_expect_error(&subject, "GET_INFLIGHT_FD", "no descriptor", "ulimit -n");
        assert_true(subject_is_alive(&subject));
        subject_close(&subject);
}

static void test_other_lies(void **state)
{
        const struct oriel_wire_inflight inflight = {.mmap_size = PAGE, .num_queues = 1, .queue_size = 16};
        const struct oriel_wire_inflight lies[] = {
                {.mmap_size = PAGE, .num_queues = 0, .queue_size = 16},
                {.mmap_size = PAGE, .num_queues = 2, .queue_size = 16},
                {.mmap_size = PAGE, .num_queues = 1, .queue_size = 32},
                {.mmap_size = 0, .num_queues = 1, .queue_size = 16},
                {.mmap_size = UINT64_MAX, .mmap_offset = PAGE, .num_queues = 1, .queue_size = 16},
                {.mmap_size = PAGE, .mmap_offset = INT64_MAX, .num_queues = 1, .queue_size = 16},
        };
        struct oriel_wire_inflight got = inflight;
        struct subject subject;
        unsigned queues;
        uint32_t base;
        int fd;

        subject_open(&subject, 1000);
        connect_all(&subject);
        reply_bytes(&subject, ORIEL_FRONTEND_GET_INFLIGHT_FD, &inflight, sizeof(inflight), 0);
        assert_int_equal(oriel_frontend_get_inflight_fd(subject.frontend, &got, &fd), -EREMOTEIO);
        subject_expect_error(&subject, "GET_INFLIGHT_FD", "no fd", "not what was asked for");

        /* A buffer that does not hold what was asked for. */
        for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
                reply_bytes(&subject, ORIEL_FRONTEND_GET_INFLIGHT_FD, &lies[i], sizeof(lies[i]), 1);
                got = inflight;
                assert_int_equal(oriel_frontend_get_inflight_fd(subject.frontend, &got, &fd), -EREMOTEIO);
                subject_expect_error(&subject, "GET_INFLIGHT_FD", "a lie", "not what was asked for");
        }
        subject_reply(&subject, ORIEL_FRONTEND_GET_QUEUE_NUM, UINT64_MAX, 8);
        assert_int_equal(oriel_frontend_get_queue_num(subject.frontend, &queues), 0);
        assert_int_equal(queues, ORIEL_MAX_QUEUES);
        subject_reply(&subject, ORIEL_FRONTEND_SET_DEVICE_STATE_FD, ORIEL_DEVICE_STATE_NO_FD | 1, 8);
        assert_int_equal(oriel_frontend_set_device_state_fd(subject.frontend, ORIEL_DEVICE_STATE_SAVE, subject.fd, &fd),
                         -EREMOTEIO);
        assert_int_equal(fd, -1);
        assert_true(subject_is_alive(&subject));
        subject_reply(&subject, ORIEL_FRONTEND_GET_VRING_BASE, 7, 8);
        assert_int_equal(oriel_frontend_get_vring_base(subject.frontend, 3, &base), -EPROTO);
        subject_expect_error(&subject, "GET_VRING_BASE", "another vring", "vring");
        subject_close(&subject);
}

/* Answers to what needs none are never waited for, and so a peer that reads nothing is found out in time. */
static void test_a_peer_that_never_reads(void **state)
{
        struct subject subject;
        int r = 0;

        subject_open(&subject, 50);
        subject_connect(&subject, ALL & ~F(REPLY_ACK) & ~F(INBAND_NOTIFICATIONS));
        for (unsigned i = 0; i < 1000000 && r == 0; i++)
                r = oriel_frontend_set_vring_num(subject.frontend, 0, 16);
        assert_int_equal(r, -ETIMEDOUT);
        assert_false(oriel_frontend_connected(subject.frontend));
        subject_expect_error(&subject, "SET_VRING_NUM", "unread", "SET_VRING_NUM");
        subject_close(&subject);
}

/* A window that no process has room for is an error, not the end. */
static void test_a_region_larger_than_any_address_space(void **state)
{
        struct oriel_driver_options options = {.struct_size = sizeof(options)};
        struct echo *echo = echo_new(&(struct echo_options){.window = UINT64_C(1) << 60});
        struct oriel_driver *driver;
        int fds[2];

        assert_non_null(echo);
        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(echo_serve(echo, fds[1]), 0);
        assert_true(oriel_driver_new(&options, fds[0], &driver) < 0);
        echo_free(echo);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_every_reply_every_way),
                counted_test(test_every_reply_cut_at_every_byte),
                counted_test(test_every_reply_that_never_comes),
                counted_test(test_silence_about_memory),
                counted_test(test_every_refusal),
                counted_test(test_unsolicited_replies),
                counted_test(test_shmem_config_lies),
                counted_test(test_config_lies),
                counted_test(test_no_descriptor_for_a_reply),
                counted_test(test_other_lies),
                counted_test(test_a_peer_that_never_reads),
                counted_test(test_a_region_larger_than_any_address_space),
        };

        return run_counted("hostile-backend-replies", tests);
}
