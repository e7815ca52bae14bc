/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CORE_NODE_H
#define DEVICES_MEDIA_CORE_NODE_H

#include "base/log.h"
#include "devices/media/core/media.h"
#include "media/ioctls.h"

#include <pthread.h>
#include <sys/queue.h>

/* A kind of device: the ioctls of a V4L2 node, and its buffers. All calls come with the media's lock, which the node's
 * own threads take too. */

/* Guest memory that a driver has named by a list. All of it is in the table of then, which is kept with it. */
struct guest_memory {
        struct oriel_memory *memory;
        struct oriel_range *pieces;
        unsigned n;
        size_t size;
};
void guest_memory_clear(struct guest_memory *guest);
/* Copy @size bytes, at most its own, from it; or to it, and tell of that. */
void guest_memory_read(const struct guest_memory *guest, void *data, size_t size);
void guest_memory_write(struct media *media, const struct guest_memory *guest, const void *data, size_t size);

/* One ioctl, whose lengths have been checked. The payload is a copy, which becomes the answer's. */
struct media_call {
        const struct media_ioctl *row;
        void *payload;               /* zeros, if the driver has sent none */
        void *trailer;               /* planes or controls, as many as the payload says */
        struct guest_memory *memory; /* one for each list, in order (media_ioctl_memory()); who takes one zeroes it */
        size_t n_memory;
        struct media_object *objects; /* one for each plane of V4L2_MEMORY_DMABUF, or that of EXPBUF */
        size_t n_objects;
        int object_fds[MEDIA_MAX_PLANES]; /* what they are, checked; who takes one puts -1 there */
        int exported;                     /* EXPBUF: the plane's file, which stays the node's */
};

struct media_session;

/* An event for a session, which is a part of what it is about: so there is never more than one about that, and their
 * number has a bound without a limit of its own. */
struct session_event {
        TAILQ_ENTRY(session_event) entry;
        struct media_session *session;
        bool waiting; /* for a buffer of the driver's */
        union media_event content;
        void (*sent)(struct session_event *event); /* the driver has it; NULL: nobody wants to know */
};

/* An event of V4L2 that a session has subscribed to. */
struct media_subscription {
        TAILQ_ENTRY(media_subscription) entry;
        uint32_t type, id, flags;
        struct session_event event;
};

TAILQ_HEAD(subscription_list, media_subscription);

struct media_session {
        TAILQ_ENTRY(media_session) entry;
        struct media *media;
        uint32_t id;
        bool dead;         /* it was told of an error, and is to be closed */
        uint32_t priority; /* enum v4l2_priority */
        uint32_t sequence; /* of events */
        void *handle;      /* the node's */
        struct subscription_list subscriptions;
        struct session_event error;
};

/* The memory of a buffer, for the driver to map. */
struct media_file {
        int fd; /* borrowed: whoever maps it duplicates it, if need be */
        uint64_t size;
        uint64_t generation; /* another one for another buffer at the same offset */
};

struct media_node_ops {
        /* As open(2) and close(2) of a node. @session->handle is the node's. */
        int (*open)(struct media_node *node, struct media_session *session);
        void (*close)(struct media_node *node, struct media_session *session);
        /* 0 or a negative errno. -ENOTTY: this node has no such ioctl. */
        int (*ioctl)(struct media_node *node, struct media_session *session, struct media_call *call);
        /* The file behind @offset, a mem_offset of VIDIOC_QUERYBUF. -EINVAL: there is none. */
        int (*file)(struct media_node *node, struct media_session *session, uint32_t offset, struct media_file *out);
        /* As it was made: the driver has begun anew. No session is open. */
        void (*reset)(struct media_node *node);
        void (*free)(struct media_node *node); /* without the lock; no session is open */
};

struct media_node {
        const struct media_node_ops *ops;
        struct media_config config;
        struct media *media; /* set by media_new() */
};

TAILQ_HEAD(session_list, media_session);
TAILQ_HEAD(event_list, session_event);
TAILQ_HEAD(mapping_list, mapping);
TAILQ_HEAD(object_list, object);

/* Nodes use its lock, its log, and its sessions. */
struct media {
        struct media_options options;
        pthread_mutex_t lock;
        struct session_list sessions;
        unsigned n_sessions;
        uint32_t last_session;
        struct event_list waiting;
        struct mapping_list mappings; /* of the thread that handles commands, without the lock */
        struct object_list objects;   /* that were made of buffers */
        unsigned n_objects;
        pthread_mutex_t objects_lock; /* of these alone: core/object.c */
};

/* ---- objects: with the lock ---- */

/* The buffers of @type that @session has made are about to go, or all of its own for 0: so do the objects made of them.
 * Whoever has looked one up keeps the memory. */
void media_objects_end(struct media_session *session, uint32_t type);

/* ---- events: with the lock ---- */

/* Send @event, whose content but for the header is set, or have it wait behind those that wait already. One that waits
 * stays where it is, and has its content of now. */
void session_event_send(struct session_event *event, struct media_session *session, enum media_event_type type);
void session_event_cancel(struct session_event *event);
/* The session has ended with @error, by no fault of the driver's: it is told, and to close it. */
void media_session_fail(struct media_session *session, int error);

/* VIDIOC_SUBSCRIBE_EVENT and VIDIOC_UNSUBSCRIBE_EVENT, for what the node has found right. *@out is the subscription, if
 * it is a new one, else NULL. */
int media_subscribe(struct media_session *session, const struct v4l2_event_subscription *wanted,
                    struct media_subscription **out);
int media_unsubscribe(struct media_session *session, const struct v4l2_event_subscription *unwanted);
struct media_subscription *media_subscription_find(struct media_session *session, uint32_t type, uint32_t id);
/* Send @event, whose type, id and payload are set, to who has subscribed. An older one that waits is replaced; control
 * events add up what has changed. */
void media_subscription_raise(struct media_session *session, struct media_subscription *subscription,
                              const struct v4l2_event *event);

#endif
