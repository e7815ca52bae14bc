/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_MEDIA_PROXY_PROXY_H
#define DEVICES_MEDIA_PROXY_PROXY_H

#include "devices/media/core/node.h"

/* A node that stands for a V4L2 device of the host: each session is an open file of it. */

/* Reads the configuration of the device at @fd, for the guest. -ENOTTY: it is no V4L2 device. -ENODEV: it has no
 * streaming. */
int proxy_config(int fd, struct media_config *out);
/* @device_fd is any descriptor of the device, O_PATH or not, which is opened again by its name in @proc_fd
 * (/proc/self/fd) for each session. Both are taken, even on failure. @card: a name for the guest; NULL: the device's
 * own. */
int proxy_new(int proc_fd, int device_fd, const struct media_config *config, const char *card, struct media_node **out);

#endif
