/* SPDX-License-Identifier: BSD-2-Clause */

/* One client of vtest, which is a context of the device. A command is a header of two numbers, its length and its kind,
 * and as many numbers as the length says; the command's row has the least length, which is checked before its handler
 * runs. Blobs are created one after the other and waited for, as the device is quick at that; submissions are not
 * waited for, and write to sync objects when they end.
 *
 * The client maps a blob itself: it is mapped in the window only until its file is known. The protocol can't refuse
 * a blob, so the client gets an fd that can't be mapped, and its mmap() fails. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "channel/rights.h"
#include "cli/vtest/vtest.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/param.h>
#include <sys/socket.h>

/* The protocol's numbers: Mesa's vtest_protocol.h. */
enum {
        VTEST_RESOURCE_UNREF = 3,
        VTEST_BUSY_WAIT = 7,
        VTEST_CREATE_RENDERER = 8,
        VTEST_PING = 10,
        VTEST_VERSION = 11,
        VTEST_GET_PARAM = 15,
        VTEST_GET_CAPSET = 16,
        VTEST_CONTEXT_INIT = 17,
        VTEST_CREATE_BLOB = 18,
        VTEST_SYNC_CREATE = 19,
        VTEST_SYNC_UNREF = 20,
        VTEST_SYNC_READ = 21,
        VTEST_SYNC_WRITE = 22,
        VTEST_SYNC_WAIT = 23,
        VTEST_SUBMIT = 24,

        VTEST_PARAM_TIMELINES = 1,
        VTEST_SUBMIT_RING = 1 << 0,

        VERSION = 3,
        VENUS = 4,
        TIMELINES = 64,
        WORDS_MAX = 1 << 20, /* of a command */
        BATCHES_MAX = 64,
        RESOURCES_MAX = 65536,
};

struct held {
        SLIST_ENTRY(held) entry;
        uint32_t id;
};

struct vtest_client {
        struct vtest *vtest;
        int fd;
        char name[64];
        uint32_t context; /* 0: none yet */
        struct syncs syncs;
        SLIST_HEAD(held_list, held) resources;
        unsigned n_resources;
        SLIST_HEAD(submission_list, submission) submissions;

        uint8_t *in;
        size_t in_size, in_room;
        uint32_t n; /* length of the command that is handled, in numbers; of a name, in bytes */
        const char *why;
};

/* A submission whose fence is not signalled yet. @client is NULL if the client has gone. */
struct submission {
        SLIST_ENTRY(submission) entry;
        struct vtest_client *client;
        uint32_t n;
        uint32_t points[]; /* three for each */
};

static int client_refuse(struct vtest_client *client, const char *why)
{
        client->why = why;
        return -EPROTO;
}

/* ---- answers ---- */

/* Does not wait for a client that does not read its answers: it is dropped. */
static int vtest_send_bytes(struct vtest_client *client, const void *bytes, size_t size, int fd)
{
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control;
        struct iovec iov = {(void *)(uintptr_t)bytes, size};
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

        if (fd >= 0)
                rights_attach(&message, &control, &fd, 1);

        ssize_t n = sendmsg(client->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n == (ssize_t)size)
                return 0;
        if (n >= 0 || errno == EAGAIN)
                return client_refuse(client, "it does not read its answers");
        return -errno;
}

/* Sends @n numbers, and then one byte with @fd, unless that is -1. */
static int client_reply(struct vtest_client *client, uint32_t kind, const uint32_t *words, uint32_t n, int fd)
{
        uint32_t whole[2 + 4] = {n, kind};

        memcpy(whole + 2, words, n * sizeof(*words));

        int r = vtest_send_bytes(client, whole, (2 + n) * sizeof(*words), -1);

        return r < 0 || fd < 0 ? r : vtest_send_bytes(client, "", 1, fd);
}

/* ---- commands ---- */

static int create_renderer(struct vtest_client *client, const uint32_t *words)
{
        memcpy(client->name, words, MIN((size_t)client->n, sizeof(client->name) - 1));
        return 0;
}

static int client_ping(struct vtest_client *client, const uint32_t *words)
{
        return client_reply(client, VTEST_PING, words, 0, -1);
}

/* No resource is ever busy: Mesa sends this to find out whether the server knows pings. */
static int busy_wait(struct vtest_client *client, const uint32_t *words)
{
        return client_reply(client, VTEST_BUSY_WAIT, (uint32_t[]){0}, 1, -1);
}

static int protocol_version(struct vtest_client *client, const uint32_t *words)
{
        return client_reply(client, VTEST_VERSION, (uint32_t[]){MIN(words[0], (uint32_t)VERSION)}, 1, -1);
}

static int get_param(struct vtest_client *client, const uint32_t *words)
{
        bool known = words[0] == VTEST_PARAM_TIMELINES;

        return client_reply(client, VTEST_GET_PARAM, (uint32_t[]){known, known ? TIMELINES : 0}, 2, -1);
}

static int get_capset(struct vtest_client *client, const uint32_t *words)
{
        const struct vtest *vtest = client->vtest;
        const uint32_t size = (vtest->capset_size + 3) / 4;
        const uint32_t head[] = {1 + size, VTEST_GET_CAPSET, 1};

        if (words[0] != VENUS || words[1] > vtest->capset_version)
                return client_reply(client, VTEST_GET_CAPSET, (uint32_t[]){0}, 1, -1);

        int r = vtest_send_bytes(client, head, sizeof(head), -1);

        return r < 0 ? r : vtest_send_bytes(client, vtest->capset, (size_t)size * 4, -1);
}

static int context_init(struct vtest_client *client, const uint32_t *words)
{
        if (client->context)
                return client_refuse(client, "it has a context");

        uint32_t id = ++client->vtest->last_context;
        int r = gpu_client_create_context(client->vtest->gpu, id, words[0], client->name);

        if (r == 0)
                client->context = id;
        return r < 0 ? client_refuse(client, "the device has no context for it") : 0;
}

/* Returns the file of @resource, the caller's: maps the blob in the window, duplicates the mapping's file, and
 * unmaps it. */
static int vtest_find_file(struct vtest *vtest, uint32_t resource)
{
        struct oriel_driver *driver = gpu_client_driver(vtest->gpu);
        struct oriel_region *region = oriel_driver_region(driver, VIRTIO_GPU_SHM_ID_HOST_VISIBLE);
        int r = gpu_client_map(vtest->gpu, resource, 0, NULL);

        if (r < 0)
                return r;

        struct oriel_mapping *mapping = oriel_region_find(region, 0);
        int fd = mapping ? fd_dup(oriel_mapping_fd(mapping)) : -ENOENT;

        oriel_mapping_unref(mapping);
        r = gpu_client_unmap(vtest->gpu, resource);
        if (r == 0)
                return fd;
        fd_close(fd);
        return r;
}

static int keep_resource(struct vtest_client *client, uint32_t id)
{
        struct held *held = client->n_resources < RESOURCES_MAX ? calloc(1, sizeof(*held)) : NULL;

        if (!held)
                return -ENOMEM;
        held->id = id;
        SLIST_INSERT_HEAD(&client->resources, held, entry);
        client->n_resources++;
        return 0;
}

static int vtest_make_blob(struct vtest_client *client, uint32_t id, const uint32_t *words)
{
        struct gpu_client *gpu = client->vtest->gpu;
        const struct gpu_client_blob blob = {
                .context_id = client->context,
                .resource_id = id,
                .mem = words[0],
                .flags = words[1],
                .size = vtest_value(words + 2),
                .blob_id = vtest_value(words + 4),
        };
        int r = gpu_client_create(gpu, &blob);

        if (r < 0)
                return r;
        r = keep_resource(client, id);
        if (r < 0) {
                gpu_client_unref(gpu, id);
                return r;
        }
        r = gpu_client_attach(gpu, client->context, id);
        return r < 0 ? r : vtest_find_file(client->vtest, id);
}

static int vtest_create_blob(struct vtest_client *client, const uint32_t *words)
{
        uint32_t id = ++client->vtest->last_resource;

        if (!client->context || words[0] != VIRTIO_GPU_BLOB_MEM_HOST3D)
                return client_refuse(client, "a blob without a context, or of the client's memory");

        int fd = vtest_make_blob(client, id, words);

        if (fd == -ENOTCONN || fd == -ETIMEDOUT)
                return client->vtest->error = fd;
        if (fd < 0)
                fd = eventfd(0, EFD_CLOEXEC);
        if (fd < 0)
                return -errno;

        int r = client_reply(client, VTEST_CREATE_BLOB, &id, 1, fd);

        fd_close(fd);
        return r;
}

static void unref_resource(struct vtest_client *client, struct held *held)
{
        SLIST_REMOVE(&client->resources, held, held, entry);
        client->n_resources--;
        if (!client->vtest->error)
                gpu_client_unref(client->vtest->gpu, held->id);
        free(held);
}

static int vtest_resource_unref(struct vtest_client *client, const uint32_t *words)
{
        struct held *held;

        SLIST_FOREACH(held, &client->resources, entry)
        if (held->id == words[0]) {
                unref_resource(client, held);
                break;
        }
        return 0;
}

static int make_sync(struct vtest_client *client, const uint32_t *words)
{
        uint32_t id = sync_create(&client->syncs, vtest_value(words));

        return id ? client_reply(client, VTEST_SYNC_CREATE, &id, 1, -1)
                  : client_refuse(client, "too many sync objects");
}

static int end_sync(struct vtest_client *client, const uint32_t *words)
{
        sync_unref(&client->syncs, words[0]);
        return 0;
}

static int read_sync(struct vtest_client *client, const uint32_t *words)
{
        const uint64_t value = sync_read(&client->syncs, words[0]);

        return client_reply(client, VTEST_SYNC_READ, (uint32_t[]){(uint32_t)value, (uint32_t)(value >> 32)}, 2, -1);
}

static int write_sync(struct vtest_client *client, const uint32_t *words)
{
        sync_write(&client->syncs, words);
        return 0;
}

static int wait_sync(struct vtest_client *client, const uint32_t *words)
{
        int fd = sync_wait(&client->syncs, words, client->n);

        if (fd < 0)
                return client_refuse(client, fd == -EINVAL ? "a wait that is cut off" : "too many waits");

        int r = client_reply(client, VTEST_SYNC_WAIT, words, 0, fd);

        fd_close(fd);
        return r;
}

/* ---- submissions ---- */

static void fence_done(void *userdata, const struct virtio_gpu_ctrl_hdr *answer, size_t size)
{
        struct submission *submission = userdata;
        struct vtest_client *client = submission->client;

        if (client)
                SLIST_REMOVE(&client->submissions, submission, submission, entry);
        for (uint32_t i = 0; client && i < submission->n; i++)
                sync_write(&client->syncs, submission->points + (size_t)3 * i);
        free(submission);
}

struct batch {
        uint32_t flags, command, command_size, sync, n_syncs, ring;
};

static int send_batch(struct vtest_client *client, const uint32_t *words, const struct batch *batch, uint64_t fence_id)
{
        struct gpu_client *gpu = client->vtest->gpu;
        const bool fenced = batch->n_syncs > 0;
        const struct virtio_gpu_cmd_submit submit = {
                .hdr = {.type = VIRTIO_GPU_CMD_SUBMIT_3D,
                        .flags = fenced ? VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX : 0,
                        .ctx_id = client->context,
                        .ring_idx = batch->flags & VTEST_SUBMIT_RING ? (uint8_t)batch->ring : 0,
                        .fence_id = fence_id},
                .size = batch->command_size * 4,
        };
        const struct gpu_client_command command = {.fixed = &submit,
                                                   .fixed_size = sizeof(submit),
                                                   .payload = words + batch->command,
                                                   .payload_size = submit.size};
        struct submission *submission = calloc(1, sizeof(*submission) + (size_t)batch->n_syncs * 12);
        int r;

        if (!submission)
                return -ENOMEM;
        submission->client = client;
        submission->n = batch->n_syncs;
        memcpy(submission->points, words + batch->sync, (size_t)batch->n_syncs * 12);
        SLIST_INSERT_HEAD(&client->submissions, submission, entry);
        while ((r = gpu_client_send(gpu, &command, fence_done, submission)) == -EAGAIN) {
                r = gpu_client_kick(gpu);
                if (r == 0)
                        r = gpu_client_wait(gpu, 1000);
                if (r < 0 || (r = gpu_client_collect(gpu)) < 0)
                        break;
        }
        if (r < 0) {
                SLIST_REMOVE(&client->submissions, submission, submission, entry);
                free(submission);
        }
        return r;
}

static bool is_within(uint32_t start, uint64_t size, uint32_t n)
{
        return start <= n && size <= n - start;
}

/* A batch has six numbers, or eight in later versions, which the offset of the first batch's commands tells. */
static int client_submit(struct vtest_client *client, const uint32_t *words)
{
        static uint64_t last_fence;
        const uint32_t n_batches = words[0], n = client->n;
        const uint32_t stride = n_batches && n > 2 ? (words[2] - 1) / n_batches : 0;
        int r = 0;

        if (n_batches == 0)
                return 0;
        if (!client->context || n_batches > BATCHES_MAX || (stride != 6 && stride != 8) || 1 + n_batches * stride > n)
                return client_refuse(client, "a submission that makes no sense");
        for (uint32_t i = 0; r == 0 && i < n_batches; i++) {
                struct batch batch;

                memcpy(&batch, words + 1 + (size_t)i * stride, sizeof(batch));
                if (!is_within(batch.command, batch.command_size, n) ||
                    !is_within(batch.sync, (uint64_t)batch.n_syncs * 3, n))
                        return client_refuse(client, "a submission beyond its end");
                r = send_batch(client, words, &batch, ++last_fence);
        }
        if (r == 0)
                r = gpu_client_kick(client->vtest->gpu);
        return r;
}

static const struct vtest_row {
        uint32_t kind, least; /* numbers */
        int (*handle)(struct vtest_client *client, const uint32_t *words);
} rows[] = {
        {VTEST_RESOURCE_UNREF, 1, vtest_resource_unref},
        {VTEST_BUSY_WAIT, 2, busy_wait},
        {VTEST_CREATE_RENDERER, 0, create_renderer},
        {VTEST_PING, 0, client_ping},
        {VTEST_VERSION, 1, protocol_version},
        {VTEST_GET_PARAM, 1, get_param},
        {VTEST_GET_CAPSET, 2, get_capset},
        {VTEST_CONTEXT_INIT, 1, context_init},
        {VTEST_CREATE_BLOB, 6, vtest_create_blob},
        {VTEST_SYNC_CREATE, 2, make_sync},
        {VTEST_SYNC_UNREF, 1, end_sync},
        {VTEST_SYNC_READ, 1, read_sync},
        {VTEST_SYNC_WRITE, 3, write_sync},
        {VTEST_SYNC_WAIT, 2, wait_sync},
        {VTEST_SUBMIT, 1, client_submit},
};

static int client_handle(struct vtest_client *client, uint32_t kind, const uint32_t *words)
{
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (rows[i].kind == kind)
                        return client->n < rows[i].least ? client_refuse(client, "a command that is cut off")
                                                         : rows[i].handle(client, words);
        return client_refuse(client, "a command that Venus has no use for: only VN_DEBUG=vtest is served");
}

/* ---- life ---- */

struct vtest_client *vtest_client_new(struct vtest *vtest, int fd)
{
        struct vtest_client *client = calloc(1, sizeof(*client));

        if (!client) {
                fd_close(fd);
                return NULL;
        }
        client->vtest = vtest;
        client->fd = fd;
        return client;
}

void vtest_client_free(struct vtest_client *client)
{
        struct submission *submission;

        SLIST_FOREACH(submission, &client->submissions, entry)
        submission->client = NULL;
        if (client->context && !client->vtest->error)
                gpu_client_destroy_context(client->vtest->gpu, client->context);
        while (!SLIST_EMPTY(&client->resources))
                unref_resource(client, SLIST_FIRST(&client->resources));
        syncs_free(&client->syncs);
        fd_close(client->fd);
        free(client->in);
        free(client);
}

int vtest_client_fd(const struct vtest_client *client)
{
        return client->fd;
}

static int read_some(struct vtest_client *client)
{
        if (client->in_room - client->in_size < 4096) {
                size_t room = client->in_room ? client->in_room * 2 : 16384;
                uint8_t *in = realloc(client->in, room);

                if (!in)
                        return -ENOMEM;
                client->in = in;
                client->in_room = room;
        }

        ssize_t n = recv(client->fd, client->in + client->in_size, client->in_room - client->in_size, MSG_DONTWAIT);

        if (n == 0)
                return -ENOTCONN;
        if (n < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        client->in_size += (size_t)n;
        return 0;
}

/* 1: a command was handled; 0: it is incomplete. */
static int handle_one(struct vtest_client *client)
{
        uint32_t header[2];

        if (client->in_size < sizeof(header))
                return 0;
        memcpy(header, client->in, sizeof(header));

        /* The length of a name is in bytes, all others in numbers. */
        const size_t unit = header[1] == VTEST_CREATE_RENDERER ? 1 : 4;
        const size_t size = sizeof(header) + header[0] * unit;

        if (header[0] > WORDS_MAX)
                return client_refuse(client, "a command of more than 4 MiB");
        if (client->in_size < size)
                return 0;

        client->n = header[0];

        int r = client_handle(client, header[1], (const uint32_t *)(const void *)(client->in + sizeof(header)));

        client->in_size -= size;
        memmove(client->in, client->in + size, client->in_size);
        return r < 0 ? r : 1;
}

int vtest_client_serve(struct vtest_client *client, const char **why)
{
        int r = read_some(client);

        client->why = NULL;
        if (r == 0)
                while ((r = handle_one(client)) == 1)
                        ;
        *why = client->why;
        return r;
}
