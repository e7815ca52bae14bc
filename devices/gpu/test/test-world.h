/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_TEST_WORLD_H
#define DEVICES_GPU_TEST_WORLD_H

/* A gpu without queues and front-end: commands are bytes, and its calls of the device around it are recorded. */

#include "base/test.h"

#include "devices/gpu/core/gpu.h"
#include "devices/gpu/core/sink.h"
#include "devices/gpu/test/fake.h"

#include <linux/virtio_gpu.h>
#include <pthread.h>

#define PAGE        4096
#define WINDOW_SIZE (UINT64_C(1) << 30)
/* Guest memory: two regions, adjacent for the guest and apart on the host. */
#define GUEST      UINT64_C(0x100000)
#define GUEST_SIZE UINT64_C(0x100000)
#define ALL_GPU_FEATURES                                                                      \
        (1 << VIRTIO_GPU_F_VIRGL | 1 << VIRTIO_GPU_F_EDID | 1 << VIRTIO_GPU_F_RESOURCE_UUID | \
         1 << VIRTIO_GPU_F_RESOURCE_BLOB | 1 << VIRTIO_GPU_F_CONTEXT_INIT)

enum { REQUESTS_MAX = 1024, DONE_MAX = 1024 };

struct world_request {
        bool map;
        struct oriel_range range;
        uint64_t inode, size; /* of the fd */
        uint8_t begin[8];     /* its first bytes */
        bool forgotten;       /* without waiting */
        enum oriel_access access;
};

struct world_done {
        uintptr_t chain;
        uint32_t type, flags;
        uint64_t fence_id;
        uint32_t map_info;
        uint8_t answer[sizeof(struct virtio_gpu_resp_edid)];
};

struct world {
        struct gpu *gpu;
        struct gpu_renderer *fake;
        struct oriel_memory *memory;
        uint8_t *host[2];
        /* Requests to the front-end, and its next answer. */
        struct world_request requests[REQUESTS_MAX];
        unsigned n_requests;
        int submit_error, answer;
        unsigned added, removed; /* objects */
        /* Commands that were completed later. */
        struct world_done done[DONE_MAX];
        unsigned n_done;   /* if a thread completes: world_n_done() */
        unsigned n_events; /* of the configuration space: world_n_events() */
        unsigned dirty;
        pthread_mutex_t lock; /* of the fields above: a renderer may have threads */
        pthread_cond_t more;
        uintptr_t next_chain;
};

struct world_options {
        unsigned outputs;
        bool no_renderer;
        struct gpu_renderer *second; /* beside the fake one */
        const struct gpu_sink *sink;
};

void world_open(struct world *world, const struct world_options *options);
void world_close(struct world *world);
/* Guest memory at @address, of @size bytes that are in one region. */
void *world_at(struct world *world, uint64_t address);

unsigned world_n_done(struct world *world);
unsigned world_n_events(struct world *world);

/* The type of the answer, whose @size bytes go to @answer; 0: it comes later. */
uint32_t world_command(struct world *world, const void *command, size_t size, void *answer, size_t room);
uint32_t world_cursor(struct world *world, const void *command, size_t size, size_t room);

/* Sends a command whose answer is a header alone; waits if it comes later. */
#define DO(world, command)                                                                                \
        ({                                                                                                \
                struct virtio_gpu_ctrl_hdr did;                                                           \
                uint32_t did_type = world_command(world, &(command), sizeof(command), &did, sizeof(did)); \
                did_type;                                                                                 \
        })

/* Until @n commands have been completed later. False: they were not, within @ms. */
bool world_await(struct world *world, unsigned n, unsigned ms);

uint32_t world_create_context(struct world *world, uint32_t id, const char *name);
uint32_t world_create_context_of(struct world *world, uint32_t id, uint32_t capset_id, const char *name);
uint32_t world_attach(struct world *world, uint32_t context_id, uint32_t id);
uint32_t world_create_blob(struct world *world, uint32_t context_id, uint32_t id, uint64_t blob_id, uint64_t size);
uint32_t world_create_guest_blob(struct world *world, uint32_t context_id, uint32_t id, uint64_t address,
                                 uint32_t length, uint64_t size);
/* Wait for the answer. */
uint32_t world_map(struct world *world, uint32_t id, uint64_t offset);
uint32_t world_unmap(struct world *world, uint32_t id);
uint32_t world_unref(struct world *world, uint32_t id);

/* ---- 2D ---- */

#define RECT(x, y, width, height) ((struct virtio_gpu_rect){x, y, width, height})
uint32_t world_create_image(struct world *world, uint32_t id, uint32_t format, uint32_t width, uint32_t height);
uint32_t world_attach_backing(struct world *world, uint32_t id, uint64_t address, uint32_t length);
uint32_t world_transfer(struct world *world, uint32_t id, struct virtio_gpu_rect rect, uint64_t offset);
uint32_t world_set_scanout(struct world *world, uint32_t output, uint32_t id, struct virtio_gpu_rect rect);
uint32_t world_flush(struct world *world, uint32_t id, struct virtio_gpu_rect rect);

#endif
