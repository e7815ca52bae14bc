/* SPDX-License-Identifier: BSD-2-Clause */

/* Cross-domain contexts, between a guest that is bytes and a compositor that is the other end of a socket: right, and
 * with a guest or a compositor that lies. */

#include "devices/gpu/crossdomain/channel.h"
#include "devices/gpu/crossdomain/crossdomain.h"
#include "devices/gpu/test/test-world.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define OK        VIRTIO_GPU_RESP_OK_NODATA
#define MAPPED    VIRTIO_GPU_RESP_OK_MAP_INFO
#define UNSPEC    VIRTIO_GPU_RESP_ERR_UNSPEC
#define NO_MEMORY VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
#define XR24      0x34325258U
#define NV12      0x3231564eU
#define R8        0x20203852U
#define SOON      10000 /* ms in which something comes */
#define NOT_NOW   50    /* ms in which nothing does */

/* ---- the compositor ---- */

struct desk {
        struct world world;
        char folder[32];
        struct sockaddr_un address;
        int listener;
        uint64_t last_fence;
};

static void listen_there(struct desk *desk)
{
        desk->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(desk->listener, (void *)&desk->address, sizeof(desk->address)), 0);
        assert_int_equal(listen(desk->listener, 300), 0);
}

static int accept_client(struct desk *desk)
{
        struct pollfd ready = {.fd = desk->listener, .events = POLLIN};

        assert_int_equal(poll(&ready, 1, SOON), 1);
        return accept4(desk->listener, NULL, NULL, SOCK_CLOEXEC);
}

static void stop_listening(struct desk *desk)
{
        desk->listener = fd_close(desk->listener);
        unlink(desk->address.sun_path);
}

static void desk_open(struct desk *desk)
{
        struct world_options options = {.outputs = 0};

        *desk = (struct desk){.folder = "/tmp/oriel-desk-XXXXXX", .address = {.sun_family = AF_UNIX}};
        assert_non_null(mkdtemp(desk->folder));
        snprintf(desk->address.sun_path, sizeof(desk->address.sun_path), "%s/wayland-0", desk->folder);
        listen_there(desk);

        int broker = wayland_broker_start(desk->address.sun_path);

        assert_true(broker >= 0);
        fd_close(accept_client(desk));
        assert_int_equal(crossdomain_new(broker, &options.second), 0);
        world_open(&desk->world, &options);
}

static void desk_close(struct desk *desk)
{
        world_close(&desk->world);
        stop_listening(desk);
        rmdir(desk->folder);
}

/* As libwayland sends: at most 28 descriptors, or as many as Linux lets pass. */
static void say(int client, const void *data, size_t size, const int *fds, unsigned n)
{
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(253 * sizeof(int))];
        } control = {.header = {CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
        struct iovec iov = {(void *)(uintptr_t)data, size};
        struct msghdr message = {.msg_iov = &iov,
                                 .msg_iovlen = 1,
                                 .msg_control = n ? &control : NULL,
                                 .msg_controllen = n ? CMSG_SPACE(n * sizeof(int)) : 0};

        if (n)
                memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
        assert_int_equal(sendmsg(client, &message, MSG_NOSIGNAL), size);
}

/* Returns the bytes that have come, 0 at the end; *n is in and out. */
static size_t hear(int client, void *data, size_t size, int *fds, unsigned *n)
{
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(CROSS_IDS_MAX * sizeof(int))];
        } control;
        struct iovec iov = {data, size};
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        struct pollfd ready = {.fd = client, .events = POLLIN};

        assert_int_equal(poll(&ready, 1, SOON), 1);

        ssize_t got = recvmsg(client, &message, MSG_CMSG_CLOEXEC);

        if (got < 0 && errno == ECONNRESET)
                got = 0;
        assert_true(got >= 0);
        *n = 0;
        if (message.msg_controllen >= CMSG_LEN(0)) {
                *n = (unsigned)((control.header.cmsg_len - CMSG_LEN(0)) / sizeof(int));
                memcpy(fds, CMSG_DATA(&control.header), *n * sizeof(int));
        }
        return (size_t)got;
}

/* ---- the guest ---- */

static uint32_t submit(struct desk *desk, uint32_t context_id, const void *commands, size_t size, int ring)
{
        static struct {
                struct virtio_gpu_cmd_submit submit;
                uint8_t commands[1 << 17];
        } command;

        command.submit = (struct virtio_gpu_cmd_submit){.hdr = {.type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = context_id},
                                                        .size = (uint32_t)size};
        if (ring >= 0) {
                command.submit.hdr.flags = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX;
                command.submit.hdr.ring_idx = (uint8_t)ring;
                command.submit.hdr.fence_id = ++desk->last_fence;
        }
        memcpy(command.commands, commands, size);

        struct virtio_gpu_ctrl_hdr answer;

        return world_command(&desk->world, &command, sizeof(command.submit) + size, &answer, sizeof(answer));
}

#define SUBMIT(desk, context_id, command) submit(desk, context_id, command, sizeof(*(command)), -1)

/* Each context has two pages for its rings, and resources 10 times its id. */
static uint64_t ring_address(uint32_t context_id, unsigned ring)
{
        return GUEST + (context_id * CROSS_RINGS + ring) * PAGE;
}

static uint32_t ring_id(uint32_t context_id, unsigned ring)
{
        return context_id * 10 + ring;
}

static void make_context(struct desk *desk, uint32_t context_id)
{
        assert_int_equal(world_create_context_of(&desk->world, context_id, GPU_CAPSET_CROSS_DOMAIN, "guest"), OK);
        for (unsigned i = 0; i < CROSS_RINGS; i++) {
                assert_int_equal(world_create_guest_blob(&desk->world, 0, ring_id(context_id, i),
                                                         ring_address(context_id, i), PAGE, PAGE),
                                 OK);
                assert_int_equal(world_attach(&desk->world, context_id, ring_id(context_id, i)), OK);
        }
}

static struct cross_init init_of(uint32_t context_id)
{
        return (struct cross_init){.header = {.command = CROSS_INIT, .size = sizeof(struct cross_init)},
                                   .ring_ids = {ring_id(context_id, 0), ring_id(context_id, 1)},
                                   .channel_type = CROSS_CHANNEL_WAYLAND};
}

/* Returns the compositor's end. */
static int begin(struct desk *desk, uint32_t context_id)
{
        const struct cross_init init = init_of(context_id);

        make_context(desk, context_id);
        assert_int_equal(SUBMIT(desk, context_id, &init), OK);
        return accept_client(desk);
}

static void ask(struct desk *desk, uint32_t context_id)
{
        const struct cross_header poll = {.command = CROSS_POLL, .size = sizeof(poll)};

        assert_int_equal(submit(desk, context_id, &poll, sizeof(poll), CROSS_CHANNEL_RING), 0);
}

static union cross_message *ring_of(struct desk *desk, uint32_t context_id)
{
        return world_at(&desk->world, ring_address(context_id, CROSS_CHANNEL_RING));
}

/* Ask for a message and wait for it. */
static union cross_message *next(struct desk *desk, uint32_t context_id)
{
        unsigned before = desk->world.n_done;

        ask(desk, context_id);
        assert_true(world_await(&desk->world, before + 1, SOON));
        assert_int_equal(desk->world.done[before].type, OK);
        assert_int_equal(desk->world.done[before].fence_id, desk->last_fence);
        return ring_of(desk, context_id);
}

static void expect_bytes(struct desk *desk, uint32_t context_id, const char *text)
{
        const union cross_message *message = next(desk, context_id);

        assert_int_equal(message->receive.head.header.command, CROSS_RECEIVE);
        assert_int_equal(message->receive.head.data_size, strlen(text));
        assert_memory_equal(message->receive.data, text, strlen(text));
}

static void expect_end(struct desk *desk, uint32_t context_id)
{
        const union cross_message *message = next(desk, context_id);

        assert_int_equal(message->receive.head.header.command, CROSS_RECEIVE);
        assert_int_equal(message->receive.head.data_size, 0);
        assert_int_equal(message->receive.head.n_ids, 0);
        /* Once. */
        ask(desk, context_id);
        assert_false(world_await(&desk->world, desk->world.n_done + 1, NOT_NOW));
}

struct letter {
        struct cross_send_receive head;
        char text[64];
};

static struct letter letter_of(const char *text)
{
        struct letter letter = {.head = {.header = {.command = CROSS_SEND, .size = sizeof(letter)},
                                         .data_size = (uint32_t)strlen(text)}};

        memcpy(letter.text, text, strlen(text));
        return letter;
}

static uint32_t send_text(struct desk *desk, uint32_t context_id, const char *text)
{
        const struct letter letter = letter_of(text);

        return SUBMIT(desk, context_id, &letter);
}

static uint32_t send_id(struct desk *desk, uint32_t context_id, uint32_t type, uint32_t id)
{
        struct letter letter = letter_of("id");

        letter.head.n_ids = 1;
        letter.head.types[0] = type;
        letter.head.ids[0] = id;
        return SUBMIT(desk, context_id, &letter);
}

static void expect_text(int client, const char *text)
{
        char heard[64] = "";
        int fds[CROSS_IDS_MAX];
        unsigned n;

        assert_int_equal(hear(client, heard, sizeof(heard), fds, &n), strlen(text));
        assert_string_equal(heard, text);
        assert_int_equal(n, 0);
}

static struct cross_image_requirements image_of(struct desk *desk, uint32_t context_id, uint32_t format, uint32_t width,
                                                uint32_t height, uint32_t expected)
{
        const struct cross_get_image_requirements get = {
                .header = {.command = CROSS_GET_IMAGE_REQUIREMENTS, .size = sizeof(get)},
                .width = width,
                .height = height,
                .format = format,
        };
        struct cross_image_requirements image;

        assert_int_equal(SUBMIT(desk, context_id, &get), expected);
        memcpy(&image, world_at(&desk->world, ring_address(context_id, CROSS_QUERY_RING)), sizeof(image));
        return image;
}

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

        (void)state;
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

        (void)state;
        desk_open(&desk);
        make_context(&desk, 1);
        make_context(&desk, 2);
        /* A ring that is too small, one that is no guest memory, one that was never attached. */
        assert_int_equal(world_create_guest_blob(&desk.world, 0, 100, GUEST + 0x80000, PAGE, PAGE - 1), OK);
        assert_int_equal(world_attach(&desk.world, 1, 100), OK);
        assert_int_equal(world_create_blob(&desk.world, 1, 101, CROSS_IMAGE_ID, PAGE), OK);
        assert_int_equal(world_attach(&desk.world, 1, 101), OK);
        assert_int_equal(world_create_guest_blob(&desk.world, 0, 102, GUEST + 0x80000, PAGE, PAGE), OK);

        const uint32_t wrong[] = {0, 100, 101, 102, 103, ring_id(2, 0), UINT32_MAX};

        for (unsigned i = 0; i < ARRAY_SIZE(wrong) * CROSS_RINGS; i++) {
                init = init_of(1);
                init.ring_ids[i % CROSS_RINGS] = wrong[i / CROSS_RINGS];
                assert_int_equal(SUBMIT(&desk, 1, &init), UNSPEC);
        }
        init = init_of(1);
        for (uint32_t type = 2; type; type <<= 1) {
                init.channel_type = type;
                assert_int_equal(SUBMIT(&desk, 1, &init), UNSPEC);
        }
        /* A resource that takes another's id is another. */
        assert_int_equal(world_unref(&desk.world, ring_id(1, 0)), OK);
        assert_int_equal(world_create_guest_blob(&desk.world, 0, ring_id(1, 0), ring_address(1, 0), PAGE, PAGE), OK);
        init = init_of(1);
        assert_int_equal(SUBMIT(&desk, 1, &init), UNSPEC);
        assert_int_equal(world_attach(&desk.world, 1, ring_id(1, 0)), OK);
        assert_int_equal(SUBMIT(&desk, 1, &init), OK);
        fd_close(accept_client(&desk));
        assert_int_equal(SUBMIT(&desk, 1, &init), UNSPEC);
        /* Without a channel, a context has images. */
        init = init_of(2);
        init.channel_type = 0;
        init.ring_ids[CROSS_CHANNEL_RING] = 0;
        assert_int_equal(SUBMIT(&desk, 2, &init), OK);
        assert_int_equal(image_of(&desk, 2, XR24, 16, 16, OK).size, PAGE);
        assert_int_equal(send_text(&desk, 2, "nobody"), UNSPEC);
        desk_close(&desk);
}

static void test_wrong_commands(void **state)
{
        const struct cross_header poll = {.command = CROSS_POLL, .size = sizeof(poll)};
        const struct letter letter = letter_of("early");
        struct desk desk;

        (void)state;
        desk_open(&desk);
        make_context(&desk, 1);
        assert_int_equal(SUBMIT(&desk, 1, &letter), UNSPEC);
        assert_int_equal(SUBMIT(&desk, 1, &poll), UNSPEC);
        image_of(&desk, 1, XR24, 16, 16, UNSPEC);

        int client = begin(&desk, 2);

        for (unsigned command = 0; command < 256; command++) {
                struct letter any = letter_of("any");
                bool known = command == CROSS_POLL || command == CROSS_SEND;

                any.head.header.command = (uint8_t)command;
                assert_int_equal(SUBMIT(&desk, 2, &any), known ? OK : UNSPEC);
        }
        expect_text(client, "any");
        for (unsigned command = 0; command <= CROSS_WRITE; command++)
                for (unsigned size = 0; size < sizeof(struct cross_header) + 1; size++) {
                        struct cross_header header = {.command = (uint8_t)command, .size = (uint16_t)size};

                        assert_int_equal(submit(&desk, 2, &header, sizeof(header), -1),
                                         command == CROSS_POLL && size == sizeof(header) ? OK : UNSPEC);
                        if (size > 0 && size < sizeof(header))
                                assert_int_equal(submit(&desk, 2, &header, size, -1), UNSPEC);
                }
        /* As long as it says. */
        struct letter long_one = letter_of("long");

        long_one.head.header.size++;
        assert_int_equal(SUBMIT(&desk, 2, &long_one), UNSPEC);
        /* Several at once; what follows the wrong one is not done. */
        struct letter three[3] = {letter_of("1"), letter_of("2"), letter_of("3")};

        assert_int_equal(SUBMIT(&desk, 2, &three), OK);
        expect_text(client, "123");
        three[1].head.header.command = 99;
        assert_int_equal(SUBMIT(&desk, 2, &three), UNSPEC);
        expect_text(client, "1");
        assert_int_equal(submit(&desk, 2, three, 0, -1), OK);
        fd_close(client);
        desk_close(&desk);
}

/* ---- images ---- */

static void test_images(void **state)
{
        struct cross_image_requirements image;
        struct desk desk;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);

        image = image_of(&desk, 1, XR24, 100, 30, OK);
        assert_int_equal(image.strides[0], 400);
        assert_int_equal(image.offsets[0], 0);
        assert_int_equal(image.strides[1], 0);
        assert_int_equal(image.size, 12288);
        assert_int_equal(image.map_info, VIRTIO_GPU_MAP_CACHE_CACHED);
        assert_int_equal(image.modifier, 0);
        assert_int_equal(image.memory_index, -1);
        image = image_of(&desk, 1, NV12, 101, 31, OK);
        assert_int_equal(image.strides[0], 101);
        assert_int_equal(image.strides[1], 102);
        assert_int_equal(image.offsets[1], 101 * 31);
        assert_int_equal(image.size, 8192);
        assert_int_equal(image_of(&desk, 1, R8, 1 << 29, 1, OK).size, 1 << 29);
        assert_true(desk.world.dirty > 0);
        image_of(&desk, 1, R8, (1 << 29) + 1, 1, UNSPEC);
        image_of(&desk, 1, XR24, 0, 1, UNSPEC);
        image_of(&desk, 1, XR24, 1, 0, UNSPEC);
        image_of(&desk, 1, XR24, UINT32_MAX, UINT32_MAX, UNSPEC);
        image_of(&desk, 1, NV12, UINT32_MAX, UINT32_MAX, UNSPEC);
        image_of(&desk, 1, XR24, 1 << 16, 1 << 16, UNSPEC);
        image_of(&desk, 1, 0, 1, 1, UNSPEC);
        /* As many as one likes, until the host has had enough. */
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
        client = begin(&desk, 1);
        assert_int_equal(world_create_blob(&desk.world, 1, 1000, image.blob_id, 1 << 29), OK);
        fd_close(client);
        desk_close(&desk);
}

/* What the guest maps is what the compositor gets, and neither can cut it short. */
static void test_sent_image(void **state)
{
        struct desk desk;
        struct stat stat;
        char text[8] = "";
        int fds[CROSS_IDS_MAX];
        unsigned n;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);
        uint32_t blob_id = image_of(&desk, 1, XR24, 32, 32, OK).blob_id;

        assert_int_equal(world_create_blob(&desk.world, 1, 7, blob_id, PAGE), OK);
        assert_int_equal(world_attach(&desk.world, 1, 7), OK);
        assert_int_equal(world_map(&desk.world, 7, 0), MAPPED);
        assert_int_equal(desk.world.requests[0].access, ORIEL_ACCESS_READ_WRITE);
        assert_int_equal(send_id(&desk, 1, CROSS_ID_BLOB, 7), OK);
        assert_int_equal(hear(client, text, sizeof(text), fds, &n), 2);
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

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);

        assert_int_equal(send_text(&desk, 1, "wl_display.sync"), OK);
        expect_text(client, "wl_display.sync");
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

        (void)state;
        desk_open(&desk);
        for (uint32_t i = 0; i < ARRAY_SIZE(rows); i++) {
                int client = begin(&desk, 1), fds[CROSS_IDS_MAX];
                struct letter letter = letter_of("wrong");
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
                        /* So that one more would be one that is right: resource 1. */
                        letter.head.sizes[j] = CROSS_ID_BLOB;
                }
                assert_int_equal(SUBMIT(&desk, 1, &letter), UNSPEC);
                assert_int_equal(hear(client, &byte, 1, fds, &n), 0);
                assert_int_equal(send_text(&desk, 1, "more"), UNSPEC);
                expect_end(&desk, 1);
                gpu_reset(desk.world.gpu);
                fd_close(client);
        }
        desk_close(&desk);
}

/* The pipe that was made first ends too, and both are told in any order. */
static void test_pipe_that_is_sent_twice(void **state)
{
        struct letter letter = letter_of("twice");
        struct desk desk;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);
        unsigned told = 0;

        letter.head.n_ids = 2;
        letter.head.types[0] = letter.head.types[1] = CROSS_ID_READ_PIPE;
        letter.head.ids[0] = letter.head.ids[1] = CROSS_READ_PIPE_START;
        assert_int_equal(SUBMIT(&desk, 1, &letter), UNSPEC);
        for (unsigned i = 0; i < 2; i++)
                told |= 1U << next(&desk, 1)->receive.head.header.command;
        assert_int_equal(told, 1 << CROSS_RECEIVE | 1 << CROSS_READ);
        fd_close(client);
        desk_close(&desk);
}

static void test_compositor_that_never_reads(void **state)
{
        struct desk desk;
        unsigned n = 0;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);

        while (send_text(&desk, 1, "0123456789012345678901234567890123456789012345678901234567890123") == OK)
                n++;
        assert_between(n, 100, 100000);
        expect_end(&desk, 1);
        fd_close(client);
        desk_close(&desk);
}

/* ---- RECEIVE ---- */

static void test_receive(void **state)
{
        static char flood[10000];
        struct desk desk;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);

        say(client, "one", 3, NULL, 0);
        /* Nothing comes that was not asked for. */
        assert_false(world_await(&desk.world, 1, NOT_NOW));
        assert_int_equal(ring_of(&desk, 1)->receive.head.header.command, 0);
        expect_bytes(&desk, 1, "one");
        ask(&desk, 1);
        assert_false(world_await(&desk.world, 2, NOT_NOW));
        say(client, "two", 3, NULL, 0);
        assert_true(world_await(&desk.world, 2, SOON));
        assert_memory_equal(ring_of(&desk, 1)->receive.data, "two", 3);
        /* As much as the ring has room for. */
        memset(flood, 'f', sizeof(flood));
        say(client, flood, sizeof(flood), NULL, 0);
        for (size_t left = sizeof(flood); left > 0;) {
                const struct cross_send_receive *head = &next(&desk, 1)->receive.head;

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

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);

        /* The queries' ring, and rings that there are not, have nothing to wait for. */
        assert_int_equal(submit(&desk, 1, &poll, sizeof(poll), CROSS_QUERY_RING), OK);
        assert_int_equal(submit(&desk, 1, &poll, sizeof(poll), 2), OK);
        for (unsigned i = 0; i < 5; i++)
                ask(&desk, 1);
        assert_int_equal(gpu_count(desk.world.gpu).fences, 5);
        for (unsigned i = 0; i < 3; i++) {
                say(client, "m", 1, NULL, 0);
                assert_true(world_await(&desk.world, i + 1, SOON));
                assert_int_equal(desk.world.done[i].fence_id, 3 + i);
        }
        assert_false(world_await(&desk.world, 4, NOT_NOW));
        assert_int_equal(DO(&desk.world, destroy), OK);
        assert_int_equal(desk.world.n_done, 5);
        fd_close(client);
        desk_close(&desk);
}

/* A queue that stops does not wait for what a compositor may say some day. */
static void test_stop_with_fence(void **state)
{
        struct desk desk;
        int64_t start;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);

        say(client, "before", 6, NULL, 0);
        expect_bytes(&desk, 1, "before");
        ask(&desk, 1);
        ask(&desk, 1);
        start = now_ms();
        gpu_settle(desk.world.gpu, &desk.world, 2 * SOON);
        assert_true(now_ms() - start < SOON);
        assert_int_equal(desk.world.n_done, 3);
        /* A guest that goes on does not see a message twice, and none is lost. */
        assert_int_equal(ring_of(&desk, 1)->receive.head.header.command, CROSS_RECEIVE);
        assert_int_equal(ring_of(&desk, 1)->receive.head.data_size, 0);
        say(client, "after", 5, NULL, 0);
        expect_bytes(&desk, 1, "after");
        fd_close(client);
        desk_close(&desk);
}

static void test_compositor_that_closes(void **state)
{
        struct desk desk;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);

        say(client, "last words", 10, NULL, 0);
        fd_close(client);
        expect_bytes(&desk, 1, "last words");
        expect_end(&desk, 1);
        assert_int_equal(send_text(&desk, 1, "hello"), UNSPEC);
        desk_close(&desk);
}

/* A ring that has gone takes no message; the context goes on existing. */
static void test_ring_that_goes(void **state)
{
        struct desk desk;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);

        ask(&desk, 1);
        assert_int_equal(world_unref(&desk.world, ring_id(1, CROSS_CHANNEL_RING)), OK);
        assert_int_equal(world_unref(&desk.world, ring_id(1, CROSS_QUERY_RING)), OK);
        say(client, "x", 1, NULL, 0);
        assert_false(world_await(&desk.world, 1, NOT_NOW));
        assert_int_equal(ring_of(&desk, 1)->receive.head.header.command, 0);
        image_of(&desk, 1, XR24, 1, 1, UNSPEC);
        assert_int_equal(send_text(&desk, 1, "still"), OK);
        expect_text(client, "still");
        fd_close(client);
        desk_close(&desk);
}

/* ---- received descriptors ---- */

static int memfd_of(const char *text, int seals)
{
        int fd = memfd_create("keymap", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
        return fd;
}

static uint64_t inode_of(int fd)
{
        struct stat stat;

        assert_int_equal(fstat(fd, &stat), 0);
        return stat.st_ino;
}

static void test_received_blob(void **state)
{
        struct desk desk;
        int fds[2] = {memfd_of("keymap", F_SEAL_WRITE), memfd_of("buffer", 0)};

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1), other = begin(&desk, 2);

        say(client, "k", 1, fds, 2);

        const struct cross_send_receive head = next(&desk, 1)->receive.head;

        assert_int_equal(head.data_size, 1);
        assert_int_equal(head.n_ids, 2);
        for (unsigned i = 0; i < 2; i++) {
                assert_int_equal(head.types[i], CROSS_ID_BLOB);
                assert_int_equal(head.sizes[i], 6);
                /* It is this context's, no larger than it is, and there once. */
                assert_int_equal(world_create_blob(&desk.world, 2, 70 + i, head.ids[i], PAGE), UNSPEC);
                assert_int_equal(world_create_blob(&desk.world, 1, 70 + i, head.ids[i] | UINT64_C(1) << 32, PAGE),
                                 UNSPEC);
                assert_int_equal(world_create_blob(&desk.world, 1, 70 + i, head.ids[i], PAGE + 1), UNSPEC);
                assert_int_equal(world_create_blob(&desk.world, 1, 70 + i, head.ids[i], PAGE), OK);
                assert_int_equal(world_create_blob(&desk.world, 1, 80 + i, head.ids[i], PAGE), UNSPEC);
                assert_int_equal(world_map(&desk.world, 70 + i, i * PAGE), MAPPED);
                assert_int_equal(desk.world.requests[i].inode, inode_of(fds[i]));
        }
        assert_int_equal(desk.world.requests[0].access, ORIEL_ACCESS_READ);
        assert_int_equal(desk.world.requests[1].access, ORIEL_ACCESS_READ_WRITE);
        assert_int_equal(world_create_blob(&desk.world, 1, 90, 0, PAGE), UNSPEC);
        fd_close_all(fds, 2);
        fd_close(client);
        fd_close(other);
        desk_close(&desk);
}

/* A guest gets none of these, and hears which they were. */
static void test_odd_descriptors(void **state)
{
        struct desk desk;
        int ends[2], pair[2], fds[11];
        unsigned n = 0;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
        fds[n++] = open("/dev/null", O_RDWR | O_CLOEXEC);
        fds[n++] = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
        fds[n++] = open("/sys/devices/system/cpu/online", O_RDONLY | O_CLOEXEC); /* which has a size */
        fds[n++] = open(desk.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fds[n++] = open(desk.address.sun_path, O_PATH | O_CLOEXEC);
        fds[n++] = eventfd(0, EFD_CLOEXEC);
        fds[n++] = memfd_create("empty", MFD_CLOEXEC);
        fds[n++] = memfd_of("good", 0);
        fds[n++] = ends[0];
        fds[n++] = pair[0];
        fds[n++] = memfd_create("huge", MFD_CLOEXEC);
        assert_int_equal(ftruncate(fds[n - 1], INT64_C(1) << 32), 0);
        say(client, "odd", 3, fds, n);

        const struct cross_send_receive *head = &next(&desk, 1)->receive.head;

        assert_int_equal(head->n_ids, n);
        for (unsigned i = 0; i < n; i++) {
                assert_int_equal(head->types[i], i == 7 ? CROSS_ID_BLOB : CROSS_ID_NONE);
                assert_int_equal(head->ids[i] != 0, i == 7);
        }
        fd_close_all(fds, n);
        fd_close(ends[1]);
        fd_close(pair[1]);
        fd_close(client);
        desk_close(&desk);
}

static void test_too_many_descriptors(void **state)
{
        struct desk desk;
        int fds[253];
        unsigned kept = 0;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1), memfd = memfd_of("many", 0);

        for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
                fds[i] = memfd;
        /* What the guest makes no blobs of is kept, up to a limit. */
        for (unsigned i = 0; i < 4; i++) {
                say(client, "28", 2, fds, CROSS_IDS_MAX);

                const struct cross_send_receive *head = &next(&desk, 1)->receive.head;

                assert_int_equal(head->n_ids, CROSS_IDS_MAX);
                for (unsigned j = 0; j < CROSS_IDS_MAX; j++)
                        kept += head->types[j] == CROSS_ID_BLOB;
        }
        assert_int_equal(kept, CROSS_ITEMS_MAX);
        say(client, "253", 3, fds, ARRAY_SIZE(fds));
        expect_end(&desk, 1);
        fd_close(memfd);
        fd_close(client);
        desk_close(&desk);
}

/* ---- pipes ---- */

static void test_read_pipe(void **state)
{
        const uint32_t id = CROSS_READ_PIPE_START + 5;
        static char much[10000];
        const union cross_message *message;
        struct desk desk;
        char text[8];
        int fds[CROSS_IDS_MAX];
        size_t got = 0;
        unsigned n;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);

        assert_int_equal(send_id(&desk, 1, CROSS_ID_READ_PIPE, id), OK);
        assert_int_equal(hear(client, text, sizeof(text), fds, &n), 2);
        assert_int_equal(n, 1);
        memset(much, 'm', sizeof(much));
        assert_int_equal(write(fds[0], much, sizeof(much)), sizeof(much));
        fd_close(fds[0]);
        do {
                message = next(&desk, 1);
                assert_int_equal(message->read.head.header.command, CROSS_READ);
                assert_int_equal(message->read.head.id, id);
                assert_int_equal(message->read.head.hang_up, message->read.head.data_size == 0);
                for (uint32_t i = 0; i < message->read.head.data_size; i++)
                        assert_int_equal(message->read.data[i], 'm');
                got += message->read.head.data_size;
        } while (!message->read.head.hang_up);
        assert_int_equal(got, sizeof(much));
        /* Its id is free again; and one pipe is not another's business. */
        assert_int_equal(send_id(&desk, 1, CROSS_ID_READ_PIPE, id), OK);
        assert_int_equal(hear(client, text, sizeof(text), fds, &n), 2);
        say(client, "between", 7, NULL, 0);
        expect_bytes(&desk, 1, "between");
        assert_int_equal(write(fds[0], "x", 1), 1);
        assert_int_equal(next(&desk, 1)->read.head.data_size, 1);
        /* The end of the compositor is not the pipe's. */
        fd_close(client);
        assert_int_equal(next(&desk, 1)->receive.head.data_size, 0);
        assert_int_equal(write(fds[0], "yz", 2), 2);
        assert_int_equal(next(&desk, 1)->read.head.data_size, 2);
        fd_close(fds[0]);
        desk_close(&desk);
}

static uint32_t write_pipe(struct desk *desk, uint32_t context_id, uint32_t id, const void *data, size_t size,
                           bool hang_up)
{
        static struct {
                struct cross_read_write head;
                uint8_t data[UINT16_MAX];
        } command;
        size_t whole = sizeof(command.head) + size;

        command.head = (struct cross_read_write){.header = {.command = CROSS_WRITE, .size = (uint16_t)whole},
                                                 .id = id,
                                                 .hang_up = hang_up,
                                                 .data_size = (uint32_t)size};
        memcpy(command.data, data, size);
        return submit(desk, context_id, &command, whole, -1);
}

/* A pipe of the compositor's, of which the guest has the end to write to; its id. */
static uint32_t give_pipe(struct desk *desk, uint32_t context_id, int client, int *reader)
{
        int ends[2];

        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        say(client, "p", 1, &ends[1], 1);
        fd_close(ends[1]);
        *reader = ends[0];

        const struct cross_send_receive *head = &next(desk, context_id)->receive.head;

        assert_int_equal(head->n_ids, 1);
        assert_int_equal(head->types[0], CROSS_ID_WRITE_PIPE);
        return head->ids[0];
}

static ssize_t read_soon(int fd, void *data, size_t size)
{
        struct pollfd ready = {.fd = fd, .events = POLLIN};

        assert_int_equal(poll(&ready, 1, SOON), 1);
        return read(fd, data, size);
}

static void test_write_pipe(void **state)
{
        struct desk desk;
        char text[16] = "";
        int reader;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1), other = begin(&desk, 2);
        uint32_t id = give_pipe(&desk, 1, client, &reader);

        assert_int_equal(write_pipe(&desk, 2, id, "x", 1, false), UNSPEC);
        assert_int_equal(write_pipe(&desk, 1, id + 1, "x", 1, false), UNSPEC);
        assert_int_equal(write_pipe(&desk, 1, 0, "x", 1, false), UNSPEC);
        assert_int_equal(world_create_blob(&desk.world, 1, 7, id, PAGE), UNSPEC);
        assert_int_equal(write_pipe(&desk, 1, id, "clip", 4, false), OK);
        assert_int_equal(read_soon(reader, text, sizeof(text)), 4);
        assert_string_equal(text, "clip");
        assert_int_equal(write_pipe(&desk, 1, id, "board", 5, true), OK);
        assert_int_equal(read_soon(reader, text, sizeof(text)), 5);
        assert_int_equal(read_soon(reader, text, sizeof(text)), 0);
        assert_int_equal(write_pipe(&desk, 1, id, "x", 1, false), UNSPEC);
        fd_close(reader);
        /* With nothing to say. */
        id = give_pipe(&desk, 1, client, &reader);
        assert_int_equal(write_pipe(&desk, 1, id, "", 0, true), OK);
        assert_int_equal(read_soon(reader, text, sizeof(text)), 0);
        fd_close(reader);
        /* More than is there, which does the pipe no harm; and the wrong way round. */
        id = give_pipe(&desk, 1, client, &reader);

        const struct cross_read_write lie = {
                .header = {.command = CROSS_WRITE, .size = sizeof(lie)}, .id = id, .data_size = 1};

        assert_int_equal(SUBMIT(&desk, 1, &lie), UNSPEC);
        assert_int_equal(write_pipe(&desk, 1, id, "", 0, true), OK);
        assert_int_equal(read_soon(reader, text, sizeof(text)), 0);
        fd_close(reader);
        assert_int_equal(send_id(&desk, 1, CROSS_ID_READ_PIPE, CROSS_READ_PIPE_START), OK);
        assert_int_equal(write_pipe(&desk, 1, CROSS_READ_PIPE_START, "x", 1, false), UNSPEC);
        fd_close(client);
        fd_close(other);
        desk_close(&desk);
}

/* The compositor's end stays open, so that the same open file comes again, by the same number. */
static void test_pipe_that_comes_again(void **state)
{
        struct desk desk;
        int ends[2];
        char byte;

        (void)state;
        desk_open(&desk);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);

        int client = begin(&desk, 1);

        for (unsigned i = 0; i < 10; i++) {
                say(client, "p", 1, &ends[1], 1);

                uint32_t id = next(&desk, 1)->receive.head.ids[0];

                assert_int_equal(write_pipe(&desk, 1, id, "x", 1, true), OK);
                assert_int_equal(read_soon(ends[0], &byte, 1), 1);
        }
        fd_close_all(ends, 2);
        fd_close(client);
        desk_close(&desk);
}

/* Nobody waits for it, and what it does not take has a bound; what was taken in is not lost. */
static void test_pipe_that_nobody_reads(void **state)
{
        static char much[60000];
        struct desk desk;
        size_t fed = 0, got = 0;
        int reader;

        (void)state;
        desk_open(&desk);

        int client = begin(&desk, 1);
        uint32_t id = give_pipe(&desk, 1, client, &reader);

        while (write_pipe(&desk, 1, id, much, sizeof(much), false) == OK)
                fed += sizeof(much);
        assert_between(fed, 60000, 4 << 20);
        assert_int_equal(write_pipe(&desk, 1, id, much, 1, false), UNSPEC);
        fd_close(reader);
        /* One that reads late gets all. */
        id = give_pipe(&desk, 1, client, &reader);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(write_pipe(&desk, 1, id, much, sizeof(much), i == 2), OK);
        for (ssize_t n; (n = read_soon(reader, much, sizeof(much))) > 0;)
                got += (size_t)n;
        assert_int_equal(got, 3 * sizeof(much));
        fd_close(reader);
        /* One that is closed. */
        id = give_pipe(&desk, 1, client, &reader);
        fd_close(reader);
        for (unsigned i = 0; write_pipe(&desk, 1, id, "x", 1, false) == OK; i++) {
                assert_true(i < 10000);
                usleep(1000);
        }
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

        (void)state;
        desk_open(&desk);
        for (uint32_t i = 1; i <= CHANNELS; i++)
                clients[i] = begin(&desk, i);
        for (uint32_t i = CHANNELS; i > 0; i--) {
                snprintf(text, sizeof(text), "to %u", i);
                say(clients[i], text, strlen(text), NULL, 0);
        }
        for (uint32_t i = 1; i <= CHANNELS; i++) {
                snprintf(text, sizeof(text), "to %u", i);
                expect_bytes(&desk, i, text);
                assert_int_equal(send_text(&desk, i, text), OK);
        }
        for (uint32_t i = 1; i <= CHANNELS; i++) {
                snprintf(text, sizeof(text), "to %u", i);
                expect_text(clients[i], text);
                fd_close(clients[i]);
        }
        desk_close(&desk);
}

static void test_most_channels(void **state)
{
        struct desk desk;
        uint32_t id = 1;

        (void)state;
        desk_open(&desk);
        while (world_create_context_of(&desk.world, id, GPU_CAPSET_CROSS_DOMAIN, "") == OK)
                id++;
        assert_int_equal(id - 1, 256);
        gpu_reset(desk.world.gpu);
        fd_close(begin(&desk, 1));
        desk_close(&desk);
}

/* While messages and pipes are under way. */
static void test_reset_meanwhile(void **state)
{
        struct desk desk;
        int reader;

        (void)state;
        desk_open(&desk);
        for (unsigned i = 0; i < 50; i++) {
                int client = begin(&desk, 1);
                uint32_t id = give_pipe(&desk, 1, client, &reader);

                ask(&desk, 1);
                ask(&desk, 1);
                say(client, "now", 3, NULL, 0);
                assert_int_equal(write_pipe(&desk, 1, id, "x", 1, false), OK);
                gpu_reset(desk.world.gpu);
                assert_int_equal(gpu_count(desk.world.gpu).fences, 0);
                fd_close(reader);
                fd_close(client);
        }
        desk_close(&desk);
}

/* ---- the broker ---- */

static void test_compositor_that_starts_again(void **state)
{
        const struct cross_init init = init_of(1);
        struct desk desk;

        (void)state;
        desk_open(&desk);
        stop_listening(&desk);
        assert_true(wayland_broker_start(desk.address.sun_path) == -ENOENT);
        make_context(&desk, 1);
        assert_int_equal(SUBMIT(&desk, 1, &init), UNSPEC);
        listen_there(&desk);
        assert_int_equal(SUBMIT(&desk, 1, &init), OK);
        fd_close(accept_client(&desk));
        desk_close(&desk);
}

/* It is not waited for twice, nor does one that lies do harm. */
static void test_wrong_brokers(void **state)
{
        const int lies[] = {0, -ECONNREFUSED};
        int ends[2], answer;

        (void)state;
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        assert_int_equal(wayland_broker_connect(&ends[0]), -EPIPE);
        assert_int_equal(ends[0], -1);
        assert_int_equal(wayland_broker_connect(&ends[0]), -EPIPE);
        fd_close(ends[1]);
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
        for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
                assert_int_equal(write(ends[1], &lies[i], sizeof(int)), sizeof(int));
                assert_int_equal(wayland_broker_connect(&ends[0]), lies[i] ? lies[i] : -EMFILE);
                assert_int_equal(read(ends[1], &answer, sizeof(answer)), sizeof(answer));
        }
        /* An error and a connection at once. */
        say(ends[1], &lies[1], sizeof(int), &ends[1], 1);
        assert_int_equal(wayland_broker_connect(&ends[0]), -ECONNREFUSED);
        assert_int_equal(write(ends[1], "x", 1), 1);
        assert_int_equal(wayland_broker_connect(&ends[0]), -EPIPE);
        fd_close(ends[1]);
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
                counted_test(test_received_blob),
                counted_test(test_odd_descriptors),
                counted_test(test_too_many_descriptors),
                counted_test(test_read_pipe),
                counted_test(test_write_pipe),
                counted_test(test_pipe_that_comes_again),
                counted_test(test_pipe_that_nobody_reads),
                counted_test(test_channels),
                counted_test(test_most_channels),
                counted_test(test_reset_meanwhile),
                counted_test(test_compositor_that_starts_again),
                counted_test(test_wrong_brokers),
        };

        /* Of a broker's socket, in this process; the daemon ignores it too. */
        signal(SIGPIPE, SIG_IGN);
        return run_counted("gpu-crossdomain", tests);
}
