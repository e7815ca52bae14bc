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

/* A virtio-gpu (VIRTIO 1.4, 5.7) without its queues: commands in bytes go in, answers in bytes come out. What it needs
 * of the device around it is in struct gpu_ops, what draws is behind struct gpu_renderer (renderer.h), and what shows
 * is behind struct gpu_sink (sink.h). One lock covers it all; functions may be called from any thread. */
struct gpu;
struct gpu_renderer;
struct gpu_sink;

/* A command whose answer is to come: the device's. */
struct gpu_token {
        void *queue, *chain;
};

struct gpu_ops {
        /* Guest memory of now, with a reference for the caller. */
        struct oriel_memory *(*memory)(void *userdata);
        /* SHMEM_MAP and SHMEM_UNMAP in the region of host memory, without waiting: of @fd from its start. -ENOSPC: too
         * many are mapped. wait() is called once for each ticket, without the gpu's lock, and says whether the
         * front-end has done so. */
        int (*map)(void *userdata, struct oriel_range range, int fd, enum oriel_access access, uint64_t *ticket);
        int (*unmap)(void *userdata, struct oriel_range range, uint64_t *ticket); /* NULL: it is not waited for */
        int (*wait)(void *userdata, uint64_t ticket);
        /* SHARED_OBJECT_ADD and _REMOVE without waiting, but for wait(). -EOPNOTSUPP: the front-end has no objects. */
        int (*object_add)(void *userdata, const uint8_t uuid[16], uint64_t *ticket);
        void (*object_remove)(void *userdata, const uint8_t uuid[16]);
        /* The answer to a command that gpu_handle() kept. */
        void (*complete)(void *userdata, struct gpu_token token, const void *answer, size_t size);
        /* Something was written to guest memory. */
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
        unsigned width, height;                            /* of each, unless gpu_set_displays() says */
        struct gpu_renderer *renderers[GPU_RENDERERS_MAX]; /* which the gpu takes, unless this fails */
};

/* Of each command, and of what follows its fixed part: what is larger is refused. */
#define GPU_REQUEST_MAX (UINT32_C(16) << 20)
/* Of each answer. */
#define GPU_ANSWER_MAX 8192

int gpu_new(const struct gpu_options *options, struct gpu **out);
void gpu_free(struct gpu *gpu); /* NULL is accepted */

/* VIRTIO features that it offers, and those that the driver took. */
uint64_t gpu_features(const struct gpu *gpu);
void gpu_set_features(struct gpu *gpu, uint64_t features);

/* The configuration space. -EINVAL: there is none at @range. */
int gpu_get_config(struct gpu *gpu, struct oriel_range range, void *data);
int gpu_set_config(struct gpu *gpu, struct oriel_range range, const void *data);

/* A command of @size bytes, which the driver can't change any more; what it is answered goes to @answer, of which the
 * driver has room for @room, at most GPU_ANSWER_MAX. Returns the size of the answer. -EINPROGRESS: complete() brings
 * it, which may be before this returns. */
enum gpu_queue { GPU_CONTROL_QUEUE, GPU_CURSOR_QUEUE };
ssize_t gpu_handle(struct gpu *gpu, enum gpu_queue queue, const void *command, size_t size, void *answer, size_t room,
                   struct gpu_token token);

/* How an output is to be, as whoever shows it says. */
#define GPU_OUTPUTS_MAX 16
#define GPU_EDID_MAX    1024
struct gpu_display {
        uint32_t enabled; /* 0 or 1: no padding, as they are compared byte for byte */
        uint32_t x, y, width, height;
        uint32_t edid_size; /* 0: the gpu makes one */
        uint8_t edid[GPU_EDID_MAX];
};

/* All GPU_OUTPUTS_MAX of them, copied; NULL: as the options have it. The driver is told by its configuration space, or
 * by the answers that wait for this: struct gpu_sink, ask. */
void gpu_set_displays(struct gpu *gpu, const struct gpu_display *displays);

/* GET_SHARED_OBJECT: a new fd of the resource's memory, or -ENOENT. */
int gpu_get_object(struct gpu *gpu, const uint8_t uuid[16]);

/* Wait for what the front-end was asked for, and complete the commands that wait for that. */
void gpu_await_mappings(struct gpu *gpu);

/* The driver has begun anew, or is gone: no context, resource or mapping is left, and no command is kept. No queue may
 * be served meanwhile. What the front-end still shows it is asked to remove, if it can be asked. */
void gpu_reset(struct gpu *gpu);
/* The queue @queue of tokens is about to stop: have those of its commands that wait completed, for what they wait for
 * at most @ms. */
void gpu_settle(struct gpu *gpu, void *queue, unsigned ms);

/* How many there are, for tests and the log. */
struct gpu_counts {
        unsigned contexts, resources, mappings, fences;
};
struct gpu_counts gpu_count(struct gpu *gpu);

#endif
