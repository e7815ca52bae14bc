/* SPDX-License-Identifier: BSD-2-Clause */

/* Mappings through a whole session, the library's front-end on one side and the echo device on the other: what is
 * mapped and what is refused, mappings at the start, requests from several threads and without a wait for the answer,
 * DMA to and from a region, and what happens when slots or descriptors run out. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "driver/driver.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* SHMEM_MAP and SHMEM_UNMAP from the device's threads, and what the driver sees in its window. */

#define WINDOW (UINT64_C(64) << 20)

static uint8_t *window_at(struct session *session, uint64_t offset)
{
        return (uint8_t *)oriel_driver_window(session->driver, 0, NULL) + offset;
}

static size_t count_mappings(struct session *session)
{
        return oriel_region_count(oriel_driver_region(session->driver, 0));
}

static void open_window(struct session *session)
{
        session_open(session, &(struct session_options){.echo = {.window = WINDOW, .quiet = true}});
}

/* ---- one mapping ---- */

static void test_regions_are_as_the_device_says(void **state)
{
        struct session session;
        uint64_t size;

        open_window(&session);
        assert_non_null(oriel_driver_window(session.driver, 0, &size));
        assert_int_equal(size, WINDOW);
        assert_null(oriel_driver_window(session.driver, 1, &size));
        assert_non_null(oriel_driver_window(session.driver, 2, &size));
        session_close(&session);
}

static void test_map_shows_the_file_and_unmap_the_hole(void **state)
{
        struct session session;

        open_window(&session);
        session_map(&session, 8 * PAGE, 3 * PAGE, 5 * PAGE, true);
        for (unsigned page = 0; page < 3; page++)
                assert_int_equal(*window_at(&session, (8 + page) * PAGE + 17), 5 + page);
        *window_at(&session, 9 * PAGE) = 0xaa;
        assert_int_equal(echo_file(session.echo)[6 * PAGE], 0xaa);
        echo_file(session.echo)[7 * PAGE + 1] = 0xbb;
        assert_int_equal(*window_at(&session, 10 * PAGE + 1), 0xbb);

        session_unmap(&session, 8 * PAGE, 3 * PAGE);
        assert_int_equal(*window_at(&session, 9 * PAGE), 0);
        assert_int_equal(count_mappings(&session), 0);
        session_close(&session);
}

static void test_the_same_from_the_second_region(void **state)
{
        struct echo_request request = {.op = ECHO_MAP, .map = {.shmid = 2, .len = PAGE, .fd_offset = 9 * PAGE}};
        struct session session;

        open_window(&session);
        assert_int_equal(session_ask(&session, 0, &request).result, 0);
        assert_int_equal(*(uint8_t *)oriel_driver_window(session.driver, 2, NULL), 9);
        assert_int_equal(count_mappings(&session), 0);
        session_close(&session);
}

/* ---- refusals ---- */

/* Each against one mapping of pages 8 to 10. */
static const struct {
        const char *what;
        uint32_t op;
        uint32_t file;
        struct oriel_wire_mmap map;
        int result;
} refusals[] = {
        {"overlap", ECHO_MAP, ECHO_FILE, MAP_AT(8 * PAGE, PAGE), -EREMOTEIO},
        {"overlap at the end", ECHO_MAP, ECHO_FILE, MAP_AT(10 * PAGE, 2 * PAGE), -EREMOTEIO},
        {"overlap of all", ECHO_MAP, ECHO_FILE, MAP_AT(0, 20 * PAGE), -EREMOTEIO},
        {"zero length", ECHO_MAP, ECHO_FILE, MAP_AT(0, 0), -EREMOTEIO},
        {"offset within a page", ECHO_MAP, ECHO_FILE, MAP_AT(100, PAGE), -EREMOTEIO},
        {"length that overflows", ECHO_MAP, ECHO_FILE, MAP_AT(PAGE, UINT64_MAX), -ERANGE},
        {"beyond the region", ECHO_MAP, ECHO_FILE, MAP_AT(WINDOW - PAGE, 2 * PAGE), -ERANGE},
        {"outside the region", ECHO_MAP, ECHO_FILE, MAP_AT(WINDOW, PAGE), -ERANGE},
        {"no such shmid", ECHO_MAP, ECHO_FILE, {.shmid = 1, .len = PAGE}, -ERANGE},
        {"unknown flags", ECHO_MAP, ECHO_FILE, {.len = PAGE, .flags = 2}, -EREMOTEIO},
        {"file offset within a page", ECHO_MAP, ECHO_FILE, {.len = PAGE, .fd_offset = 5}, -EREMOTEIO},
        {"file offset that overflows",
         ECHO_MAP,
         ECHO_FILE,
         {.len = PAGE, .fd_offset = UINT64_MAX - PAGE + 1},
         -EREMOTEIO},
        {"file offset beyond any file", ECHO_MAP, ECHO_FILE, {.len = PAGE, .fd_offset = UINT64_C(1) << 63}, -EREMOTEIO},
        {"pipe", ECHO_MAP, ECHO_FILE_PIPE, MAP_AT(0, PAGE), -EREMOTEIO},
        {"directory", ECHO_MAP, ECHO_FILE_DIRECTORY, {.len = PAGE}, -EREMOTEIO},
        {"O_PATH", ECHO_MAP, ECHO_FILE_PATH, {.len = PAGE}, -EREMOTEIO},
        {"write-only", ECHO_MAP, ECHO_FILE_WRITE_ONLY, {.len = PAGE}, -EREMOTEIO},
        {"write-only for both", ECHO_MAP, ECHO_FILE_WRITE_ONLY, MAP_AT(0, PAGE), -EREMOTEIO},
        {"read-only for both", ECHO_MAP, ECHO_FILE_READ_ONLY, MAP_AT(0, PAGE), -EREMOTEIO},
        {"unmap of nothing", ECHO_UNMAP, 0, MAP_AT(0, PAGE), -EREMOTEIO},
        {"unmap of zero", ECHO_UNMAP, 0, MAP_AT(8 * PAGE, 0), -EREMOTEIO},
        {"unmap of a part", ECHO_UNMAP, 0, MAP_AT(8 * PAGE, PAGE), -EREMOTEIO},
        {"unmap of the end", ECHO_UNMAP, 0, MAP_AT(9 * PAGE, 2 * PAGE), -EREMOTEIO},
        {"unmap of more", ECHO_UNMAP, 0, MAP_AT(8 * PAGE, 4 * PAGE), -EREMOTEIO},
        {"unmap from around", ECHO_UNMAP, 0, MAP_AT(7 * PAGE, 5 * PAGE), -EREMOTEIO},
        {"unmap of another shmid", ECHO_UNMAP, 0, {.shmid = 2, .shm_offset = 8 * PAGE, .len = 3 * PAGE}, -EREMOTEIO},
        {"unmap outside", ECHO_UNMAP, 0, MAP_AT(WINDOW, PAGE), -ERANGE},
};

static void test_refusals_leave_all_as_it_was(void **state)
{
        struct session session;
        uint8_t status;

        open_window(&session);
        session_map(&session, 8 * PAGE, 3 * PAGE, 5 * PAGE, true);
        for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
                const struct echo_request request = {
                        .op = refusals[i].op,
                        .file = refusals[i].file,
                        .map = refusals[i].map,
                };
                int r = session_ask(&session, 0, &request).result;

                if (r != refusals[i].result)
                        fail_msg("%s: %d, expected %d", refusals[i].what, r, refusals[i].result);
                assert_int_equal(count_mappings(&session), 1);
                assert_int_equal(*window_at(&session, 10 * PAGE), 7);
                assert_int_equal(*window_at(&session, 0), 0);
        }
        assert_int_equal(oriel_frontend_get_status(session_frontend(&session), &status), 0);
        session_unmap(&session, 8 * PAGE, 3 * PAGE);
        session_close(&session);
}

static void test_what_may_look_odd_is_mapped(void **state)
{
        struct session session;
        struct echo_request empty = {.op = ECHO_MAP, .file = ECHO_FILE_EMPTY, .map = MAP_AT(0, PAGE)};
        struct echo_request read_only = {.op = ECHO_MAP, .file = ECHO_FILE_READ_ONLY, .map = {.len = PAGE}};

        open_window(&session);
        assert_int_equal(session_ask(&session, 0, &empty).result, 0);
        read_only.map.shm_offset = PAGE;
        assert_int_equal(session_ask(&session, 0, &read_only).result, 0);
        /* Lengths are rounded up to whole pages, and unmap names the same. */
        session_map(&session, 4 * PAGE, 100, 0, true);
        session_unmap(&session, 4 * PAGE, 100);
        session_map(&session, 4 * PAGE, PAGE + 1, 62 * PAGE, true);
        assert_int_equal(*window_at(&session, 6 * PAGE - 1), 63);
        session_unmap(&session, 4 * PAGE, 2 * PAGE);
        assert_int_equal(count_mappings(&session), 2);
        session_close(&session);
}

static int try_map(struct session *session, uint64_t offset)
{
        const struct echo_request request = {.op = ECHO_MAP, .map = MAP_AT(offset, PAGE)};

        return session_ask(session, 0, &request).result;
}

static void test_quota_and_removal_of_a_region(void **state)
{
        struct oriel_window *window;
        struct oriel_region *region;
        struct session session;

        open_window(&session);
        assert_int_equal(oriel_window_new(WINDOW, ORIEL_HOLE_ZERO, &window), 0);

        const struct oriel_region_options options = {
                .struct_size = sizeof(options),
                .size = WINDOW,
                .max_mappings = 2,
                .placement = oriel_window_placement(),
                .userdata = window,
        };

        assert_int_equal(oriel_region_new(&options, &region), 0);
        oriel_frontend_set_region(session_frontend(&session), 0, region);
        assert_int_equal(try_map(&session, 0), 0);
        assert_int_equal(try_map(&session, PAGE), 0);
        assert_int_equal(try_map(&session, 2 * PAGE), -EREMOTEIO);
        session_unmap(&session, 0, PAGE);
        assert_int_equal(try_map(&session, 2 * PAGE), 0);
        oriel_frontend_set_region(session_frontend(&session), 0, NULL);
        assert_int_equal(try_map(&session, 0), -EREMOTEIO);
        session_close(&session);
        oriel_region_free(region);
        oriel_window_free(window);
}

static int map_now(struct oriel_backend *backend, void *fd)
{
        const struct oriel_wire_mmap map = MAP_AT(0, PAGE);
        uint64_t ticket;

        return oriel_backend_shmem_map(backend, &map, *(int *)fd, &ticket);
}

static void test_nothing_is_mapped_before_the_device_is_started(void **state)
{
        int fd = make_memory(PAGE);
        struct pair pair;

        pair_open(&pair, &(struct echo_options){.window = WINDOW}, UINT64_MAX);
        assert_int_equal(map_now(echo_backend(pair.echo), &fd), -ESHUTDOWN);
        pair_close(&pair);
        fd_close(fd);
}

/* A driver may read its region when it has started the device. With REPLY_ACK and without, where nothing says that the
 * start is over; and again with the next back-end. */
static void test_what_is_mapped_at_the_start(void **state)
{
        const uint64_t acks = ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK);
        const struct session_options options[] = {
                {{.window = WINDOW, .maps_at_start = 1, .start_us = 50000}, {.without = acks}},
                {{.window = WINDOW, .maps_at_start = ECHO_FILE_PAGES, .start_us = 50000}, {.without = acks}},
                {{.window = WINDOW, .maps_at_start = 1, .start_us = 50000}, {0}},
                {{.window = WINDOW, .maps_at_start = ECHO_FILE_PAGES}, {0}},
        };
        struct session session;

        for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
                unsigned n = options[i].echo.maps_at_start;
                int fds[2];

                session_open(&session, &options[i]);
                assert_int_equal(count_mappings(&session), n);
                for (unsigned page = 0; page < n; page++)
                        assert_int_equal(*window_at(&session, page * PAGE), page);

                echo_hang_up(session.echo);
                assert_int_equal(make_socketpair(fds), 0);
                assert_int_equal(echo_serve(session.echo, fds[1]), 0);
                assert_int_equal(session_driver_reconnect(session.driver, fds[0]), 0);
                assert_int_equal(count_mappings(&session), n);
                session_close(&session);
        }
}

/* ---- many, from many threads ---- */

#define THREADS 4
#define AT_ONCE 2000

static void test_pipelined_from_several_threads(void **state)
{
        const struct session_options options = {.echo = {.window = WINDOW, .queues = THREADS}};
        struct session session;

        session_open(&session, &options);
        for (unsigned round = 0; round < 4; round++) {
                bool map = round % 2 == 0;

                for (unsigned queue = 0; queue < THREADS; queue++) {
                        const struct echo_request request = {
                                .op = map ? ECHO_MAP : ECHO_UNMAP,
                                .count = AT_ONCE,
                                .step = THREADS * PAGE,
                                .map = MAP_AT(queue * PAGE, PAGE),
                        };

                        session_submit(&session, queue, &request, 0);
                }
                for (unsigned queue = 0; queue < THREADS; queue++) {
                        struct echo_answer answer;

                        session_collect(&session, queue);
                        memcpy(&answer, session.out[queue], sizeof(answer));
                        assert_int_equal(answer.result, 0);
                }
                assert_int_equal(count_mappings(&session), map ? THREADS * AT_ONCE : 0);
                for (unsigned i = 0; i < THREADS * AT_ONCE; i++)
                        assert_int_equal(*window_at(&session, i * PAGE + 5), map ? i / THREADS % ECHO_FILE_PAGES : 0);
        }
        session_close(&session);
}

static void test_results_are_each_ones_own(void **state)
{
        struct echo_request request = {.op = ECHO_MAP, .count = 1000, .step = PAGE, .map = MAP_AT(0, PAGE)};
        struct session session;

        open_window(&session);
        for (unsigned i = 0; i < 10; i++)
                session_map(&session, i * 100 * PAGE, PAGE, 0, true);

        struct echo_answer answer = session_ask(&session, 0, &request);

        assert_int_equal(answer.failed, 10);
        assert_int_equal(answer.result, -EREMOTEIO);
        assert_int_equal(count_mappings(&session), 1000);
        session_close(&session);
}

static void test_answers_nobody_waits_for(void **state)
{
        struct session session;

        open_window(&session);
        for (unsigned i = 0; i < 300; i++) {
                const struct echo_request request = {.op = ECHO_MAP_NO_WAIT, .map = MAP_AT(i * PAGE, PAGE)};

                assert_int_equal(session_ask(&session, 0, &request).result, 0);
        }
        session_map(&session, 300 * PAGE, PAGE, 0, true);
        assert_int_equal(count_mappings(&session), 301);
        session_close(&session);
}

/* ---- stopping meanwhile ---- */

/* The driver asks for the ring's base while the device's thread waits for the front-end: both get their answers. */
static void test_stop_while_a_thread_waits(void **state)
{
        const struct echo_request request = {.op = ECHO_MAP, .count = AT_ONCE, .step = PAGE, .map = MAP_AT(0, PAGE)};
        struct session session;

        for (int i = 0; i < 5; i++) {
                open_window(&session);
                session_submit(&session, 0, &request, 0);
                usleep((useconds_t)i * 500);
                assert_int_equal(oriel_driver_stop_queue(session.driver, 0), 0);
                session_close(&session);
        }
}

static void test_connection_ends_while_a_thread_waits(void **state)
{
        const struct echo_request request = {.op = ECHO_MAP, .count = AT_ONCE, .step = PAGE, .map = MAP_AT(0, PAGE)};
        struct session session;

        for (int i = 0; i < 5; i++) {
                open_window(&session);
                session_submit(&session, 0, &request, 0);
                usleep((useconds_t)i * 500);
                oriel_frontend_disconnect(session_frontend(&session));
                assert_int_equal(echo_join(session.echo), -ENOTCONN);
                assert_int_equal(count_mappings(&session), 0);
                session_close(&session);
        }
}

/* ---- windows as memory ---- */

/* @size bytes of the window are read, or written, by the device. */
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
        const struct session_options options = {
                .echo = {.window = WINDOW},
                .driver = {.windows_as_memory = true},
        };
        struct session session;

        session_open(&session, &options);
        session_map(&session, 16 * PAGE, 4 * PAGE, 10 * PAGE, true);
        dma(&session, window_at(&session, 16 * PAGE), session.out[0], PAGE);
        assert_int_equal(session.out[0][PAGE - 1], (uint8_t)~10);
        memset(session.out[0], 0x33, PAGE);
        dma(&session, session.out[0], window_at(&session, 17 * PAGE + 100), 1000);
        assert_int_equal(echo_file(session.echo)[11 * PAGE + 99], 11);
        assert_int_equal(echo_file(session.echo)[11 * PAGE + 100], (uint8_t)~0x33);
        assert_int_equal(echo_file(session.echo)[11 * PAGE + 1100], 11);
        session_unmap(&session, 16 * PAGE, 4 * PAGE);
        session_invert(&session, 0, 100);
        session_close(&session);
}

static void wait_for_error(struct session *session)
{
        struct pollfd err = {.fd = session->driver->queues[0].err_fd, .events = POLLIN};

        assert_int_equal(poll(&err, 1, 60000), 1);
        assert_int_equal(fd_event_clear(err.fd), 1);
}

/* The driver uses a mapping in a buffer before the back-end has it as memory, which comes when the back-end has said
 * that there is none. Each kick asks it whether that is still so. */
static void test_buffer_before_its_memory(void **state)
{
        const struct session_options options = {
                .echo = {.window = WINDOW, .quiet = true},
                .driver = {.windows_as_memory = true},
        };
        int fd = make_memory(PAGE);
        struct session session;

        session_open(&session, &options);

        /* A part of the window where nothing is mapped is no memory for the back-end. */
        const struct oriel_memory_region region = {
                .guest_address = session.driver->windows[0].guest_address + 8 * PAGE,
                .size = PAGE,
                .user_address = (uintptr_t)window_at(&session, 8 * PAGE),
        };
        const struct iovec in[] = {{session.in[0], sizeof(struct echo_request)}, {window_at(&session, 8 * PAGE), PAGE}};
        const struct iovec out = {session.out[0], PAGE};

        for (int round = 0; round < 2; round++) {
                memcpy(session.in[0], &(struct echo_request){.op = ECHO_INVERT}, sizeof(struct echo_request));
                assert_int_equal(oriel_driver_submit(session.driver, 0, in, 2, &out, 1, session.in[0]), 0);
                assert_int_equal(oriel_driver_kick(session.driver, 0), 0);
                if (round == 1) {
                        assert_int_equal(oriel_driver_wait(session.driver, 0, 60000), -EIO);
                        break;
                }
                wait_for_error(&session);
                fd_event_signal(session.driver->queues[0].kick_fd);
                wait_for_error(&session);
                assert_int_equal(oriel_frontend_add_mem_reg(session_frontend(&session), &region, fd), 0);
                assert_int_equal(session_collect(&session, 0), PAGE);
                assert_int_equal(session.out[0][0], 0xff);
                /* The second time it never comes. */
                assert_int_equal(oriel_frontend_rem_mem_reg(session_frontend(&session), &region), 0);
        }
        session_close(&session);
        fd_close(fd);
}

/* The device looks again just when the driver tells it of the memory: before that is known to it. */
static void look_when_told(void *userdata, enum oriel_log_level level, const char *line)
{
        struct session *session = userdata;

        if (session->driver && strstr(line, "to the back-end: ADD_MEM_REG"))
                fd_event_signal(session->driver->queues[0].err_fd);
}

static void collect_without_a_wait(struct session *session)
{
        uint32_t written;
        void *token;

        while (oriel_driver_collect(session->driver, 0, &token, &written) != 1)
                usleep(1000);
}

/* A device that reports its ring as broken while the driver tells it of memory may still be right later. Without
 * REPLY_ACK memory is there some time after it was told of. */
static void test_errors_from_before_the_memory(void **state)
{
        for (unsigned i = 0; i < 3; i++) {
                struct session session = {0};
                const struct oriel_log log = {sizeof(log), look_when_told, &session, ORIEL_LOG_DEBUG};
                const struct session_options options = {
                        .echo = {.window = WINDOW,
                                 .quiet = true,
                                 .without = i ? ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK) : 0,
                                 .late_us = i == 2 ? 300000 : 0},
                        .driver = {.windows_as_memory = true, .log = i == 2 ? NULL : &log},
                };
                const struct echo_request map = {
                        .op = ECHO_MAP_NO_WAIT,
                        .map = MAP_AT(0, PAGE),
                };

                session_open(&session, &options);
                session_submit(&session, 0, &map, 0);
                collect_without_a_wait(&session);

                const struct iovec in[] = {{session.in[0], sizeof(struct echo_request)},
                                           {window_at(&session, 0), PAGE}};
                const struct iovec out = {session.out[0], PAGE};
                struct pollfd err = {.fd = session.driver->queues[0].err_fd, .events = POLLIN};

                memcpy(session.in[0], &(struct echo_request){.op = ECHO_INVERT}, sizeof(struct echo_request));
                assert_int_equal(oriel_driver_submit(session.driver, 0, in, 2, &out, 1, session.in[0]), 0);
                assert_int_equal(oriel_driver_kick(session.driver, 0), 0);
                assert_int_equal(poll(&err, 1, 60000), 1);
                assert_int_equal(session_collect(&session, 0), PAGE);
                session_close(&session);
        }
}

static void test_a_window_that_is_no_memory(void **state)
{
        const struct session_options options = {.echo = {.window = WINDOW}};
        struct session session;

        session_open(&session, &options);
        session_map(&session, 0, PAGE, 0, true);

        const struct iovec in = {window_at(&session, 0), PAGE};

        assert_int_equal(oriel_driver_submit(session.driver, 0, &in, 1, NULL, 0, &session), -EFAULT);
        session_close(&session);
}

static void count_warning(void *userdata, enum oriel_log_level level, const char *line)
{
        *(unsigned *)userdata += level == ORIEL_LOG_WARNING;
}

static void test_slots_that_run_out_are_no_loss_of_mappings(void **state)
{
        unsigned warnings = 0;
        const struct oriel_log log = {sizeof(log), count_warning, &warnings, ORIEL_LOG_WARNING};
        const struct session_options options = {
                .echo = {.window = WINDOW, .max_mem_slots = 5, .quiet = true},
                .driver = {.windows_as_memory = true, .log = &log},
        };
        struct session session;

        session_open(&session, &options);
        for (unsigned i = 0; i < 20; i++)
                session_map(&session, i * PAGE, PAGE, i * PAGE, true);
        assert_int_equal(count_mappings(&session), 20);
        for (unsigned i = 0; i < 20; i++)
                assert_int_equal(*window_at(&session, i * PAGE), i);
        assert_int_equal(warnings, 1);
        dma(&session, window_at(&session, 2 * PAGE), session.out[0], PAGE);
        for (unsigned i = 0; i < 20; i++)
                session_unmap(&session, i * PAGE, PAGE);
        session_close(&session);
}

/* Each mapping is followed by a message to the back-end, whose threads go on sending meanwhile. */
static void test_many_mappings_as_memory(void **state)
{
        const struct session_options options = {
                .echo = {.window = WINDOW, .queues = 2, .quiet = true},
                .driver = {.windows_as_memory = true},
        };
        struct session session;

        session_open(&session, &options);
        for (unsigned op = ECHO_MAP; op <= ECHO_UNMAP; op++) {
                for (unsigned queue = 0; queue < 2; queue++) {
                        const struct echo_request request = {
                                .op = op,
                                .count = AT_ONCE,
                                .step = 2 * PAGE,
                                .map = MAP_AT(queue * PAGE, PAGE),
                        };

                        session_submit(&session, queue, &request, 0);
                }
                for (unsigned queue = 0; queue < 2; queue++) {
                        struct echo_answer answer;

                        session_collect(&session, queue);
                        memcpy(&answer, session.out[queue], sizeof(answer));
                        assert_int_equal(answer.result, 0);
                }
                assert_int_equal(count_mappings(&session), op == ECHO_MAP ? 2 * AT_ONCE : 0);
        }
        /* All slots are free again. */
        session_map(&session, 0, PAGE, 4 * PAGE, false);
        dma(&session, window_at(&session, 0), session.out[0], PAGE);
        session_close(&session);
}

/* A front-end that has no descriptor left refuses, and what is mapped stays. */
static void test_descriptors_run_out(void **state)
{
        const struct session_options options = {.echo = {.window = 1 << 20, .quiet = true}};
        struct echo_request request = {.op = ECHO_MAP, .map = MAP_AT(PAGE, PAGE)};
        struct rlimit before, none;
        struct session session;
        volatile uint8_t *window;

        session_open(&session, &options);
        window = oriel_driver_window(session.driver, 0, NULL);
        session_map(&session, 0, PAGE, 7 * PAGE, true);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);

        /* The least that is free, and so the next that would be given out. */
        int next = fd_dup(0);

        fd_close(next);
        none = (struct rlimit){(rlim_t)next, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);

        struct echo_answer refused = session_ask(&session, 0, &request);

        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(refused.result, -EREMOTEIO);
        assert_int_equal(window[0], 7);
        assert_int_equal(window[PAGE], 0);
        session_map(&session, PAGE, PAGE, 8 * PAGE, true);
        assert_int_equal(window[PAGE], 8);
        session_close(&session);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_descriptors_run_out),
                counted_test(test_regions_are_as_the_device_says),
                counted_test(test_map_shows_the_file_and_unmap_the_hole),
                counted_test(test_the_same_from_the_second_region),
                counted_test(test_refusals_leave_all_as_it_was),
                counted_test(test_what_may_look_odd_is_mapped),
                counted_test(test_quota_and_removal_of_a_region),
                counted_test(test_nothing_is_mapped_before_the_device_is_started),
                counted_test(test_what_is_mapped_at_the_start),
                counted_test(test_pipelined_from_several_threads),
                counted_test(test_results_are_each_ones_own),
                counted_test(test_answers_nobody_waits_for),
                counted_test(test_stop_while_a_thread_waits),
                counted_test(test_connection_ends_while_a_thread_waits),
                counted_test(test_dma_to_and_from_a_window),
                counted_test(test_buffer_before_its_memory),
                counted_test(test_errors_from_before_the_memory),
                counted_test(test_a_window_that_is_no_memory),
                counted_test(test_slots_that_run_out_are_no_loss_of_mappings),
                counted_test(test_many_mappings_as_memory),
        };

        return run_counted("session-window", tests);
}
