/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CROSSDOMAIN_CROSSDOMAIN_H
#define DEVICES_GPU_CROSSDOMAIN_CROSSDOMAIN_H

#include "devices/gpu/core/renderer.h"

/* The host's Wayland for guests: each cross-domain context (capset 5) is a client of a compositor. */

/* Starts the process that connects to the compositor at @path. Call it before entering a sandbox, as the process has
 * to be outside of it. Returns the end of its socket, or a negative errno, also of a first attempt to connect. The
 * process ends when the socket is closed. */
int wayland_broker_start(const char *path);
/* Returns a new connection, from @broker. Waits for 1 s at most; a broker that has not answered by then is closed,
 * and *@broker becomes -1. */
int wayland_broker_connect(int *broker);

/* @broker is taken, unless this fails. */
int crossdomain_new(int broker, struct gpu_renderer **out);

#endif
