/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/hostile/subject.h"

#include <errno.h>
#include <linux/vhost_types.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Our front-end against what a back-end sends on its own channel. */

#define ALL  (oriel_frontend_supported())
#define FROM ORIEL_FROM_BACKEND

static void acknowledge_iommu(struct subject *subject)
{
        subject_reply(subject, ORIEL_FRONTEND_SET_FEATURES, 0, 8);
        assert_int_equal(oriel_frontend_set_features(subject->frontend, VIRTIO), 0);
}

static void connect_all(struct subject *subject)
{
        subject_connect(subject, ALL);
        acknowledge_iommu(subject);
        subject_drain(subject);
        assert_true(subject->back >= 0);
}

static bool row_is_answered(const struct oriel_message_row *row, bool asks)
{
        return asks || row->reply == ORIEL_REPLY_ALWAYS;
}

/* @raw is wrong: the connection ends, or where it can be it is refused and all goes on. */
static void expect_wrong(struct subject *subject, const char *name, const char *what, bool refused)
{
        struct raw reply;
        int r = oriel_frontend_dispatch(subject->frontend);

        if (r != (refused ? 0 : -EPROTO))
                fail_msg("%s, %s: dispatch gave %d (%s)", name, what, r, subject->last_error);
        if (!refused)
                return;
        if (raw_receive(subject->back, &reply, 0) != OUTCOME_REFUSED)
                fail_msg("%s, %s: was not refused", name, what);
        if (!subject_is_alive(subject))
                fail_msg("%s, %s: nothing works any more", name, what);
}

static void try_row(struct subject *subject, const struct oriel_message_row *row, const struct raw *raw,
                    const struct spoiler *spoiler)
{
        for (int asks = 0; asks < 2; asks++) {
                struct raw sent = *raw;

                connect_all(subject);
                sent.header.flags |= asks ? ORIEL_FLAG_NEED_REPLY : 0;
                assert_true(raw_send(subject->back, &sent));
                expect_wrong(subject, row->name, spoiler->name, !spoiler->fatal && row_is_answered(row, asks));
                if (!spoiler->fatal)
                        assert_non_null(strstr(subject->last_error, row->name));
                subject_expect_error(subject, row->name, spoiler->name, spoiler->field);
                subject_disconnect(subject);
        }
}

static void test_every_row_every_way(void **state)
{
        struct subject subject;
        unsigned tried = 0;

        subject_open(&subject, 1000);
        for (uint32_t id = 1; id < oriel_message_count(FROM); id++) {
                const struct oriel_message_row *row = oriel_message_find(FROM, id);
                const struct spoiler *spoiler;

                for (unsigned i = 0; (spoiler = spoiler_get(i)); i++) {
                        struct raw raw;

                        raw_init(&raw, row, subject.fd);
                        if (!spoiler->spoil(row, &raw))
                                continue;
                        try_row(&subject, row, &raw, spoiler);
                        tried++;
                }
        }
        assert_between(tried, 10 * 11, 10 * 14);
        subject_close(&subject);
}

static void test_every_row_not_negotiated(void **state)
{
        struct subject subject;

        subject_open(&subject, 1000);
        for (uint32_t id = 1; id < oriel_message_count(FROM); id++) {
                const struct oriel_message_row *row = oriel_message_find(FROM, id);
                uint64_t feature = row->gate == ORIEL_GATE_PROTOCOL_FEATURE ? ORIEL_FEATURE(row->feature) : 0;
                struct raw raw;

                for (int asks = 0; asks < 2; asks++) {
                        raw_init(&raw, row, subject.fd);
                        raw.header.flags |= asks ? ORIEL_FLAG_NEED_REPLY : 0;
                        /* Without acknowledge_iommu(), IOTLB_MSG is not allowed either. */
                        subject_connect(&subject, ALL & ~feature);
                        assert_true(raw_send(subject.back, &raw));
                        expect_wrong(&subject, row->name, "not negotiated", row_is_answered(row, asks));
                        subject_expect_error(&subject, row->name, "not negotiated", "was not negotiated");
                        subject_disconnect(&subject);
                }
        }
        subject_close(&subject);
}

static void test_every_row_cut_at_every_byte(void **state)
{
        struct subject subject;

        subject_open(&subject, 1000);
        for (uint32_t id = 1; id < oriel_message_count(FROM); id++) {
                const struct oriel_message_row *row = oriel_message_find(FROM, id);
                struct raw raw;

                raw_init(&raw, row, subject.fd);
                for (size_t n = 1; n < sizeof(raw.header) + raw.header.size; n++) {
                        connect_all(&subject);
                        assert_true(raw_send_part(subject.back, &raw, n));
                        assert_int_equal(oriel_frontend_dispatch(subject.frontend), 0);
                        subject.back = fd_close(subject.back);
                        assert_int_equal(oriel_frontend_dispatch(subject.frontend), -EPROTO);
                        subject_expect_error(&subject, row->name, "cut", "closed the connection");
                        subject_disconnect(&subject);
                }
        }
        subject_close(&subject);
}

static void test_fds_after_the_first_byte(void **state)
{
        struct subject subject;

        subject_open(&subject, 1000);
        for (uint32_t id = 1; id < oriel_message_count(FROM); id++) {
                struct raw raw;

                raw_init(&raw, oriel_message_find(FROM, id), subject.fd);
                raw.n_fds = 0;
                raw.header.size = 8;
                connect_all(&subject);
                assert_true(raw_send_part(subject.back, &raw, 12));
                assert_int_equal(oriel_frontend_dispatch(subject.frontend), 0);
                raw.n_fds = 1;
                assert_true(raw_send_part(subject.back, &raw, 8));
                assert_int_equal(oriel_frontend_dispatch(subject.frontend), -EPROTO);
                subject_expect_error(&subject, "row", "late fds", "fds came after");
                subject_disconnect(&subject);
        }
        subject_close(&subject);
}

static void test_unknown_requests(void **state)
{
        static const uint32_t ids[] = {0, ORIEL_BACKEND_REQUESTS, 1000, UINT32_MAX};
        struct subject subject;

        subject_open(&subject, 1000);
        for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
                for (int asks = 0; asks < 2; asks++) {
                        struct raw raw;

                        raw_init_u64s(&raw, ids[i], (uint64_t[]){1}, 8);
                        raw.header.flags |= asks ? ORIEL_FLAG_NEED_REPLY : 0;
                        raw.n_fds = 1;
                        raw.fds[0] = subject.fd;
                        connect_all(&subject);
                        assert_true(raw_send(subject.back, &raw));
                        expect_wrong(&subject, "unknown", "request", asks);
                        subject_expect_error(&subject, "unknown", "request", "no such message");
                        subject_disconnect(&subject);
                }
        subject_close(&subject);
}

/* ---- well formed and untrue ---- */

#define MAP(...)   ORIEL_BACKEND_SHMEM_MAP, 40, {__VA_ARGS__}, 1
#define UNMAP(...) ORIEL_BACKEND_SHMEM_UNMAP, 40, {__VA_ARGS__}, 0

static const struct {
        const char *what;
        uint32_t request;
        uint32_t size;
        uint64_t words[5]; /* of a mapping: shmid, offset in the file, in the region, length, flags */
        unsigned n_fds;
} lies[] = {
        {"beyond the region", MAP(0, 0, WINDOW, PAGE, 1)},
        {"across its end", MAP(0, 0, WINDOW - PAGE, 2 * PAGE, 1)},
        {"overflow", MAP(0, 0, UINT64_MAX - PAGE + 1, PAGE, 1)},
        {"length that overflows", MAP(0, 0, PAGE, UINT64_MAX, 1)},
        {"length that rounds to 0", MAP(0, 0, 0, UINT64_MAX - 5, 1)},
        {"offset that overflows", MAP(0, UINT64_MAX - PAGE + 1, 0, PAGE, 1)},
        {"nothing", MAP(0, 0, 0, 0, 1)},
        {"no region", MAP(1, 0, 0, PAGE, 1)},
        {"no region", MAP(255, 0, 0, PAGE, 1)},
        {"flags", MAP(0, 0, 0, PAGE, 2)},
        {"flags", MAP(0, 0, 0, PAGE, UINT64_C(1) << 63)},
        {"within a page", MAP(0, 0, 1, PAGE, 1)},
        {"within a page of the file", MAP(0, 1, 0, PAGE, 1)},
        {"unmap of nothing", UNMAP(0, 0, 0, PAGE, 0)},
        {"unmap beyond", UNMAP(0, 0, WINDOW, PAGE, 0)},
        {"unmap of no region", UNMAP(9, 0, 0, PAGE, 0)},
        {"unmap of all there is", UNMAP(0, 0, 0, UINT64_MAX, 0)},
        {"a notifier's fd that is missing", ORIEL_BACKEND_VRING_HOST_NOTIFIER_MSG, 24, {0, PAGE, 0}, 0},
        {"a notifier's fd that is there", ORIEL_BACKEND_VRING_HOST_NOTIFIER_MSG, 24, {0x100, PAGE, 0}, 1},
        {"another vring's notifier", ORIEL_BACKEND_VRING_HOST_NOTIFIER_MSG, 24, {7, PAGE, 0}, 1},
        {"an update from the back-end", ORIEL_BACKEND_IOTLB_MSG, 32, {0, PAGE, 0, 3 | VHOST_IOTLB_UPDATE << 8}, 0},
        {"a miss for nothing known", ORIEL_BACKEND_IOTLB_MSG, 32, {0, PAGE, 0, 9 | VHOST_IOTLB_MISS << 8}, 0},
        {"an object that is not there", ORIEL_BACKEND_SHARED_OBJECT_LOOKUP, 16, {0, 0}, 0},
};

static void test_lies(void **state)
{
        struct subject subject;

        subject_open(&subject, 1000);
        connect_all(&subject);
        for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
                struct raw raw;

                raw_init_u64s(&raw, lies[i].request, lies[i].words, lies[i].size);
                raw.header.flags |= ORIEL_FLAG_NEED_REPLY;
                raw.n_fds = lies[i].n_fds;
                raw.fds[0] = subject.fd;
                assert_true(raw_send(subject.back, &raw));
                expect_wrong(&subject, "lie", lies[i].what, true);
                assert_int_equal(oriel_region_count(subject.region), 0);
        }
        subject_close(&subject);
}

/* ---- too much, and too little ---- */

static void test_a_peer_that_never_reads_its_answers(void **state)
{
        struct subject subject;
        struct raw raw;
        int r = 0;

        subject_open(&subject, 1000);
        connect_all(&subject);
        raw_init_u64s(&raw, ORIEL_BACKEND_CONFIG_CHANGE_MSG, NULL, 0);
        raw.header.flags |= ORIEL_FLAG_NEED_REPLY;
        for (unsigned i = 0; i < 100000 && r == 0; i++) {
                assert_true(raw_send(subject.back, &raw));
                r = oriel_frontend_dispatch(subject.frontend);
        }
        assert_int_equal(r, -EPROTO);
        subject_expect_error(&subject, "CONFIG_CHANGE_MSG", "unread", "does not read its answers");
        subject_close(&subject);
}

struct flood {
        int fd;
        int pass;
        atomic_bool ended;
        uint32_t request;
};

static void *flood(void *userdata)
{
        struct flood *flood = userdata;
        const uint64_t words[5] = {0, 0, 0, PAGE, 1};
        struct raw raw;
        bool maps = flood->request == ORIEL_BACKEND_SHMEM_MAP;

        raw_init_u64s(&raw, flood->request, words, maps ? 40 : 0);
        raw.n_fds = maps;
        raw.fds[0] = flood->pass;
        while (!atomic_load(&flood->ended) && raw_send(flood->fd, &raw))
                ;
        return NULL;
}

static int64_t now(void)
{
        struct timespec ts;

        clock_gettime(CLOCK_MONOTONIC, &ts);
        return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Requests without end don't keep the front-end from giving up on its own. */
static void test_a_flood_while_it_waits(void **state)
{
        static const uint32_t requests[] = {ORIEL_BACKEND_CONFIG_CHANGE_MSG, ORIEL_BACKEND_SHMEM_MAP};
        struct subject subject;

        subject_open(&subject, 200);
        for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
                struct flood sent;
                pthread_t thread;
                unsigned queues;

                connect_all(&subject);
                sent = (struct flood){subject.back, subject.fd, false, requests[i]};
                assert_int_equal(pthread_create(&thread, NULL, flood, &sent), 0);

                int64_t before = now();

                assert_int_equal(oriel_frontend_get_queue_num(subject.frontend, &queues), -ETIMEDOUT);
                assert_between(now() - before, 190, 60000);
                subject_expect_error(&subject, "GET_QUEUE_NUM", "flood", "GET_QUEUE_NUM: no reply within 200 ms");
                atomic_store(&sent.ended, true);
                pthread_join(thread, NULL);
                subject_disconnect(&subject);
        }
        subject_close(&subject);
}

static void test_a_back_end_that_closes_its_channel(void **state)
{
        struct subject subject;

        subject_open(&subject, 1000);
        connect_all(&subject);
        subject.back = fd_close(subject.back);
        assert_int_equal(oriel_frontend_dispatch(subject.frontend), 0);
        assert_true(subject_is_alive(&subject));
        assert_int_equal(subject.errors, 0);
        subject_close(&subject);
}

/* ---- nonsense ---- */

static void test_random_bytes(void **state)
{
        struct subject subject;
        uint32_t seed = 4;

        subject_open(&subject, 1000);
        for (int i = 0; i < 2000; i++) {
                struct raw raw;

                random_fill(&seed, &raw, 200);
                raw.n_fds = random_next(&seed) % 3;
                for (unsigned j = 0; j < 3; j++)
                        raw.fds[j] = subject.fd;
                connect_all(&subject);
                raw_send_part(i % 2 ? subject.back : subject.main, &raw, random_next(&seed) % 200);
                oriel_frontend_dispatch(subject.frontend);
                subject_disconnect(&subject);
        }
        subject_close(&subject);
}

static void test_random_messages(void **state)
{
        struct subject subject;
        uint32_t seed = 5;

        subject_open(&subject, 1000);
        for (int i = 0; i < 1000; i++) {
                connect_all(&subject);
                for (int j = 0; j < 50; j++) {
                        struct raw raw;

                        random_raw(&seed, FROM, &raw, subject.fd);
                        if (!raw_send(subject.back, &raw) || oriel_frontend_dispatch(subject.frontend) < 0)
                                break;
                }
                subject_disconnect(&subject);
                assert_int_equal(oriel_region_count(subject.region), 0);
        }
        subject_close(&subject);
}

/* A limit of this end's own: said as what it is, and the session goes on, answered or not. */
static void test_no_descriptor_for_a_mapping(void **state)
{
        struct subject subject;

        subject_open(&subject, 1000);
        for (int asks = 0; asks < 2; asks++) {
                const uint64_t words[5] = {0, 0, 0, PAGE, 1};
                struct rlimit before;
                struct raw raw;

                connect_all(&subject);
                raw_init_u64s(&raw, ORIEL_BACKEND_SHMEM_MAP, words, 40);
                raw.n_fds = 1;
                raw.fds[0] = subject.fd;
                raw.header.flags |= asks ? ORIEL_FLAG_NEED_REPLY : 0;
                assert_true(raw_send(subject.back, &raw));
                descriptors_run_out(&before);

                int r = oriel_frontend_dispatch(subject.frontend);

                descriptors_come_back(&before);
                assert_int_equal(r, 0);
                if (asks)
                        assert_int_equal(raw_receive(subject.back, &raw, 10000), OUTCOME_REFUSED);
                subject_expect_error(&subject, "SHMEM_MAP", "no descriptor", "ulimit -n");
                assert_int_equal(subject.told, 1);
                assert_true(subject_is_alive(&subject));
                assert_int_equal(oriel_region_count(subject.region), 0);
                subject_disconnect(&subject);
        }
        subject_close(&subject);
}

/* Of one connection 200 lines are logged and one that says so, whatever they are about; the next one has as many. */
static void test_lines_without_end(void **state)
{
        const uint64_t failure[4] = {PAGE, PAGE, 0, VHOST_IOTLB_ACCESS_FAIL << 8};
        struct subject subject;
        struct raw failed, wrong;

        raw_init_u64s(&failed, ORIEL_BACKEND_IOTLB_MSG, failure, 32);
        raw_init_u64s(&wrong, ORIEL_BACKEND_SHMEM_UNMAP, failure, 8);
        wrong.header.flags |= ORIEL_FLAG_NEED_REPLY;
        subject_open(&subject, 1000);
        for (int round = 0; round < 2; round++) {
                connect_all(&subject);
                for (int i = 0; i < 150; i++) {
                        assert_true(raw_send(subject.back, &failed) && raw_send(subject.back, &wrong));
                        assert_int_equal(oriel_frontend_dispatch(subject.frontend), 0);
                        assert_int_equal(raw_receive(subject.back, &(struct raw){0}, 10000), OUTCOME_REFUSED);
                }
                assert_true(subject.warnings >= 100 && subject.warnings <= 101);
                assert_int_equal(subject.warnings + subject.errors, 201);
                subject_disconnect(&subject);
        }
        subject_close(&subject);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_every_row_every_way),
                counted_test(test_every_row_not_negotiated),
                counted_test(test_every_row_cut_at_every_byte),
                counted_test(test_fds_after_the_first_byte),
                counted_test(test_unknown_requests),
                counted_test(test_lies),
                counted_test(test_a_peer_that_never_reads_its_answers),
                counted_test(test_a_flood_while_it_waits),
                counted_test(test_a_back_end_that_closes_its_channel),
                counted_test(test_no_descriptor_for_a_mapping),
                counted_test(test_lines_without_end),
                counted_test(test_random_bytes),
                counted_test(test_random_messages),
        };

        return run_counted("hostile-backend", tests);
}
