/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel_worker between a back-end and its queues: one thread for several queues, several threads for one, queues that
 * come and go under traffic. The device answers each number with one that it makes of it. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/worker.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { QUEUES = 8, SLOTS = 16, REQUESTS = 4000 };

#define FEATURES                                                                   \
        (ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(VIRTIO_F_RING_PACKED) | \
         ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX))

/* So many allocations fail, on threads that are not spared. In place of the C library's. */
static atomic_int failures;
static _Thread_local bool spared;

void *reallocarray(void *old, size_t n, size_t size)
{
        if (!spared && atomic_load(&failures) > 0) {
                atomic_fetch_sub(&failures, 1);
                errno = ENOMEM;
                return NULL;
        }
        return n == 0 || size == 0 || n > SIZE_MAX / size ? NULL : realloc(old, n * size);
}

static uint64_t answer_to(uint64_t number)
{
        return number * 3 + 1;
}

/* ---- the device ---- */

struct device {
        struct oriel_backend *backend;
        struct oriel_worker *worker;
        pthread_t dispatcher;
        atomic_uint handled, starts, stops;
        sem_t held, go_on; /* what a request of HOLD says and waits for */
        atomic_bool in_vain;
};

#define HOLD UINT64_MAX

static void hold(struct device *device)
{
        struct timespec last;

        sem_post(&device->held);
        clock_gettime(CLOCK_REALTIME, &last);
        last.tv_sec += 60;
        while (sem_timedwait(&device->go_on, &last) < 0)
                if (errno != EINTR) {
                        atomic_store(&device->in_vain, true);
                        return;
                }
}

/* Work that a thread has put off until it is idle. */
static _Thread_local struct {
        struct oriel_backend_queue *queue;
        struct oriel_chain *chain;
} put_off[QUEUES * SLOTS];
static _Thread_local unsigned n_put_off;

/* Also before a queue goes: a push would be too late then, and its driver would wait for ever. */
static void answer_put_off(void *userdata)
{
        while (n_put_off > 0) {
                n_put_off--;
                oriel_backend_queue_push(put_off[n_put_off].queue, put_off[n_put_off].chain, sizeof(uint64_t));
                oriel_backend_queue_notify(put_off[n_put_off].queue);
        }
}

/* Every fifth answer is given by the device itself, every eleventh when there is nothing more to do, and every seventh
 * is an error: nothing is written. */
static ssize_t handle(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        struct device *device = userdata;
        unsigned n;
        const struct iovec *in = oriel_chain_readable(chain, &n), *out = oriel_chain_writable(chain, &n);
        uint64_t number, answer;

        memcpy(&number, in->iov_base, sizeof(number));
        if (number == HOLD)
                hold(device);
        answer = answer_to(number);
        memcpy(out->iov_base, &answer, sizeof(answer));
        atomic_fetch_add(&device->handled, 1);
        if (number % 7 == 6)
                return -EIO;
        if (number % 11 == 10) {
                put_off[n_put_off].queue = queue;
                put_off[n_put_off++].chain = chain;
                return -EINPROGRESS;
        }
        if (number % 5 != 4)
                return sizeof(answer);
        oriel_backend_queue_push(queue, chain, sizeof(answer));
        oriel_backend_queue_notify(queue);
        return -EINPROGRESS;
}

static int start_queue(void *userdata, struct oriel_backend_queue *queue)
{
        struct device *device = userdata;

        atomic_fetch_add(&device->starts, 1);
        return oriel_worker_add(device->worker, queue);
}

static void stop_queue(void *userdata, struct oriel_backend_queue *queue)
{
        struct device *device = userdata;

        atomic_fetch_add(&device->stops, 1);
        oriel_worker_remove(device->worker, queue);
        /* It is no more among them. */
        oriel_worker_remove(device->worker, queue);
}

static void *dispatch(void *userdata)
{
        struct device *device = userdata;
        struct pollfd fd = {.fd = oriel_backend_get_fd(device->backend), .events = POLLIN};

        while (oriel_backend_dispatch(device->backend) == 0)
                poll(&fd, 1, -1);
        return NULL;
}

static void open_device(struct device *device, const struct oriel_worker_options *options, unsigned queues, int fd)
{
        struct oriel_worker_options worker = *options;
        const struct oriel_backend_ops ops = {.struct_size = sizeof(ops), .start = start_queue, .stop = stop_queue};
        const struct oriel_backend_options backend = {.struct_size = sizeof(backend),
                                                      .ops = &ops,
                                                      .userdata = device,
                                                      .device_features = FEATURES,
                                                      .queues = queues};

        worker.struct_size = sizeof(worker);
        worker.handle = handle;
        worker.idle = answer_put_off;
        worker.userdata = device;
        assert_int_equal(oriel_worker_new(&worker, &device->worker), 0);
        assert_int_equal(oriel_backend_new(&backend, &device->backend), 0);
        assert_int_equal(oriel_backend_attach(device->backend, fd), 0);
        assert_int_equal(pthread_create(&device->dispatcher, NULL, dispatch, device), 0);
}

static void close_device(struct device *device)
{
        pthread_join(device->dispatcher, NULL);
        oriel_backend_free(device->backend);
        oriel_worker_free(device->worker);
        assert_int_equal(atomic_load(&device->starts), atomic_load(&device->stops));
}

/* ---- the driver ---- */

struct slot {
        uint64_t *in, *out;
        bool busy;
};

struct traffic {
        struct session session;
        struct slot slots[QUEUES][SLOTS];
        unsigned queues, sent, done;
};

static void open_traffic(struct traffic *traffic, uint64_t features, unsigned queues, int fd)
{
        const struct oriel_driver_options options = {.queues = queues, .queue_size = SLOTS * 2, .features = features};

        session_open_driver(&traffic->session, &options, fd);
        traffic->queues = queues;
        for (unsigned queue = 0; queue < queues; queue++)
                for (unsigned i = 0; i < SLOTS; i++)
                        traffic->slots[queue][i] = (struct slot){
                                .in = oriel_driver_alloc(traffic->session.driver, sizeof(uint64_t)),
                                .out = oriel_driver_alloc(traffic->session.driver, sizeof(uint64_t)),
                        };
}

static void fill(struct traffic *traffic, unsigned queue)
{
        struct oriel_driver *driver = traffic->session.driver;

        for (unsigned i = 0; i < SLOTS && traffic->sent < REQUESTS; i++) {
                struct slot *slot = &traffic->slots[queue][i];
                const struct iovec in = {slot->in, sizeof(*slot->in)}, out = {slot->out, sizeof(*slot->out)};

                if (slot->busy)
                        continue;
                *slot->in = traffic->sent++;
                slot->busy = true;
                assert_int_equal(oriel_driver_submit(driver, queue, &in, 1, &out, 1, slot), 0);
        }
        assert_int_equal(oriel_driver_kick(driver, queue), 0);
}

static bool is_busy(const struct traffic *traffic, unsigned queue)
{
        bool busy = false;

        for (unsigned i = 0; i < SLOTS; i++)
                busy = busy || traffic->slots[queue][i].busy;
        return busy;
}

static void collect(struct traffic *traffic, unsigned queue)
{
        struct oriel_driver *driver = traffic->session.driver;
        uint32_t written;
        void *token;

        if (!is_busy(traffic, queue))
                return;
        assert_int_equal(oriel_driver_wait(driver, queue, -1), 0);
        while (oriel_driver_collect(driver, queue, &token, &written) == 1) {
                struct slot *slot = token;

                assert_true(slot->busy);
                slot->busy = false;
                assert_int_equal(written, *slot->in % 7 == 6 ? 0 : sizeof(uint64_t));
                if (written)
                        assert_int_equal(*slot->out, answer_to(*slot->in));
                traffic->done++;
        }
}

/* @restart: one queue after the other is stopped and started again while the others are busy. */
static void pass(const struct oriel_worker_options *options, uint64_t features, unsigned queues, bool restart)
{
        struct device device = {.backend = NULL};
        struct traffic traffic = {.queues = 0};
        unsigned turn = 0;
        int fds[2];

        assert_int_equal(make_socketpair(fds), 0);
        open_device(&device, options, queues, fds[0]);
        open_traffic(&traffic, features, queues, fds[1]);
        while (traffic.done < REQUESTS) {
                for (unsigned queue = 0; queue < queues; queue++)
                        fill(&traffic, queue);
                if (restart && ++turn % 8 == 0) {
                        unsigned queue = turn / 8 % queues;

                        assert_int_equal(oriel_driver_stop_queue(traffic.session.driver, queue), 0);
                        assert_int_equal(oriel_driver_start_queue(traffic.session.driver, queue), 0);
                }
                for (unsigned queue = 0; queue < queues; queue++)
                        collect(&traffic, queue);
        }
        assert_int_equal(atomic_load(&device.handled), REQUESTS);
        oriel_driver_free(traffic.session.driver);
        close_device(&device);
}

static void send(struct traffic *traffic, unsigned queue, uint64_t number)
{
        struct slot *slot = &traffic->slots[queue][0];
        const struct iovec in = {slot->in, sizeof(*slot->in)}, out = {slot->out, sizeof(*slot->out)};

        *slot->in = number;
        slot->busy = true;
        assert_int_equal(oriel_driver_submit(traffic->session.driver, queue, &in, 1, &out, 1, slot), 0);
        assert_int_equal(oriel_driver_kick(traffic->session.driver, queue), 0);
}

/* The time of one queue's request does not delay another's answer, however quick that was. */
static void test_answer_before_another_queues_request(void **state)
{
        const struct oriel_worker_options options = {.threads = 1, .quick_us = UINT32_MAX};
        struct device device = {.backend = NULL};
        struct traffic traffic = {.queues = 0};
        int fds[2];

        assert_int_equal(sem_init(&device.held, 0, 0), 0);
        assert_int_equal(sem_init(&device.go_on, 0, 0), 0);
        assert_int_equal(make_socketpair(fds), 0);
        open_device(&device, &options, 2, fds[0]);
        open_traffic(&traffic, FEATURES, 2, fds[1]);
        send(&traffic, 0, HOLD);
        while (sem_wait(&device.held) < 0)
                assert_int_equal(errno, EINTR);
        /* There when the first one is answered. */
        send(&traffic, 1, HOLD);
        sem_post(&device.go_on);
        collect(&traffic, 0);
        sem_post(&device.go_on);
        collect(&traffic, 1);
        assert_false(atomic_load(&device.in_vain));
        oriel_driver_free(traffic.session.driver);
        close_device(&device);
        sem_destroy(&device.held);
        sem_destroy(&device.go_on);
}

/* A request for which there was no memory is taken when there is some, though nothing more is sent. */
static void test_no_memory_for_a_while(void **state)
{
        const struct oriel_worker_options options = {.threads = 1};
        struct device device = {.backend = NULL};
        struct traffic traffic = {.queues = 0};
        int fds[2];

        assert_int_equal(make_socketpair(fds), 0);
        open_device(&device, &options, 1, fds[0]);
        open_traffic(&traffic, FEATURES, 1, fds[1]);
        spared = true;
        atomic_store(&failures, 5);
        send(&traffic, 0, 1);
        assert_int_equal(oriel_driver_wait(traffic.session.driver, 0, 60000), 0);
        assert_int_equal(atomic_load(&failures), 0);
        collect(&traffic, 0);
        oriel_driver_free(traffic.session.driver);
        close_device(&device);
}

static const struct oriel_worker_options ways[] = {
        {.threads = 1},
        {.threads = 4},
        {.threads = 1, .poll_us = 100},
        {.threads = 1, .poll_us = 50, .quick_us = 10},
        {.threads = 3, .quick_us = 1000000},
};

static void test_queues_and_threads(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
                for (unsigned queues = 1; queues <= QUEUES; queues *= QUEUES) {
                        pass(&ways[i], ORIEL_FEATURE(VIRTIO_F_VERSION_1), queues, false);
                        pass(&ways[i], FEATURES, queues, false);
                }
}

static void test_queues_that_come_and_go(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(ways); i++)
                pass(&ways[i], FEATURES, QUEUES, true);
}

static void test_options(void **state)
{
        struct oriel_worker_options options = {.struct_size = sizeof(options), .handle = handle, .threads = 1};
        struct oriel_worker *worker;

        assert_int_equal(oriel_worker_new(NULL, &worker), -EINVAL);
        assert_null(worker);
        assert_int_equal(oriel_worker_new(&options, NULL), -EINVAL);
        for (unsigned threads = 0; threads <= 65; threads += 65) {
                options.threads = threads;
                assert_int_equal(oriel_worker_new(&options, &worker), -EINVAL);
                assert_null(worker);
        }
        options.threads = 64;
        options.handle = NULL;
        assert_int_equal(oriel_worker_new(&options, &worker), -EINVAL);
        options.handle = handle;
        assert_int_equal(oriel_worker_new(&options, &worker), 0);
        oriel_worker_remove(worker, NULL);
        oriel_worker_free(worker);
        oriel_worker_free(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_options),
                counted_test(test_answer_before_another_queues_request),
                counted_test(test_no_memory_for_a_while),
                counted_test(test_queues_and_threads),
                counted_test(test_queues_that_come_and_go),
        };

        return run_counted("session-worker", tests);
}
