/* SPDX-License-Identifier: BSD-2-Clause */

/* Each kick, call and err eventfd is both ends'. Here the other end has filled it, and makes it blocking all the time:
 * nobody may wait for it, neither the device's threads nor the driver, nor the stop of a queue, a reset or the end of
 * the connection, which would wait for those. Where something waits the test never ends, until its time is up. */

#include "base/fd.h"
#include "driver/driver.h"
#include "session.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#define LAST_RESORT_S 100

struct flipper {
        int fd;
        atomic_bool stop;
        pthread_t thread;
};

static void *make_blocking(void *userdata)
{
        static const uint64_t nearly_full = UINT64_MAX - 1;
        struct flipper *flipper = userdata;

        while (!atomic_load(&flipper->stop)) {
                fcntl(flipper->fd, F_SETFL, O_RDWR | O_NONBLOCK);
                (void)!write(flipper->fd, &nearly_full, sizeof(nearly_full));
                for (int i = 0; i < 4; i++)
                        fcntl(flipper->fd, F_SETFL, O_RDWR);
        }
        return NULL;
}

static void flipper_start(struct flipper *flipper, int fd)
{
        *flipper = (struct flipper){.fd = fd};
        assert_int_equal(pthread_create(&flipper->thread, NULL, make_blocking, flipper), 0);
}

static void flipper_stop(struct flipper *flipper)
{
        atomic_store(&flipper->stop, true);
        pthread_join(flipper->thread, NULL);
}

/* The first avail index that no ring of this size can have: each start of the queue reports it anew. */
static void break_ring(struct session *session)
{
        struct driver_queue *queue = &session->driver->queues[0];
        struct vring_avail *avail = (void *)(session->driver->memory + queue->layout.driver);

        __atomic_store_n(&avail->idx, 1000, __ATOMIC_SEQ_CST);
        fd_event_signal(queue->kick_fd);
}

static void open_split(struct session *session)
{
        alarm(LAST_RESORT_S);
        session_open(session, &(struct session_options){.echo = {.quiet = true}});
}

/* Reset and the end of the connection. */
static void end(struct session *session, struct flipper *flipper)
{
        assert_int_equal(oriel_frontend_reset_device(session_frontend(session)), 0);
        session_close(session);
        flipper_stop(flipper);
        fd_close(flipper->fd);
        alarm(0);
}

static void test_call(void **state)
{
        struct flipper flipper;
        struct session session;

        (void)state;
        open_split(&session);
        flipper_start(&flipper, fd_dup(session.driver->queues[0].call_fd));
        for (int round = 0; round < 20; round++) {
                for (int i = 0; i < 50; i++)
                        session_invert(&session, 0, 100);
                assert_int_equal(oriel_driver_stop_queue(session.driver, 0), 0);
                assert_int_equal(oriel_driver_start_queue(session.driver, 0), 0);
        }
        end(&session, &flipper);
}

static void test_err(void **state)
{
        struct flipper flipper;
        struct session session;

        (void)state;
        open_split(&session);
        flipper_start(&flipper, fd_dup(session.driver->queues[0].err_fd));
        break_ring(&session);
        for (unsigned round = 1; round <= 300; round++) {
                while (atomic_load(&echo_counts(session.echo)->errors) < round)
                        usleep(100);
                assert_int_equal(oriel_driver_stop_queue(session.driver, 0), 0);
                session.driver->queues[0].base = 0;
                assert_int_equal(oriel_driver_start_queue(session.driver, 0), 0);
        }
        end(&session, &flipper);
}

/* The driver's side: it is the device that has filled it, and does not read it. */
static void test_kick(void **state)
{
        struct flipper flipper;
        struct session session;

        (void)state;
        open_split(&session);
        flipper_start(&flipper, fd_dup(session.driver->queues[0].kick_fd));
        for (int round = 0; round < 10; round++) {
                struct pollfd full = {.fd = flipper.fd, .events = POLLIN};
                const struct iovec out = {session.out[0], 64};
                uint32_t written;
                void *token;

                assert_int_equal(oriel_driver_stop_queue(session.driver, 0), 0);
                assert_int_equal(poll(&full, 1, -1), 1);
                for (int i = 0; i < 100; i++) {
                        assert_int_equal(oriel_driver_submit(session.driver, 0, NULL, 0, &out, 1, &session), 0);
                        assert_int_equal(oriel_driver_kick(session.driver, 0), 0);
                }
                assert_int_equal(oriel_driver_start_queue(session.driver, 0), 0);
                for (int i = 0; i < 100; i++) {
                        assert_int_equal(oriel_driver_wait(session.driver, 0, -1), 0);
                        assert_int_equal(oriel_driver_collect(session.driver, 0, &token, &written), 1);
                }
        }
        end(&session, &flipper);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_call),
                counted_test(test_err),
                counted_test(test_kick),
        };

        return run_counted("hostile-eventfd", tests);
}
