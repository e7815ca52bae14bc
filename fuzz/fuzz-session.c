/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is what a peer says: the first byte chooses which of our ends it says it to, the rest are messages. Each
 * begins with a byte of how many fds come with it and of what kind, then come its header and payload. With HELPED, one
 * byte names the request and its row does the rest, so that most of what is said passes the first checks. */

#include "fuzz/session.h"

#include <errno.h>
#include <fcntl.h>
#include <oriel/backend.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int kinds[4];

static void open_kinds(void)
{
        int pair[2];

        if (kinds[0] > 0)
                return;
        kinds[0] = memfd_create("fuzz", MFD_CLOEXEC);
        kinds[1] = open("/dev/null", O_RDWR | O_CLOEXEC);
        kinds[2] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        kinds[3] = pair[0];
        need(kinds[0] >= 0 && kinds[1] >= 0 && kinds[2] >= 0);
        /* As long as a file can be: memory beyond a file's end is a SIGBUS for whoever looks at it. */
        need(ftruncate(kinds[0], INT64_MAX - PAGE + 1) == 0);
}

/* ---- messages ---- */

/* Returns what is left of @how for the fds. */
static uint8_t take_header(struct script *script, uint8_t how, struct oriel_wire_header *header)
{
        bool backs = (script->how & TO_FRONTEND) && (script->how & AGREED);
        enum oriel_direction direction = backs ? ORIEL_FROM_BACKEND : ORIEL_FROM_FRONTEND;
        const struct oriel_message_row *row;
        uint8_t id = 0;

        if (!(script->how & HELPED) || ((script->how & TO_FRONTEND) && !backs)) {
                take(&script->input, header, HEADER);
                return how;
        }
        take(&script->input, &id, 1);
        row = oriel_message_find(direction, id % oriel_message_count(direction));
        if (!row)
                return how;
        *header = (struct oriel_wire_header){row->id, ORIEL_PROTOCOL_VERSION | (how & 0x80 ? 0 : ORIEL_FLAG_NEED_REPLY),
                                             row->size.min};
        /* A table of one region and a config of eight bytes are more to look at than none. */
        if (row->payload == ORIEL_PAYLOAD_MEMORY)
                header->size += sizeof(struct oriel_wire_memory_region);
        if (row->payload == ORIEL_PAYLOAD_CONFIG)
                header->size += 8;
        if (row->payload == ORIEL_PAYLOAD_LOG || row->payload == ORIEL_PAYLOAD_ADD_MEM_REG)
                header->size = row->size.max;
        return (uint8_t)(row->fds.max ? 1 + (how % 4) * (MAX_FDS + 1) : 0);
}

static void attach(struct msghdr *msg, void *control, uint8_t how)
{
        unsigned n = how % (MAX_FDS + 1);
        struct cmsghdr *c;
        int fds[MAX_FDS];

        if (n == 0)
                return;
        for (unsigned i = 0; i < n; i++)
                fds[i] = kinds[(how / (MAX_FDS + 1) + i) % ARRAY_SIZE(kinds)];
        msg->msg_control = control;
        msg->msg_controllen = CMSG_SPACE(n * sizeof(int));
        c = CMSG_FIRSTHDR(msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
}

/* With HELPED, words of four bytes, about half of them zero, and most of the others small or powers of two. */
static void take_payload(struct script *script, uint8_t *to, size_t size)
{
        uint64_t which = 0;

        if (!(script->how & HELPED)) {
                take(&script->input, to, size);
                return;
        }
        take(&script->input, &which, 2);
        for (size_t at = 0; at + 4 <= size && script->input.size > 0; at += 4) {
                uint64_t word = which >> at / 4 % 16 & 1 ? take_number(&script->input) : 0;

                memcpy(to + at, &word, 4);
        }
}

bool send_next(struct script *script, int socket)
{
        static uint8_t bytes[HEADER + ORIEL_MAX_PAYLOAD];
        union {
                struct cmsghdr align;
                char room[CMSG_SPACE(MAX_FDS * sizeof(int))];
        } control = {0};
        struct oriel_wire_header header = {0};
        struct iovec iov = {bytes, 0};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        uint8_t how;

        if (take(&script->input, &how, 1) == 0)
                return false;
        how = take_header(script, how, &header);
        memcpy(bytes, &header, HEADER);
        iov.iov_len = HEADER + (header.size < ORIEL_MAX_PAYLOAD ? header.size : ORIEL_MAX_PAYLOAD);
        memset(bytes + HEADER, 0, iov.iov_len - HEADER);
        take_payload(script, bytes + HEADER, iov.iov_len - HEADER);
        /* Eight bytes of a configuration space say that they are eight. */
        if ((script->how & HELPED) && iov.iov_len == HEADER + offsetof(struct oriel_wire_config, payload) + 8)
                memcpy(bytes + HEADER + offsetof(struct oriel_wire_config, size), &(uint32_t){8}, sizeof(uint32_t));
        attach(&msg, control.room, how);
        return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

void send_u64(int socket, uint32_t request, uint32_t flags, uint64_t value)
{
        struct {
                struct oriel_wire_header header;
                uint8_t value[8];
        } message = {{request, ORIEL_PROTOCOL_VERSION | flags, 8}, {0}};

        memcpy(message.value, &value, 8);
        need(send(socket, &message, sizeof(message), MSG_NOSIGNAL) == sizeof(message));
}

void drain(int socket)
{
        char bytes[4096];

        while (recv(socket, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
                ;
}

static void check_line(void *userdata, enum oriel_log_level level, const char *line)
{
        need(line[0] && !strchr(line, '\n'));
}

/* Each message in words. */
const struct oriel_log words = {.struct_size = sizeof(words), .write = check_line, .level = ORIEL_LOG_DEBUG};

/* ---- the back-end ---- */

static int get_config(void *userdata, uint32_t offset, void *data, uint32_t size)
{
        memset(data, (int)offset, size);
        return offset < 64 ? 0 : -EINVAL;
}

static int set_config(void *userdata, uint32_t offset, const void *data, uint32_t size, uint32_t flags)
{
        return offset + (uint64_t)size <= 64 ? 0 : -EINVAL;
}

static void set_features(void *userdata, uint64_t features)
{
}

/* On the one thread there is: what the ring holds is done before the next message. */
static int start(void *userdata, struct oriel_backend_queue *queue)
{
        struct oriel_chain *chain;

        for (int i = 0; i < 64 && oriel_backend_queue_pop(queue, &chain) == 1; i++)
                oriel_backend_queue_push(queue, chain, 1);
        oriel_backend_queue_rearm(queue);
        return 0;
}

static void stop(void *userdata, struct oriel_backend_queue *queue)
{
}

static void set_status(void *userdata, uint8_t status)
{
}

static int message(void *userdata, uint32_t request, void *payload, uint32_t *size, int fd)
{
        fd_close(fd);
        return request % 2 ? -EINVAL : 0;
}

static int transfer_state(void *userdata, enum oriel_device_state_direction direction, int fd)
{
        fd_close(fd);
        return 0;
}

static int check_state(void *userdata)
{
        return 0;
}

int get_object(void *userdata, const uint8_t uuid[16])
{
        return uuid[0] ? fd_dup(kinds[0]) : -ENOENT;
}

static struct oriel_backend *make_backend(void)
{
        static const uint64_t sizes[ORIEL_MAX_SHMIDS] = {WINDOW};
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops),
                .set_features = set_features,
                .get_config = get_config,
                .set_config = set_config,
                .start = start,
                .stop = stop,
                .set_status = set_status,
                .message = message,
                .transfer_state = transfer_state,
                .check_state = check_state,
                .get_shared_object = get_object,
        };
        const struct oriel_backend_options options = {
                .struct_size = sizeof(options),
                .ops = &ops,
                .log = &words,
                .device_features = VIRTIO,
                .protocol_features = ORIEL_FEATURE(ORIEL_PROTOCOL_F_RARP) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_MTU) |
                                     ORIEL_FEATURE(ORIEL_PROTOCOL_F_CRYPTO_SESSION) |
                                     ORIEL_FEATURE(ORIEL_PROTOCOL_F_HOST_NOTIFIER),
                /* A single thread can't wait for an answer to its own notification. */
                .without = ORIEL_FEATURE(ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS),
                .queues = QUEUES,
                .max_mem_slots = 8,
                .shmem_sizes = sizes,
        };
        struct oriel_backend *backend;

        need(oriel_backend_new(&options, &backend) == 0);
        return backend;
}

/* A message that is in order. */
static void tell(struct oriel_backend *backend, int socket, uint32_t request, const void *payload, uint32_t size,
                 int fd)
{
        union {
                struct cmsghdr align;
                char room[CMSG_SPACE(sizeof(int))];
        } control = {0};
        struct oriel_wire_header header = {request, ORIEL_PROTOCOL_VERSION, size};
        struct iovec iov[] = {{&header, sizeof(header)}, {(void *)(uintptr_t)payload, size}};
        struct msghdr msg = {.msg_iov = iov, .msg_iovlen = 2};

        if (fd >= 0) {
                msg.msg_control = control.room;
                msg.msg_controllen = sizeof(control.room);
                control.align = (struct cmsghdr){
                        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
                memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
        }
        need(sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) > 0);
        need(oriel_backend_dispatch(backend) == 0);
        drain(socket);
        fd_close(fd);
}

/* A split or packed queue at guest addresses (GPA_ADDRESSES), whose descriptors, and what the driver has made
 * available, are the input's. */
static void prepare(struct script *script, struct oriel_backend *backend, int socket)
{
        const uint64_t user = 1 << 20, parts[] = {0, 512, 1024};
        const bool iommu = script->how & WITH_IOMMU;
        struct oriel_wire_memory memory = {.num_regions = 1, .regions = {{0, 16 * PAGE, user, 0}}};
        const struct vhost_vring_state size = {0, 16}, base = {0, 0}, enable = {0, 1};
        struct vhost_iotlb_msg iotlb = {
                .iova = 0, .size = 16 * PAGE, .uaddr = user, .perm = VHOST_ACCESS_RW, .type = VHOST_IOTLB_UPDATE};
        const uint64_t vring = 0;
        const struct vhost_vring_addr addresses = {
                .desc_user_addr = parts[0], .avail_user_addr = parts[1], .used_user_addr = parts[2]};
        uint8_t bytes[1024] = {0};
        int fd = memfd_create("prepared", MFD_CLOEXEC);

        take(&script->input, bytes, take(&script->input, bytes, 1) ? bytes[0] * 4u : 0);
        need(ftruncate(fd, 16 * PAGE) == 0 && pwrite(fd, bytes, sizeof(bytes), 0) == sizeof(bytes));
        tell(backend, socket, ORIEL_FRONTEND_SET_MEM_TABLE, &memory,
             offsetof(struct oriel_wire_memory, regions) + sizeof(memory.regions[0]), fd);
        if (iommu)
                tell(backend, socket, ORIEL_FRONTEND_IOTLB_MSG, &iotlb, sizeof(iotlb), -1);
        tell(backend, socket, ORIEL_FRONTEND_SET_VRING_NUM, &size, sizeof(size), -1);
        tell(backend, socket, ORIEL_FRONTEND_SET_VRING_BASE, &base, sizeof(base), -1);
        tell(backend, socket, ORIEL_FRONTEND_SET_VRING_ADDR, &addresses, sizeof(addresses), -1);
        tell(backend, socket, ORIEL_FRONTEND_SET_VRING_CALL, &vring, sizeof(vring), eventfd(0, EFD_CLOEXEC));
        tell(backend, socket, ORIEL_FRONTEND_SET_VRING_KICK, &vring, sizeof(vring), eventfd(0, EFD_CLOEXEC));
        tell(backend, socket, ORIEL_FRONTEND_SET_VRING_ENABLE, &enable, sizeof(enable), -1);
}

static void fuzz_backend(struct script *script)
{
        const uint64_t never = ORIEL_FEATURE(ORIEL_PROTOCOL_F_PAGEFAULT) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_XEN_MMAP) |
                               ORIEL_FEATURE(ORIEL_PROTOCOL_F_CROSS_ENDIAN) |
                               ORIEL_FEATURE(ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS);
        struct oriel_backend *backend = make_backend();
        int fds[2], r = 0;

        need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
        need(oriel_backend_attach(backend, fds[1]) == 0);
        if (script->how & AGREED) {
                send_u64(fds[0], ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, 0,
                         (ORIEL_FEATURE(ORIEL_PROTOCOL_FEATURES) - 1) & ~never);
                send_u64(fds[0], ORIEL_FRONTEND_SET_FEATURES, 0,
                         ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES) | (script->how & WITH_IOMMU ? VIRTIO : 0));
        }
        if ((script->how & PREPARED) && (script->how & AGREED)) {
                need(oriel_backend_dispatch(backend) == 0);
                prepare(script, backend, fds[0]);
        }
        while (r == 0 && send_next(script, fds[0])) {
                r = oriel_backend_dispatch(backend);
                drain(fds[0]);
        }
        oriel_backend_free(backend);
        fd_close(fds[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct script script = {{data, size}, 0};
        int before, after;

        open_kinds();
        if (take(&script.input, &script.how, 1) == 0)
                return 0;
        before = dup(kinds[1]);
        close(before);
        if (script.how & TO_FRONTEND)
                fuzz_frontend(&script);
        else
                fuzz_backend(&script);
        /* The lowest free fd is the same: none was leaked. */
        after = dup(kinds[1]);
        close(after);
        need(before == after);
        return 0;
}
