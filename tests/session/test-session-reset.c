/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>

/* One queue begins anew while the device and its other queues go on. */

#define RESET  ORIEL_FEATURE(VIRTIO_F_RING_RESET)
#define PACKED ORIEL_FEATURE(VIRTIO_F_RING_PACKED)

static void check_reset(uint64_t features)
{
        const struct session_options options = {
                .echo = {.features = RESET | PACKED | ORIEL_FEATURE(VIRTIO_F_VERSION_1), .queues = 2},
                .driver = {.features = features | RESET, .queue_size = 16},
        };
        struct session session;

        session_open(&session, &options);
        for (int round = 0; round < 50; round++) {
                /* Rings stop at another place, and another wrap, each time. */
                for (int i = 0; i < 5 + round; i++)
                        session_invert(&session, 0, 100);
                session_invert(&session, 1, 100);

                /* A buffer that the device still holds is not given back on the new ring. */
                struct echo_request hold = {.op = ECHO_HOLD};

                session_submit(&session, 0, &hold, 10);
                assert_int_equal(oriel_driver_reset_queue(session.driver, 0), 0);
                session_invert(&session, 0, 100);
                session_invert(&session, 1, 100);
        }
        session_close(&session);
}

static void test_ring_reset_split(void **state)
{
        check_reset(0);
}

static void test_ring_reset_packed(void **state)
{
        check_reset(PACKED);
}

static void test_ring_reset_needs_its_feature(void **state)
{
        const struct session_options options = {.echo = {.features = ORIEL_FEATURE(VIRTIO_F_VERSION_1)}};
        struct session session;

        session_open(&session, &options);
        assert_int_equal(oriel_driver_reset_queue(session.driver, 0), -EOPNOTSUPP);
        assert_int_equal(oriel_driver_reset_queue(session.driver, 99), -EINVAL);
        session_invert(&session, 0, 100);
        session_close(&session);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_ring_reset_split),
                counted_test(test_ring_reset_packed),
                counted_test(test_ring_reset_needs_its_feature),
        };

        return run_counted("session-reset", tests);
}
