/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TESTS_PEERS_WAYLAND_GUEST_H
#define TESTS_PEERS_WAYLAND_GUEST_H

#include "devices/gpu/crossdomain/wire.h"

#include <stdbool.h>
#include <stddef.h>

/* The gpu as a guest's proxy for Wayland uses it: one cross-domain context. By a driver in user space
 * (wayland-guest.c), or by Linux's in a guest (tests/lab/guest/wayland-guest-drm.c). Functions return 0 or a negative
 * errno. */

#define GUEST_PIPE CROSS_READ_PIPE_START /* the one that it may send, to read from */

struct guest {
        const struct cross_image_requirements *image; /* the answer to the last question */
        const union cross_message *message;           /* the last one that has come, until the next is waited for */
        uint8_t *window;
        void *own;
};

/* Connect to the gpu at @path, and have its compositor accept a client. Its objects are noted and looked up by those
 * of @objects, an oriel_driver's options, which may be NULL. */
struct oriel_driver_options;
int guest_open(struct guest *guest, const char *path, const struct oriel_driver_options *objects);
void guest_close(struct guest *guest); /* also after a failure */

struct gpu_client;
struct gpu_client *guest_client(const struct guest *guest); /* of the driver in user space alone */

int guest_await(struct guest *guest);
/* Used by the functions of wayland-messages.c: a command on the ring of queries, and the gpu's number of a
 * resource, 0 where there is none. */
int guest_submit(struct guest *guest, const void *command, uint32_t size);
uint32_t guest_resource(const struct guest *guest, uint32_t id);

/* ---- wayland-messages.c ---- */

/* @n things go along: resources, or pipes to read from. */
int guest_send(struct guest *guest, const void *data, size_t size, const uint32_t *ids, const uint32_t *types,
               unsigned n);
int guest_write(struct guest *guest, uint32_t pipe, const void *data, size_t size, bool hang_up);

/* ---- memory ---- */

/* An image as resource @id, at the start of the window. */
int guest_make_image(struct guest *guest, uint32_t id, uint32_t width, uint32_t height);
/* Map the blob received as @blob_id, as resource @id, at @offset of the window. */
int guest_map_received(struct guest *guest, uint32_t id, uint32_t blob_id, uint32_t size, uint64_t offset);
int guest_unmap(struct guest *guest, uint32_t id);

#endif
