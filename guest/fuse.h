/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_FUSE_H
#define GUEST_FUSE_H

#include "virtio.h"

#include <linux/fuse.h>

/* A client of a virtio-fs device: requests on its first request queue. All return a negative errno, -ETIMEDOUT when the
 * device has not answered within a bounded time. */

enum { NAME_SIZE = 64 };

struct fuse {
        struct virtio *device;
        uint64_t unique;
};

/* One request. It and what it points to stay where they are until the device has answered. */
struct fuse_call {
        uint32_t opcode;
        uint64_t node;
        const void *args;
        uint32_t args_size;
        void *answer; /* of at most @answer_size bytes */
        uint32_t answer_size;
        /* Further memory that the device reads, or writes; size 0: none. Any guest physical address. */
        struct buffer data;

        struct fuse_in_header in;
        struct fuse_out_header out;
        bool done;
};

/* Sent, without waiting. False: the queue is full. */
bool fuse_submit(struct fuse *fuse, struct fuse_call *call);
/* Looks for answers, to any request; true: there was one. */
bool fuse_poll(struct fuse *fuse);
/* How many bytes of answer and data there are. */
int fuse_result(const struct fuse_call *call);
int fuse_wait(struct fuse *fuse, struct fuse_call *call);
int fuse_do(struct fuse *fuse, struct fuse_call *call);

int fuse_init(struct fuse *fuse, struct virtio *device, struct fuse_init_out *out);
int fuse_lookup(struct fuse *fuse, const char *name, struct fuse_entry_out *out);
/* The same in another directory than the root, and the end of what both give. */
int fuse_lookup_in(struct fuse *fuse, uint64_t parent, const char *name, struct fuse_entry_out *out);
void fuse_forget(struct fuse *fuse, uint64_t node);
int fuse_getattr(struct fuse *fuse, uint64_t node, struct fuse_attr *out);
int fuse_open(struct fuse *fuse, uint64_t node, uint32_t flags, uint64_t *handle);
int fuse_release(struct fuse *fuse, uint64_t node, uint64_t handle);
/* How many bytes were moved. */
int fuse_read(struct fuse *fuse, uint64_t node, uint64_t handle, uint64_t offset, uint64_t address, uint32_t size);
int fuse_write(struct fuse *fuse, uint64_t node, uint64_t handle, uint64_t offset, uint64_t address, uint32_t size);
int fuse_setup(struct fuse *fuse, const struct fuse_setupmapping_in *in, uint64_t node);
int fuse_remove(struct fuse *fuse, uint64_t window_offset, uint64_t size);
int fuse_destroy(struct fuse *fuse);

#endif
