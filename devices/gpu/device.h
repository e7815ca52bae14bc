/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_DEVICE_H
#define DEVICES_GPU_DEVICE_H

#include "devices/gpu/core/gpu.h"

#include <oriel/backend.h>

/* The virtio-gpu device: a gpu with its two queues, its window and its configuration space. */
struct gpu_device;

struct gpu_device_options {
        struct gpu_options gpu; /* ops, userdata and log are set by gpu_device_new() */
        size_t max_mappings;    /* 0: found by probing the front-end */
        struct oriel_log log;
        struct log_budget *lines; /* limits the lines that a guest can cause again and again */
        const struct oriel_dialect *dialect;
};

/* -EINVAL, -ENOMEM, or the error of a renderer. */
int gpu_device_new(const struct gpu_device_options *options, struct gpu_device **out);
void gpu_device_free(struct gpu_device *device); /* NULL is accepted */
/* Attaches the front-end at the other end of @fd, which is taken. */
int gpu_device_attach(struct gpu_device *device, int fd);
struct oriel_backend *gpu_device_backend(struct gpu_device *device);
struct gpu *gpu_device_gpu(struct gpu_device *device);

#endif
