/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

/* A session from its first message on: what is negotiated, and every request that is about neither rings nor memory. */

#define F(name) ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)
#define WINDOW  (1 << 20)
#define PASSED  (F(RARP) | F(MTU) | F(CRYPTO_SESSION) | F(HOST_NOTIFIER))

static const struct echo_options all_features = {.window = WINDOW, .queues = 2, .protocol_features = PASSED};

/* ---- coming up ---- */

static void test_brings_a_device_up(void **state)
{
        struct session session;

        session_open(&session, &(struct session_options){0});
        session_invert(&session, 0, 1000);
        assert_int_equal(atomic_load(&echo_counts(session.echo)->starts), 1);
        assert_int_equal(echo_seen(session.echo)->status, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                                                                  VIRTIO_CONFIG_S_FEATURES_OK |
                                                                  VIRTIO_CONFIG_S_DRIVER_OK);
        session_close(&session);
}

static void test_offers_what_it_does(void **state)
{
        const uint64_t never = F(XEN_MMAP) | F(CROSS_ENDIAN);
        struct pair pair;

        pair_open(&pair, &all_features, UINT64_MAX);
        /* A userfaultfd would give it the process: it has to be asked for. */
        assert_int_equal(oriel_frontend_offered(pair.frontend),
                         (ORIEL_FEATURE(ORIEL_PROTOCOL_FEATURES) - 1) & ~never & ~F(PAGEFAULT));
        assert_int_equal(oriel_frontend_supported() & never, 0);
        assert_int_equal(oriel_frontend_protocol_features(pair.frontend), oriel_frontend_offered(pair.frontend));
        pair_close(&pair);
}

static void test_leaves_out_what_it_is_told(void **state)
{
        const uint64_t without = F(SHMEM_MAP) | F(REPLY_ACK) | F(MQ) | F(INBAND_NOTIFICATIONS);
        const struct echo_options options = {.window = WINDOW, .without = without};
        uint64_t sizes[ORIEL_MAX_SHMIDS];
        struct pair pair;
        unsigned n;

        pair_open(&pair, &options, UINT64_MAX);
        assert_int_equal(oriel_frontend_offered(pair.frontend) & (without | PASSED), 0);
        assert_int_equal(oriel_frontend_get_shmem_config(pair.frontend, sizes), -EOPNOTSUPP);
        assert_int_equal(oriel_frontend_get_queue_num(pair.frontend, &n), -EOPNOTSUPP);
        pair_close(&pair);
}

/* Rows that answer with more than an acknowledgement, in an order in which all of them can. */
static const struct {
        enum oriel_frontend_request request;
        uint32_t size;
        uint64_t payload[4];
} replies[] = {
        {ORIEL_FRONTEND_GET_FEATURES, 0, {0}},
        {ORIEL_FRONTEND_GET_PROTOCOL_FEATURES, 0, {0}},
        {ORIEL_FRONTEND_GET_QUEUE_NUM, 0, {0}},
        {ORIEL_FRONTEND_GET_VRING_BASE, 8, {1}},
        {ORIEL_FRONTEND_GET_CONFIG, 12 + 4, {UINT64_C(4) << 32, 0}},
        {ORIEL_FRONTEND_CREATE_CRYPTO_SESSION, 32, {1, 2, 3, 4}},
        {ORIEL_FRONTEND_GET_INFLIGHT_FD, 24, {0, 0, 2 | 64 << 16}},
        {ORIEL_FRONTEND_GET_MAX_MEM_SLOTS, 0, {0}},
        {ORIEL_FRONTEND_GET_STATUS, 0, {0}},
        {ORIEL_FRONTEND_GET_SHARED_OBJECT, 16, {1, 0}},
        {ORIEL_FRONTEND_CHECK_DEVICE_STATE, 0, {0}},
        {ORIEL_FRONTEND_GET_SHMEM_CONFIG, 0, {0}},
};

static void test_replies_to_everything(void **state)
{
        struct pair pair;

        pair_open(&pair, &all_features, UINT64_MAX);
        for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
                const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, replies[i].request);
                uint8_t reply[ORIEL_MAX_PAYLOAD];
                uint32_t size = sizeof(reply);

                assert_int_equal(row->reply, ORIEL_REPLY_ALWAYS);
                assert_int_equal(oriel_frontend_request(pair.frontend, replies[i].request, replies[i].payload,
                                                        replies[i].size, -1, reply, &size),
                                 0);
                assert_between(size, row->reply_size.min, row->reply_size.max);
        }
        pair_close(&pair);
}

/* ---- acknowledgements ---- */

static void test_front_end_learns_of_success_and_refusal(void **state)
{
        struct pair pair;
        uint64_t features;

        pair_open(&pair, &(struct echo_options){.protocol_features = PASSED, .quiet = true}, UINT64_MAX);
        assert_int_equal(oriel_frontend_net_set_mtu(pair.frontend, 1500), 0);
        assert_int_equal(oriel_frontend_net_set_mtu(pair.frontend, 1), -EREMOTEIO);
        assert_string_equal(echo_last_error(pair.echo), "NET_SET_MTU: Invalid argument");
        assert_int_equal(oriel_frontend_set_vring_num(pair.frontend, 7, 64), -EREMOTEIO);
        assert_int_equal(oriel_frontend_get_max_mem_slots(pair.frontend, &features), 0);
        pair_close(&pair);
}

static void test_front_end_loses_the_connection_without_reply_ack(void **state)
{
        const struct echo_options options = {.protocol_features = PASSED, .without = F(REPLY_ACK), .quiet = true};
        struct pair pair;
        uint64_t slots;

        pair_open(&pair, &options, UINT64_MAX & ~F(INBAND_NOTIFICATIONS));
        assert_int_equal(oriel_frontend_net_set_mtu(pair.frontend, 1500), 0);
        assert_int_equal(oriel_frontend_net_set_mtu(pair.frontend, 1), 0);
        assert_int_equal(oriel_frontend_get_max_mem_slots(pair.frontend, &slots), -ENOTCONN);
        assert_false(oriel_frontend_connected(pair.frontend));
        assert_int_equal(echo_join(pair.echo), -EPROTO);
        pair_close(&pair);
}

static int add_object(struct oriel_backend *backend, void *uuid)
{
        uint64_t ticket;
        int r = oriel_backend_shared_object_add(backend, uuid, &ticket);

        return r < 0 ? r : oriel_backend_wait(backend, ticket);
}

static int remove_object(struct oriel_backend *backend, void *uuid)
{
        uint64_t ticket;
        int r = oriel_backend_shared_object_remove(backend, uuid, &ticket);

        return r < 0 ? r : oriel_backend_wait(backend, ticket);
}

static void test_back_end_learns_of_success_and_refusal(void **state)
{
        uint8_t one[16] = {1}, other[16] = {2};
        struct pair pair;

        pair_open(&pair, &all_features, UINT64_MAX);
        assert_int_equal(pair_call(&pair, add_object, one), 0);
        assert_int_equal(pair_call(&pair, add_object, other), -EREMOTEIO);
        assert_int_equal(pair_call(&pair, remove_object, other), -EREMOTEIO);
        assert_int_equal(pair_call(&pair, remove_object, one), 0);
        assert_int_equal(oriel_backend_wait(echo_backend(pair.echo), 12345), -EINVAL);
        pair_close(&pair);
}

static void test_back_end_waits_for_nothing_without_reply_ack(void **state)
{
        uint8_t one[16] = {1};
        struct pair pair;
        uint8_t status;

        pair_open(&pair, &all_features, UINT64_MAX & ~F(REPLY_ACK) & ~F(INBAND_NOTIFICATIONS));
        /* Its reply says that the channel has arrived. */
        assert_int_equal(oriel_frontend_get_status(pair.frontend, &status), 0);
        assert_int_equal(add_object(echo_backend(pair.echo), one), 0);
        assert_int_equal(add_object(echo_backend(pair.echo), one), 0);
        pair_call(&pair, add_object, one);
        assert_int_equal(pair.added, 1);
        pair_close(&pair);
}

static int change_config(struct oriel_backend *backend, void *unused)
{
        uint64_t ticket;
        int r = oriel_backend_config_changed(backend, &ticket);

        return r < 0 ? r : oriel_backend_wait(backend, ticket);
}

static void test_back_end_without_its_channel(void **state)
{
        uint8_t one[16] = {1};
        struct pair pair;

        pair_open(&pair, &all_features, UINT64_MAX & ~F(BACKEND_REQ) & ~F(INBAND_NOTIFICATIONS));
        assert_int_equal(add_object(echo_backend(pair.echo), one), -ENOTCONN);
        pair_close(&pair);
        pair_open(&pair, &all_features, UINT64_MAX & ~F(SHARED_OBJECT));
        assert_int_equal(add_object(echo_backend(pair.echo), one), -EOPNOTSUPP);
        pair_close(&pair);
}

/* ---- config space, status, reset ---- */

static void test_config_space(void **state)
{
        uint8_t bytes[ECHO_CONFIG] = {0};
        struct pair pair;

        pair_open(&pair, &all_features, UINT64_MAX);
        assert_int_equal(oriel_frontend_get_config(pair.frontend, 0, bytes, sizeof(bytes)), 0);
        for (unsigned i = 0; i < ECHO_CONFIG; i++)
                assert_int_equal(bytes[i], i);
        assert_int_equal(oriel_frontend_get_config(pair.frontend, 10, bytes, 2), 0);
        assert_int_equal(bytes[1], 11);
        assert_int_equal(oriel_frontend_get_config(pair.frontend, 60, bytes, 8), -EREMOTEIO);
        assert_int_equal(oriel_frontend_set_config(pair.frontend, 4, "new", 3, ORIEL_CONFIG_LIVE_MIGRATION), 0);
        assert_int_equal(echo_seen(pair.echo)->config_flags, ORIEL_CONFIG_LIVE_MIGRATION);
        assert_int_equal(oriel_frontend_get_config(pair.frontend, 3, bytes, 4), 0);
        assert_memory_equal(bytes, "\3new", 4);
        pair_close(&pair);
}

static void test_config_refusal(void **state)
{
        struct echo_options options = all_features;
        struct pair pair;

        options.quiet = true;
        pair_open(&pair, &options, UINT64_MAX);
        assert_int_equal(oriel_frontend_set_config(pair.frontend, 63, "ab", 2, ORIEL_CONFIG_WRITABLE), -EREMOTEIO);
        pair_close(&pair);
}

static void test_config_change_is_told(void **state)
{
        struct pair pair;

        pair_open(&pair, &all_features, UINT64_MAX);
        assert_int_equal(pair_call(&pair, change_config, NULL), 0);
        assert_int_equal(pair.config_changes, 1);
        pair_close(&pair);
}

static void test_status(void **state)
{
        struct pair pair;
        uint8_t status = 0xff;

        pair_open(&pair, &all_features, UINT64_MAX);
        assert_int_equal(oriel_frontend_get_status(pair.frontend, &status), 0);
        assert_int_equal(status, 0);
        assert_int_equal(oriel_frontend_set_status(pair.frontend, 3), 0);
        assert_int_equal(echo_seen(pair.echo)->status, 3);
        assert_int_equal(oriel_frontend_get_status(pair.frontend, &status), 0);
        assert_int_equal(status, 3);
        pair_close(&pair);
}

static void test_reset_stops_queues_and_unmaps(void **state)
{
        const struct session_options options = {.echo = {.window = WINDOW, .queues = 2}};
        struct session session;
        uint8_t status;

        session_open(&session, &options);
        session_map(&session, 0, PAGE, 0, true);
        assert_int_equal(oriel_region_count(oriel_driver_region(session.driver, 0)), 1);
        assert_int_equal(oriel_frontend_reset_device(session_frontend(&session)), 0);
        assert_int_equal(oriel_region_count(oriel_driver_region(session.driver, 0)), 0);
        assert_int_equal(atomic_load(&echo_counts(session.echo)->stops), 2);
        assert_int_equal(atomic_load(&echo_counts(session.echo)->resets), 1);
        assert_int_equal(oriel_frontend_get_status(session_frontend(&session), &status), 0);
        assert_int_equal(status, 0);
        session_close(&session);
}

/* ---- dialects ---- */

static bool agrees_on_shmem(const char *backend, const char *frontend)
{
        const struct echo_options options = {
                .window = WINDOW,
                .dialect = oriel_dialect_find(backend),
                .without = F(INBAND_NOTIFICATIONS),
                .quiet = true,
        };
        uint64_t sizes[ORIEL_MAX_SHMIDS];
        struct pair pair;

        pair_open_raw(&pair, &options, oriel_dialect_find(frontend));
        assert_int_equal(oriel_frontend_negotiate(pair.frontend, UINT64_MAX), 0);

        int r = oriel_frontend_get_shmem_config(pair.frontend, sizes);

        if (r == 0)
                assert_int_equal(sizes[2], WINDOW);
        pair_close(&pair);
        return r == 0;
}

/* An end that was not told to never reads another numbering's bit as SHMEM_MAP. */
static void test_dialects(void **state)
{
        const char *standard = oriel_dialect_get(0)->name;

        assert_true(agrees_on_shmem(standard, standard));
        for (unsigned i = 1; oriel_dialect_get(i); i++) {
                const char *older = oriel_dialect_get(i)->name;

                assert_true(agrees_on_shmem(older, older));
                assert_false(agrees_on_shmem(older, standard));
                assert_false(agrees_on_shmem(standard, older));
        }
}

static void test_dialects_map(void **state)
{
        for (unsigned i = 0; oriel_dialect_get(i); i++) {
                struct session_options options = {
                        .echo = {.window = WINDOW, .dialect = oriel_dialect_get(i)},
                        .driver = {.dialect = oriel_dialect_get(i)},
                };
                struct session session;

                session_open(&session, &options);
                session_map(&session, PAGE, PAGE, 3 * PAGE, false);
                assert_int_equal(((uint8_t *)oriel_driver_window(session.driver, 0, NULL))[PAGE], 3);
                session_close(&session);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_brings_a_device_up),
                counted_test(test_offers_what_it_does),
                counted_test(test_leaves_out_what_it_is_told),
                counted_test(test_replies_to_everything),
                counted_test(test_front_end_learns_of_success_and_refusal),
                counted_test(test_front_end_loses_the_connection_without_reply_ack),
                counted_test(test_back_end_learns_of_success_and_refusal),
                counted_test(test_back_end_waits_for_nothing_without_reply_ack),
                counted_test(test_back_end_without_its_channel),
                counted_test(test_config_space),
                counted_test(test_config_refusal),
                counted_test(test_config_change_is_told),
                counted_test(test_status),
                counted_test(test_reset_stops_queues_and_unmaps),
                counted_test(test_dialects),
                counted_test(test_dialects_map),
        };

        return run_counted("session", tests);
}
