/* SPDX-License-Identifier: BSD-2-Clause */

/* What the owner of an end does wrong, and what comes of it: an error for the one call, said in a word or in the log,
 * and a session that goes on. The peers of these tests do nothing wrong. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "session.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define WINDOW     (UINT64_C(2) << 20)
#define NO_FD      99999 /* a number that no descriptor has */
#define BAD_OBJECT 3     /* what the uuid of an object begins with whose owner gives NO_FD for it */

/* ---- fds that are none ---- */

/* Each is an error of the call, and the channel goes on. */
static const struct {
        int fd, result;
} bad_fds[] = {{NO_FD, -EBADF}, {-1, -EBADF}, {-ENOENT, -ENOENT}, {-EMFILE, -EMFILE}};

static void test_map_of_a_bad_fd(void **state)
{
        const struct oriel_wire_mmap map = MAP_AT(0, PAGE);
        struct session session;

        (void)state;
        session_open(&session, &(struct session_options){.echo = {.window = WINDOW}});
        for (size_t i = 0; i < ARRAY_SIZE(bad_fds); i++) {
                uint64_t ticket = 77;

                assert_int_equal(oriel_backend_shmem_map(echo_backend(session.echo), &map, bad_fds[i].fd, &ticket),
                                 bad_fds[i].result);
                assert_int_equal(oriel_backend_shmem_map(echo_backend(session.echo), &map, bad_fds[i].fd, NULL),
                                 bad_fds[i].result);
                session_map(&session, i * PAGE, PAGE, 0, true);
        }
        assert_int_equal(oriel_region_count(oriel_driver_region(session.driver, 0)), ARRAY_SIZE(bad_fds));
        session_close(&session);
}

static void check_frontend_fds(struct oriel_frontend *frontend, int fd, int result)
{
        const struct oriel_memory_region region = region_at(0, PAGE);
        const struct oriel_wire_inflight inflight = {.mmap_size = PAGE, .num_queues = 1, .queue_size = 1};
        int channel;

        assert_int_equal(oriel_frontend_set_mem_table(frontend, &region, &fd, 1), result);
        assert_int_equal(oriel_frontend_add_mem_reg(frontend, &region, fd), result);
        assert_int_equal(oriel_frontend_set_log_fd(frontend, fd), result);
        assert_int_equal(oriel_frontend_set_inflight_fd(frontend, &inflight, fd), result);
        assert_int_equal(oriel_frontend_set_device_state_fd(frontend, ORIEL_DEVICE_STATE_SAVE, fd, &channel), result);
        if (fd == -1)
                return;
        /* Where -1 says that there is none. */
        assert_int_equal(oriel_frontend_set_vring_kick(frontend, 0, fd), result);
        assert_int_equal(oriel_frontend_set_vring_call(frontend, 0, fd), result);
        assert_int_equal(oriel_frontend_set_vring_err(frontend, 0, fd), result);
        assert_int_equal(oriel_frontend_set_log_base(frontend, fd, 0, PAGE), result);
        assert_int_equal(oriel_frontend_request(frontend, ORIEL_FRONTEND_GPU_SET_SOCKET, NULL, 0, fd, NULL, NULL),
                         result);
}

static void test_requests_with_a_bad_fd(void **state)
{
        struct pair pair;
        unsigned n;

        (void)state;
        pair_open(&pair, &(struct echo_options){.queues = 2}, UINT64_MAX);
        for (size_t i = 0; i < ARRAY_SIZE(bad_fds); i++) {
                check_frontend_fds(pair.frontend, bad_fds[i].fd, bad_fds[i].result);
                assert_int_equal(oriel_frontend_get_queue_num(pair.frontend, &n), 0);
                assert_int_equal(n, 2);
        }
        pair_close(&pair);
}

/* A callback's fd goes out with an answer, which has to go out in any case. */
static void test_object_whose_device_gives_a_bad_fd(void **state)
{
        const uint8_t uuid[16] = {BAD_OBJECT};
        struct pair pair;
        unsigned n;

        (void)state;
        pair_open(&pair, &(struct echo_options){.quiet = true}, UINT64_MAX);
        assert_int_equal(oriel_frontend_get_shared_object(pair.frontend, uuid), -ENOENT);
        assert_int_equal(oriel_frontend_get_queue_num(pair.frontend, &n), 0);
        assert_int_equal(atomic_load(&echo_counts(pair.echo)->errors), 1);
        assert_non_null(strstr(echo_last_error(pair.echo), "GET_SHARED_OBJECT"));
        pair_close(&pair);
}

static int look_up(struct oriel_backend *backend, void *uuid)
{
        return oriel_backend_shared_object_lookup(backend, uuid);
}

static void test_object_whose_frontend_gives_a_bad_fd(void **state)
{
        uint8_t bad[16] = {BAD_OBJECT}, good[16] = {2};
        struct pair pair;
        int fd;

        (void)state;
        pair_open(&pair, &(struct echo_options){0}, UINT64_MAX);
        assert_int_equal(pair_call(&pair, look_up, bad), -EREMOTEIO);
        fd = pair_call(&pair, look_up, good);
        assert_true(fd >= 0);
        fd_close(fd);
        pair_close(&pair);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_map_of_a_bad_fd),
                counted_test(test_requests_with_a_bad_fd),
                counted_test(test_object_whose_device_gives_a_bad_fd),
                counted_test(test_object_whose_frontend_gives_a_bad_fd),
        };

        return run_counted("session-misuse", tests);
}
