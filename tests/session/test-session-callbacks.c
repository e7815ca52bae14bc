/* SPDX-License-Identifier: BSD-2-Clause */

/* Calls that an owner must not make, or not then: from callbacks, for queues that there are not or that are stopped,
 * with chains that were given back. Each has a result, and none takes away the ground under another call. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/session/session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#define WINDOW (UINT64_C(2) << 20)

/* ---- calls from callbacks ---- */

enum misdeed { DISPATCH, DISCONNECT, FREE, ATTACH, N_MISDEEDS };

struct caller {
        struct oriel_backend *backend;
        enum misdeed misdeed;
        bool in_stop; /* not in start */
        int starts, stops, resets;
        int result; /* of the misdeed */
        int ended;  /* of the loop */
};

static void do_misdeed(struct caller *caller)
{
        int fds[2];

        switch (caller->misdeed) {
        case DISPATCH:
                caller->result = oriel_backend_dispatch(caller->backend);
                break;
        case DISCONNECT:
                oriel_backend_disconnect(caller->backend);
                break;
        case FREE:
                oriel_backend_free(caller->backend);
                break;
        default:
                assert_int_equal(make_socketpair(fds), 0);
                caller->result = oriel_backend_attach(caller->backend, fds[0]);
                fd_close(fds[1]);
                break;
        }
}

static int caller_start(void *userdata, struct oriel_backend_queue *queue)
{
        struct caller *caller = userdata;

        caller->starts++;
        if (!caller->in_stop)
                do_misdeed(caller);
        return 0;
}

static void caller_stop(void *userdata, struct oriel_backend_queue *queue)
{
        struct caller *caller = userdata;

        caller->stops++;
        if (caller->in_stop)
                do_misdeed(caller);
}

static void caller_reset(void *userdata)
{
        struct caller *caller = userdata;

        caller->resets++;
}

static void *caller_loop(void *userdata)
{
        struct caller *caller = userdata;
        int r = 0;

        while (r == 0) {
                struct pollfd p = {.fd = oriel_backend_get_fd(caller->backend), .events = POLLIN};

                poll(&p, 1, -1);
                r = oriel_backend_dispatch(caller->backend);
        }
        caller->ended = r;
        return NULL;
}

static struct caller call_back(enum misdeed misdeed, bool in_stop)
{
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops), .start = caller_start, .stop = caller_stop, .reset = caller_reset};
        struct caller caller = {.misdeed = misdeed, .in_stop = in_stop};
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = &caller,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                .queues = 1,
        };
        const struct oriel_driver_options driver_options = {.struct_size = sizeof(driver_options)};
        struct oriel_driver *driver;
        pthread_t thread;
        int fds[2];

        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(oriel_backend_new(&options, &caller.backend), 0);
        assert_int_equal(oriel_backend_attach(caller.backend, fds[1]), 0);
        assert_int_equal(pthread_create(&thread, NULL, caller_loop, &caller), 0);
        /* Whether that is answered before the end is not said. */
        oriel_driver_new(&driver_options, fds[0], &driver);
        oriel_driver_free(driver);
        pthread_join(thread, NULL);
        if (caller.ended != -ECANCELED)
                oriel_backend_free(caller.backend);
        return caller;
}

static void test_calls_from_callbacks(void **state)
{
        static const struct {
                int result, ended;
        } expected[N_MISDEEDS] = {
                [DISPATCH] = {-EDEADLK, -ENOTCONN},
                [DISCONNECT] = {0, -ENOTCONN},
                [FREE] = {0, -ECANCELED},
                [ATTACH] = {-EBUSY, -ENOTCONN},
        };

        for (unsigned i = 0; i < 2 * N_MISDEEDS; i++) {
                struct caller caller = call_back(i / 2, i % 2);

                if (caller.result != expected[i / 2].result || caller.ended != expected[i / 2].ended)
                        fail_msg("misdeed %u: %d, ended by %d", i, caller.result, caller.ended);
                assert_int_equal(caller.starts, caller.stops);
                assert_int_equal(caller.resets, 1);
        }
        assert_int_equal(oriel_backend_dispatch(NULL), -EINVAL);
        assert_int_equal(oriel_frontend_dispatch(NULL), -EINVAL);
}

/* A front-end whose owner frees it, or ends its connection, as it is told of a change. */
struct owner {
        struct oriel_frontend *frontend;
        bool frees;
        int calls;
};

static void owner_config_changed(void *userdata)
{
        struct owner *owner = userdata;

        owner->calls++;
        if (owner->frees)
                oriel_frontend_free(owner->frontend);
        else
                oriel_frontend_disconnect(owner->frontend);
}

static void test_frontend_that_ends_in_a_callback(void **state)
{
        const struct oriel_frontend_ops ops = {.struct_size = sizeof(ops), .config_changed = owner_config_changed};

        for (int i = 0; i < 4; i++) {
                struct owner owner = {.frees = i % 2};
                const struct oriel_frontend_options options = {sizeof(options), .ops = &ops, .userdata = &owner};
                struct echo *echo = echo_new(&(struct echo_options){0});
                int fds[2], r = 0;

                assert_int_equal(make_socketpair(fds), 0);
                assert_int_equal(echo_serve(echo, fds[1]), 0);
                assert_int_equal(oriel_frontend_new(&options, &owner.frontend), 0);
                assert_int_equal(oriel_frontend_attach(owner.frontend, fds[0]), 0);
                assert_int_equal(oriel_frontend_negotiate(owner.frontend, UINT64_MAX), 0);
                assert_int_equal(oriel_backend_config_changed(echo_backend(echo), NULL), 0);
                while (r == 0 && owner.calls == 0)
                        r = i < 2 ? oriel_frontend_dispatch(owner.frontend)
                                  : oriel_frontend_reset_device(owner.frontend);
                /* The call's own answer came before what follows from it. */
                assert_int_equal(r, owner.frees ? -ECANCELED : i < 2 ? -ENOTCONN : 0);
                if (!owner.frees)
                        oriel_frontend_free(owner.frontend);
                echo_join(echo);
                echo_free(echo);
        }
}

/* ---- a placement that calls its region ---- */

static struct oriel_region *calling_region;

static void visit_nothing(void *userdata, struct oriel_mapping *mapping)
{
        fail_msg("%p is visited", (void *)mapping);
}

static int calling_place(void *userdata, struct oriel_mapping *mapping, int fd)
{
        const struct oriel_range range = oriel_mapping_range(mapping);
        struct oriel_mapping **mappings;
        size_t n;

        assert_int_equal(oriel_region_map(calling_region, range, fd, 0, ORIEL_ACCESS_READ), -EDEADLK);
        assert_int_equal(oriel_region_unmap(calling_region, range), -EDEADLK);
        assert_int_equal(oriel_region_list(calling_region, &mappings, &n), -EDEADLK);
        assert_int_equal(oriel_region_unmap_all(calling_region), 0);
        assert_int_equal(oriel_region_orphan_all(calling_region), 0);
        assert_int_equal(oriel_region_count(calling_region), 0);
        assert_null(oriel_region_find(calling_region, 0));
        assert_int_equal(oriel_region_each(calling_region, visit_nothing, NULL), 0);
        assert_int_equal(oriel_region_at(calling_region, 0, visit_nothing, NULL), 0);
        oriel_region_free(calling_region);
        return 0;
}

static void calling_remove(void *userdata, struct oriel_mapping *mapping)
{
}

static void calling_remove_all(void *userdata, uint64_t size)
{
}

static void test_placement_that_calls_its_region(void **state)
{
        const struct oriel_placement_ops placement = {sizeof(placement), calling_place, calling_remove,
                                                      calling_remove_all};
        const struct oriel_region_options options = {sizeof(options), .size = WINDOW, .placement = &placement};
        int fd = make_memory(PAGE);

        assert_int_equal(oriel_region_new(&options, &calling_region), 0);
        assert_int_equal(oriel_region_map(calling_region, (struct oriel_range){0, PAGE}, fd, 0, ORIEL_ACCESS_READ), 0);
        assert_int_equal(oriel_region_count(calling_region), 1);
        oriel_region_free(calling_region);
        fd_close(fd);
}

/* ---- queues ---- */

static void test_queues_that_there_are_not(void **state)
{
        struct session session;
        uint32_t written;
        void *token;

        session_open(&session, &(struct session_options){.echo = {.queues = 2}});
        for (unsigned queue = 2; queue < 200; queue += 97) {
                const struct iovec piece = {session.out[0], 64};

                assert_int_equal(oriel_driver_submit(session.driver, queue, NULL, 0, &piece, 1, &token), -EINVAL);
                assert_int_equal(oriel_driver_kick(session.driver, queue), -EINVAL);
                assert_int_equal(oriel_driver_collect(session.driver, queue, &token, &written), -EINVAL);
                assert_int_equal(oriel_driver_wait(session.driver, queue, 0), -EINVAL);
                assert_int_equal(oriel_driver_call_fd(session.driver, queue), -EINVAL);
                assert_true(oriel_driver_rearm(session.driver, queue));
                assert_int_equal(oriel_driver_stop_queue(session.driver, queue), -EINVAL);
                assert_int_equal(oriel_driver_start_queue(session.driver, queue), -EINVAL);
                assert_int_equal(oriel_driver_reset_queue(session.driver, queue), -EINVAL);
        }
        assert_int_equal(oriel_driver_collect(session.driver, 0, NULL, &written), -EINVAL);
        session_invert(&session, 0, 10);
        session_close(&session);
}

static void test_buffers_that_cannot_be(void **state)
{
        struct session session;
        uint8_t elsewhere[64];

        session_open(&session, &(struct session_options){0});

        const struct iovec good = {session.out[0], 64}, empty = {session.out[0], 0}, wrong = {elsewhere, 64};
        const struct iovec mixed[] = {good, empty};

        assert_int_equal(oriel_driver_submit(session.driver, 0, NULL, 0, &empty, 1, &session), -EINVAL);
        assert_int_equal(oriel_driver_submit(session.driver, 0, mixed, 2, NULL, 0, &session), -EINVAL);
        assert_int_equal(oriel_driver_submit(session.driver, 0, NULL, 0, NULL, 0, &session), -EINVAL);
        assert_int_equal(oriel_driver_submit(session.driver, 0, NULL, 0, &good, 1, NULL), -EINVAL);
        assert_int_equal(oriel_driver_submit(session.driver, 0, NULL, 0, &wrong, 1, &session), -EFAULT);
        session_invert(&session, 0, 10);
        session_close(&session);
}

/* A device on the test's thread: its queue is used here, started or not. */
static struct oriel_backend_queue *held_queue;

static int hold_queue(void *userdata, struct oriel_backend_queue *queue)
{
        held_queue = queue;
        return 0;
}

static void leave_queue(void *userdata, struct oriel_backend_queue *queue)
{
}

static void *loop_only(void *backend)
{
        struct pollfd p = {.fd = oriel_backend_get_fd(backend), .events = POLLIN};

        do
                poll(&p, 1, -1);
        while (oriel_backend_dispatch(backend) == 0);
        return NULL;
}

static void check_chains(struct oriel_driver *driver)
{
        const struct iovec piece = {oriel_driver_alloc(driver, 64), 64};
        struct oriel_chain *chain, *kept;
        uint32_t written;
        void *token;

        for (int i = 0; i < 2; i++)
                assert_int_equal(oriel_driver_submit(driver, 0, NULL, 0, &piece, 1, &token), 0);
        assert_int_equal(oriel_backend_queue_pop(held_queue, &chain), 1);
        assert_int_equal(oriel_backend_queue_pop(held_queue, &kept), 1);
        assert_int_equal(oriel_backend_queue_push(held_queue, NULL, 0), -EINVAL);
        assert_int_equal(oriel_backend_queue_push(held_queue, chain, 1), 0);
        assert_int_equal(oriel_backend_queue_push(held_queue, chain, 1), -EINVAL);
        oriel_chain_drop(chain);
        oriel_chain_drop(NULL);
        assert_int_equal(oriel_driver_collect(driver, 0, &token, &written), 1);
        assert_int_equal(oriel_driver_collect(driver, 0, &token, &written), 0);

        /* The queue is stopped, and nothing is to be had of it. */
        assert_int_equal(oriel_driver_stop_queue(driver, 0), 0);
        assert_int_equal(oriel_backend_queue_pop(held_queue, &chain), -ESHUTDOWN);
        oriel_backend_queue_notify(held_queue);
        assert_false(oriel_backend_queue_rearm(held_queue));
        assert_false(oriel_backend_queue_want_kick(held_queue));
        assert_int_equal(oriel_backend_queue_push(held_queue, kept, 1), -ESHUTDOWN);
}

static void test_chains(void **state)
{
        const struct oriel_backend_ops ops = {.struct_size = sizeof(ops), .start = hold_queue, .stop = leave_queue};
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                .queues = 1,
        };
        const struct oriel_driver_options driver_options = {.struct_size = sizeof(driver_options)};
        struct oriel_backend *backend;
        struct oriel_driver *driver;
        pthread_t thread;
        int fds[2];

        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(oriel_backend_new(&options, &backend), 0);
        assert_int_equal(oriel_backend_attach(backend, fds[1]), 0);
        assert_int_equal(pthread_create(&thread, NULL, loop_only, backend), 0);
        assert_int_equal(oriel_driver_new(&driver_options, fds[0], &driver), 0);
        check_chains(driver);
        oriel_driver_free(driver);
        pthread_join(thread, NULL);
        oriel_backend_free(backend);
}

static void test_sockets_that_are_none(void **state)
{
        const struct oriel_frontend_options options = {sizeof(options)};
        struct echo *echo = echo_new(&(struct echo_options){0});
        struct oriel_frontend *frontend;
        int fds[2], pipes[2];

        assert_int_equal(oriel_frontend_new(&options, &frontend), 0);
        for (int i = 0; i < 2; i++) {
                assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
                assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
                assert_int_equal(i ? oriel_frontend_attach(frontend, pipes[0])
                                   : oriel_backend_attach(echo_backend(echo), pipes[0]),
                                 -ENOTSOCK);
                assert_int_equal(i ? oriel_frontend_attach(frontend, fds[0])
                                   : oriel_backend_attach(echo_backend(echo), fds[0]),
                                 -EPROTOTYPE);
                fd_close(pipes[1]);
                fd_close(fds[1]);
        }
        oriel_frontend_free(frontend);
        echo_free(echo);
}

/* Of a session that has ended nothing is heard in the next one, though a child, say, still has its socket. */
static void test_socket_that_another_has_too(void **state)
{
        const struct oriel_frontend_options options = {sizeof(options)};
        struct oriel_frontend *frontend;
        struct pollfd ready = {.events = POLLIN};
        int first[2], second[2], copy;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, first), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, second), 0);
        assert_int_equal(oriel_frontend_new(&options, &frontend), 0);
        ready.fd = oriel_frontend_get_fd(frontend);
        copy = fd_dup(first[0]);
        assert_int_equal(oriel_frontend_attach(frontend, first[0]), 0);
        fd_close(first[1]);
        assert_int_equal(poll(&ready, 1, 0), 1);
        assert_int_equal(oriel_frontend_dispatch(frontend), -ENOTCONN);
        assert_int_equal(oriel_frontend_attach(frontend, second[0]), 0);
        assert_int_equal(poll(&ready, 1, 0), 0);
        oriel_frontend_free(frontend);
        fd_close(copy);
        fd_close(second[1]);
}

static void test_memory_that_there_is_not(void **state)
{
        const struct oriel_range one = {0, 1};
        struct oriel_memory_region row = region_at(0, PAGE), got;
        struct oriel_memory *empty, *memory;
        int fd = make_memory(PAGE);
        struct iovec span;
        void *host = &row;

        assert_int_equal(oriel_memory_new(1, false, &empty), 0);
        assert_int_equal(oriel_memory_add(empty, &row, fd, &memory), 0);
        oriel_memory_get(memory, 1, &got, &host);
        assert_null(host);
        assert_int_equal(got.size, 0);
        assert_int_equal(oriel_memory_translate(memory, 9, one, ORIEL_ACCESS_READ, &span, 1, NULL), -EINVAL);
        assert_int_equal(oriel_memory_translate(memory, ORIEL_ADDRESS_GUEST, one, 0, &span, 1, NULL), -EINVAL);
        assert_int_equal(oriel_memory_translate(memory, ORIEL_ADDRESS_GUEST, one, 9, &span, 1, NULL), -EINVAL);
        assert_int_equal(oriel_memory_translate(memory, ORIEL_ADDRESS_GUEST, one, 1, &span, 0, NULL), -E2BIG);
        oriel_memory_unref(memory);
        oriel_memory_unref(empty);
        fd_close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_calls_from_callbacks),
                counted_test(test_frontend_that_ends_in_a_callback),
                counted_test(test_placement_that_calls_its_region),
                counted_test(test_queues_that_there_are_not),
                counted_test(test_buffers_that_cannot_be),
                counted_test(test_chains),
                counted_test(test_sockets_that_are_none),
                counted_test(test_socket_that_another_has_too),
                counted_test(test_memory_that_there_is_not),
        };

        return run_counted("session-callbacks", tests);
}
