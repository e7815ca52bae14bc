/* SPDX-License-Identifier: BSD-2-Clause */

/* The library as a device that never waits needs it: answers by callback and by asking, the limit on live mappings,
 * guest memory outside of chains, and chains that are given back many at a time or not taken after all.
 *
 * The front-end is a driver on the test's thread; the back-end's loop is a thread of its own. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "driver/driver.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define WINDOW   (UINT64_C(1) << 20)
#define PATIENCE 20000 /* ms */

struct device {
        struct oriel_backend *backend;
        struct oriel_driver *driver;
        struct oriel_backend_queue *queue;
        pthread_t loop;
        int ended;
        int fd; /* what is mapped */
        atomic_uint resets, memory_changes, errors;
        char last_error[256];
};

static int device_start(void *userdata, struct oriel_backend_queue *queue)
{
        struct device *device = userdata;

        device->queue = queue;
        return 0;
}

static void device_stop(void *userdata, struct oriel_backend_queue *queue)
{
}

static void device_reset(void *userdata)
{
        struct device *device = userdata;

        atomic_fetch_add(&device->resets, 1);
}

static void device_memory_changed(void *userdata)
{
        struct device *device = userdata;

        atomic_fetch_add(&device->memory_changes, 1);
}

static void device_log(void *userdata, enum oriel_log_level level, const char *line)
{
        struct device *device = userdata;

        snprintf(device->last_error, sizeof(device->last_error), "%s", line);
        atomic_fetch_add(&device->errors, 1);
}

static void *device_loop(void *userdata)
{
        struct device *device = userdata;
        int r = 0;

        while (r == 0) {
                struct pollfd fds[] = {
                        {.fd = oriel_backend_get_fd(device->backend), .events = POLLIN},
                        {.fd = oriel_backend_get_answer_fd(device->backend), .events = POLLIN},
                };

                assert_true(poll(fds, ARRAY_SIZE(fds), PATIENCE) > 0);
                r = oriel_backend_dispatch(device->backend);
        }
        device->ended = r;
        return NULL;
}

/* The back-end alone. Returns the front-end's end of its socket. */
static int device_serve(struct device *device, size_t max_mappings, uint64_t without)
{
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {WINDOW};
        const struct oriel_log log = {sizeof(log), device_log, device, ORIEL_LOG_ERROR};
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops),
                .start = device_start,
                .stop = device_stop,
                .reset = device_reset,
                .memory_changed = device_memory_changed,
        };
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .userdata = device,
                .log = &log,
                .device_features = ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM),
                .without = without,
                .queues = 1,
                .shmem_sizes = sizes,
                .max_mappings = max_mappings,
        };
        int fds[2];

        *device = (struct device){.fd = make_memory(8 * PAGE)};
        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(oriel_backend_new(&options, &device->backend), 0);
        assert_int_equal(oriel_backend_attach(device->backend, fds[1]), 0);
        assert_int_equal(pthread_create(&device->loop, NULL, device_loop, device), 0);
        return fds[0];
}

static void device_open(struct device *device, size_t max_mappings, uint64_t without)
{
        const struct oriel_driver_options driver = {.struct_size = sizeof(driver), .keep_fds = 8};
        int fd = device_serve(device, max_mappings, without);
        unsigned queues;

        assert_int_equal(oriel_driver_new(&driver, fd, &device->driver), 0);
        /* The start of the queue has no answer of its own. */
        assert_int_equal(oriel_frontend_get_queue_num(oriel_driver_frontend(device->driver), &queues), 0);
}

static void device_close(struct device *device)
{
        oriel_driver_free(device->driver);
        pthread_join(device->loop, NULL);
        if (device->ended != -ECANCELED)
                oriel_backend_free(device->backend);
        fd_close(device->fd);
}

static struct oriel_frontend *frontend_of(const struct device *device)
{
        return oriel_driver_frontend(device->driver);
}

/* Page @page of the window. The front-end has not heard of it when this returns. */
static int device_map(struct device *device, unsigned page, uint64_t *ticket)
{
        const struct oriel_wire_mmap map = MAP_AT(page * UINT64_C(4096), PAGE);

        return oriel_backend_shmem_map(device->backend, &map, device->fd, ticket);
}

static int device_unmap(struct device *device, unsigned page, uint64_t *ticket)
{
        const struct oriel_wire_mmap map = MAP_AT(page * UINT64_C(4096), PAGE);

        return oriel_backend_shmem_unmap(device->backend, &map, ticket);
}

/* ---- callbacks ---- */

struct call {
        struct device *device;
        atomic_int count;
        int result;
        unsigned resets; /* before it came */
        pthread_t thread;
        bool frees;
};

static void call_came(void *userdata, int result)
{
        struct call *call = userdata;

        call->result = result;
        call->thread = pthread_self();
        call->resets = atomic_load(&call->device->resets);
        if (call->frees)
                oriel_backend_free(call->device->backend);
        atomic_fetch_add(&call->count, 1);
}

/* Answer the back-end until @call has come. */
static void serve_until(struct device *device, struct call *call, int count)
{
        struct pollfd p = {.fd = oriel_frontend_get_fd(frontend_of(device)), .events = POLLIN};

        for (int i = 0; i < PATIENCE && atomic_load(&call->count) < count; i++) {
                poll(&p, 1, 1);

                int r = oriel_frontend_dispatch(frontend_of(device));

                assert_true(r == 0 || call->frees);
        }
        assert_int_equal(atomic_load(&call->count), count);
}

static void test_callbacks(void **state)
{
        struct device device;
        uint64_t ticket;

        device_open(&device, 0, 0);
        /* The first is mapped, the second refused, as it is there already. */
        for (int i = 0; i < 2; i++) {
                struct call call = {.device = &device};

                assert_int_equal(device_map(&device, 0, &ticket), 0);
                assert_int_equal(oriel_backend_on_answer(device.backend, ticket, NULL, NULL), -EINVAL);
                assert_int_equal(oriel_backend_on_answer(device.backend, ticket, call_came, &call), 0);
                assert_int_equal(oriel_backend_on_answer(device.backend, ticket, call_came, &call), -EINVAL);
                assert_int_equal(oriel_backend_wait(device.backend, ticket), -EINVAL);
                serve_until(&device, &call, 1);
                assert_int_equal(call.result, i ? -EREMOTEIO : 0);
                assert_true(pthread_equal(call.thread, device.loop));
        }
        device_close(&device);
}

static void test_callback_for_what_was_answered(void **state)
{
        struct call call = {0};
        struct device device;
        uint64_t first, second;
        int r;

        device_open(&device, 0, 0);
        call.device = &device;
        assert_int_equal(device_map(&device, 0, &first), 0);
        assert_int_equal(device_map(&device, 1, &second), 0);
        while ((r = oriel_backend_poll(device.backend, second)) == -EINPROGRESS)
                assert_int_equal(oriel_frontend_dispatch(frontend_of(&device)), 0);
        assert_int_equal(r, 0);
        assert_int_equal(oriel_backend_on_answer(device.backend, first, call_came, &call), 0);
        serve_until(&device, &call, 1);
        assert_int_equal(call.result, 0);
        /* A request without an answer counts as answered. */
        assert_int_equal(oriel_backend_on_answer(device.backend, 0, call_came, &call), 0);
        serve_until(&device, &call, 2);
        assert_int_equal(call.result, 0);
        assert_int_equal(oriel_backend_on_answer(device.backend, second, call_came, &call), -EINVAL);
        device_close(&device);
}

static void test_callbacks_as_the_connection_ends(void **state)
{
        struct call calls[5];
        struct device device;
        uint64_t ticket;

        device_open(&device, 0, 0);
        for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
                calls[i] = (struct call){.device = &device, .result = 1};
                assert_int_equal(device_map(&device, i, &ticket), 0);
                assert_int_equal(oriel_backend_on_answer(device.backend, ticket, call_came, &calls[i]), 0);
        }
        oriel_frontend_disconnect(frontend_of(&device));
        device_close(&device);
        for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
                assert_int_equal(calls[i].count, 1);
                assert_int_equal(calls[i].result, -ENOTCONN);
                assert_int_equal(calls[i].resets, 0);
        }
        assert_int_equal(device.resets, 1);
}

static void test_callback_that_frees_the_back_end(void **state)
{
        struct call call = {.frees = true};
        struct device device;
        uint64_t ticket;

        device_open(&device, 0, 0);
        call.device = &device;
        assert_int_equal(device_map(&device, 0, &ticket), 0);
        assert_int_equal(oriel_backend_on_answer(device.backend, ticket, call_came, &call), 0);
        serve_until(&device, &call, 1);
        device_close(&device);
        assert_int_equal(device.ended, -ECANCELED);
}

/* Threads that wait read the channel for the callbacks too, and the other way round. */
#define ROUNDS 500

static void *map_and_wait(void *userdata)
{
        struct call *call = userdata;
        uint64_t ticket;

        for (int i = 0; i < ROUNDS; i++) {
                assert_int_equal(device_map(call->device, 1, &ticket), 0);
                assert_int_equal(oriel_backend_wait(call->device->backend, ticket), 0);
                assert_int_equal(device_unmap(call->device, 1, &ticket), 0);
                assert_int_equal(oriel_backend_wait(call->device->backend, ticket), 0);
        }
        atomic_fetch_add(&call->count, 1);
        return NULL;
}

static void test_callbacks_beside_waits(void **state)
{
        struct call waits = {0}, call = {0};
        struct device device;
        pthread_t thread;
        uint64_t ticket = 0;

        device_open(&device, 0, 0);
        waits.device = call.device = &device;
        assert_int_equal(pthread_create(&thread, NULL, map_and_wait, &waits), 0);
        for (int i = 0; i < ROUNDS; i++) {
                assert_int_equal((i % 2 ? device_unmap : device_map)(&device, 2, &ticket), 0);
                assert_int_equal(oriel_backend_on_answer(device.backend, ticket, call_came, &call), 0);
                serve_until(&device, &call, i + 1);
                assert_int_equal(call.result, 0);
        }
        serve_until(&device, &waits, 1);
        pthread_join(thread, NULL);
        assert_int_equal(oriel_backend_mapping_count(device.backend), 0);
        device_close(&device);
}

/* ---- asking ---- */

static void test_polling(void **state)
{
        struct device device;
        uint64_t ticket;
        int r;

        device_open(&device, 0, 0);
        assert_int_equal(oriel_backend_poll(device.backend, 0), 0);
        assert_int_equal(oriel_backend_poll(device.backend, 77), -EINVAL);
        for (int i = 0; i < 2; i++) {
                assert_int_equal(device_map(&device, 0, &ticket), 0);
                assert_int_equal(oriel_backend_poll(device.backend, ticket), -EINPROGRESS);
                while ((r = oriel_backend_poll(device.backend, ticket)) == -EINPROGRESS)
                        assert_int_equal(oriel_frontend_dispatch(frontend_of(&device)), 0);
                assert_int_equal(r, i ? -EREMOTEIO : 0);
                assert_int_equal(oriel_backend_poll(device.backend, ticket), -EINVAL);
        }
        assert_int_equal(device_map(&device, 1, &ticket), 0);
        oriel_frontend_disconnect(frontend_of(&device));
        while ((r = oriel_backend_poll(device.backend, ticket)) == -EINPROGRESS)
                ;
        assert_int_equal(r, -ENOTCONN);
        device_close(&device);
}

static void test_refusal_that_nobody_waits_for(void **state)
{
        struct call call = {0};
        struct device device;

        device_open(&device, 0, 0);
        call.device = &device;
        for (int i = 0; i < 2; i++)
                assert_int_equal(device_map(&device, 0, NULL), 0);

        uint64_t ticket;

        assert_int_equal(device_map(&device, 1, &ticket), 0);
        assert_int_equal(oriel_backend_on_answer(device.backend, ticket, call_came, &call), 0);
        serve_until(&device, &call, 1);
        assert_int_equal(atomic_load(&device.errors), 1);
        assert_non_null(strstr(device.last_error, "SHMEM_MAP"));
        device_close(&device);
}

/* ---- the limit ---- */

/* Through the front-end: 0 or the error. */
static int settle(struct device *device, int r, uint64_t ticket)
{
        while (r == 0 && (r = oriel_backend_poll(device->backend, ticket)) == -EINPROGRESS)
                r = oriel_frontend_dispatch(frontend_of(device));
        return r;
}

static int map_now(struct device *device, unsigned page)
{
        uint64_t ticket = 0;
        int r = device_map(device, page, &ticket);

        return settle(device, r, ticket);
}

static int unmap_now(struct device *device, unsigned page)
{
        uint64_t ticket = 0;
        int r = device_unmap(device, page, &ticket);

        return settle(device, r, ticket);
}

static void test_most_mappings(void **state)
{
        struct device device;

        device_open(&device, 3, 0);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(map_now(&device, i), 0);
        assert_int_equal(map_now(&device, 3), -ENOSPC);
        assert_int_equal(oriel_backend_mapping_count(device.backend), 3);
        assert_int_equal(oriel_region_count(oriel_driver_region(device.driver, 0)), 3);
        /* A refused request is not counted: neither a map nor an unmap. */
        assert_int_equal(unmap_now(&device, 2), 0);
        assert_int_equal(map_now(&device, 1), -EREMOTEIO);
        assert_int_equal(oriel_backend_mapping_count(device.backend), 2);
        assert_int_equal(unmap_now(&device, 7), -EREMOTEIO);
        assert_int_equal(oriel_backend_mapping_count(device.backend), 2);
        assert_int_equal(map_now(&device, 4), 0);
        assert_int_equal(map_now(&device, 5), -ENOSPC);
        oriel_backend_set_max_mappings(device.backend, 4);
        assert_int_equal(map_now(&device, 5), 0);
        assert_int_equal(map_now(&device, 6), -ENOSPC);
        oriel_backend_set_max_mappings(device.backend, 0);
        assert_int_equal(map_now(&device, 6), 0);
        /* A reset takes them all. */
        assert_int_equal(oriel_frontend_reset_device(frontend_of(&device)), 0);
        assert_int_equal(oriel_backend_mapping_count(device.backend), 0);
        device_close(&device);
}

/* A front-end that does not say whether it has done so. */
static void test_most_mappings_without_answers(void **state)
{
        struct device device;

        device_open(&device, 2, ORIEL_FEATURE(ORIEL_PROTOCOL_F_REPLY_ACK));
        assert_int_equal(map_now(&device, 0), 0);
        assert_int_equal(map_now(&device, 1), 0);
        assert_int_equal(map_now(&device, 2), -ENOSPC);
        assert_int_equal(unmap_now(&device, 1), 0);
        assert_int_equal(map_now(&device, 2), 0);
        device_close(&device);
}

/* ---- the driver's side ---- */

static void test_fd_of_a_mapping(void **state)
{
        struct device device;
        char word[6] = "";

        device_open(&device, 0, 0);
        assert_int_equal(pwrite(device.fd, "oriel", 5, 0), 5);
        assert_int_equal(map_now(&device, 3), 0);

        struct oriel_mapping *mapping = oriel_region_find(oriel_driver_region(device.driver, 0), 3 * PAGE);

        assert_non_null(mapping);
        assert_int_equal(pread(oriel_mapping_fd(mapping), word, 5, 0), 5);
        assert_string_equal(word, "oriel");
        oriel_mapping_unref(mapping);
        device_close(&device);
}

/* ---- guest memory ---- */

static int translate(struct oriel_memory *memory, uint64_t address, struct iovec *span)
{
        return oriel_memory_translate(memory, ORIEL_ADDRESS_GUEST, (struct oriel_range){address, 16},
                                      ORIEL_ACCESS_READ_WRITE, span, 1, NULL);
}

static void test_memory(void **state)
{
        const struct oriel_memory_region more = region_at(UINT64_C(1) << 42, PAGE);
        struct oriel_memory *before, *memory;
        struct device device;
        struct iovec span;

        device_open(&device, 0, 0);

        uint8_t *buffer = oriel_driver_alloc(device.driver, 64);
        uint64_t address = (uint64_t)(buffer - (uint8_t *)device.driver->memory);
        unsigned changes = atomic_load(&device.memory_changes);

        assert_true(changes > 0);
        before = oriel_backend_memory(device.backend);
        assert_int_equal(translate(before, address, &span), 1);
        memcpy(span.iov_base, "written outside", 16);
        assert_string_equal((const char *)buffer, "written outside");
        assert_int_equal(translate(before, more.guest_address, &span), -EFAULT);

        assert_int_equal(oriel_frontend_add_mem_reg(frontend_of(&device), &more, device.fd), 0);
        assert_int_equal(oriel_frontend_await_memory(frontend_of(&device)), 0);
        assert_int_equal(atomic_load(&device.memory_changes), changes + 1);
        assert_int_equal(translate(before, more.guest_address, &span), -EFAULT);
        memory = oriel_backend_memory(device.backend);
        assert_int_equal(translate(memory, more.guest_address, &span), 1);

        /* A reference keeps a region that is removed; a new table does not have it. */
        assert_int_equal(oriel_frontend_rem_mem_reg(frontend_of(&device), &more), 0);
        assert_int_equal(oriel_frontend_await_memory(frontend_of(&device)), 0);
        assert_int_equal(atomic_load(&device.memory_changes), changes + 2);
        memcpy(span.iov_base, "nobody sees it", 15);
        oriel_memory_unref(memory);
        memory = oriel_backend_memory(device.backend);
        assert_int_equal(translate(memory, more.guest_address, &span), -EFAULT);
        oriel_memory_unref(memory);
        oriel_memory_unref(before);
        device_close(&device);
}

static void note_miss(void *userdata, uint64_t iova, enum oriel_access access)
{
        assert_int_equal(access, ORIEL_ACCESS_WRITE);
        *(uint64_t *)userdata = iova;
}

/* An address that the IOTLB does not have: it is asked for, and comes. */
static void miss_and_find(struct device *device, struct oriel_frontend *frontend, const uint64_t *missed)
{
        const struct oriel_range iova = {0x7000, PAGE};
        struct oriel_memory *memory = oriel_backend_memory(device->backend);
        struct oriel_fault fault;
        struct iovec span;

        assert_int_equal(
                oriel_memory_translate(memory, ORIEL_ADDRESS_GUEST, iova, ORIEL_ACCESS_WRITE, &span, 1, &fault),
                -EAGAIN);
        oriel_memory_unref(memory);
        assert_int_equal(oriel_backend_iotlb_miss(device->backend, NULL), -EINVAL);
        assert_int_equal(oriel_backend_iotlb_miss(device->backend, &fault), 0);
        while (*missed == 0)
                assert_int_equal(oriel_frontend_dispatch(frontend), 0);
        assert_int_equal(*missed, iova.start);

        unsigned changes = atomic_load(&device->memory_changes);

        assert_int_equal(oriel_frontend_iotlb_update(frontend, iova, region_at(PAGE, PAGE).user_address,
                                                     ORIEL_ACCESS_READ_WRITE),
                         0);
        assert_int_equal(atomic_load(&device->memory_changes), changes + 1);
        memory = oriel_backend_memory(device->backend);
        assert_int_equal(
                oriel_memory_translate(memory, ORIEL_ADDRESS_GUEST, iova, ORIEL_ACCESS_WRITE, &span, 1, &fault), 1);
        oriel_memory_unref(memory);
}

static void test_iotlb_and_dirty_log(void **state)
{
        const struct oriel_frontend_ops ops = {.struct_size = sizeof(ops), .iotlb_miss = note_miss};
        const uint64_t features = ORIEL_FEATURE(VIRTIO_F_VERSION_1) | ORIEL_FEATURE(VIRTIO_F_ACCESS_PLATFORM);
        const struct oriel_memory_region region = region_at(PAGE, 3 * PAGE);
        uint64_t missed = 0;
        const struct oriel_frontend_options options = {sizeof(options), .ops = &ops, .userdata = &missed};
        struct oriel_frontend *frontend;
        struct device device;
        uint8_t bits = 0;
        int fd, log_fd = make_memory(PAGE);

        fd = device_serve(&device, 0, 0);
        assert_int_equal(oriel_frontend_new(&options, &frontend), 0);
        assert_int_equal(oriel_frontend_attach(frontend, fd), 0);
        assert_int_equal(oriel_frontend_negotiate(frontend, ~ORIEL_FEATURE(ORIEL_PROTOCOL_F_GPA_ADDRESSES)), 0);
        assert_int_equal(oriel_frontend_set_features(frontend, features), 0);
        assert_int_equal(oriel_frontend_add_mem_reg(frontend, &region, device.fd), 0);
        miss_and_find(&device, frontend, &missed);

        /* Marked while all is logged, where the IOVA leads to. */
        assert_int_equal(oriel_frontend_set_log_base(frontend, log_fd, 0, PAGE), 0);
        oriel_backend_mark_dirty(device.backend, (struct oriel_range){0x7000, 1});
        assert_int_equal(pread(log_fd, &bits, 1, 0), 1);
        assert_int_equal(bits, 0);
        assert_int_equal(oriel_frontend_set_features(frontend, features | ORIEL_FEATURE(VHOST_F_LOG_ALL)), 0);
        oriel_backend_mark_dirty(device.backend, (struct oriel_range){0x7000, 1});
        assert_int_equal(pread(log_fd, &bits, 1, 0), 1);
        assert_int_equal(bits, 1 << 1);
        oriel_frontend_free(frontend);
        oriel_backend_mark_dirty(device.backend, (struct oriel_range){0x7000, 1});
        pthread_join(device.loop, NULL);
        oriel_backend_free(device.backend);
        fd_close(device.fd);
        fd_close(log_fd);
}

/* ---- chains ---- */

static void test_chains_at_once(void **state)
{
        struct oriel_chain *chains[3], *again;
        struct device device;
        uint32_t written;
        void *token;

        /* With in-flight tracking each is given at once. */
        device_open(&device, 0, ORIEL_FEATURE(ORIEL_PROTOCOL_F_INFLIGHT_SHMFD));

        const struct iovec piece = {oriel_driver_alloc(device.driver, 64), 64};

        for (int i = 0; i < 3; i++) {
                assert_int_equal(oriel_driver_submit(device.driver, 0, NULL, 0, &piece, 1, &device), 0);
                assert_int_equal(oriel_backend_queue_pop(device.queue, &chains[i]), 1);
        }
        assert_int_equal(oriel_backend_queue_unpop(device.queue, chains[0]), -EINVAL);
        assert_int_equal(oriel_backend_queue_unpop(device.queue, chains[2]), 0);
        assert_int_equal(oriel_backend_queue_pop(device.queue, &again), 1);
        assert_int_equal(oriel_backend_queue_fill(device.queue, chains[0], 1), 0);
        assert_int_equal(oriel_backend_queue_fill(device.queue, chains[1], 1), 0);
        assert_int_equal(oriel_driver_collect(device.driver, 0, &token, &written), 0);
        oriel_backend_queue_notify(device.queue);
        assert_int_equal(oriel_driver_collect(device.driver, 0, &token, &written), 1);
        assert_int_equal(oriel_driver_collect(device.driver, 0, &token, &written), 1);
        /* Filled buffers are not lost when the queue stops. */
        assert_int_equal(oriel_backend_queue_fill(device.queue, again, 5), 0);
        assert_int_equal(oriel_driver_stop_queue(device.driver, 0), 0);
        assert_int_equal(oriel_driver_collect(device.driver, 0, &token, &written), 1);
        assert_int_equal(written, 5);
        device_close(&device);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_callbacks),
                counted_test(test_callback_for_what_was_answered),
                counted_test(test_callbacks_as_the_connection_ends),
                counted_test(test_callback_that_frees_the_back_end),
                counted_test(test_callbacks_beside_waits),
                counted_test(test_polling),
                counted_test(test_refusal_that_nobody_waits_for),
                counted_test(test_most_mappings),
                counted_test(test_most_mappings_without_answers),
                counted_test(test_fd_of_a_mapping),
                counted_test(test_memory),
                counted_test(test_iotlb_and_dirty_log),
                counted_test(test_chains_at_once),
        };

        return run_counted("session-answers", tests);
}
