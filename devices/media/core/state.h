/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_CORE_STATE_H
#define DEVICES_MEDIA_CORE_STATE_H

#include "devices/media/core/node.h"

/* Shared by the files of the core. */

enum { SESSIONS_MAX = 256 };

/* A buffer in the window. If it is mapped again with the same access, the mapping is only counted. */
struct media_mapping {
        TAILQ_ENTRY(media_mapping) entry; /* by place */
        struct oriel_range range;
        uint32_t session, offset;
        uint64_t generation;
        enum oriel_access access;
        unsigned count;
};

/* mapping.c: without the lock. */
int mapping_add(struct media *media, const struct node_session *session, uint32_t offset, enum oriel_access access,
                const struct media_file *file, uint64_t *address);
int mapping_remove(struct media *media, uint64_t address);
void mappings_forget(struct media *media);

/* ioctl.c: handles an IOCTL command whose fixed part is complete. The answer without its header goes to @answer,
 * which has @room bytes; *@answered is its size. */
int ioctl_handle(struct node_session *session, const uint8_t *command, size_t size, uint8_t *answer, size_t room,
                 size_t *answered);

/* object.c: called with the lock held, which is released while they wait for the front-end. Find the memory of a
 * call's objects; and make an object of the buffer that a call of EXPBUF has found. */
int media_objects_find(struct media *media, struct media_call *call);
int object_export(struct node_session *session, struct media_call *call);
/* Tells the front-end of objects that have ended, and frees them. Without the lock. */
void objects_sweep(struct media *media);

/* event.c */
void session_events_end(struct node_session *session);

#endif
