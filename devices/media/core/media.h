/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CORE_MEDIA_H
#define DEVICES_MEDIA_CORE_MEDIA_H

#include "media/wire.h"

#include <oriel/log.h>
#include <oriel/memory.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* A virtio-media device (VIRTIO 1.4, 5.22) without its queues: commands in bytes go in, answers and events in bytes
 * come out. struct media_ops is what it needs of the device around it; struct media_node (node.h) is the kind of
 * device, a camera or something else. Commands come on one thread, and so does media_reset(); nodes do other work on
 * threads of their own, with the media's lock held. */
struct media;
struct media_node;

struct media_ops {
        /* The guest memory of now, with a reference for the caller. */
        struct oriel_memory *(*memory)(void *userdata);
        /* SHMEM_MAP of @fd from its start, and SHMEM_UNMAP, in the region, without the media's lock. They wait for
         * the front-end, except unmap() without @wait, for media_reset(). -ENOSPC: too many are mapped. */
        int (*map)(void *userdata, struct oriel_range range, int fd, enum oriel_access access);
        int (*unmap)(void *userdata, struct oriel_range range, bool wait);
        /* Gives the driver an event now. False: the driver has left no buffer for it; call media_flush() when there
         * is one. With the media's lock held. */
        bool (*event)(void *userdata, const union media_event *event, size_t size);
        /* @guest was written to. */
        void (*mark_dirty)(void *userdata, struct oriel_range guest);
        /* SHARED_OBJECT_ADD and _LOOKUP, which wait for the front-end, and _REMOVE, which does not: all without the
         * media's lock. shares_objects(): whether the front-end has objects. The lookup returns a new fd. */
        bool (*shares_objects)(void *userdata);
        int (*object_add)(void *userdata, const struct media_object *object);
        void (*object_remove)(void *userdata, const struct media_object *object);
        int (*object_find)(void *userdata, const struct media_object *object);
};

struct media_options {
        const struct media_ops *ops; /* must outlive the media */
        void *userdata;
        struct oriel_log log;
        struct log_budget *lines; /* limits the lines that a guest can cause again and again */
        uint64_t window_size;     /* whole pages */
        struct media_node *node;  /* the media's, unless media_new() fails */
};

/* The most bytes of a command, lists of guest memory included; a larger one is refused. And of an answer. */
#define MEDIA_COMMAND_MAX (UINT32_C(2) << 20)
#define MEDIA_ANSWER_MAX                                                         \
        (sizeof(struct media_answer_header) + sizeof(struct v4l2_ext_controls) + \
         MEDIA_MAX_CONTROLS * sizeof(struct v4l2_ext_control))

int media_new(const struct media_options *options, struct media **out);
void media_free(struct media *media); /* NULL is accepted */

const struct media_config *media_config(const struct media *media);

/* Handles a command of @size bytes, which the driver can't change any more. The answer goes to @answer, which is
 * aligned for any struct, and for which the driver has room for @room bytes, at most MEDIA_ANSWER_MAX. Returns the
 * size of the answer; 0: there is none. */
size_t media_handle(struct media *media, const void *command, size_t size, void *answer, size_t room);
/* The driver has made buffers for events available. */
void media_flush(struct media *media);
/* GET_SHARED_OBJECT: returns a new fd of an object that the media has made, or -ENOENT. Any thread. */
int media_get_object(struct media *media, const struct media_object *object);
/* The driver has begun anew, or is gone: ends all sessions, mappings and events. The front-end is asked to unmap, if
 * it can be asked. */
void media_reset(struct media *media);

#endif
