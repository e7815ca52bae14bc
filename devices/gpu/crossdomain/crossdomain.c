/* SPDX-License-Identifier: BSD-2-Clause */

/* The renderer of capset 5: a channel for each context, images for guests to draw in, and one thread, which brings
 * guests the messages of compositors.
 *
 * The gpu calls with its lock held, which is taken before the one here. This one covers everything of the renderer. No
 * call that is made with it waits but for the broker: it answers at once, or costs 1.4 s. Sockets and pipes do not
 * wait. The thread takes this lock alone, never the gpu's, and signals fences without it, as that completes a command
 * of the driver. A context that ends meanwhile is no longer found; its fences were completed by the gpu.
 *
 * Ring memory is guest memory of a resource: destroy_blob() makes the channels forget it. */

#include "devices/gpu/crossdomain/crossdomain.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "devices/gpu/crossdomain/channel.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(epoll_wait), SYSCALL(epoll_create1), SYSCALL(epoll_ctl), SYSCALL(eventfd2));

/* Each takes a thousand bytes, and descriptors. One desktop has no more clients. */
enum { CHANNELS_MAX = 256 };

struct crossdomain {
        struct gpu_renderer renderer;
        struct gpu *gpu;
        int loop_fd, end_fd; /* end_fd is event 0 in the loop */
        pthread_t thread;

        pthread_mutex_t lock; /* of what follows */
        struct wayland_broker broker;
        unsigned n_channels;
        struct cross_channel_list channels;
};

static struct crossdomain *crossdomain_lock(struct gpu_renderer *renderer)
{
        struct crossdomain *cross = (struct crossdomain *)renderer;

        pthread_mutex_lock(&cross->lock);
        return cross;
}

static int crossdomain_unlock(struct crossdomain *cross, int result)
{
        pthread_mutex_unlock(&cross->lock);
        return result;
}

static struct cross_channel *find_channel(struct crossdomain *cross, uint32_t context_id)
{
        struct cross_channel *channel;

        LIST_FOREACH(channel, &cross->channels, entry)
        if (channel->context_id == context_id)
                break;
        return channel;
}

/* ---- the thread ---- */

static void serve_event(struct crossdomain *cross, uint64_t event)
{
        const uint32_t context_id = (uint32_t)(event >> 32), item_id = (uint32_t)event;
        bool delivered = false;
        uint64_t fence;

        pthread_mutex_lock(&cross->lock);

        struct cross_channel *channel = find_channel(cross, context_id);

        if (channel && item_id)
                cross_item_flush(channel, item_id);
        else if (channel)
                delivered = cross_channel_deliver(channel, &fence);
        pthread_mutex_unlock(&cross->lock);
        if (delivered)
                gpu_fence_signalled(cross->gpu, context_id, CROSS_CHANNEL_RING, fence);
}

static void *crossdomain_run(void *userdata)
{
        struct crossdomain *cross = userdata;
        struct epoll_event event = {.data.u64 = 1};

        for (;;) {
                if (epoll_wait(cross->loop_fd, &event, 1, -1) != 1)
                        continue;
                if (event.data.u64 == 0)
                        return NULL;
                serve_event(cross, event.data.u64);
        }
}

/* ---- what the gpu calls ---- */

static int crossdomain_start(struct gpu_renderer *renderer, struct gpu *gpu)
{
        struct crossdomain *cross = (struct crossdomain *)renderer;
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = 0};

        if (epoll_ctl(cross->loop_fd, EPOLL_CTL_ADD, cross->end_fd, &event) < 0)
                return -errno;

        int r = thread_start(&cross->thread, crossdomain_run, cross);

        cross->gpu = r < 0 ? NULL : gpu;
        return r;
}

static void crossdomain_free(struct gpu_renderer *renderer)
{
        struct crossdomain *cross = (struct crossdomain *)renderer;

        if (cross->gpu) {
                fd_event_wake(cross->end_fd);
                pthread_join(cross->thread, NULL);
        }
        fd_close(cross->broker.fd);
        fd_close(cross->loop_fd);
        fd_close(cross->end_fd);
        pthread_mutex_destroy(&cross->lock);
        free(cross);
}

static int crossdomain_get_capset(struct gpu_renderer *renderer, uint32_t version, void *data, uint32_t *max_version,
                                  uint32_t *size)
{
        const struct cross_capset capset = {htole32(1), htole32(1 << CROSS_CHANNEL_WAYLAND), 0, 0};

        *max_version = 1;
        *size = sizeof(capset);
        if (data)
                memcpy(data, &capset, sizeof(capset));
        return 0;
}

static int crossdomain_create_context(struct gpu_renderer *renderer, uint32_t context_id, const char *name)
{
        struct crossdomain *cross = crossdomain_lock(renderer);
        struct cross_channel *channel;
        int r = cross->n_channels == CHANNELS_MAX ? -ENOMEM
                                                  : cross_channel_new(cross->gpu, context_id, cross->loop_fd, &channel);

        if (r == 0) {
                LIST_INSERT_HEAD(&cross->channels, channel, entry);
                cross->n_channels++;
        }
        return crossdomain_unlock(cross, r);
}

static void crossdomain_destroy_context(struct gpu_renderer *renderer, uint32_t context_id)
{
        struct crossdomain *cross = crossdomain_lock(renderer);
        struct cross_channel *channel = find_channel(cross, context_id);

        LIST_REMOVE(channel, entry);
        cross->n_channels--;
        cross_channel_free(channel);
        crossdomain_unlock(cross, 0);
}

static int crossdomain_submit(struct gpu_renderer *renderer, uint32_t context_id, const void *commands, size_t size)
{
        struct crossdomain *cross = crossdomain_lock(renderer);

        return crossdomain_unlock(cross, cross_submit(find_channel(cross, context_id), &cross->broker, commands, size));
}

static int image_new(const struct gpu_blob_request *request, struct gpu_blob *out)
{
        _cleanup_(fd_closep) int fd = request->size > CROSS_IMAGE_MAX ? -1 : cross_memory_new(request->size);

        if (fd < 0)
                return -ENOMEM;
        *out = (struct gpu_blob){.fd = fd_take(&fd),
                                 .type = GPU_BLOB_SHM,
                                 .map_info = VIRTIO_GPU_MAP_CACHE_CACHED,
                                 .memory = request->size};
        return 0;
}

static int crossdomain_create_blob(struct gpu_renderer *renderer, const struct gpu_blob_request *request,
                                   struct gpu_blob *out)
{
        if (request->mem != VIRTIO_GPU_BLOB_MEM_HOST3D)
                return request->mem == VIRTIO_GPU_BLOB_MEM_GUEST ? 0 : -EINVAL;

        struct crossdomain *cross = crossdomain_lock(renderer);
        struct cross_channel *channel = find_channel(cross, request->context_id);

        return crossdomain_unlock(cross, request->blob_id == CROSS_IMAGE_ID
                                                 ? image_new(request, out)
                                                 : cross_item_take_blob(channel, request, out));
}

static void crossdomain_destroy_blob(struct gpu_renderer *renderer, uint32_t resource_id)
{
        struct crossdomain *cross = crossdomain_lock(renderer);
        struct cross_channel *channel;

        LIST_FOREACH(channel, &cross->channels, entry)
        for (unsigned i = 0; i < CROSS_RINGS; i++)
                if (channel->rings[i].id == resource_id)
                        channel->rings[i].memory = NULL;
        crossdomain_unlock(cross, 0);
}

/* Commands are done when they are submitted; only fences on the channel's ring wait, for a message. */
static int crossdomain_create_fence(struct gpu_renderer *renderer, uint32_t context_id, uint32_t ring,
                                    uint64_t fence_id)
{
        struct crossdomain *cross = crossdomain_lock(renderer);
        struct cross_channel *channel = find_channel(cross, context_id);

        return crossdomain_unlock(cross, ring == CROSS_CHANNEL_RING && channel->has_begun
                                                 ? cross_channel_add_fence(channel, fence_id)
                                                 : 1);
}

/* A guest that goes on after the stop finds an empty message, and asks again. */
static void crossdomain_release_fences(struct gpu_renderer *renderer)
{
        struct cross_channel *channel;

        do {
                struct crossdomain *cross = crossdomain_lock(renderer);
                uint32_t context_id = 0;
                uint64_t fence;

                LIST_FOREACH(channel, &cross->channels, entry)
                if (cross_channel_release(channel, &fence)) {
                        context_id = channel->context_id;
                        break;
                }
                crossdomain_unlock(cross, 0);
                if (context_id)
                        gpu_fence_signalled(cross->gpu, context_id, CROSS_CHANNEL_RING, fence);
        } while (channel);
}

int crossdomain_new(int broker, struct gpu_renderer **out)
{
        struct crossdomain *cross = calloc(1, sizeof(*cross));

        if (!cross)
                return -ENOMEM;
        cross->renderer = (struct gpu_renderer){
                .capset_id = GPU_CAPSET_CROSS_DOMAIN,
                .start = crossdomain_start,
                .free = crossdomain_free,
                .get_capset = crossdomain_get_capset,
                .create_context = crossdomain_create_context,
                .destroy_context = crossdomain_destroy_context,
                .submit = crossdomain_submit,
                .create_blob = crossdomain_create_blob,
                .destroy_blob = crossdomain_destroy_blob,
                .create_fence = crossdomain_create_fence,
                .release_fences = crossdomain_release_fences,
        };
        pthread_mutex_init(&cross->lock, NULL);
        cross->broker.fd = -1;
        cross->loop_fd = epoll_create1(EPOLL_CLOEXEC);
        cross->end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (cross->loop_fd < 0 || cross->end_fd < 0) {
                int error = -errno;

                crossdomain_free(&cross->renderer);
                return error;
        }
        cross->broker.fd = broker;
        *out = &cross->renderer;
        return 0;
}
