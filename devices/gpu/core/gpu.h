/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CORE_GPU_H
#define DEVICES_GPU_CORE_GPU_H

#include <oriel/log.h>
#include <oriel/memory.h>
#include <oriel/range.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Of an image or a display, in pixels. */
enum { GPU_SIDE_MAX = 16384 };

/* A virtio-gpu (VIRTIO 1.4, 5.7) without its queues: commands in bytes go in, answers in bytes come out. struct
 * gpu_ops is what it needs of the device around it; struct gpu_renderer (renderer.h) draws, and struct gpu_sink
 * (sink.h) shows outputs. One lock covers it all; functions may be called from any thread. */
struct gpu;
struct gpu_renderer;
struct gpu_sink;

/* The device's handle of a command that is answered later. */
struct gpu_token {
        void *queue, *chain;
};

struct gpu_ops {
        /* The guest memory of now, with a reference for the caller. */
        struct oriel_memory *(*memory)(void *userdata);
        /* SHMEM_MAP, of @fd from its start, and SHMEM_UNMAP in the region of host memory, without waiting. wait() is
         * called once for each ticket, without the gpu's lock, and returns whether the front-end has done it.
         * -ENOSPC: too many are mapped. */
        int (*map)(void *userdata, struct oriel_range range, int fd, enum oriel_access access, uint64_t *ticket);
        int (*unmap)(void *userdata, struct oriel_range range, uint64_t *ticket); /* @ticket NULL: no wait */
        int (*wait)(void *userdata, uint64_t ticket);
        /* SHARED_OBJECT_ADD, for whose ticket wait() is called, and SHARED_OBJECT_REMOVE, both without waiting.
         * -EOPNOTSUPP: the front-end has no objects. */
        int (*object_add)(void *userdata, const uint8_t uuid[16], uint64_t *ticket);
        void (*object_remove)(void *userdata, const uint8_t uuid[16]);
        /* The answer to a command for which gpu_handle() has returned -EINPROGRESS. */
        void (*complete)(void *userdata, struct gpu_token token, const void *answer, size_t size);
        /* @guest was written to. */
        void (*mark_dirty)(void *userdata, struct oriel_range guest);
        /* The configuration space has changed. */
        void (*config_changed)(void *userdata);
};

#define GPU_RENDERERS_MAX 4

struct gpu_options {
        const struct gpu_ops *ops; /* must outlive the gpu */
        void *userdata;
        struct oriel_log log;
        uint64_t window_size;
        unsigned outputs;                                  /* 0 to 16 */
        unsigned width, height;                            /* of each, without gpu_set_displays() */
        struct gpu_renderer *renderers[GPU_RENDERERS_MAX]; /* taken by gpu_new(), also if it fails */
};

/* The most bytes of a command, the payload included; a larger one is refused. */
#define GPU_REQUEST_MAX (UINT32_C(16) << 20)
/* The most bytes of an answer. */
#define GPU_ANSWER_MAX 8192

int gpu_new(const struct gpu_options *options, struct gpu **out);
void gpu_free(struct gpu *gpu); /* NULL is accepted */

/* The VIRTIO features that the gpu offers; those that the driver took. */
uint64_t gpu_features(const struct gpu *gpu);
void gpu_set_features(struct gpu *gpu, uint64_t features);

/* The configuration space. -EINVAL: @range is not in it, or can't be written. */
int gpu_get_config(struct gpu *gpu, struct oriel_range range, void *data);
int gpu_set_config(struct gpu *gpu, struct oriel_range range, const void *data);

/* Handles a command of @size bytes, which the driver can't change any more. The answer goes to @answer, for which
 * the driver has room for @room bytes, at most GPU_ANSWER_MAX. Returns the size of the answer. -EINPROGRESS:
 * complete() brings it, possibly before this returns. */
enum gpu_queue { GPU_CONTROL_QUEUE, GPU_CURSOR_QUEUE };
ssize_t gpu_handle(struct gpu *gpu, enum gpu_queue queue, const void *command, size_t size, void *answer, size_t room,
                   struct gpu_token token);

/* The settings of an output, from the sink that shows it. */
#define GPU_OUTPUTS_MAX 16
#define GPU_EDID_MAX    1024
struct gpu_display {
        uint32_t enabled; /* 0 or 1: no padding, as they are compared byte for byte */
        uint32_t x, y, width, height;
        uint32_t edid_size; /* 0: the gpu makes one */
        uint8_t edid[GPU_EDID_MAX];
};

/* Sets all GPU_OUTPUTS_MAX of them, copied; NULL: to those of the options. The driver learns of it by an event of
 * the configuration space, or by the answers that wait for this: struct gpu_sink, ask. */
void gpu_set_displays(struct gpu *gpu, const struct gpu_display *displays);

/* GET_SHARED_OBJECT: returns a new fd of the resource's memory, or -ENOENT. */
int gpu_get_object(struct gpu *gpu, const uint8_t uuid[16]);

/* Waits for the front-end's answers, and completes the commands that wait for them. */
void gpu_await_mappings(struct gpu *gpu);

/* The driver has begun anew, or is gone: removes all contexts, resources and mappings, and completes all commands.
 * No queue may be served meanwhile. The front-end is asked to unmap, if it can be asked. */
void gpu_reset(struct gpu *gpu);
/* The queue @queue of tokens is about to stop: waits at most @ms for the fences of its commands, and completes those
 * that are left. */
void gpu_settle(struct gpu *gpu, void *queue, unsigned ms);

/* Counts for tests and the log. */
struct gpu_counts {
        unsigned contexts, resources, mappings, fences;
};
struct gpu_counts gpu_count(struct gpu *gpu);

#endif
