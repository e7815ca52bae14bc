/* SPDX-License-Identifier: BSD-2-Clause */

/* Commands in flight: each has a buffer of driver memory, for the command and then for its answer. Driver memory can't
 * be freed, so buffers are kept in lists by their size, a power of two, for the next command that fits. An answer is
 * copied out before its callback sees it, since the device could still change it, and its buffer is free again by then,
 * so a callback may send further commands. gpu_client_call() is a send with a callback of its own and a wait. On the
 * driver's thread. */

#include "clients/gpu/client.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>
#include <sys/queue.h>

enum { SMALLEST = 512, CLASSES = 16, TIMEOUT_MS = 30000 };

struct gpu_call {
        SLIST_ENTRY(gpu_call) entry;
        unsigned class;
        size_t room;
        uint8_t *buffer; /* of SMALLEST << class bytes: the command, then the answer */
        uint8_t *answer;
        gpu_client_done_fn done;
        void *userdata;
};
SLIST_HEAD(call_list, gpu_call);

/* Of an answer, which the device could change. */
struct answer_copy {
        uint8_t *data;
        size_t room;
};

struct gpu_client {
        struct oriel_driver *driver;
        struct call_list spare[CLASSES];
        struct call_list out;
        unsigned pending[2];
        struct answer_copy spare_copy; /* room for the next one; none while a callback has it */
};

int gpu_client_error(uint32_t type)
{
        switch (type) {
        case VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY:
                return -ENOMEM;
        case VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID:
        case VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID:
        case VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID:
                return -ENOENT;
        case VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER:
                return -EINVAL;
        case VIRTIO_GPU_RESP_ERR_UNSPEC:
                return -EIO;
        default:
                return -EPROTO;
        }
}

int gpu_client_new(struct oriel_driver *driver, struct gpu_client **out)
{
        if (oriel_driver_queue_count(driver) < 2)
                return -ENODEV;

        struct gpu_client *client = calloc(1, sizeof(*client));

        if (!client)
                return -ENOMEM;
        client->driver = driver;
        *out = client;
        return 0;
}

static void gpu_client_free_list(struct call_list *list)
{
        struct gpu_call *call;

        while ((call = SLIST_FIRST(list))) {
                SLIST_REMOVE_HEAD(list, entry);
                free(call);
        }
}

void gpu_client_free(struct gpu_client *client)
{
        if (!client)
                return;
        for (unsigned i = 0; i < CLASSES; i++)
                gpu_client_free_list(&client->spare[i]);
        gpu_client_free_list(&client->out);
        free(client->spare_copy.data);
        free(client);
}

struct oriel_driver *gpu_client_driver(const struct gpu_client *client)
{
        return client->driver;
}

/* Takes a spare buffer for @size bytes, or allocates one. */
static int call_new(struct gpu_client *client, size_t size, struct gpu_call **out)
{
        unsigned class = 0;

        while (class < CLASSES && (size_t)SMALLEST << class < size)
                class ++;
        if (class == CLASSES)
                return -EMSGSIZE;

        struct gpu_call *call = SLIST_FIRST(&client->spare[class]);

        if (call) {
                SLIST_REMOVE_HEAD(&client->spare[class], entry);
                *out = call;
                return 0;
        }
        call = calloc(1, sizeof(*call));
        if (!call)
                return -ENOMEM;
        call->class = class;
        call->buffer = oriel_driver_alloc(client->driver, (size_t)SMALLEST << class);
        if (!call->buffer) {
                free(call);
                return -ENOMEM;
        }
        *out = call;
        return 0;
}

static void call_keep(struct gpu_client *client, struct gpu_call *call)
{
        SLIST_INSERT_HEAD(&client->spare[call->class], call, entry);
}

int gpu_client_send(struct gpu_client *client, const struct gpu_client_command *command, gpu_client_done_fn done,
                    void *userdata)
{
        size_t size = command->fixed_size + command->payload_size, at = (size + 63) & ~(size_t)63;
        size_t room = MAX(command->room, sizeof(struct virtio_gpu_ctrl_hdr));
        struct gpu_call *call;
        int r = call_new(client, at + room, &call);

        if (r < 0)
                return r;
        call->answer = call->buffer + at;
        call->room = room;
        call->done = done;
        call->userdata = userdata;
        memcpy(call->buffer, command->fixed, command->fixed_size);
        if (command->payload_size)
                memcpy(call->buffer + command->fixed_size, command->payload, command->payload_size);

        const struct iovec in = {call->buffer, size}, out = {call->answer, room};

        r = oriel_driver_submit(client->driver, command->queue, &in, 1, &out, 1, call);
        if (r < 0) {
                call_keep(client, call);
                return r;
        }
        SLIST_INSERT_HEAD(&client->out, call, entry);
        client->pending[command->queue]++;
        return 0;
}

int gpu_client_kick(struct gpu_client *client)
{
        int r = oriel_driver_kick(client->driver, GPU_CLIENT_CONTROL);

        return r < 0 ? r : oriel_driver_kick(client->driver, GPU_CLIENT_CURSOR);
}

unsigned gpu_client_pending(const struct gpu_client *client)
{
        return client->pending[GPU_CLIENT_CONTROL] + client->pending[GPU_CLIENT_CURSOR];
}

/* Takes the spare room, since the callback may collect other answers while it has this one. */
static int answer_copy_take(struct gpu_client *client, const struct gpu_call *call, size_t size,
                            struct answer_copy *out)
{
        struct answer_copy copy = client->spare_copy;

        if (size > copy.room) {
                uint8_t *data = realloc(copy.data, size);

                if (!data)
                        return -ENOMEM;
                copy = (struct answer_copy){data, size};
        }
        client->spare_copy = (struct answer_copy){NULL, 0};
        if (size > 0)
                memcpy(copy.data, call->answer, size);
        *out = copy;
        return 0;
}

static void answer_copy_keep(struct gpu_client *client, const struct answer_copy *copy)
{
        free(client->spare_copy.data);
        client->spare_copy = *copy;
}

static int collect_from(struct gpu_client *client, unsigned queue)
{
        int n = 0, r;
        uint32_t written;
        void *token;

        while ((r = oriel_driver_collect(client->driver, queue, &token, &written)) == 1) {
                struct gpu_call *call = token;
                struct answer_copy copy;
                size_t size = MIN(written, call->room);

                SLIST_REMOVE(&client->out, call, gpu_call, entry);
                client->pending[queue]--;
                r = answer_copy_take(client, call, size, &copy);
                call_keep(client, call);
                if (r < 0)
                        return r;
                if (size < sizeof(struct virtio_gpu_ctrl_hdr))
                        size = 0;
                if (call->done)
                        call->done(call->userdata, size ? (void *)copy.data : NULL, size);
                answer_copy_keep(client, &copy);
                n++;
        }
        return r < 0 ? r : n;
}

int gpu_client_collect(struct gpu_client *client)
{
        int n = collect_from(client, GPU_CLIENT_CONTROL);
        int more = n < 0 ? n : collect_from(client, GPU_CLIENT_CURSOR);

        return more < 0 ? more : n + more;
}

/* Waits for the cursor's queue only if no other command is in flight. */
int gpu_client_wait(struct gpu_client *client, int ms)
{
        return oriel_driver_wait(client->driver,
                                 client->pending[GPU_CLIENT_CONTROL] ? GPU_CLIENT_CONTROL : GPU_CLIENT_CURSOR, ms);
}

/* ---- one after the other ---- */

struct gpu_sync {
        void *answer;
        size_t size;
        int type; /* 0: not there yet */
};

static void sync_done(void *userdata, const struct virtio_gpu_ctrl_hdr *answer, size_t size)
{
        struct gpu_sync *sync = userdata;

        sync->type = size ? (int)answer->type : -EPROTO;
        if (size)
                memcpy(sync->answer, answer, MIN(size, sync->size));
}

/* The device may still answer a command whose caller has given up; its row is on the caller's stack. */
static void sync_forget(struct gpu_client *client, const struct gpu_sync *sync)
{
        struct gpu_call *call;

        SLIST_FOREACH(call, &client->out, entry)
        if (call->userdata == sync)
                call->done = NULL;
}

int gpu_client_call(struct gpu_client *client, const struct gpu_client_command *command, void *answer, size_t size)
{
        struct gpu_client_command with_room = *command;
        struct gpu_sync sync = {answer, size, 0};

        with_room.room = MAX(command->room, size);

        int r = gpu_client_send(client, &with_room, sync_done, &sync);

        if (r == 0)
                r = gpu_client_kick(client);
        while (r >= 0 && sync.type == 0) {
                r = gpu_client_wait(client, TIMEOUT_MS);
                if (r == 0)
                        r = gpu_client_collect(client);
        }
        if (sync.type == 0)
                sync_forget(client, &sync);
        return r < 0 ? r : sync.type;
}
