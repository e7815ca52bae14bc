/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is what a front-end does at its end of the GPU socket, and a driver to the outputs meanwhile: answers,
 * right or wrong, in pieces, unasked; pictures, cursors and questions. Each message that comes must be one that the
 * front-end can take: of a known kind and the size of that, and within what it was told that the output is. */

#include "base/fd.h"
#include "devices/gpu/core/gpu.h"
#include "devices/gpu/display/socket.h"
#include "devices/gpu/display/wire.h"
#include "fuzz/gpu-guest.h"

#include <errno.h>
#include <linux/virtio_gpu.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { OUTPUTS = 2, RESOURCES = 4, SIDE_MAX = 700, MEMORY_SIZE = 4 * SIDE_MAX * SIDE_MAX, SOON_MS = 15000 };

static struct {
        struct gpu *gpu;
        struct gpu_guest guest;
        int fd;       /* the front-end's end; -1: closed */
        uint32_t due; /* the question that waits for an answer; 0: none */
        uint32_t width[OUTPUTS], height[OUTPUTS];
} world;

/* ---- the device ---- */

static void world_complete(void *userdata, struct gpu_token token, const void *answer, size_t size)
{
        need(size >= sizeof(struct virtio_gpu_ctrl_hdr));
}

static void world_config_changed(void *userdata)
{
}

static const struct gpu_ops ops = {.memory = gpu_guest_memory,
                                   .map = gpu_guest_map,
                                   .unmap = gpu_guest_unmap,
                                   .object_add = gpu_guest_object_add,
                                   .complete = world_complete,
                                   .config_changed = world_config_changed};

static void world_begin(void)
{
        const struct gpu_options options = {.ops = &ops,
                                            .userdata = &world.guest,
                                            .window_size = 1 << 30,
                                            .outputs = OUTPUTS,
                                            .width = 64,
                                            .height = 48};

        if (world.gpu)
                return;
        gpu_guest_open(&world.guest, MEMORY_SIZE);
        need(gpu_new(&options, &world.gpu) == 0);
        gpu_set_features(world.gpu, gpu_features(world.gpu));
}

/* ---- the driver ---- */

static void command(enum gpu_queue queue, const void *command, size_t size)
{
        static uint8_t answer[GPU_ANSWER_MAX];

        gpu_handle(world.gpu, queue, command, size, answer, sizeof(answer), (struct gpu_token){&world, NULL});
}
#define CONTROL(...) command(GPU_CONTROL_QUEUE, &(__VA_ARGS__), sizeof(__VA_ARGS__))

static struct virtio_gpu_rect take_rect(struct input *input)
{
        return (struct virtio_gpu_rect){(uint32_t)take_number(input), (uint32_t)take_number(input),
                                        (uint32_t)take_number(input), (uint32_t)take_number(input)};
}

static void make_resource(struct input *input)
{
        const uint32_t id = take_choice(input, RESOURCES) + 1;
        const bool is_cursor = take_byte(input) & 1;
        const uint32_t width = is_cursor ? 64 : 1 + (uint32_t)take_number(input) % SIDE_MAX;
        const uint32_t height = is_cursor ? 64 : 1 + (uint32_t)take_number(input) % SIDE_MAX;
        const struct {
                struct virtio_gpu_resource_attach_backing attach;
                struct virtio_gpu_mem_entry entry;
        } backing = {{.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_ATTACH_BACKING}, .resource_id = id, .nr_entries = 1},
                     {.addr = 0, .length = MEMORY_SIZE}};

        CONTROL((struct virtio_gpu_resource_unref){.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_UNREF}, .resource_id = id});
        CONTROL((struct virtio_gpu_resource_create_2d){.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_2D},
                                                       .resource_id = id,
                                                       .format = VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM,
                                                       .width = width,
                                                       .height = height});
        command(GPU_CONTROL_QUEUE, &backing, sizeof(backing));
        CONTROL((struct virtio_gpu_transfer_to_host_2d){
                .hdr = {.type = VIRTIO_GPU_CMD_TRANSFER_TO_HOST_2D}, .r = {0, 0, width, height}, .resource_id = id});
        /* Mostly all of it is shown. */
        if (take_byte(input) < 200)
                CONTROL((struct virtio_gpu_set_scanout){.hdr = {.type = VIRTIO_GPU_CMD_SET_SCANOUT},
                                                        .r = {0, 0, width, height},
                                                        .scanout_id = take_choice(input, OUTPUTS),
                                                        .resource_id = id});
}

static void move_cursor(struct input *input)
{
        const struct virtio_gpu_update_cursor update = {
                .hdr = {.type = take_byte(input) & 1 ? VIRTIO_GPU_CMD_UPDATE_CURSOR : VIRTIO_GPU_CMD_MOVE_CURSOR},
                .pos = {.scanout_id = take_choice(input, OUTPUTS + 1), .x = take_byte(input), .y = take_byte(input)},
                .resource_id = take_choice(input, RESOURCES + 1)};

        command(GPU_CURSOR_QUEUE, &update, sizeof(update));
}

static void drive(struct input *input)
{
        const uint32_t id = take_choice(input, RESOURCES) + 1;

        switch (take_choice(input, 6)) {
        case 0:
                make_resource(input);
                break;
        case 1:
                CONTROL((struct virtio_gpu_set_scanout){.hdr = {.type = VIRTIO_GPU_CMD_SET_SCANOUT},
                                                        .r = take_rect(input),
                                                        .scanout_id = take_choice(input, OUTPUTS),
                                                        .resource_id = take_choice(input, RESOURCES + 1)});
                break;
        case 2:
                CONTROL((struct virtio_gpu_resource_flush){
                        .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_FLUSH}, .r = take_rect(input), .resource_id = id});
                break;
        case 3:
                move_cursor(input);
                break;
        case 4:
                CONTROL((struct virtio_gpu_cmd_get_edid){.hdr = {.type = VIRTIO_GPU_CMD_GET_EDID},
                                                         .scanout = take_choice(input, OUTPUTS + 1)});
                break;
        default:
                CONTROL((struct virtio_gpu_ctrl_hdr){.type = VIRTIO_GPU_CMD_GET_DISPLAY_INFO});
        }
}

/* ---- the front-end ---- */

static void hang_up(void)
{
        world.fd = fd_close(world.fd);
        world.due = 0;
}

static void say(const void *data, size_t size)
{
        if (send(world.fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                need(errno == EPIPE || errno == ECONNRESET || errno == EAGAIN || errno == EBADF);
}

/* Mostly one that can be. */
static struct virtio_gpu_rect take_display(struct input *input)
{
        return take_byte(input) < 240
                       ? (struct virtio_gpu_rect){0, 0, 1 + take_byte(input) * 4U, 1 + take_byte(input) * 4U}
                       : take_rect(input);
}

static void answer(struct input *input)
{
        struct {
                struct display_header header;
                union {
                        uint64_t features;
                        struct virtio_gpu_resp_display_info info;
                        struct virtio_gpu_resp_edid edid;
                } payload;
        } __attribute__((packed)) reply = {.header = {world.due, 4, 0}};
        size_t size = 0;

        if (world.due == GET_PROTOCOL_FEATURES) {
                size = sizeof(reply.payload.features);
                reply.payload.features = take_byte(input) < 200 ? 1 : take_number(input);
        } else if (world.due == GET_DISPLAY_INFO) {
                size = sizeof(reply.payload.info);
                for (unsigned i = 0; i < OUTPUTS; i++)
                        reply.payload.info.pmodes[i] = (struct virtio_gpu_display_one){
                                .r = take_display(input), .enabled = take_byte(input) & 1, .flags = 0};
        } else if (world.due == GET_EDID) {
                size = sizeof(reply.payload.edid);
                reply.payload.edid.size = take_byte(input) < 240 ? 128 : (uint32_t)take_number(input);
                reply.payload.edid.edid[0] = take_byte(input);
        }
        reply.header.size = (uint32_t)size;
        /* Seldom something of it is wrong. */
        switch (take_byte(input)) {
        case 253:
                reply.header.request = (uint32_t)take_number(input);
                break;
        case 254:
                reply.header.flags = (uint32_t)take_number(input);
                break;
        case 255:
                reply.header.size = (uint32_t)take_number(input);
                break;
        default:
                break;
        }
        size += sizeof(reply.header);

        const size_t first = take_byte(input) < 200 ? size : take_number(input) % size;

        world.due = 0;
        say(&reply, first);
        if (first < size && take_byte(input) < 200)
                say((uint8_t *)&reply + first, size - first);
}

/* Once a message has begun, all of it comes, unless the socket ends. */
static bool read_whole(void *data, size_t size)
{
        for (size_t at = 0; at < size;) {
                struct pollfd readable = {.fd = world.fd, .events = POLLIN};

                need(poll(&readable, 1, SOON_MS) == 1);

                ssize_t n = recv(world.fd, (uint8_t *)data + at, size - at, MSG_DONTWAIT);

                if (n <= 0)
                        return false;
                at += (size_t)n;
        }
        return true;
}

static void check(const struct display_header *header, const uint32_t *words)
{
        const uint32_t output = words[0], size = header->size;

        need(header->flags == 0);
        switch (header->request) {
        case GET_PROTOCOL_FEATURES:
        case GET_DISPLAY_INFO:
                need(size == 0);
                break;
        case GET_EDID:
                need(size == 4 && output < VIRTIO_GPU_MAX_SCANOUTS);
                break;
        case SET_PROTOCOL_FEATURES:
                need(size == 8 && words[0] <= 1 && words[1] == 0);
                return;
        case SCANOUT:
                need(size == 12 && output < OUTPUTS);
                world.width[output] = words[1];
                world.height[output] = words[2];
                return;
        case CURSOR_POS:
        case CURSOR_POS_HIDE:
                need(size == 12 && output < OUTPUTS);
                return;
        case CURSOR_UPDATE:
                need(size == 20 + 64 * 64 * 4 && output < OUTPUTS);
                return;
        default:
                need(header->request == UPDATE && output < OUTPUTS);
                need(words[3] > 0 && words[3] <= world.width[output] && words[1] <= world.width[output] - words[3]);
                need(words[4] > 0 && words[4] <= world.height[output] && words[2] <= world.height[output] - words[4]);
                need(size == 20 + words[3] * words[4] * 4);
                return;
        }
        /* One question at a time. */
        need(world.due == 0);
        world.due = header->request;
}

/* All that comes within a moment. */
static void hear(int ms)
{
        static uint32_t words[(5 + (1 << 18) + GPU_SIDE_MAX)];
        struct pollfd readable = {.fd = world.fd, .events = POLLIN};
        struct display_header header;

        while (world.fd >= 0 && poll(&readable, 1, ms) == 1) {
                if (!read_whole(&header, sizeof(header)) ||
                    (need(header.size <= sizeof(words)), !read_whole(words, header.size)))
                        hang_up();
                else
                        check(&header, words);
        }
}

static void step(struct input *input)
{
        uint8_t bytes[64];
        const uint8_t what = take_byte(input);

        if (what < 130) {
                drive(input);
        } else if (what < 200) {
                hear(take_byte(input) < 128 ? 0 : 1);
        } else if (what < 252) {
                /* An answer that is due is mostly on its way. */
                if (!world.due)
                        hear(1);
                answer(input);
        } else if (what < 255) {
                say(bytes, take(input, bytes, sizeof(bytes)));
        } else if (world.fd >= 0) {
                hang_up();
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        const struct oriel_log silent = {.struct_size = sizeof(silent)};
        struct input input = {data, size};
        struct gpu_socket *socket;
        int ends[2];

        world_begin();

        const unsigned fds = count_fds();

        need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        world.fd = ends[0];
        world.due = 0;
        memset(world.width, 0, sizeof(world.width));
        memset(world.height, 0, sizeof(world.height));
        need(gpu_socket_new(world.gpu, &silent, ends[1], &socket) == 0);
        for (unsigned i = 0; i < 60 && input.size > 0; i++)
                step(&input);
        hear(1);
        if (size & 1)
                hang_up();
        gpu_socket_free(socket);
        gpu_reset(world.gpu);
        hang_up();
        need(count_fds() == fds);
        need(gpu_count(world.gpu).resources == 0 && gpu_count(world.gpu).fences == 0);
        return 0;
}
