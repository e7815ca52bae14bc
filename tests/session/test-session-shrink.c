/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/session/session.h"

#include <linux/virtio_config.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

/* Files that are shorter than was said, or become so: the other side reads zeros and goes on. */

#define F(name) ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)
#define PAGES   64

static const struct echo_options quiet = {.quiet = true};

static void start_ring(struct pair *pair, int kick)
{
        struct vhost_vring_addr addr = {.desc_user_addr = 0, .avail_user_addr = PAGE, .used_user_addr = 2 * PAGE};

        assert_int_equal(oriel_frontend_set_vring_num(pair->frontend, 0, 256), 0);
        assert_int_equal(oriel_frontend_set_vring_base(pair->frontend, 0, 0), 0);
        assert_int_equal(oriel_frontend_set_vring_addr(pair->frontend, &addr), 0);
        assert_int_equal(oriel_frontend_set_vring_enable(pair->frontend, 0, true), 0);
        assert_int_equal(oriel_frontend_set_vring_kick(pair->frontend, 0, kick), 0);
}

static void check_alive(struct pair *pair)
{
        unsigned queues;

        assert_int_equal(oriel_frontend_get_queue_num(pair->frontend, &queues), 0);
        assert_int_equal(queues, 1);
}

static void give_memory(struct pair *pair, int memfd)
{
        struct oriel_memory_region region = region_at(0, PAGES * PAGE);

        pair_open(pair, &quiet, ~F(INBAND_NOTIFICATIONS));
        assert_int_equal(oriel_frontend_set_features(pair->frontend, ORIEL_FEATURE(VIRTIO_F_VERSION_1)), 0);
        assert_int_equal(oriel_frontend_set_mem_table(pair->frontend, &region, &memfd, 1), 0);
}

static void test_memory_that_is_not_there(void **state)
{
        int memfd = memfd_create("short", MFD_CLOEXEC), kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct pair pair;
        uint32_t base;

        /* cmocka puts its own handler in place for each test. */
        assert_int_equal(oriel_memory_survive_sigbus(), 0);
        give_memory(&pair, memfd);
        start_ring(&pair, kick);
        fd_event_signal(kick);
        check_alive(&pair);
        assert_int_equal(oriel_frontend_get_vring_base(pair.frontend, 0, &base), 0);
        assert_int_equal(base, 0);
        pair_close(&pair);
        fd_close(memfd);
        fd_close(kick);
}

static void test_memory_that_goes(void **state)
{
        int memfd = make_memory(PAGES * PAGE), kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct pair pair;
        uint32_t base;

        assert_int_equal(oriel_memory_survive_sigbus(), 0);
        give_memory(&pair, memfd);
        start_ring(&pair, kick);
        for (int i = 0; i < 20; i++) {
                assert_int_equal(ftruncate(memfd, i % 2 ? PAGES * PAGE : 0), 0);
                fd_event_signal(kick);
                usleep(1000);
        }
        check_alive(&pair);
        assert_int_equal(oriel_frontend_get_vring_base(pair.frontend, 0, &base), 0);
        pair_close(&pair);
        fd_close(memfd);
        fd_close(kick);
}

static void test_a_mapped_file_that_shrinks(void **state)
{
        struct session session;
        const struct session_options options = {.echo = {.window = 1 << 20}};
        volatile uint8_t *window;
        int memfd = make_memory(4 * PAGE);
        struct oriel_region *region;

        assert_int_equal(oriel_memory_survive_sigbus(), 0);
        session_open(&session, &options);
        region = oriel_driver_region(session.driver, 0);
        window = oriel_driver_window(session.driver, 0, NULL);
        assert_int_equal(pwrite(memfd, "x", 1, 0), 1);
        assert_int_equal(oriel_region_map(region, (struct oriel_range){0, 4 * PAGE}, memfd, 0, ORIEL_ACCESS_READ_WRITE),
                         0);
        assert_int_equal(window[0], 'x');
        assert_int_equal(ftruncate(memfd, PAGE), 0);
        assert_int_equal(window[0], 'x');
        assert_int_equal(window[3 * PAGE], 0);
        window[3 * PAGE] = 1;
        assert_int_equal(lseek(memfd, 0, SEEK_END), PAGE);

        /* Unmapping takes the page of zeros with it. */
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){0, 4 * PAGE}), 0);
        assert_int_equal(window[3 * PAGE], 0);
        session_close(&session);
        fd_close(memfd);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_memory_that_is_not_there),
                counted_test(test_memory_that_goes),
                counted_test(test_a_mapped_file_that_shrinks),
        };

        return run_counted("session-shrink", tests);
}
