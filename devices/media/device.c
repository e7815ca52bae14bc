/* SPDX-License-Identifier: BSD-2-Clause */

/* The virtio side of a media. One thread takes commands, copies each whole, and hands it to media_handle(), which
 * may wait for the front-end. The same thread collects the driver's buffers for events. A thread that has an event
 * takes the oldest of these, or if there is none pops one from the ring itself: so an event is in its queue before
 * the answer that follows it, if there is any buffer. */

#include "devices/media/device.h"

#include "base/cleanup.h"
#include "base/range.h"
#include "daemon/daemon.h"
#include "devices/media/core/node.h"

#include <errno.h>
#include <oriel/worker.h>
#include <pthread.h>
#include <string.h>
#include <sys/param.h>

/* How long to look for the next command before sleeping, where that pays. */
enum { POLL_US = 50 };

struct media_device {
        struct media *media;
        struct oriel_backend *backend;
        struct oriel_worker *worker;
        struct oriel_log log;
        uint8_t *command; /* a copy of the command, and the answer: the worker's */
        uint64_t answer[(MEDIA_ANSWER_MAX + 7) / 8];
        pthread_mutex_t lock;               /* of what follows */
        struct oriel_backend_queue *events; /* NULL: not started */
        struct oriel_chain **buffers;       /* for events, oldest first: a ring of the queue's size */
        unsigned first, n_buffers;
};

/* ---- the front-end ---- */

static struct oriel_memory *media_memory(void *userdata)
{
        struct media_device *device = userdata;

        return oriel_backend_memory(device->backend);
}

static struct oriel_wire_mmap media_in_window(struct oriel_range range, enum oriel_access access)
{
        return (struct oriel_wire_mmap){
                .shmid = MEDIA_SHMID,
                .shm_offset = range.start,
                .len = range.size,
                .flags = access == ORIEL_ACCESS_READ_WRITE ? ORIEL_MMAP_READ_WRITE : 0,
        };
}

static int media_map(void *userdata, struct oriel_range range, int fd, enum oriel_access access)
{
        struct media_device *device = userdata;
        const struct oriel_wire_mmap map = media_in_window(range, access);
        uint64_t ticket;
        int r = oriel_backend_shmem_map(device->backend, &map, fd, &ticket);

        return r < 0 ? r : oriel_backend_wait(device->backend, ticket);
}

static int media_unmap(void *userdata, struct oriel_range range, bool wait)
{
        struct media_device *device = userdata;
        const struct oriel_wire_mmap map = media_in_window(range, ORIEL_ACCESS_READ_WRITE);
        uint64_t ticket;
        int r = oriel_backend_shmem_unmap(device->backend, &map, wait ? &ticket : NULL);

        return r < 0 || !wait ? r : oriel_backend_wait(device->backend, ticket);
}

/* Called with the lock held. NULL: the driver has left none. */
static struct oriel_chain *media_device_take_buffer(struct media_device *device)
{
        struct oriel_chain *chain = NULL;

        if (!device->events)
                return NULL;
        if (device->n_buffers == 0)
                return oriel_backend_queue_pop(device->events, &chain) > 0 ? chain : NULL;
        chain = device->buffers[device->first];
        device->first = (device->first + 1) % oriel_backend_queue_size(device->events);
        device->n_buffers--;
        return chain;
}

/* Called with the lock held. */
static bool put_event(struct media_device *device, const union media_event *event, size_t size)
{
        struct oriel_chain *chain = media_device_take_buffer(device);

        if (!chain)
                return false;
        if (oriel_backend_queue_push(device->events, chain, oriel_chain_write(chain, 0, event, size)) == 0)
                oriel_backend_queue_notify(device->events);
        return true;
}

static bool media_put_event(void *userdata, const union media_event *event, size_t size)
{
        struct media_device *device = userdata;

        pthread_mutex_lock(&device->lock);

        const bool put = put_event(device, event, size);

        pthread_mutex_unlock(&device->lock);
        return put;
}

static void media_mark_dirty(void *userdata, struct oriel_range guest)
{
        struct media_device *device = userdata;

        oriel_backend_mark_dirty(device->backend, guest);
}

static bool media_shares_objects(void *userdata)
{
        struct media_device *device = userdata;

        return oriel_backend_protocol_features(device->backend) & ORIEL_FEATURE(ORIEL_PROTOCOL_F_SHARED_OBJECT);
}

static int media_object_add(void *userdata, const struct media_object *object)
{
        struct media_device *device = userdata;
        uint64_t ticket;
        int r = oriel_backend_shared_object_add(device->backend, object->uuid, &ticket);

        return r < 0 ? r : oriel_backend_wait(device->backend, ticket);
}

static void media_object_remove(void *userdata, const struct media_object *object)
{
        struct media_device *device = userdata;

        oriel_backend_shared_object_remove(device->backend, object->uuid, NULL);
}

static int media_object_find(void *userdata, const struct media_object *object)
{
        struct media_device *device = userdata;

        return oriel_backend_shared_object_lookup(device->backend, object->uuid);
}

static const struct media_ops media_ops = {
        .memory = media_memory,
        .map = media_map,
        .unmap = media_unmap,
        .event = media_put_event,
        .mark_dirty = media_mark_dirty,
        .shares_objects = media_shares_objects,
        .object_add = media_object_add,
        .object_remove = media_object_remove,
        .object_find = media_object_find,
};

/* ---- queues ---- */

static ssize_t handle_command(struct media_device *device, struct oriel_chain *chain)
{
        const size_t room = MIN(oriel_chain_writable_size(chain), MEDIA_ANSWER_MAX);
        /* A command that is too large is cut, and refused for not being whole. */
        const size_t size = oriel_chain_read(chain, 0, device->command, MEDIA_COMMAND_MAX);
        const size_t answered = media_handle(device->media, device->command, size, device->answer, room);

        return (ssize_t)oriel_chain_write(chain, 0, device->answer, answered);
}

static ssize_t handle_buffer(struct media_device *device, struct oriel_chain *chain)
{
        pthread_mutex_lock(&device->lock);

        const unsigned size = oriel_backend_queue_size(device->events);

        device->buffers[(device->first + device->n_buffers++) % size] = chain;
        pthread_mutex_unlock(&device->lock);
        media_flush(device->media);
        return -EINPROGRESS;
}

static ssize_t media_device_handle(void *userdata, struct oriel_backend_queue *queue, struct oriel_chain *chain)
{
        return oriel_backend_queue_index(queue) == MEDIA_COMMAND_QUEUE ? handle_command(userdata, chain)
                                                                       : handle_buffer(userdata, chain);
}

static int start_events(struct media_device *device, struct oriel_backend_queue *queue)
{
        struct oriel_chain **buffers = calloc(oriel_backend_queue_size(queue), sizeof(struct oriel_chain *));

        if (!buffers)
                return -ENOMEM;
        pthread_mutex_lock(&device->lock);
        device->events = queue;
        device->buffers = buffers;
        device->first = 0;
        pthread_mutex_unlock(&device->lock);
        return 0;
}

/* Dropped chains stay in the ring, for the back-end that goes on with it. */
static void stop_events(struct media_device *device)
{
        struct oriel_chain *chain;

        pthread_mutex_lock(&device->lock);
        while (device->n_buffers > 0 && (chain = media_device_take_buffer(device)))
                oriel_chain_drop(chain);
        free(steal(device->buffers));
        device->events = NULL;
        pthread_mutex_unlock(&device->lock);
}

static int media_device_start(void *userdata, struct oriel_backend_queue *queue)
{
        struct media_device *device = userdata;
        int r = 0;

        if (oriel_backend_queue_index(queue) == MEDIA_EVENT_QUEUE)
                r = start_events(device, queue);
        /* A driver that begins anew without a reset. */
        else if (!oriel_backend_queue_resumed(queue))
                media_reset(device->media);
        if (r == 0)
                r = oriel_worker_add(device->worker, queue);
        if (r < 0 && oriel_backend_queue_index(queue) == MEDIA_EVENT_QUEUE)
                stop_events(device);
        return r;
}

static void media_device_stop(void *userdata, struct oriel_backend_queue *queue)
{
        struct media_device *device = userdata;

        oriel_worker_remove(device->worker, queue);
        if (oriel_backend_queue_index(queue) == MEDIA_EVENT_QUEUE)
                stop_events(device);
}

/* ---- the rest of the device ---- */

static int media_device_get_config(void *userdata, uint32_t offset, void *data, uint32_t size)
{
        struct media_device *device = userdata;
        const struct media_config *config = media_config(device->media);

        if (!range_within((struct oriel_range){offset, size}, sizeof(*config)))
                return -EINVAL;
        memcpy(data, (const uint8_t *)config + offset, size);
        return 0;
}

static void media_device_reset(void *userdata)
{
        struct media_device *device = userdata;

        media_reset(device->media);
}

static int media_device_get_shared_object(void *userdata, const uint8_t uuid[16])
{
        struct media_device *device = userdata;
        struct media_object object;

        memcpy(object.uuid, uuid, sizeof(object.uuid));
        return media_get_object(device->media, &object);
}

static int media_device_make_backend(struct media_device *device, const struct media_device_options *options)
{
        const uint64_t sizes[ORIEL_MAX_SHMIDS] = {[MEDIA_SHMID] = options->window_size};
        const struct oriel_backend_ops ops = {
                .struct_size = sizeof(ops),
                .get_config = media_device_get_config,
                .start = media_device_start,
                .stop = media_device_stop,
                .reset = media_device_reset,
                .get_shared_object = options->objects ? media_device_get_shared_object : NULL,
        };
        const struct oriel_backend_options backend = {
                .struct_size = sizeof(backend),
                .ops = &ops,
                .userdata = device,
                .log = &device->log,
                .device_features = DAEMON_RING_FEATURES,
                .queues = MEDIA_QUEUES,
                .shmem_sizes = sizes,
                .dialect = options->dialect,
                .max_mappings = options->max_mappings,
        };

        return oriel_backend_new(&backend, &device->backend);
}

static int make_parts(struct media_device *device, const struct media_device_options *options)
{
        const struct media_options media = {
                .ops = &media_ops,
                .userdata = device,
                .log = device->log,
                .lines = options->lines,
                .window_size = options->window_size,
                .node = options->node,
        };
        const struct oriel_worker_options worker = {
                .struct_size = sizeof(worker),
                .handle = media_device_handle,
                .userdata = device,
                .threads = 1,
                .poll_us = POLL_US,
        };
        int r = media_new(&media, &device->media);

        if (r < 0)
                return r;
        device->command = malloc(MEDIA_COMMAND_MAX);
        r = device->command ? oriel_worker_new(&worker, &device->worker) : -ENOMEM;
        return r < 0 ? r : media_device_make_backend(device, options);
}

int media_device_new(const struct media_device_options *options, struct media_device **out)
{
        struct media_device *device = calloc(1, sizeof(*device));
        int r = -ENOMEM;

        if (device) {
                device->log = options->log;
                pthread_mutex_init(&device->lock, NULL);
                r = make_parts(device, options);
        }
        if (r < 0 && (!device || !device->media))
                options->node->ops->free(options->node);
        if (r < 0)
                media_device_free(device);
        else
                *out = device;
        return r;
}

void media_device_free(struct media_device *device)
{
        if (!device)
                return;
        /* Stops the queues, whose threads use the back-end until then, and resets the media. */
        if (device->backend)
                oriel_backend_disconnect(device->backend);
        oriel_backend_free(steal(device->backend));
        media_free(device->media);
        oriel_worker_free(device->worker);
        pthread_mutex_destroy(&device->lock);
        free(device->command);
        free(device);
}

struct oriel_backend *media_device_backend(struct media_device *device)
{
        return device->backend;
}
