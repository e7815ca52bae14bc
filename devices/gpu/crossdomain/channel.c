/* SPDX-License-Identifier: BSD-2-Clause */

/* One context's connection to the compositor. Its socket and the pipes that it reads are in an epoll instance of their
 * own, which is armed in the renderer's loop for one event while a fence waits: data that the guest does not ask for
 * stays with the sender, and a flood costs nothing here.
 *
 * Messages to the compositor go into the socket's buffer, which bounds what a compositor can leave unread: if a
 * message does not go in whole, the connection ends. All functions are called with the renderer's lock held. */

#include "devices/gpu/crossdomain/channel.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

USES_SYSCALLS(SYSCALL(recvmsg), SYSCALL(shutdown), SYSCALL(epoll_create1), SYSCALL(epoll_ctl), SYSCALL(epoll_wait));

DEFINE_CLEANUP(struct cross_channel *, cross_channel_free);

/* Arms the channel for one event if a fence waits, else for none. */
static int channel_arm(struct cross_channel *channel, int operation)
{
        struct epoll_event event = {.events = EPOLLONESHOT | (TAILQ_EMPTY(&channel->fences) ? 0U : (uint32_t)EPOLLIN),
                                    .data.u64 = cross_event(channel->context_id, 0)};

        return epoll_ctl(channel->loop_fd, operation, channel->epoll_fd, &event) < 0 ? -errno : 0;
}

int cross_channel_new(struct gpu *gpu, uint32_t context_id, int loop_fd, struct cross_channel **out)
{
        _cleanup_(cross_channel_freep) struct cross_channel *channel = calloc(1, sizeof(*channel));

        if (!channel)
                return -ENOMEM;
        *channel = (struct cross_channel){.gpu = gpu,
                                          .log = gpu->options.log,
                                          .context_id = context_id,
                                          .loop_fd = loop_fd,
                                          .socket_fd = -1,
                                          .epoll_fd = epoll_create1(EPOLL_CLOEXEC)};
        TAILQ_INIT(&channel->fences);
        for (unsigned i = 0; i < CROSS_ITEMS_MAX; i++)
                channel->items[i] = (struct cross_item){.fd = -1, .feed = {-1, -1}};
        if (channel->epoll_fd < 0)
                return -errno;

        int r = channel_arm(channel, EPOLL_CTL_ADD);

        if (r < 0)
                return r;
        *out = steal(channel);
        return 0;
}

void cross_channel_free(struct cross_channel *channel)
{
        struct cross_fence *fence;

        if (!channel)
                return;
        while ((fence = TAILQ_FIRST(&channel->fences))) {
                TAILQ_REMOVE(&channel->fences, fence, entry);
                free(fence);
        }
        for (unsigned i = 0; i < CROSS_ITEMS_MAX; i++)
                if (channel->items[i].id)
                        cross_item_remove(channel, &channel->items[i]);
        fd_close(channel->socket_fd);
        fd_close(channel->epoll_fd);
        free(channel);
}

int cross_channel_connect(struct cross_channel *channel, int fd)
{
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = 0};

        if (epoll_ctl(channel->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
                int error = -errno;

                fd_close(fd);
                return error;
        }
        channel->socket_fd = fd;
        return 0;
}

/* The socket then reads as ended, after the data that has come already. */
void cross_channel_end(struct cross_channel *channel)
{
        if (channel->socket_fd >= 0)
                shutdown(channel->socket_fd, SHUT_RDWR);
}

int cross_channel_add_fence(struct cross_channel *channel, uint64_t id)
{
        struct cross_fence *fence = malloc(sizeof(*fence));

        if (!fence)
                return -ENOMEM;
        fence->id = id;
        TAILQ_INSERT_TAIL(&channel->fences, fence, entry);
        return channel_arm(channel, EPOLL_CTL_MOD);
}

/* ---- from the compositor ---- */

static unsigned received_fds(struct msghdr *header, int *fds)
{
        unsigned n = 0;

        for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
                if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
                        continue;
                size_t size = part->cmsg_len - CMSG_LEN(0);

                memcpy(fds + n, CMSG_DATA(part), size);
                n += (unsigned)(size / sizeof(int));
        }
        return n;
}

/* Returns the message's size; 0: nothing has come. If descriptors were cut off, the connection ends, as the rest of
 * the message has no meaning without them. */
static size_t cross_channel_receive(struct cross_channel *channel, union cross_message *message)
{
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(CROSS_IDS_MAX * sizeof(int))];
        } control;
        struct cross_send_receive *head = &message->receive.head;
        struct iovec iov = {message->receive.data, sizeof(message->receive.data)};
        struct msghdr header = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        int fds[CROSS_IDS_MAX];
        ssize_t n = recvmsg(channel->socket_fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        unsigned n_fds = n > 0 ? received_fds(&header, fds) : 0;

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n > 0 && header.msg_flags & MSG_CTRUNC) {
                log_warning(&channel->log,
                            "cross-domain: the compositor sends more descriptors than there is room for");
                fd_close_all(fds, n_fds);
                n_fds = 0;
                n = 0;
        }
        if (n <= 0) {
                channel->socket_fd = fd_close_watched(channel->epoll_fd, channel->socket_fd);
                n = 0;
        }
        *head = (struct cross_send_receive){
                .header = {CROSS_RECEIVE, CROSS_CHANNEL_RING, htole16((uint16_t)(sizeof(*head) + (size_t)n)), 0},
                .n_ids = htole32(n_fds),
                .data_size = htole32((uint32_t)n),
        };
        for (unsigned i = 0; i < n_fds; i++)
                cross_item_receive(channel, fds[i], head, i);
        return sizeof(*head) + (size_t)n;
}

static size_t cross_channel_next_message(struct cross_channel *channel, union cross_message *message)
{
        struct epoll_event event;

        if (epoll_wait(channel->epoll_fd, &event, 1, 0) != 1)
                return 0;
        return event.data.u32 == 0 ? cross_channel_receive(channel, message)
                                   : cross_item_read(channel, event.data.u32, message);
}

/* Writes a message to the guest's ring, and takes the fence that waits longest, for *@id. */
static void write_message(struct cross_channel *channel, const union cross_message *message, size_t size, uint64_t *id)
{
        const struct backing *ring = channel->rings[CROSS_CHANNEL_RING].memory;
        struct cross_fence *fence = TAILQ_FIRST(&channel->fences);

        if (ring)
                backing_write(channel->gpu, ring, 0, message, size);
        *id = fence->id;
        TAILQ_REMOVE(&channel->fences, fence, entry);
        free(fence);
}

bool cross_channel_deliver(struct cross_channel *channel, uint64_t *fence)
{
        union cross_message message;

        if (TAILQ_EMPTY(&channel->fences) || !channel->rings[CROSS_CHANNEL_RING].memory)
                return false;

        size_t size = cross_channel_next_message(channel, &message);

        if (size > 0)
                write_message(channel, &message, size, fence);
        if (!TAILQ_EMPTY(&channel->fences))
                channel_arm(channel, EPOLL_CTL_MOD);
        return size > 0;
}

bool cross_channel_release(struct cross_channel *channel, uint64_t *fence)
{
        const union cross_message nothing = {
                .receive.head.header = {CROSS_RECEIVE, CROSS_CHANNEL_RING, htole16(sizeof(nothing.receive.head)), 0}};

        if (TAILQ_EMPTY(&channel->fences))
                return false;
        write_message(channel, &nothing, sizeof(nothing.receive.head), fence);
        return true;
}
