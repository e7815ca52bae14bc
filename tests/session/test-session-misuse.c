/* SPDX-License-Identifier: BSD-2-Clause */

/* Mistakes of the owner of an end, and their results: an error for the one call, said in a word or in the log,
 * and a session that goes on. The peers of these tests do nothing wrong. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/session/session.h"

#include <errno.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define WINDOW     (UINT64_C(2) << 20)
#define F(name)    ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)
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

        pair_open(&pair, &(struct echo_options){0}, UINT64_MAX);
        assert_int_equal(pair_call(&pair, look_up, bad), -EREMOTEIO);
        fd = pair_call(&pair, look_up, good);
        assert_true(fd >= 0);
        fd_close(fd);
        pair_close(&pair);
}

/* An fd is often what a call has returned that failed. */
static void test_objects_of_a_bad_fd(void **state)
{
        const struct oriel_driver_options options = {.struct_size = sizeof(options)};
        const struct oriel_memory_region row = region_at(0, PAGE);
        struct session session;

        session_open(&session, &(struct session_options){.echo = {.window = WINDOW}});
        for (size_t i = 0; i < ARRAY_SIZE(bad_fds); i++) {
                struct oriel_driver *driver = session.driver;
                struct oriel_dirty_log *log = NULL;
                struct oriel_memory *memory, *more;
                int fd = bad_fds[i].fd, result = bad_fds[i].result;

                assert_int_equal(oriel_driver_new(&options, fd, &driver), result);
                assert_null(driver);
                assert_int_equal(oriel_socket_accept(fd), result);
                assert_int_equal(oriel_dirty_log_new(fd, 0, PAGE, &log), result);
                assert_int_equal(oriel_memory_new(1, false, &memory), 0);
                assert_int_equal(oriel_memory_add(memory, &row, fd, &more), result);
                oriel_memory_unref(memory);
                assert_int_equal(oriel_region_map(oriel_driver_region(session.driver, 0), (struct oriel_range){0, PAGE},
                                                  fd, 0, ORIEL_ACCESS_READ),
                                 result);
                if (fd < 0)
                        assert_int_equal(oriel_driver_reconnect(session.driver, fd), result);
                session_invert(&session, 0, 10);
        }
        assert_int_equal(oriel_socket_listen(NULL), -EINVAL);
        assert_int_equal(oriel_socket_connect(NULL), -EINVAL);
        session_close(&session);
}

/* ---- options that can't be ---- */

static char last_line[512];

static void keep_line(void *userdata, enum oriel_log_level level, const char *line)
{
        if (level == ORIEL_LOG_ERROR)
                snprintf(last_line, sizeof(last_line), "%s", line);
}

static const struct oriel_log line_log = {
        .struct_size = sizeof(line_log), .write = keep_line, .level = ORIEL_LOG_ERROR};

static int start_nothing(void *userdata, struct oriel_backend_queue *queue)
{
        return 0;
}

static void stop_nothing(void *userdata, struct oriel_backend_queue *queue)
{
}

/* Room behind the struct for a later version's fields. */
union backend_options {
        struct oriel_backend_options now;
        uint8_t bytes[sizeof(struct oriel_backend_options) + 64];
};

static const uint64_t odd_sizes[ORIEL_MAX_SHMIDS] = {[7] = 4095};

#define SPOIL(name, statement)                                                            \
        static void spoil_##name(union backend_options *o, struct oriel_backend_ops *ops) \
        {                                                                                 \
                (void)o;                                                                  \
                (void)ops;                                                                \
                statement;                                                                \
        }
SPOIL(no_size, o->now.struct_size = 0)
SPOIL(old_size, o->now.struct_size = offsetof(struct oriel_backend_options, dialect))
SPOIL(cut_size, o->now.struct_size = offsetof(struct oriel_backend_options, queues))
SPOIL(no_struct, memset(o, 0xa5, sizeof(*o)))
SPOIL(newer, (o->now.struct_size = sizeof(*o), o->bytes[sizeof(*o) - 1] = 1))
SPOIL(no_ops, o->now.ops = NULL)
SPOIL(ops_size, ops->struct_size = 0)
SPOIL(no_start, ops->start = NULL)
SPOIL(no_stop, ops->stop = NULL)
SPOIL(no_queues, o->now.queues = 0)
SPOIL(many_queues, o->now.queues = 257)
SPOIL(odd_region, o->now.shmem_sizes = odd_sizes)
SPOIL(xen, o->now.protocol_features = F(XEN_MMAP))
SPOIL(feature_63, o->now.protocol_features = ORIEL_FEATURE(63))
SPOIL(rarp, o->now.protocol_features = F(RARP))
SPOIL(in_notifications, o->now.device_features = ORIEL_FEATURE(38))
SPOIL(newer_of_zeros, o->now.struct_size = sizeof(*o))

/* The result of each, and the word that the log has to have; NULL: nothing can be logged where it is not known what is
 * an option. */
static const struct {
        const char *name;
        void (*spoil)(union backend_options *o, struct oriel_backend_ops *ops);
        int result;
        const char *word;
} spoiled[] = {
        {"no_size", spoil_no_size, -EINVAL, NULL},
        {"old_size", spoil_old_size, 0, NULL},
        {"cut_size", spoil_cut_size, -EINVAL, NULL},
        {"no_struct", spoil_no_struct, -EINVAL, NULL},
        {"newer", spoil_newer, -E2BIG, NULL},
        {"no_ops", spoil_no_ops, -EINVAL, "ops"},
        {"ops_size", spoil_ops_size, -EINVAL, "ops"},
        {"no_start", spoil_no_start, -EINVAL, "start"},
        {"no_stop", spoil_no_stop, -EINVAL, "stop"},
        {"no_queues", spoil_no_queues, -EINVAL, "queues"},
        {"many_queues", spoil_many_queues, -EINVAL, "queues"},
        {"odd_region", spoil_odd_region, -EINVAL, "shmem_sizes"},
        {"xen", spoil_xen, -EINVAL, "protocol_features"},
        {"feature_63", spoil_feature_63, -EINVAL, "protocol_features"},
        {"rarp", spoil_rarp, -EINVAL, "ops->message"},
        {"in_notifications", spoil_in_notifications, -EINVAL, "device_features"},
        {"newer_of_zeros", spoil_newer_of_zeros, 0, NULL},
};

static void test_backend_options(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(spoiled); i++) {
                struct oriel_backend_ops ops = {
                        .struct_size = sizeof(ops), .start = start_nothing, .stop = stop_nothing};
                union backend_options options = {
                        .now = {.struct_size = sizeof(options.now), .ops = &ops, .log = &line_log, .queues = 1}};
                struct oriel_backend *backend = (void *)&options;

                last_line[0] = '\0';
                spoiled[i].spoil(&options, &ops);

                int r = oriel_backend_new(&options.now, &backend);

                if (r != spoiled[i].result || (r < 0) != (backend == NULL) ||
                    !strstr(last_line, spoiled[i].word ? spoiled[i].word : "") ||
                    (last_line[0] != '\0') != (spoiled[i].word != NULL))
                        fail_msg("%s: %d, '%s'", spoiled[i].name, r, last_line);
                oriel_backend_free(backend);
        }
}

static void test_options_of_others(void **state)
{
        const struct oriel_frontend_ops ops = {.struct_size = 1};
        struct oriel_frontend_options frontend_options = {sizeof(frontend_options), .log = &line_log, .timeout_ms = -1};
        const struct oriel_driver_options driver_options = {sizeof(driver_options), .log = &line_log, .queues = 257};
        const struct oriel_region_options region_options = {sizeof(region_options), .size = PAGE};
        struct oriel_frontend *frontend = (void *)&frontend_options;
        struct oriel_region *region = (void *)&frontend_options;
        struct oriel_driver *driver = (void *)&frontend_options;
        struct oriel_window *window = (void *)&frontend_options;
        int fds[2];

        assert_int_equal(oriel_frontend_new(&frontend_options, &frontend), -EINVAL);
        assert_null(frontend);
        assert_non_null(strstr(last_line, "timeout_ms"));
        frontend_options.timeout_ms = 0;
        frontend_options.ops = &ops;
        assert_int_equal(oriel_frontend_new(&frontend_options, &frontend), -EINVAL);
        assert_non_null(strstr(last_line, "ops"));

        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(oriel_driver_new(&driver_options, fds[0], &driver), -EINVAL);
        assert_null(driver);
        assert_non_null(strstr(last_line, "queues"));
        assert_int_equal(oriel_driver_new(NULL, fds[1], &driver), -EINVAL);

        assert_int_equal(oriel_region_new(&region_options, &region), -EINVAL);
        assert_null(region);
        assert_int_equal(oriel_window_new(1, ORIEL_HOLE_ZERO, &window), -EINVAL);
        assert_null(window);
        assert_int_equal(oriel_backend_new(NULL, (struct oriel_backend **)&driver), -EINVAL);
        assert_int_equal(oriel_frontend_new(NULL, &frontend), -EINVAL);
        assert_int_equal(oriel_region_new(NULL, &region), -EINVAL);
        assert_int_equal(oriel_window_new(PAGE, ORIEL_HOLE_ZERO, NULL), -EINVAL);
        assert_int_equal(oriel_memory_new(1, false, NULL), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_map_of_a_bad_fd),
                counted_test(test_requests_with_a_bad_fd),
                counted_test(test_object_whose_device_gives_a_bad_fd),
                counted_test(test_object_whose_frontend_gives_a_bad_fd),
                counted_test(test_objects_of_a_bad_fd),
                counted_test(test_backend_options),
                counted_test(test_options_of_others),
        };

        return run_counted("session-misuse", tests);
}
