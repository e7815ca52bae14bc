/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_DEVICE_H
#define DEVICES_GPU_DEVICE_H

#include "devices/gpu/core/gpu.h"

#include <oriel/backend.h>

/* The virtio-gpu device: a gpu with its two queues, its window and its configuration space. */
struct gpu_device;

struct gpu_device_options {
        struct gpu_options gpu; /* ops, userdata and log are filled in */
        size_t max_mappings;    /* 0: what the front-end is found to bear */
        struct oriel_log log;
        struct log_budget *lines; /* of what a guest can have logged again and again */
        const struct oriel_dialect *dialect;
};

/* -EINVAL, -ENOMEM, or what a renderer says. */
int gpu_device_new(const struct gpu_device_options *options, struct gpu_device **out);
void gpu_device_free(struct gpu_device *device); /* NULL is accepted */
/* The front-end at the other end of @fd, which is taken. */
int gpu_device_attach(struct gpu_device *device, int fd);
struct oriel_backend *gpu_device_backend(struct gpu_device *device);
struct gpu *gpu_device_gpu(struct gpu_device *device);

#endif
