/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/hostile/hostile.h"
#include "tests/hostile/rows.h"
#include "tests/hostile/target.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Our back-end against a front-end that breaks every rule of the table. Each broken message ends in one of two ways: it
 * is refused and the connection lives, or the connection ends with one error that names the message and the field. */

/* @raw on a fresh connection, with and without need_reply. */
static void try_row(struct target *target, const struct oriel_message_row *row, const struct raw *raw, const char *what,
                    const char *field, bool fatal, uint64_t features)
{
        for (int asks = 0; asks < 2; asks++) {
                bool refused = asks && !fatal && is_acknowledged(row);
                struct raw sent = *raw, reply;

                connect_to(target, features, 0);
                if (asks)
                        sent.header.flags |= ORIEL_FLAG_NEED_REPLY;
                raw_send(target->socket, &sent);

                enum outcome outcome = raw_receive(target->socket, &reply, 10000);

                if (refused)
                        expect_refused(target, outcome, row->name, what);
                else
                        expect_closed(target, outcome, row->name, what);
                expect_error(target, row->name, what, field);
                if (!fatal)
                        expect_error(target, row->name, what, row->name);
                disconnect_from(target);
        }
}

static void test_every_row_every_way(void **state)
{
        struct target target;
        unsigned tried = 0;

        target_open(&target);
        for (uint32_t id = 1; id < oriel_message_count(ORIEL_FROM_FRONTEND); id++) {
                const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, id);
                const struct spoiler *spoiler;

                for (unsigned i = 0; (spoiler = spoiler_get(i)); i++) {
                        struct raw raw;

                        raw_init(&raw, row, target.fd);
                        if (!spoiler->spoil(row, &raw))
                                continue;
                        try_row(&target, row, &raw, spoiler->name, spoiler->field, spoiler->fatal, ALL);
                        tried++;
                }
        }
        assert_between(tried, 44 * 9, 44 * 14);
        target_close(&target);
}

/* All features but the one that the row needs, and what depends on that. */
static void test_every_row_not_negotiated(void **state)
{
        struct target target;

        target_open(&target);
        for (uint32_t id = 1; id < oriel_message_count(ORIEL_FROM_FRONTEND); id++) {
                const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, id);
                uint64_t features = ALL & ~ORIEL_FEATURE(row->feature) & ~F(INBAND_NOTIFICATIONS);
                struct raw raw;

                /* Our back-end always offers protocol features. */
                if (row->gate == ORIEL_GATE_NONE || row->gate == ORIEL_GATE_PROTOCOL_FEATURES)
                        continue;
                if (row->gate == ORIEL_GATE_VIRTIO_FEATURE)
                        features = ALL;
                if (row->feature == ORIEL_PROTOCOL_F_INFLIGHT_SHMFD)
                        features &= ~F(GET_VRING_BASE_INFLIGHT);
                raw_init(&raw, row, target.fd);
                try_row(&target, row, &raw, "not negotiated", "was not negotiated", false, features);
        }
        target_close(&target);
}

static void test_every_row_cut_at_every_byte(void **state)
{
        struct target target;

        target_open(&target);
        for (uint32_t id = 1; id < oriel_message_count(ORIEL_FROM_FRONTEND); id++) {
                const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, id);
                struct raw raw, reply;

                raw_init(&raw, row, target.fd);
                for (size_t n = 0; n < sizeof(raw.header) + raw.header.size; n++) {
                        connect_to(&target, ALL, 0);
                        assert_true(raw_send_part(target.socket, &raw, n));
                        shutdown(target.socket, SHUT_WR);
                        assert_int_equal(raw_receive(target.socket, &reply, 10000), OUTCOME_CLOSED);
                        assert_int_equal(echo_join(target.echo), n == 0 ? -ENOTCONN : -EPROTO);
                        assert_int_equal(atomic_load(&echo_counts(target.echo)->errors), n == 0 ? 0 : 1);
                        disconnect_from(&target);
                }
        }
        target_close(&target);
}

static void test_fds_after_the_first_byte(void **state)
{
        struct target target;

        target_open(&target);
        for (uint32_t id = 1; id < oriel_message_count(ORIEL_FROM_FRONTEND); id++) {
                const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, id);
                struct raw raw, reply;

                raw_init(&raw, row, target.fd);
                raw.header.size = 8;
                raw.n_fds = 0;
                connect_to(&target, ALL, 0);
                assert_true(raw_send_part(target.socket, &raw, 12));
                usleep(200);
                raw.n_fds = 1;
                assert_true(raw_send_part(target.socket, &raw, 8));
                expect_closed(&target, raw_receive(target.socket, &reply, 10000), row->name, "late fds");
                expect_error(&target, row->name, "late fds", "fd");
                disconnect_from(&target);
        }
        target_close(&target);
}

static void test_unknown_requests(void **state)
{
        static const uint32_t ids[] = {0, ORIEL_FRONTEND_REQUESTS, 1000, 0x80000001, UINT32_MAX};
        struct target target;

        target_open(&target);
        for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
                for (int asks = 0; asks < 2; asks++) {
                        struct raw raw, reply;

                        raw_init_u64s(&raw, ids[i], (uint64_t[]){1, 2}, 16);
                        raw.header.flags |= asks ? ORIEL_FLAG_NEED_REPLY : 0;
                        raw.n_fds = 1;
                        raw.fds[0] = target.fd;
                        connect_to(&target, ALL, 0);
                        assert_true(raw_send(target.socket, &raw));

                        enum outcome outcome = raw_receive(target.socket, &reply, 10000);

                        if (asks)
                                expect_refused(&target, outcome, "unknown", "request");
                        else
                                expect_closed(&target, outcome, "unknown", "request");
                        expect_error(&target, "unknown", "request", "no such message");
                        disconnect_from(&target);
                }
        target_close(&target);
}

/* ---- peers that do not listen, or talk nonsense ---- */

static void test_a_peer_that_never_reads(void **state)
{
        struct target target;
        struct raw raw, reply;

        target_open(&target);
        connect_to(&target, ALL, 0);
        raw_init_u64s(&raw, ORIEL_FRONTEND_GET_SHMEM_CONFIG, NULL, 0);
        while (raw_send(target.socket, &raw))
                ;
        assert_int_equal(echo_join(target.echo), -EPROTO);
        expect_error(&target, "GET_SHMEM_CONFIG", "unread", "GET_SHMEM_CONFIG");
        while (raw_receive(target.socket, &reply, 1000) != OUTCOME_CLOSED)
                ;
        disconnect_from(&target);
        target_close(&target);
}

static void *change_config(void *userdata)
{
        struct oriel_backend *backend = userdata;

        while (oriel_backend_config_changed(backend, NULL) == 0)
                ;
        return NULL;
}

/* The device's threads may wait for such a peer, the dispatching thread may not. */
static void test_a_peer_that_never_reads_the_back_end_channel(void **state)
{
        struct target target;
        struct timespec before, after;
        pthread_t thread;
        struct raw raw;
        int fds[2];

        target_open(&target);
        connect_to(&target, ALL & ~F(REPLY_ACK) & ~F(INBAND_NOTIFICATIONS), 0);
        assert_int_equal(make_socketpair(fds), 0);
        raw_init_u64s(&raw, ORIEL_FRONTEND_SET_BACKEND_REQ_FD, NULL, 0);
        raw.n_fds = 1;
        raw.fds[0] = fds[1];
        assert_true(raw_send(target.socket, &raw));
        assert_true(is_alive(&target));
        assert_int_equal(pthread_create(&thread, NULL, change_config, echo_backend(target.echo)), 0);
        usleep(100000);
        clock_gettime(CLOCK_MONOTONIC, &before);
        assert_true(is_alive(&target));
        disconnect_from(&target);
        pthread_join(thread, NULL);
        clock_gettime(CLOCK_MONOTONIC, &after);
        assert_between(after.tv_sec - before.tv_sec, 0, 60);
        target_close(&target);
        fd_close_all(fds, 2);
}

static void *wait_for_ever(void *userdata)
{
        struct oriel_backend *backend = userdata;
        uint64_t ticket;

        if (oriel_backend_config_changed(backend, &ticket) == 0)
                oriel_backend_wait(backend, ticket);
        return NULL;
}

static void *change_config_until(void *userdata)
{
        struct oriel_backend *backend = userdata;
        int r = 0;

        while (r == 0)
                r = oriel_backend_config_changed(backend, NULL);
        return (void *)(intptr_t)r;
}

/* One thread waits for its answer, and so reads. Who wants none is not to wait as long: 64 are unanswered at most. */
static void test_a_peer_that_never_answers(void **state)
{
        struct timespec last_resort;
        struct target target;
        pthread_t reader, sender;
        struct raw raw;
        void *result;
        int fds[2];

        target_open(&target);
        connect_to(&target, ALL & ~F(INBAND_NOTIFICATIONS), 0);
        assert_int_equal(make_socketpair(fds), 0);
        raw_init_u64s(&raw, ORIEL_FRONTEND_SET_BACKEND_REQ_FD, NULL, 0);
        raw.n_fds = 1;
        raw.fds[0] = fds[1];
        assert_true(raw_send(target.socket, &raw));
        assert_true(is_alive(&target));
        assert_int_equal(pthread_create(&reader, NULL, wait_for_ever, echo_backend(target.echo)), 0);
        usleep(100000);
        assert_int_equal(pthread_create(&sender, NULL, change_config_until, echo_backend(target.echo)), 0);
        clock_gettime(CLOCK_REALTIME, &last_resort);
        last_resort.tv_sec += 120;
        assert_int_equal(pthread_timedjoin_np(sender, &result, &last_resort), 0);
        assert_int_equal((intptr_t)result, -ETIMEDOUT);
        fd_close_all(fds, 2);
        disconnect_from(&target);
        pthread_join(reader, NULL);
        target_close(&target);
}

/* All that was sent is read and answered. */
static void hear_out(struct target *target)
{
        enum outcome outcome;
        struct raw reply;

        shutdown(target->socket, SHUT_WR);
        do
                outcome = raw_receive(target->socket, &reply, 10000);
        while (outcome == OUTCOME_ACCEPTED || outcome == OUTCOME_REFUSED);
        assert_int_equal(outcome, OUTCOME_CLOSED);
}

static void test_random_bytes(void **state)
{
        struct target target;
        uint32_t seed = 1;

        target_open(&target);
        for (int i = 0; i < 2000; i++) {
                struct raw raw = {.n_fds = 0};

                random_fill(&seed, &raw, 200);
                raw.n_fds = random_next(&seed) % 3;
                for (unsigned j = 0; j < 3; j++)
                        raw.fds[j] = target.fd;
                connect_to(&target, ALL, 0);
                raw_send_part(target.socket, &raw, random_next(&seed) % 200);
                hear_out(&target);
                disconnect_from(&target);
        }
        target_close(&target);
}

static void test_random_messages(void **state)
{
        struct target target;
        uint32_t seed = 2;

        target_open(&target);
        for (int i = 0; i < 1500; i++) {
                connect_to(&target, ALL & ~F(DEVICE_STATE), i % 2 ? IOMMU : 0);
                for (int j = 0; j < 30; j++) {
                        struct raw raw;

                        random_raw(&seed, ORIEL_FROM_FRONTEND, &raw, target.fd);
                        if (raw.header.request == ORIEL_FRONTEND_SET_PROTOCOL_FEATURES ||
                            !raw_send(target.socket, &raw))
                                break;
                }
                hear_out(&target);
                disconnect_from(&target);
        }
        target_close(&target);
}

/* A limit of this end's own: said as what it is, and the connection goes on. */
static void test_no_descriptor_for_a_request(void **state)
{
        struct target target;
        unsigned tried = 0;

        target_open(&target);
        for (uint32_t id = 1; id < oriel_message_count(ORIEL_FROM_FRONTEND); id++) {
                const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, id);
                struct rlimit before;
                struct raw raw;

                if (row->fds.max == 0)
                        continue;
                connect_to(&target, ALL, 0);
                assert_true(is_alive(&target));
                raw_init(&raw, row, target.fd);
                raw.n_fds = row->fds.max;
                raw.header.flags |= ORIEL_FLAG_NEED_REPLY;
                descriptors_run_out(&before);
                assert_true(raw_send(target.socket, &raw));

                enum outcome outcome = raw_receive(target.socket, &raw, 10000);

                descriptors_come_back(&before);
                expect_refused(&target, outcome, row->name, "no descriptor");
                expect_error(&target, row->name, "no descriptor", "ulimit -n");
                disconnect_from(&target);
                tried++;
        }
        assert_between(tried, 12, 20);
        target_close(&target);
}

/* An answer of the front-end's brings one. */
static void test_no_descriptor_for_an_answer(void **state)
{
        const uint8_t uuid[16] = {1};
        struct oriel_backend *backend;
        struct target target;
        struct rlimit before;
        struct raw raw;
        int back[2];

        target_open(&target);
        backend = echo_backend(target.echo);
        connect_to(&target, ALL, 0);
        assert_int_equal(make_socketpair(back), 0);
        raw_init_u64s(&raw, ORIEL_FRONTEND_SET_BACKEND_REQ_FD, NULL, 0);
        raw.n_fds = 1;
        raw.fds[0] = back[1];
        assert_true(raw_send(target.socket, &raw));
        assert_true(is_alive(&target));
        for (int i = 0; i < 2; i++) {
                raw_init_u64s(&raw, ORIEL_BACKEND_SHARED_OBJECT_LOOKUP, &(uint64_t){0}, 8);
                raw.header.flags |= ORIEL_FLAG_REPLY;
                raw.n_fds = 1;
                raw.fds[0] = target.fd;
                assert_true(raw_send(back[0], &raw));
                if (i == 0)
                        descriptors_run_out(&before);

                int r = oriel_backend_shared_object_lookup(backend, uuid);

                if (i == 0)
                        descriptors_come_back(&before);
                if (i == 0)
                        assert_int_equal(r, -EMFILE);
                else
                        assert_true(r >= 0);
                fd_close(r);
        }
        expect_error(&target, "SHARED_OBJECT_LOOKUP", "no descriptor", "ulimit -n");
        disconnect_from(&target);
        fd_close_all(back, 2);
        target_close(&target);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_no_descriptor_for_a_request),
                counted_test(test_no_descriptor_for_an_answer),
                counted_test(test_every_row_every_way),
                counted_test(test_every_row_not_negotiated),
                counted_test(test_every_row_cut_at_every_byte),
                counted_test(test_fds_after_the_first_byte),
                counted_test(test_unknown_requests),
                counted_test(test_a_peer_that_never_reads),
                counted_test(test_a_peer_that_never_reads_the_back_end_channel),
                counted_test(test_a_peer_that_never_answers),
                counted_test(test_random_bytes),
                counted_test(test_random_messages),
        };

        return run_counted("hostile-frontend", tests);
}
