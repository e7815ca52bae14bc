/* SPDX-License-Identifier: BSD-2-Clause */

/* A driver that does not wait. Both ends are on the one thread of the test, which a call that waits would never leave:
 * time limits are ten minutes where a test does not look for their end. Where the back-end hangs or dies, it does so
 * after each number of messages that it takes for a bring-up, one after the other. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/session/turns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int front_fd(struct oriel_driver *driver)
{
        return oriel_frontend_get_fd(oriel_driver_frontend(driver));
}

static struct oriel_driver *driver_open(const struct oriel_driver_options *from, int fd)
{
        struct oriel_driver_options options = *from;
        struct oriel_driver *driver;

        options.struct_size = sizeof(options);
        options.nonblocking = true;
        options.timeout_ms = options.timeout_ms ? options.timeout_ms : FOREVER;
        assert_int_equal(oriel_driver_new(&options, fd, &driver), 0);
        return driver;
}

/* Continues a bring-up, or a stop, @turns times, with a turn of the back-end before each. */
static int bring_on(struct oriel_driver *driver, struct end *end, int (*function)(struct oriel_driver *driver),
                    unsigned turns)
{
        int r = -EINPROGRESS;

        for (unsigned i = 0; r == -EINPROGRESS && i < turns; i++) {
                assert_int_equal(end_turn(end), 0);
                r = function(driver);
        }
        return r;
}

/* Continues it to its end as an owner's loop does. What has been asked for makes nothing ready: the loop sleeps. */
static void bring_to_end(struct oriel_driver *driver, struct end *end, int (*function)(struct oriel_driver *driver),
                         enum oriel_driver_state meanwhile)
{
        int r;

        while ((r = function(driver)) == -EINPROGRESS) {
                assert_int_equal(oriel_driver_state(driver), meanwhile);
                if (oriel_frontend_under_way(oriel_driver_frontend(driver)))
                        assert_false(is_readable(front_fd(driver), 0));
                while (!is_readable(front_fd(driver), 0)) {
                        assert_true(is_readable(oriel_backend_get_fd(end->backend), PATIENCE));
                        assert_int_equal(oriel_backend_dispatch(end->backend), 0);
                }
        }
        assert_int_equal(r, 0);
        assert_int_equal(oriel_frontend_under_way(oriel_driver_frontend(driver)), 0);
}

/* A request to the device, which answers it with its own bytes. */
static void echo_once(struct oriel_driver *driver, struct end *end)
{
        char *buffer = oriel_driver_alloc(driver, 64);
        const struct iovec out = {buffer, 16}, in = {buffer + 32, 16};
        struct oriel_chain *chain;
        uint32_t written;
        char text[16];
        void *token;

        assert_non_null(buffer);
        strcpy(buffer, "there and back");
        assert_int_equal(oriel_driver_submit(driver, end->index, &out, 1, &in, 1, buffer), 0);
        assert_int_equal(oriel_driver_kick(driver, end->index), 0);
        assert_int_equal(end_turn(end), 0);
        assert_int_equal(oriel_backend_queue_pop(end->queue, &chain), 1);
        assert_int_equal(oriel_chain_read(chain, 0, text, sizeof(text)), sizeof(text));
        assert_int_equal(oriel_chain_write(chain, 0, text, sizeof(text)), sizeof(text));
        assert_int_equal(oriel_backend_queue_push(end->queue, chain, sizeof(text)), 0);
        assert_int_equal(oriel_driver_wait(driver, end->index, PATIENCE), 0);
        assert_int_equal(oriel_driver_collect(driver, end->index, &token, &written), 1);
        assert_ptr_equal(token, buffer);
        assert_string_equal(buffer + 32, "there and back");
}

static unsigned count_live(struct oriel_driver *driver)
{
        return (unsigned)oriel_region_count(oriel_driver_region(driver, 0));
}

/* ---- a driver ---- */

static void test_bring_up(void **state)
{
        const uint64_t inband = ORIEL_FEATURE(ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS);
        const struct {
                struct oriel_driver_options driver;
                uint64_t without; /* of the back-end */
        } rows[] = {
                {.driver = {.queues = 0}},
                {.driver = {.features = ORIEL_FEATURE(VIRTIO_F_RING_PACKED)}},
                {.driver = {.features = ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM)}},
                {.driver = {.features = ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM), .windows_as_memory = true}},
                {.driver = {.windows_as_memory = true}},
                {.driver = {.with = inband}},
                {.driver = {.queues = 1}, .without = ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK)},
                {.driver = {.queues = 1}, .without = ~UINT64_C(0)},
        };

        for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
                struct end end = {.maps_at_start = AT_START};
                struct oriel_driver *driver = driver_open(&rows[i].driver, end_open(&end, rows[i].without));

                assert_int_equal(oriel_driver_state(driver), ORIEL_DRIVER_STARTING);
                bring_to_end(driver, &end, oriel_driver_bring_up, ORIEL_DRIVER_STARTING);
                assert_int_equal(oriel_driver_state(driver), ORIEL_DRIVER_UP);
                assert_int_equal(oriel_driver_bring_up(driver), 0);
                assert_int_equal(end.starts, oriel_driver_queue_count(driver));
                if (!rows[i].without)
                        assert_int_equal(count_live(driver), AT_START * 2);
                end.index = oriel_driver_queue_count(driver) - 1;
                if (!(rows[i].driver.with & inband))
                        echo_once(driver, &end);
                bring_to_end(driver, &end, oriel_driver_stop, ORIEL_DRIVER_STOPPING);
                assert_int_equal(oriel_driver_state(driver), ORIEL_DRIVER_DOWN);
                assert_int_equal(oriel_driver_stop(driver), 0);
                assert_int_equal(end.stops, end.starts);
                oriel_driver_free(driver);
                end_close(&end);
        }
}

/* The mappings of a start are memory to the back-end when the device is up. */
static void test_windows_as_memory(void **state)
{
        const struct oriel_driver_options options = {.windows_as_memory = true};
        struct end end = {.maps_at_start = AT_START};
        struct oriel_driver *driver = driver_open(&options, end_open(&end, 0));
        uint64_t address;

        bring_to_end(driver, &end, oriel_driver_bring_up, ORIEL_DRIVER_STARTING);

        uint8_t *window = oriel_driver_window(driver, 0, NULL);

        for (unsigned i = 0; i < AT_START; i++) {
                struct oriel_memory *memory = oriel_backend_memory(end.backend);
                struct iovec piece;
                struct oriel_fault fault;

                assert_int_equal(oriel_driver_address(driver, window + i * PAGE, PAGE, &address), 0);
                assert_int_equal(oriel_memory_translate(memory, ORIEL_ADDRESS_GUEST,
                                                        (struct oriel_range){address, PAGE}, ORIEL_ACCESS_READ, &piece,
                                                        1, &fault),
                                 1);
                oriel_memory_unref(memory);
        }
        oriel_driver_free(driver);
        end_close(&end);
}

/* A back-end that has taken so many messages and then hangs, or is gone. */
static void check_each_step(const struct oriel_driver_options *options, int how_it_ends)
{
        for (unsigned turns = 1;; turns++) {
                struct end end = {.maps_at_start = AT_START};
                struct oriel_driver *driver = driver_open(options, end_open(&end, 0));
                int r = bring_on(driver, &end, oriel_driver_bring_up, turns);
                bool up = r == 0;

                if (!up && how_it_ends == -ENOTCONN)
                        oriel_backend_disconnect(end.backend);
                while (r == -EINPROGRESS && how_it_ends != -EINPROGRESS) {
                        assert_true(is_readable(front_fd(driver), PATIENCE));
                        r = oriel_driver_bring_up(driver);
                }
                if (!up) {
                        assert_int_equal(r, how_it_ends);
                        assert_int_equal(oriel_driver_queue_count(driver), 0);
                        assert_int_equal(oriel_driver_kick(driver, 0), -EINVAL);
                        assert_int_equal(oriel_driver_wait(driver, 0, -1), -EINVAL);
                }
                if (!up && how_it_ends != -EINPROGRESS) {
                        assert_int_equal(oriel_driver_state(driver), ORIEL_DRIVER_DOWN);
                        assert_int_equal(oriel_driver_bring_up(driver), -ENOTCONN);
                        assert_int_equal(oriel_driver_reconnect(driver, dup(0)), -EINVAL);
                        assert_int_equal(oriel_driver_stop(driver), 0);
                }
                oriel_driver_free(driver);
                end_close(&end);
                if (up) {
                        assert_true(turns > 20);
                        return;
                }
        }
}

static void test_hangs_at_each_step(void **state)
{
        check_each_step(&(struct oriel_driver_options){.timeout_ms = 20}, -ETIMEDOUT);
        check_each_step(&(struct oriel_driver_options){.timeout_ms = 20,
                                                       .windows_as_memory = true,
                                                       .features = ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM)},
                        -ETIMEDOUT);
}

static void test_dies_at_each_step(void **state)
{
        check_each_step(&(struct oriel_driver_options){0}, -ENOTCONN);
        check_each_step(&(struct oriel_driver_options){.windows_as_memory = true}, -ENOTCONN);
}

/* Continues it, and notes the requests in the order in which they are made. @n of them at most. */
static unsigned note_requests(struct oriel_driver *driver, struct end *end,
                              int (*function)(struct oriel_driver *driver), enum oriel_frontend_request *requests,
                              unsigned n)
{
        unsigned noted = 0;

        while (function(driver) == -EINPROGRESS) {
                enum oriel_frontend_request now = oriel_frontend_under_way(oriel_driver_frontend(driver));

                if (now && noted < n)
                        requests[noted++] = now;
                assert_int_equal(end_turn(end), 0);
        }
        assert_int_equal(oriel_driver_state(driver),
                         function == oriel_driver_stop ? ORIEL_DRIVER_DOWN : ORIEL_DRIVER_UP);
        return noted;
}

/* Returns how many of @request there are before the @nth of @behind. */
static unsigned count_before(const enum oriel_frontend_request *requests, unsigned n,
                             enum oriel_frontend_request request, enum oriel_frontend_request behind, unsigned nth)
{
        unsigned count = 0;

        for (unsigned i = 0; i < n; i++) {
                if (requests[i] == behind && --nth == 0)
                        return count;
                count += requests[i] == request;
        }
        fail();
        return 0;
}

/* A back-end may need what it has asked for before it answers the next request: a miss of queue 0 is answered before
 * queue 1 is started, or stopped. */
static void test_owed_requests_come_in_time(void **state)
{
        const struct oriel_driver_options options = {.features = ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM)};
        const struct oriel_fault fault = {.address = 0x1000, .size = 1, .access = ORIEL_ACCESS_READ};
        enum oriel_frontend_request requests[100];
        struct end end = {.maps_at_start = 0};
        struct oriel_driver *driver = driver_open(&options, end_open(&end, 0));
        unsigned n = note_requests(driver, &end, oriel_driver_bring_up, requests, ARRAY_SIZE(requests));

        assert_int_equal(count_before(requests, n, ORIEL_FRONTEND_IOTLB_MSG, ORIEL_FRONTEND_SET_VRING_KICK, 2), 1);

        assert_int_equal(oriel_backend_iotlb_miss(end.backend, &fault), 0);
        n = note_requests(driver, &end, oriel_driver_stop, requests, ARRAY_SIZE(requests));
        assert_int_equal(count_before(requests, n, ORIEL_FRONTEND_IOTLB_MSG, ORIEL_FRONTEND_GET_VRING_BASE, 2), 1);
        oriel_driver_free(driver);
        end_close(&end);
}

/* A call of the owner's that is in the way of the bring-up delays it, and nothing is lost. */
static void test_a_call_in_between(void **state)
{
        const struct oriel_driver_options options = {.windows_as_memory = true};
        struct end end = {.maps_at_start = AT_START};
        struct oriel_driver *driver = driver_open(&options, end_open(&end, ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK)));
        struct oriel_frontend *frontend = oriel_driver_frontend(driver);
        unsigned between = 0, asked = 0;
        uint8_t config[4];
        int r;

        while ((r = oriel_driver_bring_up(driver)) == -EINPROGRESS) {
                assert_int_equal(end_turn(&end), 0);
                /* More than is served at once, so that the bring-up returns between two of its calls. */
                for (; end.starts == 2 && asked < 150; asked++) {
                        const struct oriel_wire_mmap map = {.shm_offset = REGION / 4 + asked * PAGE, .len = PAGE};

                        if (asked < AT_START)
                                oriel_backend_shmem_map(end.backend, &map, end.file, NULL);
                        else
                                oriel_backend_config_changed(end.backend, NULL);
                }
                if (oriel_frontend_under_way(frontend) ||
                    oriel_frontend_get_config(frontend, 0, config, sizeof(config)) != -EINPROGRESS)
                        continue;
                between++;
                r = oriel_driver_bring_up(driver);
                assert_true(r == -EINPROGRESS || r == 0);
                assert_int_equal(end_turn(&end), 0);
                while (oriel_frontend_get_config(frontend, 0, config, sizeof(config)) == -EINPROGRESS)
                        assert_int_equal(end_turn(&end), 0);
        }
        assert_int_equal(r, 0);
        assert_true(between > 0);
        for (unsigned i = 0; i < AT_START; i++) {
                struct oriel_mapping *mapping =
                        oriel_region_find(oriel_driver_region(driver, 0), REGION / 4 + i * PAGE);

                assert_non_null(oriel_mapping_data(mapping));
                oriel_mapping_unref(mapping);
        }
        oriel_driver_free(driver);
        end_close(&end);
}

static unsigned count_fds(void)
{
        unsigned n = 0;

        for (int fd = 0; fd < 4096; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        return n;
}

/* Descriptors of what was to be told of are closed when there is nobody to tell. */
static void test_descriptors(void **state)
{
        const struct oriel_driver_options options = {.windows_as_memory = true, .timeout_ms = 50};
        unsigned before = count_fds();
        struct end end = {.maps_at_start = 60};
        struct oriel_driver *driver = driver_open(&options, end_open(&end, 0));
        int r = -EINPROGRESS;

        while (end.starts == 0) {
                assert_int_equal(oriel_driver_bring_up(driver), -EINPROGRESS);
                assert_int_equal(end_turn(&end), 0);
        }
        /* It has answered, and the first mapping has been told of; from now on it is silent. */
        for (unsigned i = 0; i < 4; i++) {
                assert_int_equal(oriel_driver_bring_up(driver), -EINPROGRESS);
                assert_int_equal(end_turn(&end), 0);
        }
        while (r == -EINPROGRESS) {
                r = oriel_driver_bring_up(driver);
                if (r == -EINPROGRESS)
                        assert_true(is_readable(front_fd(driver), PATIENCE));
        }
        assert_int_equal(r, -ETIMEDOUT);
        oriel_backend_disconnect(end.backend);
        /* Of the driver there are guest memory and four for each queue and the front-end; of the back-end and its file
         * a few. The mappings had 60. */
        assert_true(count_fds() < before + 40);
        oriel_driver_free(driver);
        end_close(&end);
}

/* A connection that was lost is lost in every answer. */
static void test_state_of_a_lost_connection(void **state)
{
        struct end end = {0};
        struct oriel_driver *driver = driver_open(&(struct oriel_driver_options){0}, end_open(&end, 0));

        assert_int_equal(bring_on(driver, &end, oriel_driver_bring_up, 1000), 0);
        oriel_backend_disconnect(end.backend);
        assert_int_equal(oriel_frontend_dispatch(oriel_driver_frontend(driver)), -ENOTCONN);
        assert_int_equal(oriel_driver_state(driver), ORIEL_DRIVER_DOWN);
        assert_int_equal(oriel_driver_bring_up(driver), -ENOTCONN);
        assert_int_equal(oriel_driver_stop(driver), 0);
        oriel_driver_free(driver);
        end_close(&end);

        end = (struct end){0};
        driver = driver_open(&(struct oriel_driver_options){0}, end_open(&end, 0));
        assert_int_equal(bring_on(driver, &end, oriel_driver_bring_up, 5), -EINPROGRESS);
        oriel_frontend_disconnect(oriel_driver_frontend(driver));
        assert_int_equal(oriel_driver_state(driver), ORIEL_DRIVER_DOWN);
        assert_int_equal(oriel_driver_stop(driver), 0);
        assert_int_equal(oriel_driver_bring_up(driver), -ENOTCONN);
        oriel_driver_free(driver);
        end_close(&end);
}

/* A bring-up that has failed for want of memory leaves a driver that is good to be freed. */
static void test_no_memory(void **state)
{
        const struct oriel_driver_options options = {.memory_size = UINT64_C(1) << 47};
        struct end end = {0};
        struct oriel_driver *driver = driver_open(&options, end_open(&end, 0));

        assert_true(bring_on(driver, &end, oriel_driver_bring_up, 1000) < 0);
        assert_null(oriel_driver_alloc(driver, 64));
        assert_null(oriel_driver_alloc(driver, 64));
        oriel_driver_free(driver);
        end_close(&end);
}

/* The driver is freed while it waits for an answer: nothing waits, and nothing is left. */
static void test_freed_at_each_step(void **state)
{
        check_each_step(&(struct oriel_driver_options){0}, -EINPROGRESS);
        check_each_step(&(struct oriel_driver_options){.windows_as_memory = true}, -EINPROGRESS);
}

static void test_hangs_when_stopped(void **state)
{
        struct end end = {0};
        struct oriel_driver *driver = driver_open(&(struct oriel_driver_options){.timeout_ms = 20}, end_open(&end, 0));
        int r = bring_on(driver, &end, oriel_driver_bring_up, 1000);

        while (r == 0 || r == -EINPROGRESS) {
                if (r == -EINPROGRESS)
                        assert_true(is_readable(front_fd(driver), PATIENCE));
                r = oriel_driver_stop(driver);
        }
        assert_int_equal(r, -ETIMEDOUT);
        assert_int_equal(oriel_driver_state(driver), ORIEL_DRIVER_DOWN);
        oriel_driver_free(driver);
        end_close(&end);
}

/* Up, with a back-end that no longer answers: an end without a stop does not wait for it. */
static void test_freed_when_up(void **state)
{
        struct end end = {0};
        struct oriel_driver *driver = driver_open(&(struct oriel_driver_options){0}, end_open(&end, 0));

        assert_int_equal(bring_on(driver, &end, oriel_driver_bring_up, 1000), 0);
        oriel_driver_free(driver);
        end_close(&end);
}

/* A driver that waits, and whose back-end is a process that was stopped: without a connection there is nothing to wait
 * for. */
static void test_disconnected_first(void **state)
{
        const struct oriel_driver_options options = {.struct_size = sizeof(options), .timeout_ms = FOREVER};
        struct oriel_driver *driver;
        int fds[2], status;

        assert_int_equal(make_socketpair(fds), 0);

        pid_t child = fork();

        if (child == 0) {
                struct echo *echo = echo_new(&(struct echo_options){.queues = 2});

                close(fds[0]);
                _exit(!echo || echo_serve_here(echo, fds[1]) != -ENOTCONN);
        }
        close(fds[1]);
        assert_int_equal(oriel_driver_new(&options, fds[0], &driver), 0);
        assert_int_equal(kill(child, SIGSTOP), 0);
        assert_int_equal(waitpid(child, &status, WUNTRACED), child);
        oriel_frontend_disconnect(oriel_driver_frontend(driver));
        assert_int_equal(oriel_driver_state(driver), ORIEL_DRIVER_DOWN);
        oriel_driver_free(driver);
        assert_int_equal(kill(child, SIGCONT), 0);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
}

static void test_reconnect(void **state)
{
        struct end end = {.maps_at_start = AT_START};
        struct oriel_driver *driver = driver_open(&(struct oriel_driver_options){0}, end_open(&end, 0));

        bring_to_end(driver, &end, oriel_driver_bring_up, ORIEL_DRIVER_STARTING);
        end.index = 1;
        echo_once(driver, &end);
        for (unsigned i = 0; i < 3; i++) {
                end_close(&end);
                end = (struct end){.maps_at_start = AT_START, .index = 1};
                assert_int_equal(oriel_driver_reconnect(driver, end_open(&end, 0)), 0);
                assert_int_equal(oriel_driver_state(driver), ORIEL_DRIVER_STARTING);
                assert_int_equal(oriel_driver_kick(driver, 0), -EINVAL);
                assert_int_equal(oriel_driver_stop(driver), -EINVAL);
                /* The second is gone in the middle of it, and another one can be tried. */
                if (i == 1) {
                        assert_int_equal(bring_on(driver, &end, oriel_driver_bring_up, 10), -EINPROGRESS);
                        oriel_backend_disconnect(end.backend);
                        assert_int_equal(oriel_driver_bring_up(driver), -ENOTCONN);
                        assert_int_equal(oriel_driver_state(driver), ORIEL_DRIVER_DOWN);
                        continue;
                }
                bring_to_end(driver, &end, oriel_driver_bring_up, ORIEL_DRIVER_STARTING);
                assert_int_equal(count_live(driver), AT_START * 2);
                echo_once(driver, &end);
        }
        bring_to_end(driver, &end, oriel_driver_stop, ORIEL_DRIVER_STOPPING);
        oriel_driver_free(driver);
        end_close(&end);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bring_up),
                cmocka_unit_test(test_windows_as_memory),
                cmocka_unit_test(test_hangs_at_each_step),
                cmocka_unit_test(test_dies_at_each_step),
                cmocka_unit_test(test_freed_at_each_step),
                cmocka_unit_test(test_owed_requests_come_in_time),
                cmocka_unit_test(test_a_call_in_between),
                cmocka_unit_test(test_descriptors),
                cmocka_unit_test(test_state_of_a_lost_connection),
                cmocka_unit_test(test_no_memory),
                cmocka_unit_test(test_hangs_when_stopped),
                cmocka_unit_test(test_freed_when_up),
                cmocka_unit_test(test_disconnected_first),
                cmocka_unit_test(test_reconnect),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
