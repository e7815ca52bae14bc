/* SPDX-License-Identifier: BSD-2-Clause */

/* The FUSE client against a device that lies: answers of a header alone, with every kind of error in it and with a
 * length that is wrong. */

#include "base/cleanup.h"
#include "base/test.h"
#include "clients/fs/client.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <oriel/backend.h>
#include <oriel/worker.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>

/* A device that gives each request an answer of a header alone, with @error in it. */
struct liar {
        struct oriel_backend *backend;
        struct oriel_worker *worker;
        pthread_t thread;
        int32_t error;
        uint32_t shorter; /* the header's length is less by so much */
};

static ssize_t liar_handle(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        struct liar *liar = userdata;
        struct fuse_in_header request;
        struct fuse_out_header answer = {.len = (uint32_t)sizeof(answer) - liar->shorter, .error = liar->error};

        if (oriel_chain_read(chain, 0, &request, sizeof(request)) != sizeof(request))
                return -EINVAL;
        answer.unique = request.unique;
        return (ssize_t)oriel_chain_write(chain, 0, &answer, sizeof(answer));
}

static int liar_start(void *userdata, struct oriel_backend_queue *queue)
{
        return oriel_worker_add(((struct liar *)userdata)->worker, queue);
}

static void liar_stop(void *userdata, struct oriel_backend_queue *queue)
{
        oriel_worker_remove(((struct liar *)userdata)->worker, queue);
}

static void *liar_serve(void *userdata)
{
        struct liar *liar = userdata;
        struct pollfd fd = {.fd = oriel_backend_get_fd(liar->backend), .events = POLLIN};

        while (oriel_backend_dispatch(liar->backend) == 0)
                poll(&fd, 1, -1);
        return NULL;
}

static void test_answers_that_lie(void **state)
{
        static const struct {
                int32_t error;
                uint32_t shorter;
                int result;
        } cases[] = {
                {0, 0, 0},
                {-ENOENT, 0, -ENOENT},
                {-4095, 0, -4095},
                {-4096, 0, -EPROTO},
                {1, 0, -EPROTO},
                {100, 0, -EPROTO},
                {INT32_MIN, 0, -EPROTO},
                {INT32_MAX, 0, -EPROTO},
                {-ENOENT, 1, -EPROTO},
        };
        struct liar liar = {.error = 0};
        const struct oriel_worker_options worker = {
                .struct_size = sizeof(worker), .handle = liar_handle, .userdata = &liar, .threads = 1};
        const struct oriel_backend_ops ops = {.struct_size = sizeof(ops), .start = liar_start, .stop = liar_stop};
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = &liar,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1),
                .queues = 2,
        };
        const struct oriel_driver_options driver_options = {.struct_size = sizeof(driver_options), .queues = 2};
        struct fuse_client client = {.unique = 0};
        int fds[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(oriel_worker_new(&worker, &liar.worker), 0);
        assert_int_equal(oriel_backend_new(&options, &liar.backend), 0);
        assert_int_equal(oriel_backend_attach(liar.backend, fds[0]), 0);
        assert_int_equal(pthread_create(&liar.thread, NULL, liar_serve, &liar), 0);
        assert_int_equal(oriel_driver_new(&driver_options, fds[1], &client.driver), 0);
        client.in = oriel_driver_alloc(client.driver, 4096);
        client.out = oriel_driver_alloc(client.driver, 4096);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                liar.error = cases[i].error;
                liar.shorter = cases[i].shorter;
                assert_int_equal(fuse_call(&client, FUSE_GETATTR, 1, NULL, 0, NULL, 0, NULL, 0), cases[i].result);
        }
        oriel_driver_free(client.driver);
        assert_int_equal(pthread_join(liar.thread, NULL), 0);
        oriel_backend_free(liar.backend);
        oriel_worker_free(liar.worker);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_answers_that_lie),
        };

        return run_counted("fuse-client", tests);
}
