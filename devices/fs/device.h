/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_DEVICE_H
#define DEVICES_FS_DEVICE_H

#include "daemon/daemon.h"
#include "devices/fs/core/fs.h"

#include <oriel/backend.h>

/* virtio-fs (VIRTIO 1.2, 5.11): the queues' threads between a vhost-user back-end and the FUSE core. */
struct device;

struct device_options {
        /* The window's ops, and whom to tell of answers, are the device's to set. */
        const struct fs_options *fs;
        const struct daemon_start *start; /* its root is where the shared directory is now */
        const char *tag;
        unsigned request_queues;
        unsigned threads; /* for each request queue */
        unsigned poll_us; /* how long a thread looks for a request before it sleeps, where that is worth it */
};

/* -EINVAL: an option. Else what opening the directory says. Starts threads: nothing is to be forked afterwards. */
int device_new(const struct device_options *options, struct device **out);
/* The others are as struct daemon_device has them. */
void device_free(void *device);
/* The device's end of the session, for the loop of whoever runs it. */
struct oriel_backend *device_backend(void *device);

#endif
