/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_RENDERERS_VENUS_H
#define DEVICES_GPU_RENDERERS_VENUS_H

#include "devices/gpu/core/renderer.h"

#include <oriel/log.h>
#include <sys/types.h>

/* Vulkan for guests: Venus (capset 4) by libvirglrenderer, whose render server is a process of its own, the only one
 * that sees the GPU. */

/* Starts the render server at @path, NULL: the library's own. Call it before entering a sandbox, as the server has
 * to be outside of it. @node is the path of a GPU's render node without symbolic links, of whose directory the
 * server sees that one alone; NULL: it sees all. Returns the end of its socket, whose close ends the server, or a
 * negative errno. -ENOENT: there is no such program. *@of_node: the namespace for the node could not be made. */
int venus_start_server(const char *path, const char *node, bool *of_node);

/* @server_fd is taken, unless this fails. One at a time in a process. NULL in a build without libvirglrenderer. */
int venus_new(int server_fd, const struct oriel_log *log, struct gpu_renderer **out) __attribute__((weak));

#endif
