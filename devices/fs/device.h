/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_DEVICE_H
#define DEVICES_FS_DEVICE_H

#include "daemon/daemon.h"
#include "devices/fs/core/fs.h"

#include <oriel/backend.h>

/* virtio-fs (VIRTIO 1.2, 5.11): the device between a vhost-user back-end and the FUSE core. */
struct fs_device;

struct device_options {
        /* The device sets the window's ops and the functions for answers. */
        const struct fs_options *fs;
        const struct daemon_start *start; /* its root is the shared directory as this process sees it */
        const char *tag;
        unsigned request_queues;
        unsigned threads; /* for each request queue */
        unsigned poll_us; /* how long a thread looks for the next request before it sleeps, where that pays */
};

/* -EINVAL: an option. Otherwise the error of opening the directory. Starts threads: don't fork afterwards. */
int device_new(const struct device_options *options, struct fs_device **out);
/* The others are as in struct daemon_device. */
void device_free(void *device);
/* The device's end of the session, for the loop that runs it. */
struct oriel_backend *device_backend(void *device);

#endif
