/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CROSSDOMAIN_CROSSDOMAIN_H
#define DEVICES_GPU_CROSSDOMAIN_CROSSDOMAIN_H

#include "devices/gpu/core/renderer.h"

/* The host's Wayland for guests: cross-domain contexts (capset 5), each of which is a client of a compositor. */

/* Start the process that connects to the compositor at @path: before a sandbox, which it is to be outside of. Returns
 * the end of its socket, or a negative errno, of the first attempt to connect too. It ends when that is closed. */
int wayland_broker_start(const char *path);
/* A new connection, from @broker. Waits for 1 s at most; who has not answered then is closed, and @broker becomes -1.
 */
int wayland_broker_connect(int *broker);

/* @broker is taken, unless this fails. */
int crossdomain_new(int broker, struct gpu_renderer **out);

#endif
