/* SPDX-License-Identifier: BSD-2-Clause */

/* The two queues of a media device. There is one buffer for commands and one for answers, as the device works on one
 * command at a time. Events that were used before an answer are handled before that answer: a buffer that was done
 * before STREAMOFF is not done after it.
 *
 * Memory of the driver can't be freed. Pieces that are given back are kept by their size, a power of two, for the next
 * use. */

#include "clients/media/client.h"

#include "base/cleanup.h"
#include "base/shared.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>
#include <sys/queue.h>

enum { ROOM = 65536, EVENTS = 32, TIMEOUT_MS = 10000, SMALLEST = 4096, CLASSES = 16 };

struct spare {
        SLIST_ENTRY(spare) entry;
        void *memory;
};

struct media_client {
        struct oriel_driver *driver;
        struct media_config config;
        media_client_event_fn event;
        void *userdata;
        uint8_t *command, *answer; /* of ROOM bytes */
        union media_event *events; /* EVENTS of them */
        SLIST_HEAD(spare_list, spare) spare[CLASSES];
        int error;
};

const struct media_config *media_client_config(const struct media_client *client)
{
        return &client->config;
}

struct oriel_driver *media_client_driver(const struct media_client *client)
{
        return client->driver;
}

int media_client_error(const struct media_client *client)
{
        return client->error;
}

/* ---- memory ---- */

/* The class for @size; CLASSES if @size is too large for all. */
static unsigned media_client_class_of(size_t size)
{
        unsigned class = 0;

        while (class < CLASSES && (size_t)SMALLEST << class < size)
                class ++;
        return class;
}

void *media_client_take(struct media_client *client, size_t size)
{
        const unsigned class = media_client_class_of(size);

        if (class == CLASSES)
                return NULL;

        struct spare *spare = SLIST_FIRST(&client->spare[class]);
        void *memory;

        if (!spare)
                return oriel_driver_alloc(client->driver, (size_t)SMALLEST << class);
        SLIST_REMOVE_HEAD(&client->spare[class], entry);
        memory = spare->memory;
        free(spare);
        return memory;
}

void media_client_give(struct media_client *client, void *memory, size_t size)
{
        struct spare *spare = memory ? malloc(sizeof(*spare)) : NULL;

        if (!spare)
                return;
        spare->memory = memory;
        SLIST_INSERT_HEAD(&client->spare[media_client_class_of(size)], spare, entry);
}

/* ---- events ---- */

static int submit_event(struct media_client *client, union media_event *event)
{
        const struct iovec room = {event, sizeof(*event)};

        return oriel_driver_submit(client->driver, MEDIA_EVENT_QUEUE, NULL, 0, &room, 1, event);
}

static size_t event_size(uint32_t type)
{
        static const size_t sizes[] = {
                [MEDIA_EVENT_ERROR] = sizeof(struct media_event_error),
                [MEDIA_EVENT_DQBUF] = sizeof(struct media_event_dqbuf),
                [MEDIA_EVENT_EVENT] = sizeof(struct media_event_event),
        };

        return type < ARRAY_SIZE(sizes) ? sizes[type] : SIZE_MAX;
}

static int collect_once(struct media_client *client)
{
        void *token;
        uint32_t written;
        int r;

        while ((r = oriel_driver_collect(client->driver, MEDIA_EVENT_QUEUE, &token, &written)) == 1) {
                union media_event event;

                shared_copy(&event, token, sizeof(event));
                r = submit_event(client, token);
                if (r < 0)
                        return r;
                if (written >= sizeof(event.header) && written >= event_size(event.header.event))
                        client->event(client->userdata, &event);
        }
        return r < 0 ? r : oriel_driver_kick(client->driver, MEDIA_EVENT_QUEUE);
}

int media_client_collect(struct media_client *client)
{
        int r = client->error ? client->error : oriel_frontend_dispatch(oriel_driver_frontend(client->driver));

        while (r == 0 && oriel_driver_rearm(client->driver, MEDIA_EVENT_QUEUE))
                r = collect_once(client);
        client->error = r;
        return r;
}

/* ---- commands ---- */

static int send_and_wait(struct media_client *client, size_t size, size_t room, uint32_t *written)
{
        const struct iovec in = {client->command, size}, out = {client->answer, room};
        void *token;
        int r = oriel_driver_submit(client->driver, MEDIA_COMMAND_QUEUE, &in, 1, &out, room > 0, client);

        if (r == 0)
                r = oriel_driver_kick(client->driver, MEDIA_COMMAND_QUEUE);
        while (r == 0) {
                r = oriel_driver_wait(client->driver, MEDIA_COMMAND_QUEUE, TIMEOUT_MS);
                if (r == 0)
                        r = oriel_driver_collect(client->driver, MEDIA_COMMAND_QUEUE, &token, written);
        }
        return r < 0 ? r : collect_once(client);
}

/* The size of a header of @size bytes and the parts behind it, or SIZE_MAX if that is too large for the buffers. */
static size_t size_with(size_t size, const struct media_part *parts)
{
        for (unsigned i = 0; i < MEDIA_CLIENT_PARTS; i++) {
                if (parts[i].size > ROOM - size)
                        return SIZE_MAX;
                size += parts[i].size;
        }
        return size;
}

static void entries_gather(uint8_t *to, struct media_part first, const struct media_part *parts)
{
        memcpy(to, first.data, first.size);
        to += first.size;
        for (unsigned i = 0; i < MEDIA_CLIENT_PARTS; to += parts[i++].size)
                if (parts[i].size > 0)
                        memcpy(to, parts[i].data, parts[i].size);
}

/* Copy the first @size bytes, each of them once: the device may change them meanwhile. */
static void entries_scatter(const uint8_t *from, size_t size, struct media_part first, const struct media_part *parts)
{
        size_t at = first.size;

        memcpy(first.data, from, MIN(size, first.size));
        for (unsigned i = 0; i < MEDIA_CLIENT_PARTS && at < size; at += parts[i++].size)
                if (parts[i].size > 0)
                        memcpy(parts[i].data, from + at, MIN(parts[i].size, size - at));
}

int media_client_call(struct media_client *client, struct media_part command, const struct media_part *in,
                      struct media_part answer, const struct media_part *out, size_t *written)
{
        static const struct media_part none[MEDIA_CLIENT_PARTS];
        const size_t size = size_with(command.size, in ? in : none), room = size_with(answer.size, out ? out : none);
        uint32_t got = 0;

        if (size == SIZE_MAX || room == SIZE_MAX)
                return -EMSGSIZE;
        entries_gather(client->command, command, in ? in : none);
        if (!client->error)
                client->error = send_and_wait(client, size, room, &got);
        if (!client->error && got < MIN(room, sizeof(struct media_answer_header)))
                client->error = -EPROTO;
        if (client->error)
                return -ENODEV;
        if (!answer.data)
                return 0;
        got = MIN(got, (uint32_t)room);
        entries_scatter(client->answer, got, answer, out ? out : none);
        if (written)
                *written = got - MIN(got, answer.size);
        return -(int)MIN(((const struct media_answer_header *)answer.data)->status, 4095U);
}

#define PART(object) ((struct media_part){&(object), sizeof(object)})

int media_client_open(struct media_client *client, uint32_t *session)
{
        struct media_command_header command = {.command = MEDIA_OPEN};
        struct media_open_answer answer = {.session = 0};
        int r = media_client_call(client, PART(command), NULL, PART(answer), NULL, NULL);

        *session = answer.session;
        return r;
}

void media_client_close(struct media_client *client, uint32_t session)
{
        struct media_close command = {.header.command = MEDIA_CLOSE, .session = session};

        media_client_call(client, PART(command), NULL, (struct media_part){0}, NULL, NULL);
}

int media_client_mmap(struct media_client *client, uint32_t session, uint32_t offset, bool writable, uint64_t *address,
                      uint64_t *size)
{
        struct media_mmap command = {.header.command = MEDIA_MMAP,
                                     .session = session,
                                     .flags = writable ? MEDIA_MMAP_READ_WRITE : 0,
                                     .offset = offset};
        struct media_mmap_answer answer = {.size = 0};
        int r = media_client_call(client, PART(command), NULL, PART(answer), NULL, NULL);

        *address = answer.address;
        *size = answer.size;
        return r;
}

void media_client_munmap(struct media_client *client, uint64_t address)
{
        struct media_munmap command = {.header.command = MEDIA_MUNMAP, .address = address};
        struct media_answer_header answer = {.status = 0};

        media_client_call(client, PART(command), NULL, PART(answer), NULL, NULL);
}

/* ---- life ---- */

static int command_prepare(struct media_client *client)
{
        int r = oriel_frontend_get_config(oriel_driver_frontend(client->driver), 0, &client->config,
                                          sizeof(client->config));

        if (r < 0)
                return r == -EREMOTEIO || r == -EOPNOTSUPP ? -ENODEV : r;
        client->command = oriel_driver_alloc(client->driver, ROOM);
        client->answer = oriel_driver_alloc(client->driver, ROOM);
        client->events = oriel_driver_alloc(client->driver, EVENTS * sizeof(*client->events));
        if (!client->command || !client->answer || !client->events)
                return -ENOMEM;
        for (unsigned i = 0; r == 0 && i < EVENTS; i++)
                r = submit_event(client, &client->events[i]);
        return r < 0 ? r : oriel_driver_kick(client->driver, MEDIA_EVENT_QUEUE);
}

int media_client_new(struct oriel_driver *driver, media_client_event_fn event, void *userdata,
                     struct media_client **out)
{
        if (oriel_driver_queue_count(driver) < MEDIA_QUEUES)
                return -ENODEV;

        struct media_client *client = calloc(1, sizeof(*client));

        if (!client)
                return -ENOMEM;
        client->driver = driver;
        client->event = event;
        client->userdata = userdata;

        int r = command_prepare(client);

        if (r < 0) {
                free(client);
                return r;
        }
        *out = client;
        return 0;
}

void media_client_free(struct media_client *client)
{
        struct spare *spare;

        for (unsigned i = 0; client && i < CLASSES; i++)
                while ((spare = SLIST_FIRST(&client->spare[i]))) {
                        SLIST_REMOVE_HEAD(&client->spare[i], entry);
                        free(spare);
                }
        free(client);
}
