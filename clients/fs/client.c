/* SPDX-License-Identifier: BSD-2-Clause */

/* FUSE requests to a virtio-fs back-end, one at a time, each of which waits for its answer: for the demo, benchmarks
 * and tests. One buffer of driver memory for requests and one for answers, which the back-end has too: an answer's
 * header is copied out before it is checked. Errors are the device's answer, or the driver's, as a negative errno. On
 * the driver's thread. */

#include "clients/fs/client.h"
#include "base/cleanup.h"
#include "base/shared.h"

#include <errno.h>
#include <string.h>

#define BUFFER     (UINT64_C(64) << 10)
#define TIMEOUT_MS 10000

#define FUSE_FORGET_BATCH 1000

/* Those of Linux's features that change the back-end's answers to this client. */
#define OFFERED                                                                                                 \
        (FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | \
         FUSE_READDIRPLUS_AUTO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_MAP_ALIGNMENT)

static int wait_answer(struct fuse_client *client)
{
        void *token;
        uint32_t written;
        int r;

        while ((r = oriel_driver_collect(client->driver, FUSE_CLIENT_QUEUE, &token, &written)) == 0) {
                r = oriel_driver_wait(client->driver, FUSE_CLIENT_QUEUE, TIMEOUT_MS);
                if (r < 0)
                        return r;
        }
        return r < 0 ? r : (int)written;
}

static int request_exchange(struct fuse_client *client, size_t in_size, bool answered)
{
        struct iovec in = {client->in, in_size}, out = {client->out, BUFFER};
        int r = oriel_driver_submit(client->driver, FUSE_CLIENT_QUEUE, &in, 1, &out, answered ? 1 : 0, client);

        if (r == 0)
                r = oriel_driver_kick(client->driver, FUSE_CLIENT_QUEUE);
        return r < 0 ? r : wait_answer(client);
}

static bool has_answer(uint32_t opcode)
{
        return opcode != FUSE_FORGET && opcode != FUSE_BATCH_FORGET;
}

int fuse_call(struct fuse_client *client, uint32_t opcode, uint64_t nodeid, const void *args, size_t args_size,
              const void *data, size_t data_size, void *out, size_t out_size)
{
        struct fuse_in_header header = {
                .len = (uint32_t)(sizeof(header) + args_size + data_size),
                .opcode = opcode,
                .unique = ++client->unique,
                .nodeid = nodeid,
        };
        struct fuse_out_header answer;

        if (header.len > BUFFER)
                return -EMSGSIZE;
        memcpy(client->in, &header, sizeof(header));
        if (args_size)
                memcpy(client->in + sizeof(header), args, args_size);
        if (data_size)
                memcpy(client->in + sizeof(header) + args_size, data, data_size);

        int r = request_exchange(client, header.len, has_answer(opcode));

        if (r < 0 || !has_answer(opcode))
                return r;
        shared_copy(&answer, client->out, sizeof(answer));
        if ((size_t)r < sizeof(answer) || answer.len != (uint32_t)r || answer.unique != header.unique)
                return -EPROTO;
        if (!fuse_error_valid(answer.error))
                return -EPROTO;
        if (answer.error)
                return answer.error;

        size_t body = (size_t)r - sizeof(answer);

        if (out)
                memcpy(out, client->out + sizeof(answer), body < out_size ? body : out_size);
        return (int)body;
}

int fuse_client_init(struct fuse_client *client, struct oriel_driver *driver)
{
        struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .flags = OFFERED};
        struct fuse_init_out out = {0};

        *client = (struct fuse_client){
                .driver = driver,
                .in = oriel_driver_alloc(driver, BUFFER),
                .out = oriel_driver_alloc(driver, BUFFER),
        };
        if (!client->in || !client->out)
                return -ENOMEM;
        if (oriel_driver_queue_count(driver) <= FUSE_CLIENT_QUEUE)
                return -ENODEV;

        int r = fuse_call(client, FUSE_INIT, 0, &in, sizeof(in), NULL, 0, &out, sizeof(out));

        return r < 0 ? r : out.major == FUSE_KERNEL_VERSION ? 0 : -EPROTO;
}

static int fuse_check_size(int r, size_t size)
{
        return r < 0 ? r : (size_t)r < size ? -EPROTO : 0;
}

int fuse_lookup(struct fuse_client *client, uint64_t parent, const char *name, struct fuse_entry_out *entry)
{
        int r = fuse_call(client, FUSE_LOOKUP, parent, NULL, 0, name, strlen(name) + 1, entry, sizeof(*entry));

        r = fuse_check_size(r, sizeof(*entry));
        return r == 0 && entry->nodeid == 0 ? -ENOENT : r;
}

int fuse_walk(struct fuse_client *client, const char *path, struct fuse_entry_out *entry)
{
        _cleanup_(freep) char *copy = strdup(path);
        uint64_t at = FUSE_ROOT_ID;
        char *rest;

        if (!copy)
                return -ENOMEM;
        for (char *name = strtok_r(copy, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
                int r = fuse_lookup(client, at, name, entry);

                if (at != FUSE_ROOT_ID)
                        fuse_forget(client, at);
                if (r < 0)
                        return r;
                at = entry->nodeid;
        }
        return 0;
}

int fuse_open(struct fuse_client *client, uint64_t nodeid, uint32_t flags, uint64_t *fh)
{
        struct fuse_open_in in = {.flags = flags};
        struct fuse_open_out out = {0};
        int r = fuse_check_size(fuse_call(client, FUSE_OPEN, nodeid, &in, sizeof(in), NULL, 0, &out, sizeof(out)),
                                sizeof(out));

        if (r == 0)
                *fh = out.fh;
        return r;
}

int fuse_forget(struct fuse_client *client, uint64_t nodeid)
{
        struct fuse_forget_in in = {.nlookup = 1};

        return fuse_check_size(fuse_call(client, FUSE_FORGET, nodeid, &in, sizeof(in), NULL, 0, NULL, 0), 0);
}

int fuse_batch_forget(struct fuse_client *client, const uint64_t *nodeids, size_t n)
{
        struct fuse_forget_one ones[FUSE_FORGET_BATCH];
        int r = 0;

        for (size_t at = 0, now; r >= 0 && at < n; at += now) {
                now = n - at < ARRAY_SIZE(ones) ? n - at : ARRAY_SIZE(ones);

                struct fuse_batch_forget_in in = {.count = (uint32_t)now};

                for (size_t i = 0; i < now; i++)
                        ones[i] = (struct fuse_forget_one){nodeids[at + i], 1};
                r = fuse_call(client, FUSE_BATCH_FORGET, 0, &in, sizeof(in), ones, now * sizeof(ones[0]), NULL, 0);
        }
        return fuse_check_size(r, 0);
}

int fuse_setup_mapping(struct fuse_client *client, uint64_t nodeid, uint64_t fh, uint64_t file_offset, uint64_t size,
                       uint64_t window_offset, bool writable)
{
        struct fuse_setupmapping_in in = {
                .fh = fh,
                .foffset = file_offset,
                .len = size,
                .flags = FUSE_SETUPMAPPING_FLAG_READ | (writable ? FUSE_SETUPMAPPING_FLAG_WRITE : 0),
                .moffset = window_offset,
        };

        return fuse_check_size(fuse_call(client, FUSE_SETUPMAPPING, nodeid, &in, sizeof(in), NULL, 0, NULL, 0), 0);
}

int fuse_remove_mapping(struct fuse_client *client, uint64_t window_offset, uint64_t size)
{
        struct fuse_removemapping_in count = {1};
        struct fuse_removemapping_one one = {window_offset, size};

        return fuse_check_size(
                fuse_call(client, FUSE_REMOVEMAPPING, FUSE_ROOT_ID, &count, sizeof(count), &one, sizeof(one), NULL, 0),
                0);
}
