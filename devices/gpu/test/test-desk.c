/* SPDX-License-Identifier: BSD-2-Clause */

/* A compositor's end and a guest's of cross-domain contexts, for tests. */

#include "devices/gpu/test/test-desk.h"

#include "devices/gpu/crossdomain/crossdomain.h"

#include "base/fd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the compositor ---- */

void desk_listen(struct desk *desk)
{
        desk->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(desk->listener, (void *)&desk->address, sizeof(desk->address)), 0);
        assert_int_equal(listen(desk->listener, 300), 0);
}

int desk_accept(struct desk *desk)
{
        struct pollfd ready = {.fd = desk->listener, .events = POLLIN};

        assert_int_equal(poll(&ready, 1, SOON), 1);
        return accept4(desk->listener, NULL, NULL, SOCK_CLOEXEC);
}

void desk_stop_listening(struct desk *desk)
{
        desk->listener = fd_close(desk->listener);
        unlink(desk->address.sun_path);
}

void desk_open(struct desk *desk)
{
        struct world_options options = {.outputs = 0};

        *desk = (struct desk){.folder = "/tmp/oriel-desk-XXXXXX", .address = {.sun_family = AF_UNIX}};
        assert_non_null(mkdtemp(desk->folder));
        snprintf(desk->address.sun_path, sizeof(desk->address.sun_path), "%s/wayland-0", desk->folder);
        desk_listen(desk);

        int broker = wayland_broker_start(desk->address.sun_path);

        assert_true(broker >= 0);
        fd_close(desk_accept(desk));
        assert_int_equal(crossdomain_new(broker, &options.second), 0);
        world_open(&desk->world, &options);
}

void desk_close(struct desk *desk)
{
        world_close(&desk->world);
        desk_stop_listening(desk);
        rmdir(desk->folder);
}

void desk_say(int client, const void *data, size_t size, const int *fds, unsigned n)
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

size_t desk_hear(int client, void *data, size_t size, int *fds, unsigned *n)
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

uint32_t desk_submit(struct desk *desk, uint32_t context_id, const void *commands, size_t size, int ring)
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

uint64_t desk_ring_address(uint32_t context_id, unsigned ring)
{
        return GUEST + (context_id * CROSS_RINGS + ring) * PAGE;
}

uint32_t desk_ring_id(uint32_t context_id, unsigned ring)
{
        return context_id * 10 + ring;
}

void desk_make_context(struct desk *desk, uint32_t context_id)
{
        assert_int_equal(world_create_context_of(&desk->world, context_id, GPU_CAPSET_CROSS_DOMAIN, "guest"), OK);
        for (unsigned i = 0; i < CROSS_RINGS; i++) {
                assert_int_equal(world_create_guest_blob(&desk->world, 0, desk_ring_id(context_id, i),
                                                         desk_ring_address(context_id, i), PAGE, PAGE),
                                 OK);
                assert_int_equal(world_attach(&desk->world, context_id, desk_ring_id(context_id, i)), OK);
        }
}

struct cross_init desk_init_of(uint32_t context_id)
{
        return (struct cross_init){.header = {.command = CROSS_INIT, .size = sizeof(struct cross_init)},
                                   .ring_ids = {desk_ring_id(context_id, 0), desk_ring_id(context_id, 1)},
                                   .channel_type = CROSS_CHANNEL_WAYLAND};
}

int desk_begin(struct desk *desk, uint32_t context_id)
{
        const struct cross_init init = desk_init_of(context_id);

        desk_make_context(desk, context_id);
        assert_int_equal(DESK_SUBMIT(desk, context_id, &init), OK);
        return desk_accept(desk);
}

void desk_ask(struct desk *desk, uint32_t context_id)
{
        const struct cross_header poll = {.command = CROSS_POLL, .size = sizeof(poll)};

        assert_int_equal(desk_submit(desk, context_id, &poll, sizeof(poll), CROSS_CHANNEL_RING), 0);
}

union cross_message *desk_ring(struct desk *desk, uint32_t context_id)
{
        return world_at(&desk->world, desk_ring_address(context_id, CROSS_CHANNEL_RING));
}

union cross_message *desk_next(struct desk *desk, uint32_t context_id)
{
        unsigned before = desk->world.n_done;

        desk_ask(desk, context_id);
        assert_true(world_await(&desk->world, before + 1, SOON));
        assert_int_equal(desk->world.done[before].type, OK);
        assert_int_equal(desk->world.done[before].fence_id, desk->last_fence);
        return desk_ring(desk, context_id);
}

void desk_expect_bytes(struct desk *desk, uint32_t context_id, const char *text)
{
        const union cross_message *message = desk_next(desk, context_id);

        assert_int_equal(message->receive.head.header.command, CROSS_RECEIVE);
        assert_int_equal(message->receive.head.data_size, strlen(text));
        assert_memory_equal(message->receive.data, text, strlen(text));
}

void desk_expect_end(struct desk *desk, uint32_t context_id)
{
        const union cross_message *message = desk_next(desk, context_id);

        assert_int_equal(message->receive.head.header.command, CROSS_RECEIVE);
        assert_int_equal(message->receive.head.data_size, 0);
        assert_int_equal(message->receive.head.n_ids, 0);

        /* Once. */
        unsigned before = desk->world.n_done;

        desk_ask(desk, context_id);
        assert_false(world_await(&desk->world, before + 1, NOT_NOW));
}

struct desk_letter desk_letter(const char *text)
{
        struct desk_letter letter = {.head = {.header = {.command = CROSS_SEND, .size = sizeof(letter)},
                                              .data_size = (uint32_t)strlen(text)}};

        memcpy(letter.text, text, strlen(text));
        return letter;
}

uint32_t desk_send_text(struct desk *desk, uint32_t context_id, const char *text)
{
        const struct desk_letter letter = desk_letter(text);

        return DESK_SUBMIT(desk, context_id, &letter);
}

uint32_t desk_send_id(struct desk *desk, uint32_t context_id, uint32_t type, uint32_t id)
{
        struct desk_letter letter = desk_letter("id");

        letter.head.n_ids = 1;
        letter.head.types[0] = type;
        letter.head.ids[0] = id;
        return DESK_SUBMIT(desk, context_id, &letter);
}

void desk_expect_text(int client, const char *text)
{
        char heard[64] = "";
        int fds[CROSS_IDS_MAX];
        unsigned n;

        assert_int_equal(desk_hear(client, heard, sizeof(heard), fds, &n), strlen(text));
        assert_string_equal(heard, text);
        assert_int_equal(n, 0);
}

struct cross_image_requirements desk_image(struct desk *desk, uint32_t context_id, uint32_t format, uint32_t width,
                                           uint32_t height, uint32_t expected)
{
        const struct cross_get_image_requirements get = {
                .header = {.command = CROSS_GET_IMAGE_REQUIREMENTS, .size = sizeof(get)},
                .width = width,
                .height = height,
                .format = format,
        };
        struct cross_image_requirements image;

        assert_int_equal(DESK_SUBMIT(desk, context_id, &get), expected);
        memcpy(&image, world_at(&desk->world, desk_ring_address(context_id, CROSS_QUERY_RING)), sizeof(image));
        return image;
}
