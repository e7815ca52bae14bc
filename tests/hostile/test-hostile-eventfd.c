/* SPDX-License-Identifier: BSD-2-Clause */

/* Each kick, call and err eventfd is both ends'. Here the other end has filled it, and makes it blocking all the time:
 * nobody may wait for it, neither the device's threads nor the driver, nor the stop of a queue, a reset or the end of
 * the connection, which would wait for those. Where something waits the test never ends, until its time is up.
 *
 * With "without-aio" as an argument the system's limit on asynchronous I/O is used up from the beginning, as far as
 * this program can see. */

#include "base/fd.h"
#include "driver/driver.h"
#include "tests/session/session.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LAST_RESORT_S 100

static atomic_bool limit_is_used_up;
static atomic_uint submitted;

/* In the C library's place. As there, six are taken, however many were passed. */
__attribute__((no_sanitize_address)) long syscall(long number, ...)
{
        static long (*_Atomic real)(long number, ...);
        long values[6];
        va_list args;

        va_start(args, number);
        for (int i = 0; i < 6; i++)
                values[i] = va_arg(args, long);
        va_end(args);
        if (number == SYS_io_setup && atomic_load(&limit_is_used_up)) {
                errno = EAGAIN;
                return -1;
        }
        if (number == SYS_io_submit)
                atomic_fetch_add(&submitted, 1);
        if (!real)
                real = (long (*)(long, ...))(uintptr_t)dlsym(RTLD_NEXT, "syscall");
        return real(number, values[0], values[1], values[2], values[3], values[4], values[5]);
}

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

        open_split(&session);
        flipper_start(&flipper, fd_dup(session.driver->queues[0].err_fd));
        break_ring(&session);
        for (unsigned round = 1; round <= 150; round++) {
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

/* The back-end's side: a ring waits for memory, and is woken when there is new memory, by the thread that serves the
 * front-end. */
static void test_kick_of_a_ring_that_waits(void **state)
{
        struct flipper flipper;
        struct session session;

        open_split(&session);

        struct oriel_driver *driver = session.driver;
        struct driver_queue *queue = &driver->queues[0];
        struct oriel_memory_region region = memory_as_region(driver);
        struct vring_desc *table = (void *)(driver->memory + queue->layout.descriptor);
        struct vring_avail *avail = (void *)(driver->memory + queue->layout.driver);

        table[0] = (struct vring_desc){.addr = UINT64_C(1) << 46, .len = 64};
        avail->ring[0] = 0;
        __atomic_store_n(&avail->idx, 1, __ATOMIC_SEQ_CST);
        fd_event_signal(queue->kick_fd);

        struct pollfd err = {.fd = queue->err_fd, .events = POLLIN};

        assert_int_equal(poll(&err, 1, -1), 1);
        flipper_start(&flipper, fd_dup(queue->kick_fd));
        for (int i = 0; i < 300; i++)
                assert_int_equal(
                        oriel_frontend_set_mem_table(session_frontend(&session), &region, &driver->memory_fd, 1), 0);
        end(&session, &flipper);
}

/* Nobody uses the limit up any more: asynchronous I/O is there again after a while. */
static void test_room_again(void **state)
{
        int fd = eventfd(0, EFD_CLOEXEC);

        alarm(LAST_RESORT_S);
        assert_int_equal(fd_event_signal(fd), 0);
        assert_int_equal(atomic_load(&submitted), 0);
        atomic_store(&limit_is_used_up, false);
        while (atomic_load(&submitted) == 0)
                assert_int_equal(fd_event_signal(fd), 0);
        assert_int_equal(fd_event_clear(fd), 1);
        fd_close(fd);
        alarm(0);
}

/* Both ends are made in this process: what they lack is said once. */
static void count_line(void *userdata, enum oriel_log_level level, const char *line)
{
        unsigned *lines = userdata;

        *lines += level == ORIEL_LOG_WARNING && strstr(line, "fs.aio-max-nr");
}

static void test_said(void **state)
{
        unsigned lines = 0;
        const struct oriel_log log = {sizeof(log), count_line, &lines, ORIEL_LOG_WARNING};
        const struct oriel_frontend_options options = {.struct_size = sizeof(options), .log = &log};

        for (int i = 0; i < 2; i++) {
                struct oriel_frontend *frontend;

                assert_int_equal(oriel_frontend_new(&options, &frontend), 0);
                oriel_frontend_free(frontend);
        }
        assert_int_equal(lines, 1);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest with[] = {
                counted_test(test_call),
                counted_test(test_err),
                counted_test(test_kick),
                counted_test(test_kick_of_a_ring_that_waits),
        };
        const struct CMUnitTest without[] = {
                counted_test(test_said),
                counted_test(test_call),
                counted_test(test_err),
                counted_test(test_kick),
                counted_test(test_kick_of_a_ring_that_waits),
                counted_test(test_room_again),
        };

        if (argc < 2)
                return run_counted("hostile-eventfd", with);
        atomic_store(&limit_is_used_up, strcmp(argv[1], "without-aio") == 0);
        return run_counted("hostile-eventfd-without-aio", without);
}
