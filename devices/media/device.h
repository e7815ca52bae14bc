/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_DEVICE_H
#define DEVICES_MEDIA_DEVICE_H

#include "devices/media/core/media.h"

#include <oriel/backend.h>

/* The virtio-media device: a media with its two queues, its window and its configuration space. */
struct media_device;

struct media_device_options {
        struct media_node *node; /* taken even on failure */
        uint64_t window_size;
        size_t max_mappings; /* 0: no limit */
        bool objects;        /* whether to share objects, if the front-end has them */
        struct oriel_log log;
        struct log_budget *lines; /* limits the lines that a guest can cause again and again */
        const struct oriel_dialect *dialect;
};

int media_device_new(const struct media_device_options *options, struct media_device **out);
void media_device_free(struct media_device *device); /* NULL is accepted */
struct oriel_backend *media_device_backend(struct media_device *device);

#endif
