/* SPDX-License-Identifier: BSD-2-Clause */

/* The state of an open file that V4L2's core keeps for a device of the host: which queues are streaming, which buffers
 * are done, and which events have come. It is bounded, whatever the device sends: at most VIDEO_MAX_FRAME done buffers
 * in each queue, and EVENTS_MAX events, of which the oldest are dropped. */

#include "clients/media/session.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/range.h"
#include "clients/media/state.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum { EVENTS_MAX = 64 };

/* ---- life ---- */

int media_session_new(struct media_client *client, struct media_session **out)
{
        struct media_session *session = calloc(1, sizeof(*session));

        if (!session)
                return -ENOMEM;

        int r = media_client_open(client, &session->id);

        if (r < 0) {
                free(session);
                return r;
        }
        session->client = client;
        STAILQ_INIT(&session->events);
        for (unsigned i = 0; i < STREAMS; i++)
                STAILQ_INIT(&session->streams[i].done);
        *out = session;
        return 0;
}

static void drop_done(struct client_stream *stream)
{
        struct done *done;

        while ((done = STAILQ_FIRST(&stream->done))) {
                STAILQ_REMOVE_HEAD(&stream->done, entry);
                free(done);
        }
        stream->n_done = stream->n_queued = 0;
        stream->last = false;
}

static void unpin_all(struct media_session *session, struct client_stream *stream)
{
        struct pinned *pinned;

        while ((pinned = SLIST_FIRST(&stream->pinned))) {
                SLIST_REMOVE_HEAD(&stream->pinned, entry);
                media_client_give(session->client, pinned->memory, pinned->size);
                free(pinned);
        }
}

void session_forget_taken(struct media_session *session)
{
        free(session->taken);
        free(session->taken_event);
        session->taken = NULL;
        session->taken_event = NULL;
}

void media_session_free(struct media_session *session)
{
        struct client_event *event;

        if (!session)
                return;
        media_client_close(session->client, session->id);
        for (unsigned i = 0; i < STREAMS; i++) {
                drop_done(&session->streams[i]);
                unpin_all(session, &session->streams[i]);
        }
        while ((event = STAILQ_FIRST(&session->events))) {
                STAILQ_REMOVE_HEAD(&session->events, entry);
                free(event);
        }
        session_forget_taken(session);
        free(session);
}

uint32_t media_session_id(const struct media_session *session)
{
        return session->id;
}

/* ---- streams ---- */

struct client_stream *session_stream(struct media_session *session, uint32_t type)
{
        return type > 0 && type < STREAMS ? &session->streams[type] : NULL;
}

struct pinned *session_pinned(struct client_stream *stream, uint32_t index, uint32_t plane)
{
        struct pinned *pinned;

        SLIST_FOREACH(pinned, &stream->pinned, entry)
        if (pinned->index == index && pinned->plane == plane)
                return pinned;
        return NULL;
}

struct pinned *session_pin(struct media_session *session, struct client_stream *stream, uint32_t index, uint32_t plane,
                           uint64_t address, uint32_t size)
{
        struct pinned *pinned = session_pinned(stream, index, plane);

        if (!pinned) {
                pinned = calloc(1, sizeof(*pinned));
                if (!pinned)
                        return NULL;
                pinned->index = index;
                pinned->plane = plane;
                SLIST_INSERT_HEAD(&stream->pinned, pinned, entry);
        }
        if (pinned->size < size || !pinned->memory) {
                media_client_give(session->client, pinned->memory, pinned->size);
                pinned->memory = media_client_take(session->client, size);
                pinned->size = size;
        }
        pinned->address = address;
        return pinned->memory ? pinned : NULL;
}

static void stop_stream(struct client_stream *stream)
{
        stream->streaming = false;
        drop_done(stream);
}

void session_note(struct media_session *session, uint32_t code, const void *payload)
{
        const struct v4l2_requestbuffers *request = payload;
        const struct v4l2_create_buffers *create = payload;
        const struct v4l2_decoder_cmd *decoder = payload;
        const struct v4l2_buffer *buffer = payload;
        struct client_stream *stream;

        switch (code) {
        case VIDIOC_STREAMON:
                if ((stream = session_stream(session, *(const uint32_t *)payload)))
                        stream->streaming = true;
                break;
        case VIDIOC_STREAMOFF:
                if ((stream = session_stream(session, *(const uint32_t *)payload)))
                        stop_stream(stream);
                break;
        case VIDIOC_REQBUFS:
                if (!(stream = session_stream(session, request->type)))
                        break;
                stop_stream(stream);
                unpin_all(session, stream);
                stream->n_buffers = request->count;
                break;
        case VIDIOC_CREATE_BUFS:
                if ((stream = session_stream(session, create->format.type)))
                        stream->n_buffers = create->index + create->count;
                break;
        case VIDIOC_QBUF:
                if ((stream = session_stream(session, buffer->type)))
                        stream->n_queued++;
                break;
        case VIDIOC_DECODER_CMD:
                for (unsigned i = 0; decoder->cmd == V4L2_DEC_CMD_START && i < STREAMS; i++)
                        session->streams[i].last = false;
                break;
        }
}

/* ---- events ---- */

static void keep_done(struct media_session *session, const struct media_event_dqbuf *event)
{
        struct client_stream *stream = session_stream(session, event->buffer.type);
        struct done *done = stream && stream->n_done < VIDEO_MAX_FRAME ? malloc(sizeof(*done)) : NULL;

        if (!done)
                return;
        done->buffer = event->buffer;
        memcpy(done->planes, event->planes, sizeof(done->planes));
        STAILQ_INSERT_TAIL(&stream->done, done, entry);
        stream->n_done++;
}

static void keep_event(struct media_session *session, const struct v4l2_event *from)
{
        struct client_event *event =
                session->n_events < EVENTS_MAX ? malloc(sizeof(*event)) : STAILQ_FIRST(&session->events);

        if (!event)
                return;
        if (session->n_events == EVENTS_MAX)
                STAILQ_REMOVE_HEAD(&session->events, entry);
        else
                session->n_events++;
        event->event = *from;
        STAILQ_INSERT_TAIL(&session->events, event, entry);
}

int media_session_event(struct media_session *session, const union media_event *event)
{
        switch (event->header.event) {
        case MEDIA_EVENT_DQBUF:
                keep_done(session, &event->dqbuf);
                return 0;
        case MEDIA_EVENT_EVENT:
                keep_event(session, &event->event.event);
                return 0;
        default:
                return -EPIPE;
        }
}

/* As Linux has it: a program may write as long as not all buffers of an output are queued; where they are read from
 * memory to memory, it waits for one that is done. */
unsigned media_session_ready(const struct media_session *session)
{
        const uint32_t m2m_caps = V4L2_CAP_VIDEO_M2M | V4L2_CAP_VIDEO_M2M_MPLANE;
        const bool m2m = media_client_config(session->client)->device_caps & m2m_caps;
        unsigned ready = session->n_events > 0 ? MEDIA_READY_PRI : 0;
        bool streaming = false;

        for (unsigned i = 1; i < STREAMS; i++) {
                const struct client_stream *stream = &session->streams[i];

                if (!stream->streaming)
                        continue;
                streaming = true;
                if (V4L2_TYPE_IS_OUTPUT(i) && (stream->n_done > 0 || (!m2m && stream->n_queued < stream->n_buffers)))
                        ready |= MEDIA_READY_OUT;
                if (!V4L2_TYPE_IS_OUTPUT(i) && (stream->n_done > 0 || stream->last))
                        ready |= MEDIA_READY_IN;
        }
        return streaming ? ready : ready | MEDIA_READY_ERR;
}

void media_session_put_back(struct media_session *session)
{
        if (session->taken) {
                struct client_stream *stream = session_stream(session, session->taken->buffer.type);

                STAILQ_INSERT_HEAD(&stream->done, session->taken, entry);
                stream->n_done++;
                stream->n_queued++;
                stream->last = false;
        }
        if (session->taken_event) {
                STAILQ_INSERT_HEAD(&session->events, session->taken_event, entry);
                session->n_events++;
        }
        session->taken = NULL;
        session->taken_event = NULL;
}

/* ---- mappings ---- */

/* Find the file that is mapped at @address of the region. */
static int media_session_find_file(const struct media_session *session, uint64_t address, int *fd, uint64_t *fd_offset)
{
        struct oriel_driver *driver = media_client_driver(session->client);
        struct oriel_region *region = oriel_driver_region(driver, MEDIA_SHMID);
        struct oriel_mapping *mapping = region ? oriel_region_find(region, address) : NULL;
        struct oriel_mapping_info info = {.struct_size = sizeof(info)};
        int r = mapping ? oriel_mapping_get_info(mapping, &info) : -EIO;

        if (r == 0) {
                *fd_offset = info.fd_offset + (address - info.range.start);
                *fd = oriel_mapping_fd(mapping) < 0 ? -EMFILE : fd_dup(oriel_mapping_fd(mapping));
                r = *fd < 0 ? *fd : 0;
        }
        oriel_mapping_unref(mapping);
        return r;
}

int media_session_mmap(struct media_session *session, uint64_t offset, uint64_t size, bool writable, int *fd,
                       uint64_t *fd_offset, uint64_t *address)
{
        const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        uint64_t has;

        if (offset > UINT32_MAX)
                return -EINVAL;

        int r = media_client_mmap(session->client, session->id, (uint32_t)offset, writable, address, &has);

        if (r < 0)
                return r;
        if (!checked_round_up(has, page, &has) || size > has)
                r = -EINVAL;
        else
                r = media_session_find_file(session, *address, fd, fd_offset);
        if (r < 0)
                media_client_munmap(session->client, *address);
        return r;
}
