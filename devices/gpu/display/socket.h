/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_DISPLAY_SOCKET_H
#define DEVICES_GPU_DISPLAY_SOCKET_H

#include "devices/gpu/core/gpu.h"

/* Outputs in the window of a front-end, by the socket of GPU_SET_SOCKET (QEMU, "Vhost-user-gpu Protocol"). */
struct gpu_socket;

/* @fd is taken. -ENOTSOCK, -ENOMEM. Free it before the gpu. */
int gpu_socket_new(struct gpu *gpu, const struct oriel_log *log, int fd, struct gpu_socket **out);
void gpu_socket_free(struct gpu_socket *socket); /* NULL is accepted */

#endif
