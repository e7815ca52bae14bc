/* SPDX-License-Identifier: BSD-2-Clause */

/* Requests that concern the front-end's owner and the device, and that the two ends pass on: RARP and the MTU, crypto
 * sessions, the GPU's socket, shared objects, notifiers. The device keeps what it has seen, and the pair what the
 * back-end has asked for. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/session/session.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define F(name) ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)

static const struct echo_options all_features = {
        .queues = 2,
        .protocol_features = F(RARP) | F(MTU) | F(CRYPTO_SESSION) | F(HOST_NOTIFIER),
};

/* ---- what goes to the device as it is ---- */

static void test_rarp_and_mtu_are_passed(void **state)
{
        const uint8_t mac[6] = {0x52, 0x54, 0, 1, 2, 3};
        struct echo_seen *seen;
        struct pair pair;

        pair_open(&pair, &all_features, UINT64_MAX);
        seen = echo_seen(pair.echo);
        assert_int_equal(oriel_frontend_send_rarp(pair.frontend, mac), 0);
        assert_int_equal(seen->message, ORIEL_FRONTEND_SEND_RARP);
        assert_memory_equal(seen->payload, mac, 6);
        assert_int_equal(oriel_frontend_net_set_mtu(pair.frontend, 9000), 0);
        assert_int_equal(seen->message, ORIEL_FRONTEND_NET_SET_MTU);
        assert_memory_equal(seen->payload, &(uint64_t){9000}, 8);
        pair_close(&pair);
}

static void test_crypto_sessions_are_passed(void **state)
{
        uint64_t payload[64] = {7}, reply[64], session = ECHO_SESSION;
        uint32_t size = sizeof(reply);
        struct pair pair;

        pair_open(&pair, &all_features, UINT64_MAX);
        assert_int_equal(oriel_frontend_request(pair.frontend, ORIEL_FRONTEND_CREATE_CRYPTO_SESSION, payload,
                                                sizeof(payload), -1, reply, &size),
                         0);
        assert_int_equal(size, sizeof(payload));
        assert_int_equal(reply[0], ECHO_SESSION);
        assert_int_equal(oriel_frontend_request(pair.frontend, ORIEL_FRONTEND_CLOSE_CRYPTO_SESSION, &session,
                                                sizeof(session), -1, NULL, NULL),
                         0);
        assert_int_equal(echo_seen(pair.echo)->message, ORIEL_FRONTEND_CLOSE_CRYPTO_SESSION);
        pair_close(&pair);
}

static void test_gpu_socket_is_passed(void **state)
{
        struct pair pair;
        int fds[2];

        assert_int_equal(make_socketpair(fds), 0);
        pair_open(&pair, &all_features, UINT64_MAX);
        assert_int_equal(
                oriel_frontend_request(pair.frontend, ORIEL_FRONTEND_GPU_SET_SOCKET, NULL, 0, fds[0], NULL, NULL), 0);
        assert_true(echo_seen(pair.echo)->fd);
        pair_close(&pair);
        fd_close_all(fds, 2);
}

/* ---- shared objects, host notifiers ---- */

static int look_up(struct oriel_backend *backend, void *uuid)
{
        return oriel_backend_shared_object_lookup(backend, uuid);
}

static void test_shared_object_lookup(void **state)
{
        uint8_t known[16] = {2}, unknown[16] = {3};
        char bytes[5];
        struct pair pair;

        pair_open(&pair, &all_features, UINT64_MAX);

        int fd = pair_call(&pair, look_up, known);

        assert_true(fd >= 0);
        assert_int_equal(pread(fd, bytes, 5, 0), 5);
        assert_memory_equal(bytes, "oriel", 5);
        fd_close(fd);
        assert_int_equal(pair_call(&pair, look_up, unknown), -EREMOTEIO);
        assert_int_equal(pair.lookups, 2);
        pair_close(&pair);
}

static void test_get_shared_object(void **state)
{
        const uint8_t known[16] = {1}, unknown[16] = {2};
        struct pair pair;
        uint8_t byte;

        pair_open(&pair, &all_features, UINT64_MAX);

        int fd = oriel_frontend_get_shared_object(pair.frontend, known);

        assert_true(fd >= 0);
        assert_int_equal(pread(fd, &byte, 1, 5 * PAGE), 1);
        assert_int_equal(byte, 5);
        fd_close(fd);
        assert_int_equal(oriel_frontend_get_shared_object(pair.frontend, unknown), -ENOENT);
        pair_close(&pair);
}

struct notifier {
        unsigned queue;
        int fd;
        uint64_t offset;
        uint64_t size;
};

static int set_notifier(struct oriel_backend *backend, void *argument)
{
        const struct notifier *n = argument;
        uint64_t ticket;
        int r = oriel_backend_host_notifier(backend, n->queue, n->fd, n->offset, n->size, &ticket);

        return r < 0 ? r : oriel_backend_wait(backend, ticket);
}

static void test_host_notifier(void **state)
{
        int fd = make_memory(PAGE);
        struct pair pair;

        pair_open(&pair, &all_features, UINT64_MAX);
        assert_int_equal(pair_call(&pair, set_notifier, &(struct notifier){1, fd, 512, PAGE}), 0);
        assert_int_equal(pair.vring, 1);
        assert_true(pair.notifier_fd >= 0);
        assert_int_equal(pair.notifier_offset, 512);
        assert_int_equal(pair.notifier_size, PAGE);
        assert_int_equal(pair_call(&pair, set_notifier, &(struct notifier){1, fd, 0, 1}), -EREMOTEIO);
        assert_int_equal(pair_call(&pair, set_notifier, &(struct notifier){1, -1, 0, 0}), 0);
        assert_int_equal(pair.notifier_fd, -1);
        assert_int_equal(pair_call(&pair, set_notifier, &(struct notifier){2, -1, 0, 0}), -EINVAL);
        pair_close(&pair);
        fd_close(fd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_rarp_and_mtu_are_passed), counted_test(test_crypto_sessions_are_passed),
                counted_test(test_gpu_socket_is_passed),    counted_test(test_shared_object_lookup),
                counted_test(test_get_shared_object),       counted_test(test_host_notifier),
        };

        return run_counted("session-device", tests);
}
