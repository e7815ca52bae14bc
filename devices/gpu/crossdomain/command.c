/* SPDX-License-Identifier: BSD-2-Clause */

/* The commands of a guest, in a copy that it can't change. Each has a row, whose size, and whether INIT has come
 * before, are checked before the handler runs. A SEND that can't be sent whole ends the connection: the compositor
 * would misread what follows it. */

#include "devices/gpu/crossdomain/channel.h"
#include "devices/gpu/crossdomain/crossdomain.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "channel/rights.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

USES_SYSCALLS(SYSCALL(sendmsg));

struct crossdomain_call {
        struct cross_channel *channel;
        struct wayland_broker *broker;
        union {
                struct cross_header header;
                struct cross_init init;
                struct cross_get_image_requirements get;
                struct cross_send_receive send;
                struct cross_read_write write;
        } fixed;
        const uint8_t *data; /* follows the fixed part */
        size_t data_size;
};

/* ---- INIT ---- */

/* The ring's memory: a guest blob that is attached to the context and large enough, or NULL. */
static const struct backing *cross_find_ring(struct cross_channel *channel, uint32_t id)
{
        const struct resource *resource = context_resource(channel->gpu, channel->context_id, id);

        return resource && resource->request.mem == VIRTIO_GPU_BLOB_MEM_GUEST && resource->size >= CROSS_RING_SIZE
                       ? resource->backing
                       : NULL;
}

static int cross_init(const struct crossdomain_call *call)
{
        struct cross_channel *channel = call->channel;
        const uint32_t type = le32toh(call->fixed.init.channel_type);

        if (channel->has_begun || type > CROSS_CHANNEL_WAYLAND)
                return -EINVAL;
        for (unsigned i = 0; i < CROSS_RINGS; i++) {
                channel->rings[i].id = le32toh(call->fixed.init.ring_ids[i]);
                channel->rings[i].memory = cross_find_ring(channel, channel->rings[i].id);
                /* Without a compositor no message comes, and no ring for them is needed. */
                if (!channel->rings[i].memory && (i == CROSS_QUERY_RING || type == CROSS_CHANNEL_WAYLAND))
                        return -ENOENT;
        }
        if (type == CROSS_CHANNEL_WAYLAND) {
                int fd = wayland_broker_connect(call->broker), r = fd < 0 ? fd : cross_channel_connect(channel, fd);

                if (r < 0) {
                        log_warning(&channel->log, "cross-domain: the compositor: %s", strerror(-r));
                        return r;
                }
        }
        channel->has_begun = true;
        return 0;
}

/* ---- the others ---- */

static int cross_get_image_requirements(const struct crossdomain_call *call)
{
        const struct cross_get_image_requirements *get = &call->fixed.get;
        const struct backing *ring = call->channel->rings[CROSS_QUERY_RING].memory;
        struct cross_image_requirements image;
        int r = cross_image_layout(le32toh(get->format), le32toh(get->width), le32toh(get->height), &image);

        if (r < 0 || !ring)
                return -EINVAL;
        backing_write(call->channel->gpu, ring, 0, &image, sizeof(image));
        return 0;
}

/* Returns an fd to be sent, or a negative errno. *owned: it is to be closed after that. */
static int fd_to_send(struct cross_channel *channel, uint32_t type, uint32_t id, int *owned)
{
        const struct resource *resource;

        switch (type) {
        case CROSS_ID_BLOB:
                resource = context_resource(channel->gpu, channel->context_id, id);
                return resource && gpu_blob_is_file(&resource->blob) ? resource->blob.fd : -ENOENT;
        case CROSS_ID_READ_PIPE:
                *owned = cross_item_new_pipe(channel, id);
                return *owned;
        default:
                return -EINVAL;
        }
}

static int cross_send_whole(int socket, const void *data, size_t size, const int *fds, unsigned n)
{
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(CROSS_IDS_MAX * sizeof(int))];
        } control;
        struct iovec iov = {(void *)(uintptr_t)data, size};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

        if (n > 0)
                rights_attach(&message, &control, fds, n);

        ssize_t sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

        return sent < 0 ? -errno : (size_t)sent == size ? 0 : -EAGAIN;
}

static int cross_send(const struct crossdomain_call *call)
{
        struct cross_channel *channel = call->channel;
        const struct cross_send_receive *send = &call->fixed.send;
        const uint32_t n = le32toh(send->n_ids), data_size = le32toh(send->data_size);
        int fds[CROSS_IDS_MAX], owned[CROSS_IDS_MAX];
        int r = n > CROSS_IDS_MAX || data_size > call->data_size || data_size == 0 ? -EINVAL : 0;
        unsigned i = 0;

        for (; r == 0 && i < n; i++) {
                owned[i] = -1;
                fds[i] = fd_to_send(channel, le32toh(send->types[i]), le32toh(send->ids[i]), &owned[i]);
                r = fds[i] < 0 ? fds[i] : 0;
        }
        if (r == 0)
                r = channel->socket_fd < 0 ? -ENOTCONN
                                           : cross_send_whole(channel->socket_fd, call->data, data_size, fds, n);
        /* The compositor must have the only ends to write to, so that the guest sees when they are closed. */
        fd_close_all(owned, i);
        if (r < 0) {
                log_debug(&channel->log, "cross-domain: nothing more can be sent: %s", strerror(-r));
                cross_channel_end(channel);
        }
        return r;
}

static int cross_write(const struct crossdomain_call *call)
{
        const struct cross_read_write *write = &call->fixed.write;
        const uint32_t size = le32toh(write->data_size);

        if (size > call->data_size)
                return -EINVAL;
        return cross_item_write(call->channel, le32toh(write->id), call->data, size, write->hang_up != 0);
}

static const struct cross_row {
        size_t size;
        int (*handle)(const struct crossdomain_call *call); /* NULL: there is nothing to do */
} cross_rows[] = {
        [CROSS_INIT] = {sizeof(struct cross_init), cross_init},
        [CROSS_GET_IMAGE_REQUIREMENTS] = {sizeof(struct cross_get_image_requirements), cross_get_image_requirements},
        [CROSS_POLL] = {sizeof(struct cross_header), NULL}, /* its fence is the request */
        [CROSS_SEND] = {sizeof(struct cross_send_receive), cross_send},
        [CROSS_WRITE] = {sizeof(struct cross_read_write), cross_write},
};

/* Runs the command at @at, of at most @left bytes. Returns its size, or a negative errno. */
static ssize_t cross_command_run(struct crossdomain_call *call, const uint8_t *at, size_t left)
{
        if (left < sizeof(call->fixed.header))
                return -EINVAL;
        memcpy(&call->fixed.header, at, sizeof(call->fixed.header));

        const size_t size = le16toh(call->fixed.header.size);
        const unsigned which = call->fixed.header.command;
        const struct cross_row *row = which < ARRAY_SIZE(cross_rows) ? &cross_rows[which] : NULL;

        if (!row || !row->size || size < row->size || size > left || (which != CROSS_INIT && !call->channel->has_begun))
                return -EINVAL;
        memcpy(&call->fixed, at, row->size);
        call->data = at + row->size;
        call->data_size = size - row->size;

        int r = row->handle ? row->handle(call) : 0;

        return r < 0 ? r : (ssize_t)size;
}

int cross_submit(struct cross_channel *channel, struct wayland_broker *broker, const void *commands, size_t size)
{
        struct crossdomain_call call = {.channel = channel, .broker = broker};
        ssize_t n = 0;

        for (size_t at = 0; at < size; at += (size_t)n) {
                n = cross_command_run(&call, (const uint8_t *)commands + at, size - at);
                if (n < 0)
                        return (int)n;
        }
        return 0;
}
