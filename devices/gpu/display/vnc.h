/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_DISPLAY_VNC_H
#define DEVICES_GPU_DISPLAY_VNC_H

#include "devices/gpu/core/gpu.h"
#include "program/socket_file.h"

/* Output 0 for VNC clients, which can only look at it. All functions are NULL in a build without libvncserver. */
struct vnc;

/* Listens at @address, "HOST:PORT" or "unix:PATH"; without a HOST, on the loopback interface. @file gets the
 * socket's file. Returns a descriptor, or a negative errno, and has reported the error. */
int vnc_listen(const char *address, struct socket_file *file) __attribute__((weak));
/* A screen of @width x @height until the output has another size. @listener is taken. A negative errno. */
int vnc_new(struct gpu *gpu, int listener, uint32_t width, uint32_t height, const struct oriel_log *log,
            struct vnc **out) __attribute__((weak));
/* Call it before gpu_free(). NULL is accepted. */
void vnc_free(struct vnc *vnc) __attribute__((weak));

#endif
