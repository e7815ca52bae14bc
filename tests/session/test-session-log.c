/* SPDX-License-Identifier: BSD-2-Clause */

/* The lines of each level of a log, as oriel/log.h has them: a session's begin and end, and every message. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "driver/driver.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WINDOW (UINT64_C(2) << 20)
#define NO_FD  99999 /* a number that no descriptor has */

struct lines {
        pthread_mutex_t lock;
        unsigned n[ORIEL_LOG_DEBUG + 1];
        char text[256 << 10];
        size_t size;
};

static void keep_line(void *userdata, enum oriel_log_level level, const char *line)
{
        struct lines *lines = userdata;

        pthread_mutex_lock(&lines->lock);
        lines->n[level]++;
        lines->size += (size_t)snprintf(lines->text + lines->size, sizeof(lines->text) - lines->size, "%s\n", line);
        assert_true(lines->size < sizeof(lines->text));
        pthread_mutex_unlock(&lines->lock);
}

static struct lines backend_lines, driver_lines;
static struct oriel_backend *backend;

static int map_one(void *userdata, struct oriel_backend_queue *queue)
{
        const struct oriel_wire_mmap map = MAP_AT(0, PAGE);
        int fd = make_memory(PAGE);
        uint64_t ticket;

        /* Is not sent, and not said to be. */
        assert_int_equal(oriel_backend_shmem_map(backend, &map, NO_FD, NULL), -EBADF);
        assert_int_equal(oriel_backend_shmem_map(backend, &map, fd, &ticket), 0);
        assert_int_equal(oriel_backend_wait(backend, ticket), 0);
        fd_close(fd);
        return 0;
}

static void leave_queue(void *userdata, struct oriel_backend_queue *queue)
{
}

static void *loop(void *userdata)
{
        struct pollfd p = {.fd = oriel_backend_get_fd(backend), .events = POLLIN};

        do
                poll(&p, 1, -1);
        while (oriel_backend_dispatch(backend) == 0);
        return NULL;
}

static void run_session(enum oriel_log_level level)
{
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {WINDOW};
        const struct oriel_backend_ops ops = {.struct_size = sizeof(ops), .start = map_one, .stop = leave_queue};
        const struct oriel_log backend_log = {sizeof(backend_log), keep_line, &backend_lines, level};
        const struct oriel_log driver_log = {sizeof(driver_log), keep_line, &driver_lines, level};
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .log = &backend_log,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                .queues = 1,
                .shmem_sizes = sizes,
        };
        const struct oriel_driver_options driver_options = {.struct_size = sizeof(driver_options), .log = &driver_log};
        struct oriel_driver *driver;
        pthread_t thread;
        int fds[2];

        backend_lines = (struct lines){.lock = PTHREAD_MUTEX_INITIALIZER};
        driver_lines = (struct lines){.lock = PTHREAD_MUTEX_INITIALIZER};
        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(oriel_backend_new(&options, &backend), 0);
        assert_int_equal(oriel_backend_attach(backend, fds[1]), 0);
        assert_int_equal(pthread_create(&thread, NULL, loop, NULL), 0);
        assert_int_equal(oriel_driver_new(&driver_options, fds[0], &driver), 0);
        assert_int_equal(oriel_frontend_set_vring_call(oriel_driver_frontend(driver), 0, NO_FD), -EBADF);
        oriel_driver_free(driver);
        pthread_join(thread, NULL);
        oriel_backend_free(backend);
}

static void test_levels(void **state)
{
        for (int level = ORIEL_LOG_ERROR; level <= ORIEL_LOG_DEBUG; level++) {
                run_session((enum oriel_log_level)level);
                for (int i = 0; i < 2; i++) {
                        const struct lines *lines = i ? &driver_lines : &backend_lines;

                        assert_int_equal(lines->n[ORIEL_LOG_ERROR], 0);
                        assert_int_equal(lines->n[ORIEL_LOG_WARNING], 0);
                        assert_int_equal(lines->n[ORIEL_LOG_INFO], level >= ORIEL_LOG_INFO ? 2 : 0);
                        assert_int_equal(lines->n[ORIEL_LOG_DEBUG] > 0, level == ORIEL_LOG_DEBUG);
                }
        }
}

static void expect_line(const struct lines *lines, const char *line)
{
        if (!strstr(lines->text, line))
                fail_msg("no '%s' in:\n%s", line, lines->text);
}

static void expect_once(const struct lines *lines, const char *line)
{
        const char *first = strstr(lines->text, line);

        if (!first || strstr(first + 1, line))
                fail_msg("'%s' %s in:\n%s", line, first ? "more than once" : "not", lines->text);
}

static void test_messages(void **state)
{
        static const char *const of_backend[] = {
                "a session with a front-end has begun\nfrom the front-end: GET_FEATURES\n",
                "to the front-end: reply to GET_FEATURES: 0x",
                "from the front-end: SET_MEM_TABLE need_reply, 1 fd: ",
                "to the front-end: reply to SET_MEM_TABLE: 0x0\n",
                "to the front-end: SHMEM_MAP need_reply, 1 fd: shmid 0 ",
                "from the front-end: reply to SHMEM_MAP: 0x0\n",
                "from the front-end: GET_VRING_BASE: ",
                "\nthe session with the front-end has ended\n",
        };
        static const char *const of_driver[] = {
                "a session with a back-end has begun\nto the back-end: GET_FEATURES\nfrom the back-end: reply to",
                "from the back-end: SHMEM_MAP need_reply, 1 fd: shmid 0 ",
                "to the back-end: reply to SHMEM_MAP: 0x0\n",
                "from the back-end: reply to SET_VRING_KICK: 0x0\n",
                "\nthe session with the back-end has ended\n",
        };

        run_session(ORIEL_LOG_DEBUG);
        for (size_t i = 0; i < ARRAY_SIZE(of_backend); i++)
                expect_line(&backend_lines, of_backend[i]);
        for (size_t i = 0; i < ARRAY_SIZE(of_driver); i++)
                expect_line(&driver_lines, of_driver[i]);
        expect_once(&backend_lines, "to the front-end: SHMEM_MAP ");
        expect_once(&driver_lines, "to the back-end: SET_VRING_CALL ");
        /* Each message that one end has sent, the other has received. */
        assert_int_equal(backend_lines.n[ORIEL_LOG_DEBUG], driver_lines.n[ORIEL_LOG_DEBUG]);
}

/* ---- what can happen again and again: 200 lines of a connection, and one that says so ---- */

#define TIMES 250

/* A guest can have a ring broken as often as it resets its device. */
static void test_broken_rings(void **state)
{
        const struct session_options options = {.echo = {.quiet = true}};
        struct session session;

        session_open(&session, &options);

        struct driver_queue *queue = &session.driver->queues[0];
        struct vring_avail *avail = (void *)(session.driver->memory + queue->layout.driver);

        __atomic_store_n(&avail->idx, 1000, __ATOMIC_SEQ_CST);
        fd_event_signal(queue->kick_fd);
        for (int i = 0; i < TIMES; i++) {
                struct pollfd err = {.fd = queue->err_fd, .events = POLLIN};

                assert_int_equal(poll(&err, 1, -1), 1);
                assert_int_equal(oriel_driver_stop_queue(session.driver, 0), 0);
                queue->base = 0;
                assert_int_equal(oriel_driver_start_queue(session.driver, 0), 0);
        }
        assert_int_equal(atomic_load(&echo_counts(session.echo)->errors), 201);
        session_close(&session);
}

/* A front-end can end the back-end channel, and give another, as often as it likes. */
static void test_broken_channels(void **state)
{
        const struct oriel_wire_header cut = {ORIEL_BACKEND_CONFIG_CHANGE_MSG,
                                              ORIEL_PROTOCOL_VERSION | ORIEL_FLAG_REPLY, 8};
        const struct echo_options options = {.quiet = true};
        struct pair pair;

        pair_open(&pair, &options, oriel_frontend_supported());
        for (int i = 0; i < TIMES; i++) {
                struct oriel_backend *backend_of_pair = echo_backend(pair.echo);
                uint64_t ticket;
                int fds[2];

                assert_int_equal(make_socketpair(fds), 0);
                assert_int_equal(oriel_frontend_request(pair.frontend, ORIEL_FRONTEND_SET_BACKEND_REQ_FD, NULL, 0,
                                                        fds[1], NULL, NULL),
                                 0);
                assert_int_equal(oriel_backend_config_changed(backend_of_pair, &ticket), 0);
                /* An answer that ends too early. */
                assert_int_equal(write(fds[0], &cut, sizeof(cut)), sizeof(cut));
                fd_close(fds[0]);
                fd_close(fds[1]);
                assert_int_equal(oriel_backend_wait(backend_of_pair, ticket), -ENOTCONN);
        }
        assert_int_equal(atomic_load(&echo_counts(pair.echo)->errors), 201);
        pair_close(&pair);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_levels),
                counted_test(test_messages),
                counted_test(test_broken_rings),
                counted_test(test_broken_channels),
        };

        return run_counted("session-log", tests);
}
