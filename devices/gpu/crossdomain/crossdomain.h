/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CROSSDOMAIN_CROSSDOMAIN_H
#define DEVICES_GPU_CROSSDOMAIN_CROSSDOMAIN_H

#include "devices/gpu/core/renderer.h"

/* The host's Wayland for guests: each cross-domain context (capset 5) is a client of a compositor. */

/* Starts the process that connects to the compositor at @path. Call it before entering a sandbox, as the process has
 * to be outside of it. Returns the end of its socket, or a negative errno, also of a first attempt to connect. The
 * process ends when the socket is closed. */
int wayland_broker_start(const char *path);
struct wayland_broker {
        int fd;        /* -1: it ended or broke the rules, and is not asked any more */
        unsigned owed; /* answers */
};
/* Returns a new connection. Waits for 1.4 s at most: then it is -ETIMEDOUT, and the answer that is still owed is passed
 * over the next time. -EPIPE: there is no broker any more. */
int wayland_broker_connect(struct wayland_broker *broker);

/* @broker is taken, unless this fails. */
int crossdomain_new(int broker, struct gpu_renderer **out);

#endif
