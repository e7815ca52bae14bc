/* SPDX-License-Identifier: BSD-2-Clause */

/* The virtio-gpu device behind a socket: what a driver in user space sees in its window, one command after the other
 * and many at a time; what is left after a reset, a stop and the end of a connection. The renderer is the tests' own.
 */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "clients/gpu/client.h"
#include "devices/gpu/device.h"
#include "devices/gpu/test/fake.h"
#include "tests/session/session.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WINDOW (UINT64_C(4) << 30)
#define MIB    (UINT64_C(1) << 20)

#define DRIVER_FEATURES                                                                         \
        (ORIEL_FEATURE(VIRTIO_GPU_F_VIRGL) | ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_UUID) |        \
         ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB) | ORIEL_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT) | \
         ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC) | ORIEL_FEATURE(VIRTIO_RING_F_EVENT_IDX))

struct gpu_session {
        struct gpu_device *device;
        struct gpu_renderer *fake;
        struct oriel_driver *driver;
        struct gpu_client *client;
        pthread_t loop;
        int end_fd;
        uint8_t *window;
};

static void *serve(void *userdata)
{
        struct gpu_session *session = userdata;
        struct oriel_backend *backend = gpu_device_backend(session->device);
        int r = 0;

        while (r == 0) {
                struct pollfd fds[] = {
                        {.fd = oriel_backend_get_fd(backend), .events = POLLIN},
                        {.fd = oriel_backend_get_answer_fd(backend), .events = POLLIN},
                        {.fd = session->end_fd, .events = POLLIN},
                };

                poll(fds, ARRAY_SIZE(fds), -1);
                r = fds[2].revents ? -ECANCELED : oriel_backend_dispatch(backend);
        }
        oriel_backend_disconnect(backend);
        return NULL;
}

static void connect_client(struct gpu_session *session, uint64_t features)
{
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options), .features = features, .memory_size = 64 * MIB, .keep_fds = 16};
        uint64_t size;
        int fds[2];

        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(gpu_device_attach(session->device, fds[1]), 0);
        assert_int_equal(pthread_create(&session->loop, NULL, serve, session), 0);
        assert_int_equal(oriel_driver_new(&options, fds[0], &session->driver), 0);
        assert_int_equal(gpu_client_new(session->driver, &session->client), 0);
        session->window = oriel_driver_window(session->driver, VIRTIO_GPU_SHM_ID_HOST_VISIBLE, &size);
        assert_non_null(session->window);
        assert_int_equal(size, WINDOW);
        /* A hole where other devices have region 0. */
        assert_null(oriel_driver_window(session->driver, VIRTIO_GPU_SHM_ID_UNDEFINED, &size));
}

static void disconnect_client(struct gpu_session *session)
{
        gpu_client_free(session->client);
        oriel_driver_free(session->driver);
        pthread_join(session->loop, NULL);
}

static void gpu_session_open(struct gpu_session *session, size_t max_mappings, uint64_t features)
{
        *session = (struct gpu_session){.fake = fake_new(), .end_fd = eventfd(0, EFD_CLOEXEC)};

        static struct log_budget lines;
        const struct gpu_device_options options = {
                .lines = &lines,
                .gpu = {.window_size = WINDOW, .renderers = {session->fake}},
                .max_mappings = max_mappings,
                .log = {.struct_size = sizeof(struct oriel_log)},
        };

        assert_int_equal(gpu_device_new(&options, &session->device), 0);
        connect_client(session, features);
}

static void gpu_session_close(struct gpu_session *session)
{
        disconnect_client(session);
        gpu_device_free(session->device);
        fd_close(session->end_fd);
}

static struct gpu_counts counts_of(struct gpu_session *session)
{
        return gpu_count(gpu_device_gpu(session->device));
}

static void test_capset_and_context(void **state)
{
        struct virtio_gpu_resp_capset_info info;
        uint8_t caps[FAKE_CAPS_SIZE];
        struct gpu_session session;

        gpu_session_open(&session, 0, DRIVER_FEATURES);
        assert_int_equal(gpu_client_get_capset_info(session.client, 0, &info), 0);
        assert_int_equal(info.capset_id, FAKE_CAPSET);
        assert_int_equal(gpu_client_get_capset_info(session.client, 1, &info), -ENOENT);
        assert_int_equal(gpu_client_get_capset(session.client, FAKE_CAPSET, 0, caps, sizeof(caps)), 0);
        assert_int_equal(caps[FAKE_CAPS_SIZE - 1], 0xca);
        assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, "one"), 0);
        assert_int_equal(gpu_client_submit(session.client, 1, &(uint64_t){5}, 8), 0);
        assert_int_equal(gpu_client_submit(session.client, 1, &(uint64_t){FAKE_FAIL}, 8), -EIO);
        assert_int_equal(gpu_client_destroy_context(session.client, 1), 0);
        assert_int_equal(gpu_client_destroy_context(session.client, 1), -ENOENT);
        gpu_session_close(&session);
}

/* Both ends have the same bytes, and the client the fd. */
struct nested_answer {
        struct gpu_client *client;
        uint32_t type;
        uint64_t fence;
        int error;
};

/* Collects a larger answer while it has its own. */
static void nested_done(void *userdata, const struct virtio_gpu_ctrl_hdr *answer, size_t size)
{
        struct nested_answer *nested = userdata;
        uint8_t caps[FAKE_CAPS_SIZE];

        nested->error = gpu_client_get_capset(nested->client, FAKE_CAPSET, 0, caps, sizeof(caps));
        nested->type = answer->type;
        nested->fence = answer->fence_id;
}

static void test_nested_answers(void **state)
{
        const struct virtio_gpu_ctx_create create = {
                .hdr = {.type = VIRTIO_GPU_CMD_CTX_CREATE, .flags = VIRTIO_GPU_FLAG_FENCE, .fence_id = 77, .ctx_id = 1},
                .context_init = FAKE_CAPSET};
        const struct gpu_client_command command = {.fixed = &create, .fixed_size = sizeof(create)};
        struct gpu_session session;

        gpu_session_open(&session, 0, DRIVER_FEATURES);

        struct nested_answer nested = {.client = session.client};

        assert_int_equal(gpu_client_send(session.client, &command, nested_done, &nested), 0);
        assert_int_equal(gpu_client_kick(session.client), 0);
        while (nested.type == 0) {
                assert_int_equal(gpu_client_wait(session.client, 20000), 0);
                assert_true(gpu_client_collect(session.client) >= 0);
        }
        assert_int_equal(nested.error, 0);
        assert_int_equal(nested.type, VIRTIO_GPU_RESP_OK_NODATA);
        assert_int_equal(nested.fence, 77);
        assert_int_equal(gpu_client_pending(session.client), 0);
        gpu_session_close(&session);
}

static void test_window(void **state)
{
        struct gpu_session session;
        uint32_t map_info = 0;
        char word[6] = "";

        gpu_session_open(&session, 0, DRIVER_FEATURES);
        assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, ""), 0);
        assert_int_equal(gpu_client_create_blob(session.client, 1, 7, FAKE_BLOB_SHM, MIB), 0);
        assert_int_equal(gpu_client_map(session.client, 7, 16 * MIB, &map_info), 0);
        assert_int_equal(map_info, VIRTIO_GPU_MAP_CACHE_CACHED);
        memcpy(session.window + 16 * MIB, "oriel", 5);

        struct oriel_mapping *mapping =
                oriel_region_find(oriel_driver_region(session.driver, VIRTIO_GPU_SHM_ID_HOST_VISIBLE), 16 * MIB);

        assert_non_null(mapping);
        assert_int_equal(pread(oriel_mapping_fd(mapping), word, 5, 0), 5);
        assert_string_equal(word, "oriel");
        oriel_mapping_unref(mapping);
        assert_int_equal(gpu_client_unmap(session.client, 7), 0);
        assert_int_equal(session.window[16 * MIB], 0);
        /* A refusal of the front-end is the driver's error, and nothing more. */
        assert_int_equal(gpu_client_create_blob(session.client, 1, 8, FAKE_BLOB_READ_ONLY, PAGE), 0);
        assert_int_equal(gpu_client_map(session.client, 8, 0, NULL), -EIO);
        assert_int_equal(gpu_client_unmap(session.client, 8), -EINVAL);
        assert_int_equal(gpu_client_unref(session.client, 8), 0);
        assert_int_equal(counts_of(&session).mappings, 0);
        gpu_session_close(&session);
}

static void test_guest_blob(void **state)
{
        struct gpu_session session;
        void *memory;

        gpu_session_open(&session, 0, DRIVER_FEATURES);
        memory = oriel_driver_alloc(session.driver, 4 * PAGE);
        assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, ""), 0);
        assert_int_equal(gpu_client_create_guest_blob(session.client, 0, 3, memory, 4 * PAGE), 0);
        assert_int_equal(gpu_client_attach(session.client, 1, 3), 0);
        assert_int_equal(fake_count(session.fake).blobs, 1);
        assert_int_equal(gpu_client_unref(session.client, 3), 0);
        gpu_session_close(&session);
}

/* ---- many at a time ---- */

static void count_ok(void *userdata, const struct virtio_gpu_ctrl_hdr *answer, size_t size)
{
        unsigned *ok = userdata;

        *ok += size > 0 && answer->type < VIRTIO_GPU_RESP_ERR_UNSPEC;
}

/* Send it, when there is room. */
static void send(struct gpu_session *session, const void *command, size_t size, unsigned *ok)
{
        const struct gpu_client_command one = {
                .fixed = command, .fixed_size = size, .room = sizeof(struct virtio_gpu_resp_map_info)};
        int r;

        while ((r = gpu_client_send(session->client, &one, count_ok, ok)) == -EAGAIN) {
                assert_int_equal(gpu_client_kick(session->client), 0);
                assert_int_equal(gpu_client_wait(session->client, 20000), 0);
                assert_true(gpu_client_collect(session->client) >= 0);
        }
        assert_int_equal(r, 0);
}

static void finish(struct gpu_session *session, unsigned *ok, unsigned due)
{
        assert_int_equal(gpu_client_kick(session->client), 0);
        while (gpu_client_pending(session->client) > 0) {
                assert_int_equal(gpu_client_wait(session->client, 20000), 0);
                assert_true(gpu_client_collect(session->client) >= 0);
        }
        assert_int_equal(*ok, due);
        *ok = 0;
}

static void send_create(struct gpu_session *session, uint32_t id, uint64_t size, unsigned *ok)
{
        const struct virtio_gpu_resource_create_blob create = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = 1},
                .resource_id = id,
                .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
                .blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
                .size = size,
        };

        send(session, &create, sizeof(create), ok);
}

static void send_map(struct gpu_session *session, uint32_t id, uint64_t offset, unsigned *ok)
{
        const struct virtio_gpu_resource_map_blob map = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB}, .resource_id = id, .offset = offset};

        send(session, &map, sizeof(map), ok);
}

static void send_plain(struct gpu_session *session, uint32_t type, uint32_t id, unsigned *ok)
{
        const struct virtio_gpu_resource_unref command = {.hdr = {.type = type}, .resource_id = id};

        send(session, &command, sizeof(command), ok);
}

enum { BLOBS = 500 };

static void test_500_blobs(void **state)
{
        struct gpu_session session;
        unsigned ok = 0;

        gpu_session_open(&session, 0, DRIVER_FEATURES);
        assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, ""), 0);
        for (uint32_t id = 1; id <= BLOBS; id++) {
                send_create(&session, id, MIB, &ok);
                send_map(&session, id, id * MIB, &ok);
        }
        finish(&session, &ok, 2 * BLOBS);
        for (uint64_t id = 1; id <= BLOBS; id++) {
                session.window[id * MIB] = (uint8_t)id;
                session.window[id * MIB + MIB - 1] = (uint8_t)~id;
        }
        for (uint64_t id = 1; id <= BLOBS; id++)
                assert_true(session.window[id * MIB] == (uint8_t)id &&
                            session.window[id * MIB + MIB - 1] == (uint8_t)~id);
        for (uint32_t id = 1; id <= BLOBS; id++) {
                send_plain(&session, VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, id, &ok);
                send_plain(&session, VIRTIO_GPU_CMD_RESOURCE_UNREF, id, &ok);
        }
        finish(&session, &ok, 2 * BLOBS);
        assert_int_equal(fake_count(session.fake).blobs, 0);
        assert_int_equal(oriel_region_count(oriel_driver_region(session.driver, 1)), 0);
        gpu_session_close(&session);
}

/* With a sanitizer each takes several times as long. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || defined(__clang__)
enum { TURNS = 10000 };
#else
enum { TURNS = 100000 };
#endif

/* Again and again at the same place: nothing is left of any. */
static void test_nothing_leaks(void **state)
{
        struct gpu_session session;
        unsigned ok = 0;

        gpu_session_open(&session, 0, DRIVER_FEATURES);
        assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, ""), 0);
        for (uint32_t i = 0; i < TURNS; i++) {
                send_create(&session, 1 + i, PAGE, &ok);
                send_map(&session, 1 + i, 0, &ok);
                send_plain(&session, i % 2 ? VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB : VIRTIO_GPU_CMD_RESOURCE_UNREF, 1 + i,
                           &ok);
                if (i % 2)
                        send_plain(&session, VIRTIO_GPU_CMD_RESOURCE_UNREF, 1 + i, &ok);
        }
        finish(&session, &ok, TURNS * 7 / 2);
        /* Of those that lost their name while they were mapped, the last ones go when the front-end has answered. */
        for (int i = 0; i < 20000 && counts_of(&session).resources > 0; i++) {
                assert_int_equal(oriel_frontend_dispatch(oriel_driver_frontend(session.driver)), 0);
                usleep(1000);
        }
        assert_int_equal(fake_count(session.fake).blobs, 0);
        assert_int_equal(counts_of(&session).resources, 0);
        gpu_session_close(&session);
}

/* ---- the limit ---- */

static void test_most_mappings(void **state)
{
        struct gpu_session session;

        gpu_session_open(&session, 3, DRIVER_FEATURES);
        assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, ""), 0);
        for (uint32_t id = 1; id <= 4; id++) {
                assert_int_equal(gpu_client_create_blob(session.client, 1, id, FAKE_BLOB_SHM, PAGE), 0);
                assert_int_equal(gpu_client_map(session.client, id, id * PAGE, NULL), id < 4 ? 0 : -ENOMEM);
        }
        assert_int_equal(gpu_client_unmap(session.client, 1), 0);
        assert_int_equal(gpu_client_map(session.client, 4, 4 * PAGE, NULL), 0);
        gpu_session_close(&session);
}

/* ---- ends ---- */

/* The front-end resets the device while 100 blobs are mapped, some of them with commands on their way. */
static void test_reset(void **state)
{
        struct gpu_session session;
        unsigned ok = 0;

        gpu_session_open(&session, 0, DRIVER_FEATURES);
        assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, ""), 0);
        for (uint32_t id = 1; id <= 100; id++) {
                send_create(&session, id, PAGE, &ok);
                send_map(&session, id, id * PAGE, &ok);
        }
        assert_int_equal(gpu_client_kick(session.client), 0);
        for (unsigned queue = 0; queue < 2; queue++)
                assert_int_equal(oriel_driver_stop_queue(session.driver, queue), 0);
        assert_int_equal(oriel_frontend_reset_device(oriel_driver_frontend(session.driver)), 0);
        assert_int_equal(oriel_region_count(oriel_driver_region(session.driver, 1)), 0);
        assert_int_equal(counts_of(&session).resources, 0);
        assert_int_equal(counts_of(&session).contexts, 0);
        assert_int_equal(fake_count(session.fake).blobs, 0);
        assert_int_equal(session.window[PAGE], 0);
        gpu_session_close(&session);
}

/* A driver that begins anew without anybody saying so: what the last one mapped is unmapped. */
static void test_new_ring(void **state)
{
        struct gpu_session session;

        gpu_session_open(&session, 0, DRIVER_FEATURES | ORIEL_FEATURE(VIRTIO_F_RING_RESET));
        assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, ""), 0);
        assert_int_equal(gpu_client_create_blob(session.client, 1, 1, FAKE_BLOB_SHM, PAGE), 0);
        assert_int_equal(gpu_client_map(session.client, 1, 0, NULL), 0);
        session.window[0] = 77;
        assert_int_equal(oriel_driver_reset_queue(session.driver, 0), 0);
        assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, ""), 0);
        /* The request to unmap was sent before that answer; the ring has the one, and the front-end may not have looked
         * at the other. */
        assert_int_equal(oriel_frontend_dispatch(oriel_driver_frontend(session.driver)), 0);
        assert_int_equal(oriel_region_count(oriel_driver_region(session.driver, 1)), 0);
        assert_int_equal(session.window[0], 0);
        gpu_session_close(&session);
}

/* A command that waits for a fence is answered when its queue stops: a driver that goes on would wait for ever. */
static void test_stop_with_fences(void **state)
{
        const struct virtio_gpu_cmd_submit submit = {
                .hdr = {.type = VIRTIO_GPU_CMD_SUBMIT_3D, .flags = VIRTIO_GPU_FLAG_FENCE, .ctx_id = 1, .fence_id = 1}};
        struct gpu_session session;
        unsigned ok = 0;

        gpu_session_open(&session, 0, DRIVER_FEATURES);
        assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, ""), 0);
        fake_hold_fences(session.fake, true);
        for (int i = 0; i < 5; i++)
                send(&session, &submit, sizeof(submit), &ok);
        assert_int_equal(gpu_client_kick(session.client), 0);
        while (counts_of(&session).fences < 5)
                assert_int_equal(oriel_frontend_dispatch(oriel_driver_frontend(session.driver)), 0);
        assert_int_equal(gpu_client_collect(session.client), 0);
        /* Another thread's signal has them completed, too. */
        fake_signal(session.fake, 1, 0, 1);
        while (ok < 1) {
                assert_int_equal(gpu_client_wait(session.client, 20000), 0);
                assert_true(gpu_client_collect(session.client) >= 0);
        }
        assert_int_equal(oriel_driver_stop_queue(session.driver, 0), 0);
        assert_true(gpu_client_collect(session.client) >= 0);
        assert_int_equal(ok, 5);
        assert_int_equal(oriel_driver_start_queue(session.driver, 0), 0);
        /* It goes on where it was: the context is there. */
        assert_int_equal(gpu_client_submit(session.client, 1, &(uint64_t){1}, 8), 0);
        gpu_session_close(&session);
}

/* The connection ends while commands are on their way, from either end; the next front-end finds a new device. */
static void test_connections(void **state)
{
        struct gpu_session session;

        gpu_session_open(&session, 0, DRIVER_FEATURES);
        for (int round = 0; round < 20; round++) {
                unsigned ok = 0;

                assert_int_equal(gpu_client_create_context(session.client, 1, FAKE_CAPSET, ""), 0);
                for (uint32_t id = 1; id <= 60; id++) {
                        send_create(&session, id, PAGE, &ok);
                        send_map(&session, id, id * PAGE, &ok);
                }
                assert_int_equal(gpu_client_kick(session.client), 0);
                if (round % 2)
                        assert_int_equal(eventfd_write(session.end_fd, 1), 0);
                disconnect_client(&session);
                if (round % 2)
                        fd_event_clear(session.end_fd);
                assert_int_equal(counts_of(&session).resources, 0);
                assert_int_equal(fake_count(session.fake).blobs, 0);
                connect_client(&session, DRIVER_FEATURES);
        }
        gpu_session_close(&session);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_capset_and_context),
                counted_test(test_nested_answers),
                counted_test(test_window),
                counted_test(test_guest_blob),
                counted_test(test_500_blobs),
                counted_test(test_nothing_leaks),
                counted_test(test_most_mappings),
                counted_test(test_reset),
                counted_test(test_new_ring),
                counted_test(test_stop_with_fences),
                counted_test(test_connections),
        };

        return run_counted("gpu-device", tests);
}
