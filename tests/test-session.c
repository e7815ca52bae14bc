/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#define F(name) ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)

static const struct session_options defaults;

/* ---- coming up ---- */

static void test_brings_a_device_up(void **state)
{
        struct session session;

        (void)state;
        session_open(&session, &defaults);
        session_invert(&session, 0, 1000);
        assert_int_equal(atomic_load(&echo_counts(session.echo)->starts), 1);
        assert_int_equal(echo_seen(session.echo)->status, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
                                                                  VIRTIO_CONFIG_S_FEATURES_OK |
                                                                  VIRTIO_CONFIG_S_DRIVER_OK);
        session_close(&session);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_brings_a_device_up),
        };

        return run_counted("session", tests);
}
