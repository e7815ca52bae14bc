/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CORE_QUEUE_H
#define DEVICES_MEDIA_CORE_QUEUE_H

#include "devices/media/core/node.h"

/* A queue of buffers of our own nodes: what Linux's videobuf2 is to a driver. It does the ioctls from REQBUFS to
 * STREAMOFF, with memory of its own (a sealed memfd for each plane), of the guest, or of another device; the node
 * takes buffers, fills or reads them, and reports them done. All with the media's lock held. */

#define QUEUE_MEMORY(kind) (UINT32_C(1) << V4L2_MEMORY_##kind)

enum media_buffer_state {
        BUFFER_DEQUEUED, /* the driver's */
        BUFFER_QUEUED,
        BUFFER_ACTIVE, /* the node's, which has taken it */
        BUFFER_DONE,   /* its event waits for the driver */
};

struct media_buffer_plane {
        uint32_t length, used, data_offset;
        int fd;                    /* MMAP, DMABUF */
        uint8_t *data;             /* the same, mapped in this process */
        uint64_t number;           /* USERPTR, DMABUF: the number by which the driver knows it */
        struct guest_memory guest; /* USERPTR: its memory */
};

struct media_buffer {
        TAILQ_ENTRY(media_buffer) entry;
        struct media_queue *queue;
        unsigned index;
        enum media_buffer_state state;
        bool prepared;
        bool renewed;                    /* DMABUF: its files are new; the node clears this when it has seen it */
        uint32_t flags, field, sequence; /* of its content; set by the node */
        struct timeval timestamp;
        struct media_buffer_plane planes[MEDIA_MAX_PLANES];
        struct session_event event;
};

TAILQ_HEAD(buffer_list, media_buffer);

struct media_queue_ops {
        /* Sets the least sizes of a buffer's planes in the current format; returns how many there are. */
        unsigned (*sizes)(void *userdata, uint32_t sizes[MEDIA_MAX_PLANES]);
        /* Streaming begins, or has ended: then no buffer is taken any more. */
        int (*start)(void *userdata);
        void (*stop)(void *userdata);
};

struct media_queue {
        const struct media_queue_ops *ops;
        void *userdata;
        struct media *media;
        uint32_t type;  /* enum v4l2_buf_type */
        uint32_t first; /* number of its first plane; different for each queue of a session */
        uint32_t field;
        uint32_t memories;          /* a bit for each enum v4l2_memory that it supports */
        uint32_t timestamp_flags;   /* V4L2_BUF_FLAG_TIMESTAMP_*, and where it is taken */
        struct node_session *owner; /* that has made the buffers; NULL: there are none */
        uint32_t memory;            /* enum v4l2_memory */
        bool streaming;
        unsigned n, n_planes, active;
        uint64_t generation;
        struct media_buffer *buffers[VIDEO_MAX_FRAME];
        struct buffer_list queued;
        pthread_cond_t settled; /* signalled when no buffer is active */
};

void media_queue_init(struct media_queue *queue);
void media_queue_free(struct media_queue *queue); /* it has no buffers */

/* Handles an ioctl of queues, for that one of @n queues which has the type. 0 or a negative errno; -ENOTTY for
 * others. */
int media_queue_ioctl(struct media_queue *queues, unsigned n, struct node_session *session, struct media_call *call);
/* -EINVAL: there is no MMAP buffer at @offset. */
int media_queue_file(const struct media_queue *queue, uint32_t offset, struct media_file *out);
/* @session ends: frees the buffers if it is their owner. */
void media_queue_leave(struct media_queue *queue, struct node_session *session);

/* Takes the oldest queued buffer for the node, which returns it by one of the two functions below. NULL: there is
 * none. */
struct media_buffer *media_queue_take(struct media_queue *queue);
/* Takes the one with @index, if it is queued. */
struct media_buffer *media_queue_take_at(struct media_queue *queue, uint32_t index);
void media_queue_give_back(struct media_buffer *buffer);
/* Reports a buffer done, with what the node has set in it: the driver gets it. */
void media_queue_done(struct media_buffer *buffer);

#endif
