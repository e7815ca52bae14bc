/* SPDX-License-Identifier: BSD-2-Clause */

/* Back-ends that go away, and those that come after them; and state that is carried over. The back-end is a process of
 * its own, which is killed at any moment; the driver goes on with another one, and loses no request. With in-flight
 * tracking none is done twice either. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "driver/driver.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define F(name)    ORIEL_FEATURE(ORIEL_PROTOCOL_F_##name)
#define PACKED     ORIEL_FEATURE(VIRTIO_F_RING_PACKED)
#define INDIRECT   ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX  ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX)
#define WINDOW     (1 << 20)
#define REQUESTS   40
#define QUEUE_SIZE 256

/* ---- a device that is killed ---- */

struct child {
        pid_t pid;
        int fd;
        struct echo_counts *counts; /* shared with it */
};

/* Runs in the child. What it counts is copied where the parent sees it. */
static void be_the_device(int fd, struct echo *echo)
{
        echo_serve_here(echo, fd);
        _exit(0);
}

static void child_start(struct child *child)
{
        int fds[2];

        assert_int_equal(make_socketpair(fds), 0);
        child->pid = fork();
        assert_true(child->pid >= 0);
        if (child->pid == 0) {
                close(fds[0]);

                struct echo *echo = echo_new(&(struct echo_options){.window = WINDOW, .counts = child->counts});

                if (echo)
                        be_the_device(fds[1], echo);
                _exit(1);
        }
        fd_close(fds[1]);
        child->fd = fds[0];
}

static void child_kill(struct child *child)
{
        kill(child->pid, SIGKILL);
        waitpid(child->pid, NULL, 0);
}

static void child_init(struct child *child)
{
        child->counts = mmap(NULL, sizeof(*child->counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(child->counts, MAP_FAILED);
}

static void child_destroy(struct child *child)
{
        munmap(child->counts, sizeof(*child->counts));
}

/* ---- requests that outlive their device ---- */

struct job {
        uint8_t *in;
        uint8_t *out;
        unsigned done;
};

static void make_jobs(struct session *session, struct job *jobs)
{
        for (unsigned i = 0; i < REQUESTS; i++) {
                jobs[i] = (struct job){oriel_driver_alloc(session->driver, 256),
                                       oriel_driver_alloc(session->driver, 64), 0};
                assert_non_null(jobs[i].out);
        }
}

static void submit_job(struct session *session, struct job *job, enum echo_op op, uint8_t value)
{
        const struct echo_request request = {.op = op};
        const struct iovec in[] = {{job->in, sizeof(request)}, {job->in + sizeof(request), 16}};
        const struct iovec out[] = {{job->out, 8}, {job->out + 8, 8}};

        memcpy(job->in, &request, sizeof(request));
        memset(job->in + sizeof(request), value, 16);
        assert_int_equal(oriel_driver_submit(session->driver, 0, in, 2, out, 2, job), 0);
}

/* Until @want are done in all. Each is checked, and none may come twice. */
static void collect_jobs(struct session *session, unsigned *done, unsigned want)
{
        uint32_t written;
        void *token;

        while (*done < want) {
                assert_int_equal(oriel_driver_wait(session->driver, 0, 20000), 0);

                int r = oriel_driver_collect(session->driver, 0, &token, &written);

                assert_int_equal(r, 1);

                struct job *job = token;

                assert_int_equal(job->done++, 0);
                assert_int_equal(written, 16);
                for (unsigned i = 0; i < 16; i++)
                        assert_int_equal(job->out[i] ^ job->in[sizeof(struct echo_request) + i], 0xff);
                (*done)++;
        }
}

static void wait_held(const struct child *child, unsigned n)
{
        for (int i = 0; i < 20000 && atomic_load(&child->counts->held) < n; i++)
                usleep(1000);
        assert_int_equal(atomic_load(&child->counts->held), n);
}

/* The first device finishes half and is killed with the rest in its hands. The second is given exactly those. */
static void die_in_flight(uint64_t features)
{
        const struct oriel_driver_options options = {.features = features, .queue_size = QUEUE_SIZE};
        struct session session = {0};
        struct child child;
        struct job jobs[REQUESTS];
        unsigned done = 0;

        child_init(&child);
        child_start(&child);
        session_open_driver(&session, &options, child.fd);
        make_jobs(&session, jobs);
        for (unsigned i = 0; i < REQUESTS; i++)
                submit_job(&session, &jobs[i], i % 2 ? ECHO_HOLD : ECHO_INVERT, (uint8_t)i);
        assert_int_equal(oriel_driver_kick(session.driver, 0), 0);
        wait_held(&child, REQUESTS / 2);
        collect_jobs(&session, &done, REQUESTS / 2);
        child_kill(&child);
        assert_int_equal(oriel_driver_wait(session.driver, 0, 20000), -ENOTCONN);
        assert_int_equal(oriel_driver_wait(session.driver, 0, -1), -ENOTCONN);

        atomic_store(&child.counts->held, 0);
        atomic_store(&child.counts->handled, 0);
        child_start(&child);
        assert_int_equal(session_driver_reconnect(session.driver, child.fd), 0);
        wait_held(&child, REQUESTS / 2);

        /* Released, they are done; and what is new works. */
        const struct iovec in = {session.in[0], sizeof(struct echo_request)};
        const struct iovec out = {session.out[0], sizeof(struct echo_answer)};
        uint32_t written;
        void *token;

        memcpy(session.in[0], &(struct echo_request){.op = ECHO_RELEASE}, sizeof(struct echo_request));
        assert_int_equal(oriel_driver_submit(session.driver, 0, &in, 1, &out, 1, &session), 0);
        assert_int_equal(oriel_driver_kick(session.driver, 0), 0);
        for (unsigned n = 0; n < REQUESTS / 2 + 1;) {
                assert_int_equal(oriel_driver_wait(session.driver, 0, 20000), 0);
                while (oriel_driver_collect(session.driver, 0, &token, &written) == 1) {
                        n++;
                        if (token != &session)
                                ((struct job *)token)->done++;
                }
        }
        for (unsigned i = 0; i < REQUESTS; i++)
                assert_int_equal(jobs[i].done, 1);
        assert_int_equal(atomic_load(&child.counts->handled), REQUESTS / 2 + 1);
        session_invert(&session, 0, 1000);
        session_close(&session);
        waitpid(child.pid, NULL, 0);
        child_destroy(&child);
}

static void test_in_flight_requests_survive_split(void **state)
{
        die_in_flight(0);
        die_in_flight(INDIRECT | EVENT_IDX);
}

static void test_in_flight_requests_survive_packed(void **state)
{
        die_in_flight(PACKED);
        die_in_flight(PACKED | INDIRECT | EVENT_IDX);
}

/* One round: killed while it works through the ring. Every request comes back, and none twice. */
static void kill_while_busy(struct session *session, struct child *child, struct job *jobs, unsigned round)
{
        unsigned done = 0;

        for (unsigned i = 0; i < REQUESTS; i++) {
                jobs[i].done = 0;
                submit_job(session, &jobs[i], ECHO_INVERT, (uint8_t)(i + round));
        }
        assert_int_equal(oriel_driver_kick(session->driver, 0), 0);
        usleep(round * 37 % 200);
        child_kill(child);
        child_start(child);
        assert_int_equal(session_driver_reconnect(session->driver, child->fd), 0);
        collect_jobs(session, &done, REQUESTS);
}

static void die_at_random(uint64_t features, uint64_t without)
{
        const struct oriel_driver_options options = {.features = features, .without = without};
        struct session session = {0};
        struct child child;
        struct job jobs[REQUESTS];

        child_init(&child);
        child_start(&child);
        session_open_driver(&session, &options, child.fd);
        make_jobs(&session, jobs);
        for (unsigned round = 0; round < 25; round++)
                kill_while_busy(&session, &child, jobs, round);
        session_close(&session);
        waitpid(child.pid, NULL, 0);
        child_destroy(&child);
}

static void test_killed_at_any_moment_split(void **state)
{
        die_at_random(0, 0);
        die_at_random(INDIRECT | EVENT_IDX, 0);
}

static void test_killed_at_any_moment_packed(void **state)
{
        die_at_random(PACKED, 0);
        die_at_random(PACKED | INDIRECT | EVENT_IDX, 0);
}

/* A packed ring's descriptors can't be trusted after a device that died between two writes. */
static void test_killed_at_any_moment_untracked(void **state)
{
        die_at_random(0, F(INFLIGHT_SHMFD));
}

static void test_without_tracking_all_is_done_again(void **state)
{
        const struct oriel_driver_options options = {.without = F(INFLIGHT_SHMFD)};
        struct session session = {0};
        struct child child;
        struct job jobs[REQUESTS];
        unsigned done = 0;

        child_init(&child);
        child_start(&child);
        session_open_driver(&session, &options, child.fd);
        make_jobs(&session, jobs);
        for (unsigned i = 0; i < REQUESTS; i++)
                submit_job(&session, &jobs[i], i < REQUESTS / 2 ? ECHO_INVERT : ECHO_HOLD, (uint8_t)i);
        assert_int_equal(oriel_driver_kick(session.driver, 0), 0);
        wait_held(&child, REQUESTS / 2);
        collect_jobs(&session, &done, REQUESTS / 2);
        child_kill(&child);

        /* A request that was kept back comes again as one that is done at once. */
        for (unsigned i = REQUESTS / 2; i < REQUESTS; i++)
                memcpy(jobs[i].in, &(struct echo_request){.op = ECHO_INVERT}, sizeof(struct echo_request));
        child_start(&child);
        assert_int_equal(session_driver_reconnect(session.driver, child.fd), 0);
        collect_jobs(&session, &done, REQUESTS);
        session_close(&session);
        waitpid(child.pid, NULL, 0);
        child_destroy(&child);
}

static void test_mappings_go_with_the_device(void **state)
{
        struct session session = {0};
        struct child child;
        uint8_t *window;

        child_init(&child);
        child_start(&child);
        session_open_driver(&session, &(struct oriel_driver_options){0}, child.fd);
        session_map(&session, 0, PAGE, 3 * PAGE, false);
        window = oriel_driver_window(session.driver, 0, NULL);
        assert_int_equal(*window, 3);
        child_kill(&child);
        assert_int_equal(oriel_driver_wait(session.driver, 0, 20000), -ENOTCONN);
        assert_int_equal(*window, 0);
        assert_int_equal(oriel_region_count(oriel_driver_region(session.driver, 0)), 0);

        child_start(&child);
        assert_int_equal(session_driver_reconnect(session.driver, child.fd), 0);
        session_map(&session, 0, PAGE, 4 * PAGE, false);
        assert_int_equal(*window, 4);
        session_close(&session);
        waitpid(child.pid, NULL, 0);
        child_destroy(&child);
}

static void test_a_lesser_device_is_refused(void **state)
{
        const struct oriel_driver_options options = {.features = PACKED};
        struct session session = {0};
        struct echo *lesser = echo_new(&(struct echo_options){.features = ORIEL_FEATURE(VIRTIO_F_VERSION_1)});
        int fds[2];

        session.echo = echo_new(&(struct echo_options){0});
        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(echo_serve(session.echo, fds[1]), 0);
        session_open_driver(&session, &options, fds[0]);
        echo_hang_up(session.echo);
        assert_int_equal(oriel_driver_wait(session.driver, 0, 20000), -ENOTCONN);

        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(echo_serve(lesser, fds[1]), 0);
        assert_int_equal(session_driver_reconnect(session.driver, fds[0]), -EOPNOTSUPP);

        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(echo_serve(session.echo, fds[1]), 0);
        assert_int_equal(session_driver_reconnect(session.driver, fds[0]), 0);
        session_invert(&session, 0, 100);
        session_close(&session);
        echo_free(lesser);
}

/* The eventfd of calls is the driver's, so a back-end may leave it as full as it can be. */
static void test_a_counter_that_was_left_full(void **state)
{
        struct session session;
        uint64_t rest = UINT64_MAX - 1;
        int fds[2];

        session_open(&session, &(struct session_options){.echo = {.window = WINDOW}});
        session_invert(&session, 0, 100);
        fd_event_clear(oriel_driver_call_fd(session.driver, 0));
        assert_int_equal(write(oriel_driver_call_fd(session.driver, 0), &rest, sizeof(rest)), sizeof(rest));
        echo_hang_up(session.echo);
        echo_free(session.echo);

        session.echo = echo_new(&(struct echo_options){.window = WINDOW});
        assert_non_null(session.echo);
        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(echo_serve(session.echo, fds[1]), 0);
        assert_int_equal(session_driver_reconnect(session.driver, fds[0]), 0);
        for (int i = 0; i < 20; i++)
                session_invert(&session, 0, 100);
        session_close(&session);
}

/* Waiting takes no time of the CPU's, whatever calls there have been. */
static void test_waiting_is_sleeping(void **state)
{
        struct session session;
        struct timespec before, after;

        session_open(&session, &(struct session_options){.echo = {.window = WINDOW}});
        for (int i = 0; i < 20; i++)
                session_invert(&session, 0, 100);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
        assert_int_equal(oriel_driver_wait(session.driver, 0, 500), -ETIMEDOUT);
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
        assert_between((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000, 0, 100);
        session_close(&session);
}

/* The same device serves one front-end after the other, each from nothing. */
static void test_one_front_end_after_the_other(void **state)
{
        struct session session;
        int fds[2];

        session_open(&session, &(struct session_options){.echo = {.window = WINDOW}});
        for (unsigned i = 0; i < 5; i++) {
                session_invert(&session, 0, 100);
                session_map(&session, 0, PAGE, 0, true);
                oriel_driver_free(session.driver);
                assert_int_equal(echo_join(session.echo), -ENOTCONN);
                assert_int_equal(make_socketpair(fds), 0);
                assert_int_equal(echo_serve(session.echo, fds[1]), 0);
                session_open_driver(&session, &(struct oriel_driver_options){.features = i % 2 ? PACKED : 0}, fds[0]);
        }
        session_close(&session);
}

/* ---- device state ---- */

#define STATE 300000

static size_t read_all(int fd, uint8_t *data, size_t size)
{
        size_t at = 0;
        ssize_t n;

        while (at < size && (n = read(fd, data + at, size - at)) > 0)
                at += (size_t)n;
        return at;
}

static void write_all(int fd, const uint8_t *data, size_t size)
{
        for (size_t at = 0; at < size;) {
                ssize_t n = write(fd, data + at, size - at);

                assert_true(n > 0);
                at += (size_t)n;
        }
}

static uint8_t *make_state(void)
{
        uint8_t *data = malloc(STATE);

        for (size_t i = 0; data && i < STATE; i++)
                data[i] = (uint8_t)(i * 31 + i / 1000);
        return data;
}

static void test_state_is_saved_through_a_pipe(void **state)
{
        _cleanup_(freep) uint8_t *data = make_state(), *got = malloc(STATE + 1);
        struct pair pair;
        int ends[2], channel;

        pair_open(&pair, &(struct echo_options){0}, UINT64_MAX);
        memcpy(echo_seen(pair.echo)->state, data, STATE);
        echo_seen(pair.echo)->state_size = STATE;
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(oriel_frontend_set_device_state_fd(pair.frontend, ORIEL_DEVICE_STATE_SAVE, ends[1], &channel),
                         0);
        assert_int_equal(channel, -1);
        fd_close(ends[1]);
        assert_int_equal(read_all(ends[0], got, STATE + 1), STATE);
        assert_memory_equal(got, data, STATE);
        fd_close(ends[0]);
        assert_int_equal(oriel_frontend_check_device_state(pair.frontend), 0);
        pair_close(&pair);
}

static void test_state_is_loaded_through_a_pipe(void **state)
{
        _cleanup_(freep) uint8_t *data = make_state();
        struct pair pair;
        int ends[2], channel;

        pair_open(&pair, &(struct echo_options){0}, UINT64_MAX);
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(oriel_frontend_set_device_state_fd(pair.frontend, ORIEL_DEVICE_STATE_LOAD, ends[0], &channel),
                         0);
        fd_close(ends[0]);
        write_all(ends[1], data, STATE);
        fd_close(ends[1]);
        assert_int_equal(oriel_frontend_check_device_state(pair.frontend), 0);
        assert_int_equal(echo_seen(pair.echo)->state_size, STATE);
        assert_memory_equal(echo_seen(pair.echo)->state, data, STATE);
        pair_close(&pair);
}

static void test_state_of_a_running_device_is_refused(void **state)
{
        struct session session;
        int ends[2], channel;

        session_open(&session, &(struct session_options){0});
        assert_int_equal(pipe(ends), 0);
        assert_int_equal(oriel_frontend_set_device_state_fd(session_frontend(&session), ORIEL_DEVICE_STATE_SAVE,
                                                            ends[1], &channel),
                         -EREMOTEIO);
        assert_int_equal(oriel_frontend_check_device_state(session_frontend(&session)), -EREMOTEIO);
        fd_close_all(ends, 2);
        session_invert(&session, 0, 10);
        session_close(&session);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_in_flight_requests_survive_split),
                counted_test(test_in_flight_requests_survive_packed),
                counted_test(test_killed_at_any_moment_split),
                counted_test(test_killed_at_any_moment_packed),
                counted_test(test_killed_at_any_moment_untracked),
                counted_test(test_without_tracking_all_is_done_again),
                counted_test(test_mappings_go_with_the_device),
                counted_test(test_a_lesser_device_is_refused),
                counted_test(test_a_counter_that_was_left_full),
                counted_test(test_waiting_is_sleeping),
                counted_test(test_one_front_end_after_the_other),
                counted_test(test_state_is_saved_through_a_pipe),
                counted_test(test_state_is_loaded_through_a_pipe),
                counted_test(test_state_of_a_running_device_is_refused),
        };

        return run_counted("session-recovery", tests);
}
