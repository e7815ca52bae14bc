/* SPDX-License-Identifier: BSD-2-Clause */

/* Our driver against an echo device that listens on a socket and serves one front-end after the other. What our own
 * echo device is tested for in test-session-window.c, as far as a peer's can do it. */

#include "base/cleanup.h"
#include "program/options.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/socket.h>
#include <poll.h>
#include <string.h>
#include <time.h>

static const char *dialect = "standard";
static const char *path;
static uint64_t window_size = UINT64_C(64) << 20;
static bool no_windows;

static const struct option_row rows[] = {
        {"dialect", OPTION_STRING, &dialect, "NAME", "the number of SHMEM: standard, shmem-21 or shmem-20"},
        {"no-windows", OPTION_FLAG, &no_windows, NULL, "expect that the two do not agree on windows"},
        {"window", OPTION_SIZE, &window_size, "SIZE", "expect regions 0 and 2 of that, 64M by default"},
};

static const struct program program = {
        .name = "echo-driver",
        .operands = "SOCKET",
        .summary = "Test the echo device at SOCKET through its queues and windows.",
        .rows = rows,
        .n_rows = sizeof(rows) / sizeof(rows[0]),
        .min_operands = 1,
        .max_operands = 1,
};

/* The socket's file may be there a moment before somebody listens. */
static int connect_to_device(void)
{
        int fd = oriel_socket_connect(path);

        for (int i = 0; fd == -ECONNREFUSED && i < 100; i++) {
                poll(NULL, 0, 10);
                fd = oriel_socket_connect(path);
        }
        return fd;
}

static void open_with(struct session *session, struct oriel_driver_options options)
{
        options.features = ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX);
        options.dialect = oriel_dialect_find(dialect);
        *session = (struct session){0};
        session_open_driver(session, &options, connect_to_device());
}

static void open_session(struct session *session)
{
        open_with(session, (struct oriel_driver_options){0});
}

static uint8_t *window_at(struct session *session, uint64_t offset)
{
        return (uint8_t *)oriel_driver_window(session->driver, 0, NULL) + offset;
}

static size_t count_mappings(struct session *session)
{
        return oriel_region_count(oriel_driver_region(session->driver, 0));
}

static struct echo_answer answer_of(struct session *session, unsigned queue)
{
        struct echo_answer answer;

        assert_int_equal(session_collect(session, queue), sizeof(answer));
        memcpy(&answer, session->out[queue], sizeof(answer));
        return answer;
}

static bool agreed_on_windows(struct session *session)
{
        return oriel_frontend_protocol_features(session_frontend(session)) & ORIEL_FEATURE(ORIEL_PROTOCOL_F_SHMEM_MAP);
}

/* ---- without windows ---- */

static void test_no_region_is_found(void **state)
{
        uint64_t sizes[ORIEL_MAX_SHMIDS];
        struct session session;

        open_session(&session);
        assert_false(agreed_on_windows(&session));
        for (unsigned shmid = 0; shmid < ORIEL_MAX_SHMIDS; shmid++)
                assert_null(oriel_driver_window(session.driver, (uint8_t)shmid, NULL));
        /* This is not even sent. */
        assert_int_equal(oriel_frontend_get_shmem_config(session_frontend(&session), sizes), -EOPNOTSUPP);
        session_close(&session);
}

static void test_nothing_can_be_mapped(void **state)
{
        const struct echo_request request = {.op = ECHO_MAP, .map = MAP_AT(0, PAGE)};
        struct session session;

        open_session(&session);
        assert_int_equal(session_ask(&session, 0, &request).result, -EOPNOTSUPP);
        session_invert(&session, 0, 1000);
        session_close(&session);
}

/* ---- queues ---- */

static void test_queues_pass_buffers(void **state)
{
        struct session session;

        open_session(&session);
        assert_true(oriel_driver_queue_count(session.driver) >= 2);
        for (unsigned i = 0; i < 1000; i++)
                session_invert(&session, i % 2, i * 40);
        session_close(&session);
}

static void test_reconnection(void **state)
{
        struct session session;

        open_session(&session);
        for (unsigned i = 0; i < 5; i++) {
                session_invert(&session, 0, 100);
                if (!no_windows)
                        session_map(&session, 0, PAGE, 7 * PAGE, true);
                oriel_frontend_disconnect(session_frontend(&session));
                if (!no_windows)
                        assert_int_equal(*window_at(&session, 0), 0);
                assert_int_equal(oriel_driver_reconnect(session.driver, connect_to_device()), 0);
        }
        session_invert(&session, 0, 100);
        session_invert(&session, 1, 100);
        session_close(&session);
}

/* ---- one mapping ---- */

static void test_regions_are_as_the_device_says(void **state)
{
        uint64_t sizes[ORIEL_MAX_SHMIDS], size;
        struct session session;

        open_session(&session);
        assert_true(agreed_on_windows(&session));
        assert_int_equal(oriel_frontend_get_shmem_config(session_frontend(&session), sizes), 0);
        for (unsigned shmid = 0; shmid < ORIEL_MAX_SHMIDS; shmid++) {
                bool is_there = shmid == 0 || shmid == 2;

                assert_int_equal(sizes[shmid], is_there ? window_size : 0);
                assert_int_equal(oriel_driver_window(session.driver, (uint8_t)shmid, &size) != NULL, is_there);
        }
        session_close(&session);
}

static void test_map_shows_the_file_and_unmap_the_hole(void **state)
{
        struct session session;

        open_session(&session);
        session_map(&session, 8 * PAGE, 3 * PAGE, 5 * PAGE, false);
        for (unsigned i = 0; i < 3 * PAGE; i++)
                assert_int_equal(*window_at(&session, 8 * PAGE + i), 5 + i / PAGE);
        assert_int_equal(*window_at(&session, 8 * PAGE - 1), 0);
        assert_int_equal(*window_at(&session, 11 * PAGE), 0);
        session_unmap(&session, 8 * PAGE, 3 * PAGE);
        for (unsigned i = 0; i < 3 * PAGE; i++)
                assert_int_equal(*window_at(&session, 8 * PAGE + i), 0);
        assert_int_equal(count_mappings(&session), 0);
        session_close(&session);
}

/* The file is the device's: what the driver has written there it sees through another mapping of it. */
static void test_what_is_written_goes_to_the_file(void **state)
{
        struct session session;

        open_session(&session);
        session_map(&session, 0, 2 * PAGE, 20 * PAGE, true);
        memset(window_at(&session, PAGE), 0xaa, 100);
        session_map(&session, 4 * PAGE, PAGE, 21 * PAGE, false);
        assert_int_equal(*window_at(&session, 4 * PAGE + 99), 0xaa);
        assert_int_equal(*window_at(&session, 4 * PAGE + 100), 21);
        session_unmap(&session, 0, 2 * PAGE);
        session_unmap(&session, 4 * PAGE, PAGE);
        session_map(&session, 0, PAGE, 21 * PAGE, true);
        assert_int_equal(*window_at(&session, 99), 0xaa);
        session_close(&session);
}

static void test_the_same_from_the_second_region(void **state)
{
        const struct echo_request request = {.op = ECHO_MAP, .map = {.shmid = 2, .len = PAGE, .fd_offset = 9 * PAGE}};
        struct session session;

        open_session(&session);
        assert_int_equal(session_ask(&session, 0, &request).result, 0);
        assert_int_equal(*(uint8_t *)oriel_driver_window(session.driver, 2, NULL), 9);
        assert_int_equal(count_mappings(&session), 0);
        session_close(&session);
}

/* ---- refusals ---- */

/* Stands for the region's size, which an option says. */
#define WINDOW_END UINT64_MAX

/* Each against one mapping of pages 8 to 10. */

static const struct {
        const char *what;
        uint32_t op;
        uint32_t file;
        struct oriel_wire_mmap map;
} refusals[] = {
        {"overlap", ECHO_MAP, ECHO_FILE, MAP_AT(8 * PAGE, PAGE)},
        {"overlap at the end", ECHO_MAP, ECHO_FILE, MAP_AT(10 * PAGE, 2 * PAGE)},
        {"overlap of all", ECHO_MAP, ECHO_FILE, MAP_AT(0, 20 * PAGE)},
        {"zero length", ECHO_MAP, ECHO_FILE, MAP_AT(0, 0)},
        {"offset within a page", ECHO_MAP, ECHO_FILE, MAP_AT(100, PAGE)},
        {"length that overflows", ECHO_MAP, ECHO_FILE, MAP_AT(PAGE, UINT64_MAX)},
        {"outside the region", ECHO_MAP, ECHO_FILE, MAP_AT(WINDOW_END, PAGE)},
        {"longer than the region", ECHO_MAP, ECHO_FILE, MAP_AT(0, UINT64_C(1) << 40)},
        {"no such shmid", ECHO_MAP, ECHO_FILE, {.shmid = 1, .len = PAGE}},
        {"unknown flags", ECHO_MAP, ECHO_FILE, {.len = PAGE, .flags = 2}},
        {"file offset within a page", ECHO_MAP, ECHO_FILE, {.len = PAGE, .fd_offset = 5}},
        {"file offset that overflows", ECHO_MAP, ECHO_FILE, {.len = PAGE, .fd_offset = UINT64_MAX - PAGE + 1}},
        {"pipe", ECHO_MAP, ECHO_FILE_PIPE, MAP_AT(0, PAGE)},
        {"directory", ECHO_MAP, ECHO_FILE_DIRECTORY, {.len = PAGE}},
        {"O_PATH", ECHO_MAP, ECHO_FILE_PATH, {.len = PAGE}},
        {"write-only", ECHO_MAP, ECHO_FILE_WRITE_ONLY, {.len = PAGE}},
        {"read-only for both", ECHO_MAP, ECHO_FILE_READ_ONLY, MAP_AT(0, PAGE)},
        {"unmap of nothing", ECHO_UNMAP, 0, MAP_AT(0, PAGE)},
        {"unmap of zero", ECHO_UNMAP, 0, MAP_AT(8 * PAGE, 0)},
        {"unmap of a part", ECHO_UNMAP, 0, MAP_AT(8 * PAGE, PAGE)},
        {"unmap of more", ECHO_UNMAP, 0, MAP_AT(8 * PAGE, 4 * PAGE)},
        {"unmap of another shmid", ECHO_UNMAP, 0, {.shmid = 2, .shm_offset = 8 * PAGE, .len = 3 * PAGE}},
        {"unmap outside", ECHO_UNMAP, 0, MAP_AT(WINDOW_END, PAGE)},
};

static void test_refusals_leave_all_as_it_was(void **state)
{
        struct session session;

        open_session(&session);
        session_map(&session, 8 * PAGE, 3 * PAGE, 5 * PAGE, true);
        for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
                struct echo_request request = {
                        .op = refusals[i].op,
                        .file = refusals[i].file,
                        .map = refusals[i].map,
                };

                if (request.map.shm_offset == WINDOW_END)
                        request.map.shm_offset = window_size;

                struct echo_answer answer = session_ask(&session, 0, &request);

                if (answer.result != -EREMOTEIO || answer.failed != 1)
                        fail_msg("%s: %d", refusals[i].what, answer.result);
                assert_int_equal(count_mappings(&session), 1);
                assert_int_equal(*window_at(&session, 10 * PAGE), 7);
                assert_int_equal(*window_at(&session, 0), 0);
        }
        session_unmap(&session, 8 * PAGE, 3 * PAGE);
        session_close(&session);
}

static void test_what_may_look_odd_is_mapped(void **state)
{
        const struct echo_request empty = {.op = ECHO_MAP, .file = ECHO_FILE_EMPTY, .map = MAP_AT(0, PAGE)};
        const struct echo_request read_only = {
                .op = ECHO_MAP,
                .file = ECHO_FILE_READ_ONLY,
                .map = {.shm_offset = PAGE, .fd_offset = PAGE, .len = PAGE},
        };
        struct session session;

        open_session(&session);
        assert_int_equal(session_ask(&session, 0, &empty).result, 0);
        assert_int_equal(session_ask(&session, 0, &read_only).result, 0);
        assert_int_equal(*window_at(&session, PAGE), 1);
        session_map(&session, 4 * PAGE, 100, 0, true);
        assert_int_equal(count_mappings(&session), 3);
        session_close(&session);
}

/* ---- many ---- */

#define MANY 1000

static struct echo_request many(enum echo_op op, uint64_t from, uint64_t step)
{
        return (struct echo_request){.op = op, .count = MANY, .step = step, .map = MAP_AT(from, PAGE)};
}

static void test_many_while_buffers_pass(void **state)
{
        const struct echo_request map = many(ECHO_MAP, 0, 2 * PAGE), unmap = many(ECHO_UNMAP, 0, 2 * PAGE);
        struct session session;

        open_session(&session);
        session_submit(&session, 0, &map, 0);
        for (unsigned i = 0; i < 100; i++)
                session_invert(&session, 1, 4000);
        assert_int_equal(answer_of(&session, 0).result, 0);
        assert_int_equal(count_mappings(&session), MANY);
        for (unsigned i = 0; i < MANY; i++) {
                assert_int_equal(*window_at(&session, 2 * i * PAGE + 5), i % ECHO_FILE_PAGES);
                assert_int_equal(*window_at(&session, (2 * i + 1) * PAGE), 0);
        }
        session_submit(&session, 0, &unmap, 0);
        for (unsigned i = 0; i < 100; i++)
                session_invert(&session, 1, 4000);
        assert_int_equal(answer_of(&session, 0).result, 0);
        assert_int_equal(count_mappings(&session), 0);
        session_close(&session);
}

static void test_from_two_queues_at_once(void **state)
{
        struct session session;

        open_session(&session);
        for (unsigned round = 0; round < 2; round++) {
                for (unsigned queue = 0; queue < 2; queue++) {
                        const struct echo_request request =
                                many(round == 0 ? ECHO_MAP : ECHO_UNMAP, queue * PAGE, 2 * PAGE);

                        session_submit(&session, queue, &request, 0);
                }
                assert_int_equal(answer_of(&session, 0).result, 0);
                assert_int_equal(answer_of(&session, 1).result, 0);
                assert_int_equal(count_mappings(&session), round == 0 ? 2 * MANY : 0);
        }
        session_close(&session);
}

static void test_results_are_each_ones_own(void **state)
{
        const struct echo_request map = many(ECHO_MAP, 0, PAGE);
        struct session session;

        open_session(&session);
        for (unsigned i = 0; i < 10; i++)
                session_map(&session, i * 100 * PAGE, PAGE, 0, true);

        struct echo_answer answer = session_ask(&session, 0, &map);

        assert_int_equal(answer.failed, 10);
        assert_int_equal(answer.result, -EREMOTEIO);
        assert_int_equal(count_mappings(&session), MANY);
        session_close(&session);
}

/* The device has sent all before we know: they come one after the other, and what is refused nobody learns. */
static void test_without_acknowledgements(void **state)
{
        const struct oriel_driver_options options = {.without = ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK)};
        const struct echo_request map = many(ECHO_MAP, 0, PAGE), unmap = many(ECHO_UNMAP, 0, PAGE);
        const time_t end = time(NULL) + 20;
        struct session session;

        open_with(&session, options);
        assert_int_equal(session_ask(&session, 0, &map).result, 0);
        assert_int_equal(session_ask(&session, 0, &map).result, 0);
        while (count_mappings(&session) < MANY && time(NULL) < end)
                assert_int_equal(oriel_frontend_dispatch(session_frontend(&session)), 0);
        assert_int_equal(*window_at(&session, 100 * PAGE), 100 % ECHO_FILE_PAGES);
        assert_int_equal(session_ask(&session, 0, &unmap).result, 0);
        while (count_mappings(&session) > 0 && time(NULL) < end)
                assert_int_equal(oriel_frontend_dispatch(session_frontend(&session)), 0);
        assert_int_equal(count_mappings(&session), 0);
        session_close(&session);
}

/* ---- windows as memory ---- */

/* @size bytes from one place to another, one of them in a window. */
static void dma(struct session *session, uint8_t *from, uint8_t *to, uint32_t size)
{
        const struct iovec in[] = {{session->in[0], sizeof(struct echo_request)}, {from, size}};
        const struct iovec out = {to, size};
        uint32_t written;
        void *token;

        memcpy(session->in[0], &(struct echo_request){.op = ECHO_INVERT}, sizeof(struct echo_request));
        assert_int_equal(oriel_driver_submit(session->driver, 0, in, 2, &out, 1, session), 0);
        assert_int_equal(oriel_driver_kick(session->driver, 0), 0);
        assert_int_equal(oriel_driver_wait(session->driver, 0, 20000), 0);
        assert_int_equal(oriel_driver_collect(session->driver, 0, &token, &written), 1);
        assert_int_equal(written, size);
}

static void test_dma_to_and_from_a_window(void **state)
{
        struct session session;

        open_with(&session, (struct oriel_driver_options){.windows_as_memory = true});
        session_map(&session, 16 * PAGE, 4 * PAGE, 10 * PAGE, true);
        dma(&session, window_at(&session, 16 * PAGE), session.out[0], PAGE);
        assert_int_equal(session.out[0][PAGE - 1], (uint8_t)~10);
        memset(session.out[0], 0x33, PAGE);
        dma(&session, session.out[0], window_at(&session, 17 * PAGE + 100), 1000);
        assert_int_equal(*window_at(&session, 17 * PAGE + 99), 11);
        assert_int_equal(*window_at(&session, 17 * PAGE + 100), (uint8_t)~0x33);
        assert_int_equal(*window_at(&session, 17 * PAGE + 1100), 11);
        session_unmap(&session, 16 * PAGE, 4 * PAGE);
        session_invert(&session, 0, 100);
        session_close(&session);
}

/* ---- ends ---- */

/* The ring's base is asked for while the device's thread waits for us: both get their answers. */
static void test_stop_while_the_device_maps(void **state)
{
        const struct echo_request map = many(ECHO_MAP, 0, PAGE);
        struct session session;

        for (unsigned i = 0; i < 20; i++) {
                open_session(&session);
                session_submit(&session, 0, &map, 0);
                poll(NULL, 0, (int)i / 4);
                assert_int_equal(oriel_driver_stop_queue(session.driver, 0), 0);
                session_close(&session);
        }
}

int main(int argc, char **argv)
{
        static const struct CMUnitTest with[] = {
                counted_test(test_queues_pass_buffers),
                counted_test(test_regions_are_as_the_device_says),
                counted_test(test_map_shows_the_file_and_unmap_the_hole),
                counted_test(test_what_is_written_goes_to_the_file),
                counted_test(test_the_same_from_the_second_region),
                counted_test(test_refusals_leave_all_as_it_was),
                counted_test(test_what_may_look_odd_is_mapped),
                counted_test(test_many_while_buffers_pass),
                counted_test(test_from_two_queues_at_once),
                counted_test(test_results_are_each_ones_own),
                counted_test(test_without_acknowledgements),
                counted_test(test_dma_to_and_from_a_window),
                counted_test(test_reconnection),
                counted_test(test_stop_while_the_device_maps),
        };
        static const struct CMUnitTest without[] = {
                counted_test(test_queues_pass_buffers),
                counted_test(test_no_region_is_found),
                counted_test(test_nothing_can_be_mapped),
                counted_test(test_reconnection),
        };
        char **operands;
        int status = options_parse(&program, argc, argv, &operands);

        if (status >= 0)
                return status;
        path = operands[0];
        cmocka_set_message_output(CM_OUTPUT_TAP);
        return no_windows ? run_counted("echo-driver", without) : run_counted("echo-driver", with);
}
