/* SPDX-License-Identifier: BSD-2-Clause */

/* FUSE over a virtio-fs device, as the guest's tests speak it: a request is submitted to the first request queue with
 * its data as further buffers, and its answer is taken later. One function for each operation that a test needs checks
 * the answer's size and returns the file system's error. */

#include "fuse.h"

#include <linux/errno.h>

enum { REQUESTS = 1 }; /* the first request queue; before it comes the one for what is urgent */
/* The flags of Linux with DAX, as far as they matter here. */
enum { INIT_FLAGS = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_MAX_PAGES | FUSE_MAP_ALIGNMENT };

static void append(struct buffer *buffers, unsigned *n, const struct buffer *buffer)
{
        if (buffer->size > 0)
                buffers[(*n)++] = *buffer;
}

bool fuse_submit(struct fuse *fuse, struct fuse_call *call)
{
        const bool writes = call->data.device_writes;
        const struct buffer nothing = {0};
        const struct buffer all[] = {
                {(uint64_t)&call->in, sizeof(call->in), false},
                {(uint64_t)call->args, call->args_size, false},
                writes ? nothing : call->data,
                {(uint64_t)&call->out, sizeof(call->out), true},
                {(uint64_t)call->answer, call->answer_size, true},
                writes ? call->data : nothing,
        };
        struct virtqueue *queue = &fuse->device->queues[REQUESTS];
        struct buffer buffers[sizeof(all) / sizeof(all[0])];
        unsigned n = 0;

        for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
                append(buffers, &n, &all[i]);
        call->done = false;
        call->in = (struct fuse_in_header){
                .len = (uint32_t)sizeof(call->in) + call->args_size + (writes ? 0 : call->data.size),
                .opcode = call->opcode,
                .unique = ++fuse->unique,
                .nodeid = call->node,
        };
        call->out = (struct fuse_out_header){0};
        if (!queue_add(queue, buffers, n, call))
                return false;
        queue_kick(queue);
        return true;
}

bool fuse_poll(struct fuse *fuse)
{
        uint32_t written;
        struct fuse_call *call = queue_take(&fuse->device->queues[REQUESTS], &written);

        if (!call)
                return false;
        /* An answer is as long as it says, and to this request. */
        if (written < sizeof(call->out) || call->out.len != written || call->out.unique != call->in.unique)
                call->out.error = -EPROTO;
        call->done = true;
        return true;
}

int fuse_result(const struct fuse_call *call)
{
        return call->out.error ? call->out.error : (int)(call->out.len - sizeof(call->out));
}

int fuse_wait(struct fuse *fuse, struct fuse_call *call)
{
        uint64_t deadline = deadline_in(LAST_RESORT_MS);

        while (!*(volatile bool *)&call->done)
                if (!fuse_poll(fuse) && deadline_past(deadline))
                        return -ETIMEDOUT;
        return fuse_result(call);
}

int fuse_do(struct fuse *fuse, struct fuse_call *call)
{
        return fuse_submit(fuse, call) ? fuse_wait(fuse, call) : -EBUSY;
}

/* ---- the requests ---- */

/* With memory for what goes in and comes out. */
struct request {
        struct fuse_call call;
        uint8_t arguments[256], answer[256];
};

/* A call that was given up on may be answered later still, so none is on the stack. */
static struct request *new_request(uint32_t opcode, uint64_t node)
{
        static struct request requests[8];
        static unsigned next;
        struct request *request = &requests[next++ % (sizeof(requests) / sizeof(requests[0]))];

        request->call = (struct fuse_call){.opcode = opcode, .node = node};
        return request;
}

static int ask(struct fuse *fuse, struct request *request, const void *in, size_t in_size, void *out, size_t out_size)
{
        struct fuse_call *call = &request->call;

        memcpy(request->arguments, in, in_size);
        call->args = request->arguments;
        call->args_size = (uint32_t)in_size;
        call->answer = request->answer;
        call->answer_size = (uint32_t)out_size;

        int r = fuse_do(fuse, call);

        if (r >= 0)
                memcpy(out, request->answer, out_size);
        return r;
}

int fuse_init(struct fuse *fuse, struct virtio *device, struct fuse_init_out *out)
{
        const struct fuse_init_in in = {
                .major = FUSE_KERNEL_VERSION,
                .minor = FUSE_KERNEL_MINOR_VERSION,
                .max_readahead = 1 << 20,
                .flags = INIT_FLAGS,
        };

        *fuse = (struct fuse){.device = device};
        return ask(fuse, new_request(FUSE_INIT, 0), &in, sizeof(in), out, sizeof(*out));
}

int fuse_lookup_in(struct fuse *fuse, uint64_t parent, const char *name, struct fuse_entry_out *out)
{
        return ask(fuse, new_request(FUSE_LOOKUP, parent), name, strlen(name) + 1, out, sizeof(*out));
}

int fuse_lookup(struct fuse *fuse, const char *name, struct fuse_entry_out *out)
{
        return fuse_lookup_in(fuse, FUSE_ROOT_ID, name, out);
}

/* It has no answer. */
void fuse_forget(struct fuse *fuse, uint64_t node)
{
        const struct fuse_forget_in in = {.nlookup = 1};

        ask(fuse, new_request(FUSE_FORGET, node), &in, sizeof(in), NULL, 0);
}

int fuse_getattr(struct fuse *fuse, uint64_t node, struct fuse_attr *out)
{
        const struct fuse_getattr_in in = {0};
        struct fuse_attr_out attr;
        int r = ask(fuse, new_request(FUSE_GETATTR, node), &in, sizeof(in), &attr, sizeof(attr));

        if (r >= 0)
                *out = attr.attr;
        return r;
}

int fuse_open(struct fuse *fuse, uint64_t node, uint32_t flags, uint64_t *handle)
{
        const struct fuse_open_in in = {.flags = flags};
        struct fuse_open_out out;
        int r = ask(fuse, new_request(FUSE_OPEN, node), &in, sizeof(in), &out, sizeof(out));

        if (r >= 0)
                *handle = out.fh;
        return r;
}

int fuse_release(struct fuse *fuse, uint64_t node, uint64_t handle)
{
        const struct fuse_release_in in = {.fh = handle};

        return ask(fuse, new_request(FUSE_RELEASE, node), &in, sizeof(in), NULL, 0);
}

int fuse_read(struct fuse *fuse, uint64_t node, uint64_t handle, uint64_t offset, uint64_t address, uint32_t size)
{
        const struct fuse_read_in in = {.fh = handle, .offset = offset, .size = size};
        struct request *request = new_request(FUSE_READ, node);

        request->call.data = (struct buffer){address, size, true};
        return ask(fuse, request, &in, sizeof(in), NULL, 0);
}

int fuse_write(struct fuse *fuse, uint64_t node, uint64_t handle, uint64_t offset, uint64_t address, uint32_t size)
{
        const struct fuse_write_in in = {.fh = handle, .offset = offset, .size = size};
        struct request *request = new_request(FUSE_WRITE, node);
        struct fuse_write_out out;

        request->call.data = (struct buffer){address, size, false};

        int r = ask(fuse, request, &in, sizeof(in), &out, sizeof(out));

        return r < 0 ? r : (int)out.size;
}

int fuse_setup(struct fuse *fuse, const struct fuse_setupmapping_in *in, uint64_t node)
{
        return ask(fuse, new_request(FUSE_SETUPMAPPING, node), in, sizeof(*in), NULL, 0);
}

int fuse_remove(struct fuse *fuse, uint64_t window_offset, uint64_t size)
{
        const struct {
                struct fuse_removemapping_in in;
                struct fuse_removemapping_one one;
        } __attribute__((packed)) in = {{1}, {window_offset, size}};

        return ask(fuse, new_request(FUSE_REMOVEMAPPING, FUSE_ROOT_ID), &in, sizeof(in), NULL, 0);
}

int fuse_destroy(struct fuse *fuse)
{
        return ask(fuse, new_request(FUSE_DESTROY, 0), NULL, 0, NULL, 0);
}
