/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is what a guest and a compositor do to a cross-domain context: commands, well formed or not, blobs, bytes
 * and descriptors of all kinds, pipes that are read or not, and ends. Whatever comes to the guest is checked as a guest
 * would, and no descriptor may be left at the end. The rings lie at the end of guest memory, so that the sanitizer sees
 * a step behind it. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "devices/gpu/core/gpu.h"
#include "devices/gpu/crossdomain/channel.h"
#include "devices/gpu/crossdomain/crossdomain.h"
#include "fuzz/gpu-guest.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/param.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONTEXTS = 3, KEPT = 64, RINGS_AT = 0x1000 };
#define MEMORY_SIZE (RINGS_AT + CROSS_RINGS * CONTEXTS * CROSS_RING_SIZE)

static struct {
        struct gpu *gpu;
        struct gpu_guest guest;
        int broker;            /* the end that the daemon does not have */
        int clients[CONTEXTS]; /* the compositor's ends */
        bool begun[CONTEXTS];  /* it has a connection, so that it does not ask for one: nobody would answer */
        int kept[KEPT];        /* ends of pipes, and files, that it has */
        unsigned n_kept;
        atomic_bool asked[CONTEXTS]; /* for a message, which has not come */
        uint64_t last_fence;
} world;

/* ---- the device ---- */

static void world_complete(void *userdata, struct gpu_token token, const void *answer, size_t size)
{
        need(size >= sizeof(struct virtio_gpu_ctrl_hdr));
        if (token.chain)
                atomic_store((atomic_bool *)token.chain, false);
}

static void world_mark_dirty(void *userdata, struct oriel_range guest)
{
        need(guest.start >= RINGS_AT && guest.start + guest.size <= MEMORY_SIZE);
}

static const struct gpu_ops ops = {.memory = gpu_guest_memory,
                                   .map = gpu_guest_map,
                                   .unmap = gpu_guest_unmap,
                                   .object_add = gpu_guest_object_add,
                                   .complete = world_complete,
                                   .mark_dirty = world_mark_dirty};

static void world_begin(void)
{
        struct gpu_options options = {.ops = &ops, .userdata = &world.guest, .window_size = 1 << 30};
        int ends[2];

        signal(SIGPIPE, SIG_IGN);
        gpu_guest_open(&world.guest, MEMORY_SIZE);
        need(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
        world.broker = ends[1];
        need(crossdomain_new(ends[0], &options.renderers[0]) == 0);
        need(gpu_new(&options, &world.gpu) == 0);
        gpu_set_features(world.gpu, gpu_features(world.gpu));
}

static void world_end(void)
{
        need(gpu_count(world.gpu).resources == 0 && gpu_count(world.gpu).fences == 0);
        gpu_free(world.gpu);
        fd_close(world.broker);
        gpu_guest_close(&world.guest);
}

/* ---- the guest ---- */

static void command_for(const void *fixed, size_t fixed_size, const void *payload, size_t size, void *token)
{
        uint8_t bytes[9000], answer[GPU_ANSWER_MAX];
        need(fixed_size + size <= sizeof(bytes));
        memcpy(bytes, fixed, fixed_size);
        memcpy(bytes + fixed_size, payload, size);
        ssize_t r = gpu_handle(world.gpu, GPU_CONTROL_QUEUE, bytes, fixed_size + size, answer, sizeof(answer),
                               (struct gpu_token){&world, token});

        /* Nothing is waited for. */
        if (r >= 0 && token)
                atomic_store((atomic_bool *)token, false);
        gpu_await_mappings(world.gpu);
}

static void command(const void *fixed, size_t fixed_size, const void *payload, size_t size)
{
        command_for(fixed, fixed_size, payload, size, NULL);
}

static void submit(uint32_t context, const void *bytes, size_t size, int ring)
{
        struct virtio_gpu_cmd_submit submit = {
                .hdr = {.type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = context + 1, .fence_id = ++world.last_fence},
                .size = (uint32_t)size};

        if (ring >= 0) {
                submit.hdr.flags = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX;
                submit.hdr.ring_idx = (uint8_t)ring;
        }
        command_for(&submit, sizeof(submit), bytes, size, ring >= 0 ? &world.asked[context] : NULL);
}

static uint32_t ring_id(uint32_t context, unsigned ring)
{
        return 100 + context * CROSS_RINGS + ring;
}

static void attach_resource(uint32_t context, uint32_t id)
{
        const struct virtio_gpu_ctx_resource attach = {
                .hdr = {.type = VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, .ctx_id = context + 1}, .resource_id = id};

        command(&attach, sizeof(attach), "", 0);
}

/* A context with its rings, which begins if @whole. */
static void open_context(uint32_t context, bool whole)
{
        const struct virtio_gpu_ctx_create create = {.hdr = {.type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = context + 1},
                                                     .context_init = GPU_CAPSET_CROSS_DOMAIN};
        const struct cross_init init = {.header = {.command = CROSS_INIT, .size = sizeof(init)},
                                        .ring_ids = {ring_id(context, 0), ring_id(context, 1)},
                                        .channel_type = CROSS_CHANNEL_WAYLAND};

        command(&create, sizeof(create), "", 0);
        for (unsigned i = 0; i < CROSS_RINGS; i++) {
                const struct virtio_gpu_resource_create_blob blob = {
                        .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB},
                        .resource_id = ring_id(context, i),
                        .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
                        .nr_entries = 1,
                        .size = CROSS_RING_SIZE};
                const struct virtio_gpu_mem_entry entry = {RINGS_AT + (context * CROSS_RINGS + i) * CROSS_RING_SIZE,
                                                           CROSS_RING_SIZE, 0};

                command(&blob, sizeof(blob), &entry, sizeof(entry));
                attach_resource(context, ring_id(context, i));
        }
        if (whole)
                submit(context, &init, sizeof(init), -1);
}

static void create_blob(struct input *input, uint32_t context)
{
        const struct virtio_gpu_resource_create_blob blob = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = context + 1},
                .resource_id = take_choice(input, 8),
                .blob_mem = VIRTIO_GPU_BLOB_MEM_HOST3D,
                .blob_flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE,
                .blob_id = take_choice(input, 20),
                .size = take_number(input)};
        const struct virtio_gpu_resource_map_blob map = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB},
                                                         .resource_id = blob.resource_id};

        command(&blob, sizeof(blob), "", 0);
        attach_resource(context, blob.resource_id);
        command(&map, sizeof(map), "", 0);
}

static void unref(uint32_t id)
{
        const struct virtio_gpu_resource_unref unref = {.hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_UNREF},
                                                        .resource_id = id};

        command(&unref, sizeof(unref), "", 0);
}

/* Of the size that it says, or nearly. */
static void submit_command(struct input *input, uint32_t context)
{
        union {
                struct cross_init init;
                struct cross_get_image_requirements get;
                struct cross_send_receive send;
                struct cross_read_write write;
                uint8_t bytes[4500];
        } any = {.bytes = {0}};
        size_t size = sizeof(struct cross_header);

        any.init.header.command = (uint8_t)take_choice(input, 9);
        if (any.init.header.command == CROSS_INIT && !world.begun[context])
                return;
        switch (any.init.header.command) {
        case CROSS_INIT:
                any.init.ring_ids[0] = 98 + take_choice(input, 10);
                any.init.ring_ids[1] = 98 + take_choice(input, 10);
                any.init.channel_type = take_choice(input, 3);
                size = sizeof(any.init);
                break;
        case CROSS_GET_IMAGE_REQUIREMENTS:
                any.get.width = (uint32_t)take_number(input);
                any.get.height = (uint32_t)take_number(input);
                any.get.format = take_byte(input) & 1 ? 0x3231564eU : 0x34325258U;
                size = sizeof(any.get);
                break;
        case CROSS_SEND:
                any.send.n_ids = take_byte(input);
                any.send.n_ids = any.send.n_ids < 250 ? any.send.n_ids % 4 : CROSS_IDS_MAX + 1;
                for (unsigned i = 0; i < MIN(any.send.n_ids, 4U); i++) {
                        uint8_t kind = take_byte(input);

                        /* Mostly a pipe, or one of the few resources. */
                        any.send.types[i] = kind < 120 ? CROSS_ID_READ_PIPE : kind < 240 ? CROSS_ID_BLOB : kind % 8U;
                        any.send.ids[i] = take_choice(input, 8) + (kind < 120 ? CROSS_READ_PIPE_START : 0);
                }
                any.send.data_size = (uint32_t)take_number(input) + 1;
                size = sizeof(any.send) + MIN(any.send.data_size, 4000U);
                break;
        case CROSS_WRITE:
                any.write.id = CROSS_IMAGE_ID + 1 + take_choice(input, 16);
                any.write.hang_up = take_byte(input) & 1;
                any.write.data_size = (uint32_t)take_number(input);
                size = sizeof(any.write) + MIN(any.write.data_size, 4000U);
                break;
        default:
                break;
        }
        if (take_byte(input) == 255)
                size = take_number(input) % sizeof(any.bytes);
        any.init.header.size = (uint16_t)size;
        submit(context, any.bytes, size, -1);
}

/* The messages on the ring must be ones that a guest can handle. */
static void check_ring(uint32_t context)
{
        const union cross_message *message =
                (void *)(world.guest.host + RINGS_AT + (context * CROSS_RINGS + CROSS_CHANNEL_RING) * CROSS_RING_SIZE);

        /* The context has ended, or has no channel: then it has nothing to wait for. */
        if (message->receive.head.header.command == 0)
                return;
        if (message->receive.head.header.command == CROSS_READ) {
                need(message->read.head.data_size <= sizeof(message->read.data));
                need(message->read.head.id >= CROSS_READ_PIPE_START);
                need(message->read.head.hang_up == !message->read.head.data_size);
                return;
        }
        need(message->receive.head.header.command == CROSS_RECEIVE);
        need(message->receive.head.data_size <= sizeof(message->receive.data));
        need(message->receive.head.n_ids <= CROSS_IDS_MAX);
        for (unsigned i = 0; i < message->receive.head.n_ids; i++) {
                uint32_t type = message->receive.head.types[i], id = message->receive.head.ids[i];

                need(type == CROSS_ID_NONE ? id == 0 : id > CROSS_IMAGE_ID && id < CROSS_READ_PIPE_START);
                need(type == CROSS_ID_NONE || type == CROSS_ID_WRITE_PIPE ||
                     (type == CROSS_ID_BLOB && message->receive.head.sizes[i] > 0));
        }
}

/* Ask, if there is nothing that was asked for, and give it a moment. */
static void poll_once(uint32_t context, unsigned tries)
{
        const struct cross_header poll = {.command = CROSS_POLL, .size = sizeof(poll)};

        if (!atomic_exchange(&world.asked[context], true))
                submit(context, &poll, sizeof(poll), CROSS_CHANNEL_RING);
        for (unsigned i = 0; i < tries && atomic_load(&world.asked[context]); i++)
                usleep(50);
        if (!atomic_load(&world.asked[context]))
                check_ring(context);
}

/* ---- the compositor ---- */

static void keep(int fd)
{
        if (world.n_kept < KEPT)
                world.kept[world.n_kept++] = fd;
        else
                close(fd);
}

static int odd_fd(struct input *input)
{
        int ends[2], fd;

        switch (take_choice(input, 6)) {
        case 0:
                fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
                need(ftruncate(fd, (off_t)(take_number(input) & INT32_MAX)) == 0);
                fcntl(fd, F_ADD_SEALS, take_byte(input) & 0x1f);
                return fd;
        case 1:
                need(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
                keep(ends[0]);
                return ends[1];
        case 2:
                need(pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
                keep(ends[1]);
                return ends[0];
        case 3:
                return eventfd(0, EFD_CLOEXEC);
        case 4:
                return open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        default:
                return open("/dev/null", O_RDWR | O_CLOEXEC);
        }
}

static void say(struct input *input, int client)
{
        static uint8_t bytes[8192];
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(60 * sizeof(int))];
        } control;
        unsigned many = take_byte(input), n = many < 100 ? 0 : many < 250 ? many % 4 + 1 : take_choice(input, 61);
        int fds[60];
        struct iovec iov = {bytes, take_number(input) % sizeof(bytes) + 1};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

        for (unsigned i = 0; i < n; i++)
                fds[i] = odd_fd(input);
        if (n > 0) {
                control.header = (struct cmsghdr){CMSG_LEN(n * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.header), fds, n * sizeof(int));
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(n * sizeof(int));
        }
        if (sendmsg(client, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                need(errno == EAGAIN || errno == EPIPE || errno == EBADF || errno == ECONNRESET);
        fd_close_all(fds, n);
}

static void hear(int client)
{
        static uint8_t bytes[8192];
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(CROSS_IDS_MAX * sizeof(int))];
        } control;
        struct iovec iov = {bytes, sizeof(bytes)};
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

        if (recvmsg(client, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
                return;
        for (struct cmsghdr *part = CMSG_FIRSTHDR(&message); part; part = CMSG_NXTHDR(&message, part))
                for (size_t i = 0; i < (part->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
                        int fd;

                        memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
                        fd_set_nonblocking(fd, 1);
                        keep(fd);
                }
}

/* Use what it has of pipes and files, or close it. */
static void use_kept(struct input *input)
{
        static uint8_t bytes[70000];
        unsigned which = world.n_kept ? take_byte(input) % world.n_kept : 0;
        int *fd = &world.kept[which];
        ssize_t n = 0;

        if (world.n_kept == 0)
                return;
        switch (take_choice(input, 4)) {
        case 0:
                n = read(*fd, bytes, sizeof(bytes));
                break;
        case 1:
                n = write(*fd, bytes, take_number(input) % sizeof(bytes));
                break;
        case 2:
                fcntl(*fd, F_SETFL, O_NONBLOCK);
                break;
        default:
                close(*fd);
                *fd = world.kept[--world.n_kept];
        }
        need(n <= (ssize_t)sizeof(bytes));
}

/* ---- all of it ---- */

/* The answer to the next request for a connection lies there before. */
static void offer_connection(struct input *input, uint32_t context)
{
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {.header = {CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS}};
        int result = take_byte(input) == 255 ? -ECONNREFUSED : 0, ends[2], request;
        struct iovec iov = {&result, sizeof(result)};
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

        need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
        memcpy(CMSG_DATA(&control.header), &ends[1], sizeof(int));
        need(sendmsg(world.broker, &message, 0) == sizeof(result));
        close(ends[1]);
        fd_close(world.clients[context]);
        world.clients[context] = ends[0];
        world.begun[context] = result == 0;
        open_context(context, true);
        /* One that did not ask leaves the answer there: ask for it in its place. */
        if (recv(world.broker, &request, sizeof(request), MSG_DONTWAIT) < 0) {
                const struct virtio_gpu_ctx_destroy destroy = {
                        .hdr = {.type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = context + 1}};

                command(&destroy, sizeof(destroy), "", 0);
                for (unsigned i = 0; i < CROSS_RINGS; i++)
                        unref(ring_id(context, i));
                open_context(context, true);
                need(recv(world.broker, &request, sizeof(request), MSG_DONTWAIT) == sizeof(request));
        }
}

static void rare(struct input *input, uint32_t context)
{
        const struct virtio_gpu_get_capset_info info = {.hdr = {.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO},
                                                        .capset_index = take_choice(input, 2)};
        const struct virtio_gpu_get_capset capset = {.hdr = {.type = VIRTIO_GPU_CMD_GET_CAPSET},
                                                     .capset_id = GPU_CAPSET_CROSS_DOMAIN};
        const uint8_t what = take_byte(input);

        if (what > 200) {
                world.clients[context] = fd_close(world.clients[context]);
        } else if (what > 150) {
                gpu_settle(world.gpu, &world, 0);
        } else if (what > 140) {
                command(&info, sizeof(info), "", 0);
                command(&capset, sizeof(capset), "", 0);
        } else {
                poll_once(context, 5);
        }
}

static void step(struct input *input)
{
        uint32_t context = take_byte(input);

        /* Mostly the one that has begun. */
        context = context < 200 ? 0 : context % CONTEXTS;
        switch (take_choice(input, 10)) {
        case 0:
                if (world.clients[context] < 0)
                        offer_connection(input, context);
                poll_once(context, 5);
                break;
        case 1:
        case 2:
                say(input, world.clients[context]);
                /* The thread has something to bring, mostly. */
                poll_once(context, 200);
                break;
        case 3:
                hear(world.clients[context]);
                break;
        case 4:
                poll_once(context, 5);
                break;
        case 5:
                create_blob(input, context);
                break;
        case 6:
                unref(take_choice(input, take_byte(input) == 255 ? 110 : 8));
                break;
        case 7:
                use_kept(input);
                break;
        case 8:
                rare(input, context);
                break;
        default:
                submit_command(input, context);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input input = {data, size};
        unsigned fds;

        fds = count_fds();
        world_begin();
        for (unsigned i = 0; i < CONTEXTS; i++) {
                world.clients[i] = -1;
                world.begun[i] = false;
        }
        offer_connection(&input, 0);
        for (unsigned i = 0; i < 60 && input.size > 0; i++)
                step(&input);
        gpu_reset(world.gpu);
        fd_close_all(world.clients, CONTEXTS);
        fd_close_all(world.kept, world.n_kept);
        world.n_kept = 0;
        world_end();
        need(count_fds() == fds);
        return 0;
}
