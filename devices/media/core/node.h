/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CORE_NODE_H
#define DEVICES_MEDIA_CORE_NODE_H

#include "base/log.h"
#include "devices/media/core/media.h"
#include "media/ioctls.h"

#include <pthread.h>
#include <sys/queue.h>

/* A kind of device: the ioctls of a V4L2 node, and its buffers. All functions are called with the media's lock held,
 * which the node's own threads take too. */

/* Guest memory that a driver has named by a list. It was found in @memory, a table that is kept with it. */
struct guest_memory {
        struct oriel_memory *memory;
        struct oriel_range *pieces;
        unsigned n;
        size_t size;
};
void guest_memory_clear(struct guest_memory *guest);
/* Copy @size bytes, at most its own, from it; or to it, which marks it dirty. */
void guest_memory_read(const struct guest_memory *guest, void *data, size_t size);
void guest_memory_write(struct media *media, const struct guest_memory *guest, const void *data, size_t size);

/* One ioctl, whose lengths have been checked. The payload is a copy, and becomes the answer's. */
struct media_call {
        const struct media_ioctl *row;
        void *payload;               /* zeros, if the driver has sent none */
        void *trailer;               /* planes or controls, as many as the payload says */
        struct guest_memory *memory; /* one for each list, in order (media_ioctl_memory()); a node that takes one
                                      * sets it to zeros */
        size_t n_memory;
        struct media_object *objects; /* one for each plane of V4L2_MEMORY_DMABUF, or that of EXPBUF */
        size_t n_objects;
        int object_fds[MEDIA_MAX_PLANES]; /* their files, checked; a node that takes one sets -1 */
        int exported;                     /* EXPBUF: the plane's file, which stays the node's */
};

struct node_session;

/* An event for a session, embedded in its subject. So each subject has one at most, which bounds their number
 * without a limit. */
struct session_event {
        TAILQ_ENTRY(session_event) entry;
        struct node_session *session;
        bool waiting; /* for a buffer of the driver's */
        union media_event content;
        void (*sent)(struct session_event *event); /* called when the driver has it; or NULL */
};

/* An event of V4L2 that a session has subscribed to. */
struct media_subscription {
        TAILQ_ENTRY(media_subscription) entry;
        uint32_t type, id, flags;
        struct session_event event;
};

TAILQ_HEAD(subscription_list, media_subscription);

struct node_session {
        TAILQ_ENTRY(node_session) entry;
        struct media *media;
        uint32_t id;
        bool dead;         /* an error event was sent; the driver is to close it */
        uint32_t priority; /* enum v4l2_priority */
        uint32_t sequence; /* of events */
        void *handle;      /* the node's */
        struct subscription_list subscriptions;
        struct session_event error;
};

/* The memory of a buffer, for the driver to map. */
struct media_file {
        int fd; /* borrowed: duplicate it to keep it */
        uint64_t size;
        uint64_t generation; /* tells apart buffers that have the same offset at different times */
};

struct media_node_ops {
        /* As open(2) and close(2) of a node. @session->handle is the node's to use. */
        int (*open)(struct media_node *node, struct node_session *session);
        void (*close)(struct media_node *node, struct node_session *session);
        /* 0 or a negative errno. -ENOTTY: this node has no such ioctl. */
        int (*ioctl)(struct media_node *node, struct node_session *session, struct media_call *call);
        /* The file behind @offset, a mem_offset of VIDIOC_QUERYBUF. -EINVAL: there is none. */
        int (*file)(struct media_node *node, struct node_session *session, uint32_t offset, struct media_file *out);
        /* The driver has begun anew: back to the initial state. No session is open. */
        void (*reset)(struct media_node *node);
        void (*free)(struct media_node *node); /* without the lock; no session is open */
};

struct media_node {
        const struct media_node_ops *ops;
        struct media_config config;
        struct media *media; /* set by media_new() */
};

TAILQ_HEAD(session_list, node_session);
TAILQ_HEAD(event_list, session_event);
TAILQ_HEAD(mapping_list, media_mapping);
TAILQ_HEAD(object_list, object);

/* Nodes use the lock, the log and the sessions. */
struct media {
        struct media_options options;
        pthread_mutex_t lock;
        struct session_list sessions;
        unsigned n_sessions;
        uint32_t last_session;
        struct event_list waiting;
        struct mapping_list mappings; /* used by the thread that handles commands alone, without the lock */
        struct object_list objects;   /* made of buffers */
        unsigned n_objects;
        pthread_mutex_t objects_lock; /* of @objects alone: core/object.c */
};

/* ---- objects: with the lock held ---- */

/* Ends the objects of buffers of @type that @session has made, or of all types for 0: the buffers are about to go. A
 * peer that has looked an object up keeps its memory. */
void media_objects_end(struct node_session *session, uint32_t type);

/* ---- events: with the lock held ---- */

/* Sends @event, whose content is set except for the header, or appends it to those that wait. One that waits already
 * keeps its place, and has its new content. */
void session_event_send(struct session_event *event, struct node_session *session, enum media_event_type type);
void session_event_cancel(struct session_event *event);
/* Ends the session with @error, which is not the driver's fault: the driver is told, and has to close it. */
void media_session_fail(struct node_session *session, int error);

/* VIDIOC_SUBSCRIBE_EVENT and VIDIOC_UNSUBSCRIBE_EVENT, after the node's own checks. *@out is a new subscription, or
 * NULL if it existed already. */
int media_subscribe(struct node_session *session, const struct v4l2_event_subscription *wanted,
                    struct media_subscription **out);
int media_unsubscribe(struct node_session *session, const struct v4l2_event_subscription *unwanted);
struct media_subscription *media_subscription_find(struct node_session *session, uint32_t type, uint32_t id);
/* Sends @event, whose type, id and payload are set, to the subscriber. It replaces an older one that waits; control
 * events accumulate their changes. */
void media_subscription_raise(struct node_session *session, struct media_subscription *subscription,
                              const struct v4l2_event *event);

#endif
