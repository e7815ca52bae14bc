/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_RENDERERS_VENUS_H
#define DEVICES_GPU_RENDERERS_VENUS_H

#include "devices/gpu/core/renderer.h"

#include <oriel/log.h>
#include <sys/types.h>

/* Vulkan for guests: Venus (capset 4) by libvirglrenderer, whose render server is a process of its own, the only one
 * that sees the GPU. */

/* Start the render server at @path, NULL for the library's own: before a sandbox, which it is to be outside of. Of the
 * directory of @node, the path of a GPU's render node without symbolic links, it sees that one alone; NULL: what there
 * is. Returns the end of its socket, which ends it when that is closed, or a negative errno: -ENOENT, there is no such
 * program; @of_node, it could not be left alone with the node. */
int venus_start_server(const char *path, const char *node, bool *of_node);

/* @server_fd is taken, unless this fails. One at a time in a process. NULL: there was no libvirglrenderer to build
 * with. */
int venus_new(int server_fd, const struct oriel_log *log, struct gpu_renderer **out) __attribute__((weak));

#endif
