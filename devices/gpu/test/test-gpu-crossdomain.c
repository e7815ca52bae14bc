/* SPDX-License-Identifier: BSD-2-Clause */

/* Cross-domain contexts, between a guest that is bytes and a compositor that is the other end of a socket: valid
 * use, and a guest or a compositor that sends wrong data. */

#include "devices/gpu/crossdomain/crossdomain.h"
#include "devices/gpu/test/test-desk.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAPPED    VIRTIO_GPU_RESP_OK_MAP_INFO
#define UNSPEC    VIRTIO_GPU_RESP_ERR_UNSPEC
#define NO_MEMORY VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
#define NV12      0x3231564eU
#define R8        0x20203852U

/* ---- capset and INIT ---- */

static void test_capset(void **state)
{
        const struct virtio_gpu_get_capset get = {.hdr = {.type = VIRTIO_GPU_CMD_GET_CAPSET},
                                                  .capset_id = GPU_CAPSET_CROSS_DOMAIN};
        struct {
                struct virtio_gpu_ctrl_hdr header;
                struct cross_capset capset;
        } answer;
        struct desk desk;

        desk_open(&desk);
        assert_int_equal(world_command(&desk.world, &get, sizeof(get), &answer, sizeof(answer)),
                         VIRTIO_GPU_RESP_OK_CAPSET);
        assert_int_equal(answer.capset.version, 1);
        assert_int_equal(answer.capset.supported_channels, 1 << CROSS_CHANNEL_WAYLAND);
        assert_int_equal(answer.capset.supports_dmabuf, 0);
        desk_close(&desk);
}

static void test_wrong_init(void **state)
{
        struct cross_init init;
        struct desk desk;

        desk_open(&desk);
        desk_make_context(&desk, 1);
        desk_make_context(&desk, 2);
        /* A ring that is too small, one that is not guest memory, one that was never attached. */
        assert_int_equal(world_create_guest_blob(&desk.world, 0, 100, GUEST + 0x80000, PAGE, PAGE - 1), OK);
        assert_int_equal(world_attach(&desk.world, 1, 100), OK);
        assert_int_equal(world_create_blob(&desk.world, 1, 101, CROSS_IMAGE_ID, PAGE), OK);
        assert_int_equal(world_attach(&desk.world, 1, 101), OK);
        assert_int_equal(world_create_guest_blob(&desk.world, 0, 102, GUEST + 0x80000, PAGE, PAGE), OK);

        const uint32_t wrong[] = {0, 100, 101, 102, 103, desk_ring_id(2, 0), UINT32_MAX};

        for (unsigned i = 0; i < ARRAY_SIZE(wrong) * CROSS_RINGS; i++) {
                init = desk_init_of(1);
                init.ring_ids[i % CROSS_RINGS] = wrong[i / CROSS_RINGS];
                assert_int_equal(DESK_SUBMIT(&desk, 1, &init), UNSPEC);
        }
        init = desk_init_of(1);
        for (uint32_t type = 2; type; type <<= 1) {
                init.channel_type = type;
                assert_int_equal(DESK_SUBMIT(&desk, 1, &init), UNSPEC);
        }
        /* A new resource with the id of an old one is not attached. */
        assert_int_equal(world_unref(&desk.world, desk_ring_id(1, 0)), OK);
        assert_int_equal(
                world_create_guest_blob(&desk.world, 0, desk_ring_id(1, 0), desk_ring_address(1, 0), PAGE, PAGE), OK);
        init = desk_init_of(1);
        assert_int_equal(DESK_SUBMIT(&desk, 1, &init), UNSPEC);
        assert_int_equal(world_attach(&desk.world, 1, desk_ring_id(1, 0)), OK);
        assert_int_equal(DESK_SUBMIT(&desk, 1, &init), OK);
        fd_close(desk_accept(&desk));
        assert_int_equal(DESK_SUBMIT(&desk, 1, &init), UNSPEC);
        /* Without a channel, a context has images. */
        init = desk_init_of(2);
        init.channel_type = 0;
        init.ring_ids[CROSS_CHANNEL_RING] = 0;
        assert_int_equal(DESK_SUBMIT(&desk, 2, &init), OK);
        assert_int_equal(desk_image(&desk, 2, XR24, 16, 16, OK).size, PAGE);
        assert_int_equal(desk_send_text(&desk, 2, "nobody"), UNSPEC);
        desk_close(&desk);
}

static void test_wrong_commands(void **state)
{
        const struct cross_header poll = {.command = CROSS_POLL, .size = sizeof(poll)};
        const struct desk_letter letter = desk_letter("early");
        struct desk desk;

        desk_open(&desk);
        desk_make_context(&desk, 1);
        assert_int_equal(DESK_SUBMIT(&desk, 1, &letter), UNSPEC);
        assert_int_equal(DESK_SUBMIT(&desk, 1, &poll), UNSPEC);
        desk_image(&desk, 1, XR24, 16, 16, UNSPEC);

        int client = desk_begin(&desk, 2);

        for (unsigned command = 0; command < 256; command++) {
                struct desk_letter any = desk_letter("any");
                bool known = command == CROSS_POLL || command == CROSS_SEND;

                any.head.header.command = (uint8_t)command;
                assert_int_equal(DESK_SUBMIT(&desk, 2, &any), known ? OK : UNSPEC);
        }
        desk_expect_text(client, "any");
        for (unsigned command = 0; command <= CROSS_WRITE; command++)
                for (unsigned size = 0; size < sizeof(struct cross_header) + 1; size++) {
                        struct cross_header header = {.command = (uint8_t)command, .size = (uint16_t)size};

                        assert_int_equal(desk_submit(&desk, 2, &header, sizeof(header), -1),
                                         command == CROSS_POLL && size == sizeof(header) ? OK : UNSPEC);
                        if (size > 0 && size < sizeof(header))
                                assert_int_equal(desk_submit(&desk, 2, &header, size, -1), UNSPEC);
                }
        /* The header's size must be right. */
        struct desk_letter long_one = desk_letter("long");

        long_one.head.header.size++;
        assert_int_equal(DESK_SUBMIT(&desk, 2, &long_one), UNSPEC);
        /* Several commands at once; those after the wrong one are not run. */
        struct desk_letter three[3] = {desk_letter("1"), desk_letter("2"), desk_letter("3")};

        assert_int_equal(DESK_SUBMIT(&desk, 2, &three), OK);
        desk_expect_text(client, "123");
        three[1].head.header.command = 99;
        assert_int_equal(DESK_SUBMIT(&desk, 2, &three), UNSPEC);
        desk_expect_text(client, "1");
        assert_int_equal(desk_submit(&desk, 2, three, 0, -1), OK);
        fd_close(client);
        desk_close(&desk);
}

/* ---- images ---- */

static void test_images(void **state)
{
        struct cross_image_requirements image;
        struct desk desk;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);

        image = desk_image(&desk, 1, XR24, 100, 30, OK);
        assert_int_equal(image.strides[0], 400);
        assert_int_equal(image.offsets[0], 0);
        assert_int_equal(image.strides[1], 0);
        assert_int_equal(image.size, 12288);
        assert_int_equal(image.map_info, VIRTIO_GPU_MAP_CACHE_CACHED);
        assert_int_equal(image.modifier, 0);
        assert_int_equal(image.memory_index, -1);
        image = desk_image(&desk, 1, NV12, 101, 31, OK);
        assert_int_equal(image.strides[0], 101);
        assert_int_equal(image.strides[1], 102);
        assert_int_equal(image.offsets[1], 101 * 31);
        assert_int_equal(image.size, 8192);
        assert_int_equal(desk_image(&desk, 1, R8, 1 << 29, 1, OK).size, 1 << 29);
        assert_true(desk.world.dirty > 0);
        desk_image(&desk, 1, R8, (1 << 29) + 1, 1, UNSPEC);
        desk_image(&desk, 1, XR24, 0, 1, UNSPEC);
        desk_image(&desk, 1, XR24, 1, 0, UNSPEC);
        desk_image(&desk, 1, XR24, UINT32_MAX, UINT32_MAX, UNSPEC);
        desk_image(&desk, 1, NV12, UINT32_MAX, UINT32_MAX, UNSPEC);
        desk_image(&desk, 1, XR24, 1 << 16, 1 << 16, UNSPEC);
        desk_image(&desk, 1, 0, 1, 1, UNSPEC);
        /* Any number, until the host's limit is reached. */
        assert_int_equal(world_create_blob(&desk.world, 1, 1000, image.blob_id, (1 << 29) + 1), NO_MEMORY);
        assert_int_equal(world_create_blob(&desk.world, 1, 1000, image.blob_id, UINT64_MAX), NO_MEMORY);
        assert_int_equal(world_create_blob(&desk.world, 1, 1000, image.blob_id, 1 << 29), OK);
        assert_int_equal(world_create_blob(&desk.world, 1, 1001, image.blob_id, 1 << 29), OK);
        assert_int_equal(world_create_blob(&desk.world, 1, 1002, image.blob_id, 1), NO_MEMORY);
        assert_int_equal(world_unref(&desk.world, 1000), OK);
        for (uint32_t i = 2000; i < 3000; i++)
                assert_int_equal(world_create_blob(&desk.world, 1, i, image.blob_id, 1), OK);
        assert_int_equal(world_create_blob(&desk.world, 1, 1002, image.blob_id, 1 << 29), NO_MEMORY);
        gpu_reset(desk.world.gpu);
        fd_close(client);
        client = desk_begin(&desk, 1);
        assert_int_equal(world_create_blob(&desk.world, 1, 1000, image.blob_id, 1 << 29), OK);
        fd_close(client);
        desk_close(&desk);
}

/* The guest maps the same memory that the compositor gets, and neither can cut it short. */
static void test_sent_image(void **state)
{
        struct desk desk;
        struct stat stat;
        char text[8] = "";
        int fds[CROSS_IDS_MAX];
        unsigned n;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);
        uint32_t blob_id = desk_image(&desk, 1, XR24, 32, 32, OK).blob_id;

        assert_int_equal(world_create_blob(&desk.world, 1, 7, blob_id, PAGE), OK);
        assert_int_equal(world_attach(&desk.world, 1, 7), OK);
        assert_int_equal(world_map(&desk.world, 7, 0), MAPPED);
        assert_int_equal(desk.world.requests[0].access, ORIEL_ACCESS_READ_WRITE);
        assert_int_equal(desk_send_id(&desk, 1, CROSS_ID_BLOB, 7), OK);
        assert_int_equal(desk_hear(client, text, sizeof(text), fds, &n), 2);
        assert_int_equal(n, 1);
        assert_int_equal(fstat(fds[0], &stat), 0);
        assert_int_equal(stat.st_ino, desk.world.requests[0].inode);
        assert_int_equal(stat.st_size, PAGE);
        assert_int_equal(ftruncate(fds[0], 0), -1);
        assert_int_equal(pwrite(fds[0], "x", 1, 0), 1);
        fd_close(fds[0]);
        fd_close(client);
        desk_close(&desk);
}

/* ---- SEND ---- */

static void test_send(void **state)
{
        struct desk desk;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);

        assert_int_equal(desk_send_text(&desk, 1, "wl_display.sync"), OK);
        desk_expect_text(client, "wl_display.sync");
        assert_int_equal(desk.world.n_done, 0);
        fd_close(client);
        desk_close(&desk);
}

/* Each ends the connection, and the guest is told. */
static void test_wrong_send(void **state)
{
        static const struct {
                uint32_t n_ids, data_size, type, id;
        } rows[] = {
                {CROSS_IDS_MAX + 1, 1, CROSS_ID_BLOB, 1},
                {UINT32_MAX, 1, CROSS_ID_BLOB, 7},
                {0, 65, 0, 0},
                {0, UINT32_MAX, 0, 0},
                {0, 0, 0, 0},
                {1, 0, CROSS_ID_BLOB, 7},
                {1, 1, CROSS_ID_NONE, 7},
                {1, 1, CROSS_ID_SYNC, 7},
                {1, 1, CROSS_ID_WRITE_PIPE, 7},
                {1, 1, 5, 7},
                {1, 1, CROSS_ID_BLOB, 0},
                {1, 1, CROSS_ID_BLOB, 8},  /* not attached */
                {1, 1, CROSS_ID_BLOB, 9},  /* guest memory */
                {1, 1, CROSS_ID_BLOB, 99}, /* not there */
                {1, 1, CROSS_ID_READ_PIPE, CROSS_READ_PIPE_START - 1},
        };
        struct desk desk;

        desk_open(&desk);
        for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
                int client = desk_begin(&desk, 1), fds[CROSS_IDS_MAX];
                struct desk_letter letter = desk_letter("wrong");
                char byte;
                unsigned n;

                for (uint32_t id = 1; id <= 7; id += 6) {
                        assert_int_equal(world_create_blob(&desk.world, 1, id, CROSS_IMAGE_ID, PAGE), OK);
                        assert_int_equal(world_attach(&desk.world, 1, id), OK);
                }
                assert_int_equal(world_create_blob(&desk.world, 1, 8, CROSS_IMAGE_ID, PAGE), OK);
                assert_int_equal(world_create_guest_blob(&desk.world, 0, 9, GUEST + 0x80000, PAGE, PAGE), OK);
                assert_int_equal(world_attach(&desk.world, 1, 9), OK);
                letter.head.n_ids = rows[i].n_ids;
                letter.head.data_size = rows[i].data_size;
                for (unsigned j = 0; j < CROSS_IDS_MAX; j++) {
                        letter.head.types[j] = rows[i].type;
                        letter.head.ids[j] = rows[i].id;
                        /* The size is that of a valid type, for resource 1, if one number too many were read. */
                        letter.head.sizes[j] = CROSS_ID_BLOB;
                }
                assert_int_equal(DESK_SUBMIT(&desk, 1, &letter), UNSPEC);
                assert_int_equal(desk_hear(client, &byte, 1, fds, &n), 0);
                assert_int_equal(desk_send_text(&desk, 1, "more"), UNSPEC);
                desk_expect_end(&desk, 1);
                gpu_reset(desk.world.gpu);
                fd_close(client);
        }
        desk_close(&desk);
}

/* The pipe that was made first ends too; both ends are reported in any order. */
static void test_pipe_that_is_sent_twice(void **state)
{
        struct desk_letter letter = desk_letter("twice");
        struct desk desk;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);
        unsigned told = 0;

        letter.head.n_ids = 2;
        letter.head.types[0] = letter.head.types[1] = CROSS_ID_READ_PIPE;
        letter.head.ids[0] = letter.head.ids[1] = CROSS_READ_PIPE_START;
        assert_int_equal(DESK_SUBMIT(&desk, 1, &letter), UNSPEC);
        for (unsigned i = 0; i < 2; i++)
                told |= 1U << desk_next(&desk, 1)->receive.head.header.command;
        assert_int_equal(told, 1 << CROSS_RECEIVE | 1 << CROSS_READ);
        fd_close(client);
        desk_close(&desk);
}

static void test_compositor_that_never_reads(void **state)
{
        struct desk desk;
        unsigned n = 0;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);

        while (desk_send_text(&desk, 1, "0123456789012345678901234567890123456789012345678901234567890123") == OK)
                n++;
        assert_between(n, 100, 100000);
        desk_expect_end(&desk, 1);
        fd_close(client);
        desk_close(&desk);
}

/* ---- RECEIVE ---- */

static void test_receive(void **state)
{
        static char flood[10000];
        struct desk desk;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);

        desk_say(client, "one", 3, NULL, 0);
        /* No message comes without a request. */
        assert_false(world_await(&desk.world, 1, NOT_NOW));
        assert_int_equal(desk_ring(&desk, 1)->receive.head.header.command, 0);
        desk_expect_bytes(&desk, 1, "one");
        desk_ask(&desk, 1);
        assert_false(world_await(&desk.world, 2, NOT_NOW));
        desk_say(client, "two", 3, NULL, 0);
        assert_true(world_await(&desk.world, 2, SOON));
        assert_memory_equal(desk_ring(&desk, 1)->receive.data, "two", 3);
        /* As many bytes as the ring has room for. */
        memset(flood, 'f', sizeof(flood));
        desk_say(client, flood, sizeof(flood), NULL, 0);
        for (size_t left = sizeof(flood); left > 0;) {
                const struct cross_send_receive *head = &desk_next(&desk, 1)->receive.head;

                assert_between(head->data_size, 1, PAGE - sizeof(*head));
                assert_int_equal(head->header.size, sizeof(*head) + head->data_size);
                left -= head->data_size;
        }
        fd_close(client);
        desk_close(&desk);
}

/* One message for each fence, and in order. */
static void test_fences(void **state)
{
        const struct virtio_gpu_ctx_destroy destroy = {.hdr = {.type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = 1}};
        const struct cross_header poll = {.command = CROSS_POLL, .size = sizeof(poll)};
        struct desk desk;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);

        /* The ring of queries, and rings that don't exist, have nothing to wait for. */
        assert_int_equal(desk_submit(&desk, 1, &poll, sizeof(poll), CROSS_QUERY_RING), OK);
        assert_int_equal(desk_submit(&desk, 1, &poll, sizeof(poll), 2), OK);
        for (unsigned i = 0; i < 5; i++)
                desk_ask(&desk, 1);
        assert_int_equal(gpu_count(desk.world.gpu).fences, 5);
        for (unsigned i = 0; i < 3; i++) {
                desk_say(client, "m", 1, NULL, 0);
                assert_true(world_await(&desk.world, i + 1, SOON));
                assert_int_equal(desk.world.done[i].fence_id, 3 + i);
        }
        assert_false(world_await(&desk.world, 4, NOT_NOW));
        assert_int_equal(DO(&desk.world, destroy), OK);
        assert_int_equal(desk.world.n_done, 5);
        fd_close(client);
        desk_close(&desk);
}

/* A queue that stops does not wait for a compositor's next message. */
static void test_stop_with_fence(void **state)
{
        struct desk desk;
        int64_t start;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);

        desk_say(client, "before", 6, NULL, 0);
        desk_expect_bytes(&desk, 1, "before");
        desk_ask(&desk, 1);
        desk_ask(&desk, 1);
        start = now_ms();
        gpu_settle(desk.world.gpu, &desk.world, 2 * SOON);
        assert_true(now_ms() - start < SOON);
        assert_int_equal(desk.world.n_done, 3);
        /* A guest that goes on gets no message twice, and loses none. */
        assert_int_equal(desk_ring(&desk, 1)->receive.head.header.command, CROSS_RECEIVE);
        assert_int_equal(desk_ring(&desk, 1)->receive.head.data_size, 0);
        desk_say(client, "after", 5, NULL, 0);
        desk_expect_bytes(&desk, 1, "after");
        fd_close(client);
        desk_close(&desk);
}

static void test_compositor_that_closes(void **state)
{
        struct desk desk;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);

        desk_say(client, "last words", 10, NULL, 0);
        fd_close(client);
        desk_expect_bytes(&desk, 1, "last words");
        desk_expect_end(&desk, 1);
        assert_int_equal(desk_send_text(&desk, 1, "hello"), UNSPEC);
        desk_close(&desk);
}

/* A ring that is gone gets no message; the context still exists. */
static void test_ring_that_goes(void **state)
{
        struct desk desk;

        desk_open(&desk);

        int client = desk_begin(&desk, 1);

        desk_ask(&desk, 1);
        assert_int_equal(world_unref(&desk.world, desk_ring_id(1, CROSS_CHANNEL_RING)), OK);
        assert_int_equal(world_unref(&desk.world, desk_ring_id(1, CROSS_QUERY_RING)), OK);
        desk_say(client, "x", 1, NULL, 0);
        assert_false(world_await(&desk.world, 1, NOT_NOW));
        assert_int_equal(desk_ring(&desk, 1)->receive.head.header.command, 0);
        desk_image(&desk, 1, XR24, 1, 1, UNSPEC);
        assert_int_equal(desk_send_text(&desk, 1, "still"), OK);
        desk_expect_text(client, "still");
        fd_close(client);
        desk_close(&desk);
}

/* ---- several ---- */

static void test_channels(void **state)
{
        enum { CHANNELS = 8 };
        struct desk desk;
        int clients[CHANNELS + 1];
        char text[8];

        desk_open(&desk);
        for (uint32_t i = 1; i <= CHANNELS; i++)
                clients[i] = desk_begin(&desk, i);
        for (uint32_t i = CHANNELS; i > 0; i--) {
                snprintf(text, sizeof(text), "to %u", i);
                desk_say(clients[i], text, strlen(text), NULL, 0);
        }
        for (uint32_t i = 1; i <= CHANNELS; i++) {
                snprintf(text, sizeof(text), "to %u", i);
                desk_expect_bytes(&desk, i, text);
                assert_int_equal(desk_send_text(&desk, i, text), OK);
        }
        for (uint32_t i = 1; i <= CHANNELS; i++) {
                snprintf(text, sizeof(text), "to %u", i);
                desk_expect_text(clients[i], text);
                fd_close(clients[i]);
        }
        desk_close(&desk);
}

static void test_most_channels(void **state)
{
        struct desk desk;
        uint32_t id = 1;

        desk_open(&desk);
        while (world_create_context_of(&desk.world, id, GPU_CAPSET_CROSS_DOMAIN, "") == OK)
                id++;
        assert_int_equal(id - 1, 256);
        gpu_reset(desk.world.gpu);
        fd_close(desk_begin(&desk, 1));
        desk_close(&desk);
}

/* While messages and pipes are under way. */
/* ---- the broker ---- */

static void test_compositor_that_starts_again(void **state)
{
        const struct cross_init init = desk_init_of(1);
        struct desk desk;

        desk_open(&desk);
        desk_stop_listening(&desk);
        assert_true(wayland_broker_start(desk.address.sun_path) == -ENOENT);
        desk_make_context(&desk, 1);
        assert_int_equal(DESK_SUBMIT(&desk, 1, &init), UNSPEC);
        desk_listen(&desk);
        assert_int_equal(DESK_SUBMIT(&desk, 1, &init), OK);
        fd_close(desk_accept(&desk));
        desk_close(&desk);
}

/* A broker that is delayed keeps its copy of the connection for a moment. The compositor's end is reported
 * nevertheless, once. */
static void test_broker_that_keeps_connections(void **state)
{
        struct world_options options = {.outputs = 0};
        const struct cross_init init = desk_init_of(1);
        const int success = 0;
        struct desk desk = {.listener = -1};
        int broker[2], connection[2];

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, broker), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, connection), 0);
        assert_int_equal(crossdomain_new(broker[0], &options.second), 0);
        world_open(&desk.world, &options);
        desk_make_context(&desk, 1);
        desk_say(broker[1], &success, sizeof(success), &connection[1], 1);
        assert_int_equal(DESK_SUBMIT(&desk, 1, &init), OK);
        fd_close(connection[0]);
        desk_expect_end(&desk, 1);
        fd_close(connection[1]);
        world_close(&desk.world);
        fd_close(broker[1]);
}

/* Its answers to the first two requests come together, and each is for its own. */
static void test_broker_that_is_late(void **state)
{
        const int success = 0, refused = -ECONNREFUSED;
        struct wayland_broker broker = {.fd = -1};
        int ends[2], request, fd;

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        broker.fd = ends[0];

        pid_t pid = fork();

        if (pid == 0) {
                bool asked =
                        read(ends[1], &request, sizeof(request)) > 0 && read(ends[1], &request, sizeof(request)) > 0;

                if (asked && write(ends[1], &refused, sizeof(refused)) > 0)
                        desk_say(ends[1], &success, sizeof(success), &ends[1], 1);
                _exit(0);
        }
        assert_int_equal(wayland_broker_connect(&broker), -ETIMEDOUT);
        fd = wayland_broker_connect(&broker);
        assert_true(fd >= 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        fd_close(fd);
        fd_close_all(ends, 2);
}

/* A lying broker does no harm, and one that breaks the rules or has ended is not asked any more. */
static void test_wrong_brokers(void **state)
{
        const int lies[] = {0, -ECONNREFUSED};
        struct wayland_broker broker = {.fd = -1};
        int ends[2], answer;

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        broker.fd = ends[0];
        for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
                assert_int_equal(write(ends[1], &lies[i], sizeof(int)), sizeof(int));
                assert_int_equal(wayland_broker_connect(&broker), lies[i] ? lies[i] : -EMFILE);
                assert_int_equal(read(ends[1], &answer, sizeof(answer)), sizeof(answer));
        }
        /* An error and a connection at once. */
        desk_say(ends[1], &lies[1], sizeof(int), &ends[1], 1);
        assert_int_equal(wayland_broker_connect(&broker), -ECONNREFUSED);
        assert_int_equal(write(ends[1], "x", 1), 1);
        assert_int_equal(wayland_broker_connect(&broker), -EPIPE);
        assert_int_equal(broker.fd, -1);
        assert_int_equal(wayland_broker_connect(&broker), -EPIPE);
        fd_close(ends[1]);

        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        broker = (struct wayland_broker){.fd = ends[0]};
        fd_close(ends[1]);
        assert_int_equal(wayland_broker_connect(&broker), -EPIPE);
        assert_int_equal(broker.fd, -1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_capset),
                counted_test(test_wrong_init),
                counted_test(test_wrong_commands),
                counted_test(test_images),
                counted_test(test_sent_image),
                counted_test(test_send),
                counted_test(test_wrong_send),
                counted_test(test_pipe_that_is_sent_twice),
                counted_test(test_compositor_that_never_reads),
                counted_test(test_receive),
                counted_test(test_fences),
                counted_test(test_stop_with_fence),
                counted_test(test_compositor_that_closes),
                counted_test(test_ring_that_goes),
                counted_test(test_channels),
                counted_test(test_most_channels),
                counted_test(test_compositor_that_starts_again),
                counted_test(test_broker_that_keeps_connections),
                counted_test(test_broker_that_is_late),
                counted_test(test_wrong_brokers),
        };

        /* For a broker's socket in this process; the daemon ignores it too. */
        signal(SIGPIPE, SIG_IGN);
        return run_counted("gpu-crossdomain", tests);
}
