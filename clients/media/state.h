/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLIENTS_MEDIA_STATE_H
#define CLIENTS_MEDIA_STATE_H

#include "clients/media/session.h"

/* Shared by session.c and ioctl.c. */

enum { STREAMS = 16 }; /* enum v4l2_buf_type */

/* A buffer that the device has done. */
struct done {
        STAILQ_ENTRY(done) entry;
        struct v4l2_buffer buffer;
        struct v4l2_plane planes[MEDIA_MAX_PLANES];
};
STAILQ_HEAD(done_list, done);

/* Guest memory that stands for a userptr. */
struct pinned {
        SLIST_ENTRY(pinned) entry;
        uint32_t index, plane;
        uint64_t address; /* the program's */
        uint32_t size;
        void *memory;
};
SLIST_HEAD(pinned_list, pinned);

struct client_stream {
        struct done_list done;
        struct pinned_list pinned;
        unsigned n_done, n_buffers, n_queued;
        bool streaming, last; /* V4L2_BUF_FLAG_LAST was dequeued */
};

struct client_event {
        STAILQ_ENTRY(client_event) entry;
        struct v4l2_event event;
};
STAILQ_HEAD(event_list, client_event);

struct media_session {
        struct media_client *client;
        uint32_t id;
        struct client_stream streams[STREAMS];
        struct event_list events;
        unsigned n_events;
        /* Dequeued by the last ioctl; kept until the next one for media_session_put_back(). */
        struct done *taken;
        struct client_event *taken_event;
};

/* NULL: V4L2 has no such type. */
struct client_stream *session_stream(struct media_session *session, uint32_t type);
void session_forget_taken(struct media_session *session);
/* Update the streams after a successful ioctl. */
void session_note(struct media_session *session, uint32_t code, const void *payload);

/* The memory for a plane of a buffer, NULL: it has none. */
struct pinned *session_pinned(struct client_stream *stream, uint32_t index, uint32_t plane);
/* Memory of @size bytes for it, and which address of the program it stands for. NULL: there is none. */
struct pinned *session_pin(struct media_session *session, struct client_stream *stream, uint32_t index, uint32_t plane,
                           uint64_t address, uint32_t size);

#endif
