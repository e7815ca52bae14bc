/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CROSSDOMAIN_CHANNEL_H
#define DEVICES_GPU_CROSSDOMAIN_CHANNEL_H

#include "devices/gpu/core/state.h"
#include "devices/gpu/crossdomain/wire.h"

#include <oriel/log.h>
#include <sys/queue.h>

struct wayland_broker;

/* Limit of a context for pipes, and descriptors that the guest has not made a blob of: two messages' worth. */
#define CROSS_ITEMS_MAX (2 * CROSS_IDS_MAX)
/* Of one image: 16384 by 8192 pixels of 4 bytes. */
#define CROSS_IMAGE_MAX (UINT64_C(512) << 20)
/* Every image has the same blob_id: only its size matters, which CREATE_BLOB has, and clients keep the answer for a
 * format and create any number of images by it. Ids of descriptors follow. */
#define CROSS_IMAGE_ID 1
#define CROSS_PAGE     4096

/* A descriptor that the guest knows by an id. */
struct cross_item {
        uint32_t id;   /* 0: free */
        uint32_t type; /* CROSS_ID_NONE: free */
        int fd;
        struct gpu_blob blob; /* of CROSS_ID_BLOB, its fd aside */
        uint64_t size;
        /* Of CROSS_ID_WRITE_PIPE: bytes that the pipe has not taken yet, in a pipe of our own, whose ends no other
         * process has. */
        int feed[2];
        size_t pending;
        bool hangs_up; /* when they are all written */
};

struct cross_fence {
        TAILQ_ENTRY(cross_fence) entry;
        uint64_t id;
};
TAILQ_HEAD(cross_fence_list, cross_fence);

/* A context: one client of the compositor. */
struct cross_channel {
        LIST_ENTRY(cross_channel) entry;
        struct gpu *gpu;
        struct oriel_log log;
        uint32_t context_id;
        bool has_begun;
        struct {
                uint32_t id;
                const struct backing *memory; /* NULL: none, or destroyed */
        } rings[CROSS_RINGS];
        int loop_fd;   /* the renderer's epoll instance: epoll_fd, and pipes that are written to */
        int epoll_fd;  /* an epoll instance: the socket, and pipes that are read */
        int socket_fd; /* -1: not connected, or the compositor is gone */
        struct cross_fence_list fences;
        uint32_t last_id;
        struct cross_item items[CROSS_ITEMS_MAX];
};
LIST_HEAD(cross_channel_list, cross_channel);

/* The data of events in loop_fd: a context, and 0 or an item of it. No context is 0. */
static inline uint64_t cross_event(uint32_t context_id, uint32_t item_id)
{
        return (uint64_t)context_id << 32 | item_id;
}

/* ---- channel.c ---- */

int cross_channel_new(struct gpu *gpu, uint32_t context_id, int loop_fd, struct cross_channel **out);
void cross_channel_free(struct cross_channel *channel);
/* Makes @fd, which is taken, the connection to the compositor. */
int cross_channel_connect(struct cross_channel *channel, int fd);
/* Ends the connection for sending; the guest is told when it asks for a message. */
void cross_channel_end(struct cross_channel *channel);
int cross_channel_add_fence(struct cross_channel *channel, uint64_t id);
/* Writes the next message to the ring, if the guest has asked for it. True: *fence is to be signalled. */
bool cross_channel_deliver(struct cross_channel *channel, uint64_t *fence);
/* The same with an empty message. */
bool cross_channel_release(struct cross_channel *channel, uint64_t *fence);

/* ---- item.c ---- */

/* Memory of the host for a guest to draw in and the compositor to map, in whole pages; neither can change its size.
 * Returns an fd, the caller's, or -ENOMEM. */
int cross_memory_new(uint64_t size);
void cross_item_remove(struct cross_channel *channel, struct cross_item *item);
/* Takes a descriptor from the compositor, and describes it to the guest as number @i of @head, which has zeros
 * there. */
void cross_item_receive(struct cross_channel *channel, int fd, struct cross_send_receive *head, unsigned i);
/* Makes a pipe that the guest reads by @id. Returns the end to write to, the caller's, or a negative errno. */
int cross_item_new_pipe(struct cross_channel *channel, uint32_t id);
/* Makes the blob whose id CREATE_BLOB has from a descriptor that was received. */
int cross_item_take_blob(struct cross_channel *channel, const struct gpu_blob_request *request, struct gpu_blob *out);
/* Reads from a pipe into a message. Returns its size; 0: nothing has come. */
size_t cross_item_read(struct cross_channel *channel, uint32_t id, union cross_message *message);
int cross_item_write(struct cross_channel *channel, uint32_t id, const void *data, size_t size, bool hang_up);
/* Writes pending bytes to the pipe, which has room again. */
void cross_item_flush(struct cross_channel *channel, uint32_t id);

/* ---- image.c ---- */

int cross_image_layout(uint32_t format, uint32_t width, uint32_t height, struct cross_image_requirements *out);

/* ---- command.c ---- */

/* Runs @commands of @channel, one after the other up to the first that is invalid. @broker: see crossdomain.h. */
int cross_submit(struct cross_channel *channel, struct wayland_broker *broker, const void *commands, size_t size);

#endif
