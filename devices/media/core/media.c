/* SPDX-License-Identifier: BSD-2-Clause */

/* The five commands (VIRTIO 1.4, 5.22.6.1), in a table whose lengths are checked before a handler runs, and the
 * sessions, which are the open files of a node. Ids of sessions count up before they are used again, so that an
 * event which the driver reads late is not taken for one of a new session. */

#include "devices/media/core/state.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>

struct received_command {
        union {
                struct media_command_header header;
                struct media_close close;
                struct media_ioctl_command ioctl;
                struct media_mmap mmap;
                struct media_munmap munmap;
        } fixed;
        const uint8_t *bytes;
        size_t size;
        struct node_session *session; /* of the commands that have one */
        union {
                struct media_answer_header header;
                struct media_open_answer open;
                struct media_mmap_answer mmap;
        } * answer;
        size_t room, answered; /* of the answer */
};

struct media_command_row {
        size_t size, answer; /* the least, headers included */
        size_t session;      /* offset of the session's id; 0: it has none */
        int (*handle)(struct media *media, struct received_command *command);
};

/* ---- sessions ---- */

static struct node_session *session_find(struct media *media, uint32_t id)
{
        struct node_session *session;

        TAILQ_FOREACH(session, &media->sessions, entry)
        if (session->id == id)
                return session;
        return NULL;
}

static uint32_t session_new_id(struct media *media)
{
        do
                media->last_session++;
        while (media->last_session == 0 || session_find(media, media->last_session));
        return media->last_session;
}

static void media_session_end(struct node_session *session)
{
        struct media *media = session->media;
        struct media_node *node = media->options.node;

        node->ops->close(node, session);
        media_objects_end(session, 0);
        session_events_end(session);
        TAILQ_REMOVE(&media->sessions, session, entry);
        media->n_sessions--;
        free(session);
}

/* ---- commands ---- */

static int handle_open(struct media *media, struct received_command *command)
{
        struct media_node *node = media->options.node;

        if (media->n_sessions == SESSIONS_MAX)
                return -EMFILE;

        _cleanup_(freep) struct node_session *session = calloc(1, sizeof(*session));

        if (!session)
                return -ENOMEM;
        session->media = media;
        session->id = session_new_id(media);
        session->priority = V4L2_PRIORITY_DEFAULT;
        TAILQ_INIT(&session->subscriptions);

        int r = node->ops->open(node, session);

        if (r < 0)
                return r;
        command->answer->open.session = session->id;
        command->answered = sizeof(command->answer->open);
        TAILQ_INSERT_TAIL(&media->sessions, session, entry);
        media->n_sessions++;
        (void)steal(session);
        return 0;
}

static int handle_close(struct media *media, struct received_command *command)
{
        media_session_end(command->session);
        return 0;
}

static int handle_ioctl(struct media *media, struct received_command *command)
{
        const size_t header = sizeof(struct media_answer_header);
        size_t answered = 0;

        if (command->session->dead)
                return -EIO;

        int r = ioctl_handle(command->session, command->bytes, command->size, (uint8_t *)command->answer + header,
                             command->room - header, &answered);

        command->answered = header + answered;
        return r;
}

/* Waits for the front-end without the lock. The file stays open meanwhile, because only this thread ends buffers. */
static int handle_mmap(struct media *media, struct received_command *command)
{
        const struct media_mmap *wanted = &command->fixed.mmap;
        const bool writes = wanted->flags & MEDIA_MMAP_READ_WRITE;
        struct media_node *node = media->options.node;
        struct media_file file;
        uint64_t address = 0;

        if (command->session->dead)
                return -EIO;
        if (wanted->flags & ~(uint32_t)MEDIA_MMAP_READ_WRITE)
                return -EINVAL;

        int r = node->ops->file(node, command->session, wanted->offset, &file);

        if (r < 0)
                return r;
        pthread_mutex_unlock(&media->lock);
        r = mapping_add(media, command->session, wanted->offset, writes ? ORIEL_ACCESS_READ_WRITE : ORIEL_ACCESS_READ,
                        &file, &address);
        pthread_mutex_lock(&media->lock);
        if (r < 0)
                return r;
        command->answer->mmap.address = address;
        command->answer->mmap.size = file.size;
        command->answered = sizeof(command->answer->mmap);
        return 0;
}

static int handle_munmap(struct media *media, struct received_command *command)
{
        pthread_mutex_unlock(&media->lock);

        int r = mapping_remove(media, command->fixed.munmap.address);

        pthread_mutex_lock(&media->lock);
        return r;
}

static const struct media_command_row command_rows[] = {
        [MEDIA_OPEN] = {sizeof(struct media_command_header), sizeof(struct media_open_answer), 0, handle_open},
        [MEDIA_CLOSE] = {sizeof(struct media_close), 0, offsetof(struct media_close, session), handle_close},
        [MEDIA_IOCTL] = {sizeof(struct media_ioctl_command), sizeof(struct media_answer_header),
                         offsetof(struct media_ioctl_command, session), handle_ioctl},
        [MEDIA_MMAP] = {sizeof(struct media_mmap), sizeof(struct media_mmap_answer),
                        offsetof(struct media_mmap, session), handle_mmap},
        [MEDIA_MUNMAP] = {sizeof(struct media_munmap), sizeof(struct media_answer_header), 0, handle_munmap},
};

/* Finds the command's row, and checks lengths and session. */
static int command_check(struct media *media, struct received_command *command, const struct media_command_row **out)
{
        const uint32_t code = command->fixed.header.command;
        uint32_t id;

        if (command->size < sizeof(command->fixed.header))
                return -EINVAL;
        if (code >= ARRAY_SIZE(command_rows) || !command_rows[code].handle)
                return -ENOTTY;

        const struct media_command_row *row = &command_rows[code];

        if (command->size < row->size || command->room < row->answer)
                return -EINVAL;
        *out = row;
        if (!row->session)
                return 0;
        memcpy(&id, (const uint8_t *)&command->fixed + row->session, sizeof(id));
        command->session = session_find(media, id);
        return command->session ? 0 : -EINVAL;
}

size_t media_handle(struct media *media, const void *bytes, size_t size, void *answer, size_t room)
{
        struct received_command command = {.bytes = bytes, .size = size, .answer = answer, .room = room};
        const struct media_command_row *row = NULL;

        memset(answer, 0, room);
        memcpy(&command.fixed, bytes, size < sizeof(command.fixed) ? size : sizeof(command.fixed));
        pthread_mutex_lock(&media->lock);

        int r = command_check(media, &command, &row);

        if (r == 0)
                r = row->handle(media, &command);
        pthread_mutex_unlock(&media->lock);
        objects_sweep(media);
        /* CLOSE has no answer, and nor has a command without room for a header. */
        if (room < sizeof(command.answer->header) || command.fixed.header.command == MEDIA_CLOSE)
                return 0;
        command.answer->header.status = (uint32_t)-r;
        return command.answered ? command.answered : sizeof(command.answer->header);
}

/* ---- the media itself ---- */

int media_new(const struct media_options *options, struct media **out)
{
        struct media *media = calloc(1, sizeof(*media));

        if (!media)
                return -ENOMEM;
        media->options = *options;
        media->options.node->media = media;
        TAILQ_INIT(&media->sessions);
        TAILQ_INIT(&media->waiting);
        TAILQ_INIT(&media->mappings);
        TAILQ_INIT(&media->objects);
        pthread_mutex_init(&media->lock, NULL);
        pthread_mutex_init(&media->objects_lock, NULL);
        *out = media;
        return 0;
}

void media_reset(struct media *media)
{
        struct node_session *session;

        pthread_mutex_lock(&media->lock);
        while ((session = TAILQ_FIRST(&media->sessions)))
                media_session_end(session);
        media->options.node->ops->reset(media->options.node);
        pthread_mutex_unlock(&media->lock);
        objects_sweep(media);
        mappings_forget(media);
}

void media_free(struct media *media)
{
        if (!media)
                return;
        media_reset(media);
        media->options.node->ops->free(media->options.node);
        pthread_mutex_destroy(&media->lock);
        pthread_mutex_destroy(&media->objects_lock);
        free(media);
}

const struct media_config *media_config(const struct media *media)
{
        return &media->options.node->config;
}
