/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLIENTS_GPU_CLIENT_H
#define CLIENTS_GPU_CLIENT_H

#include <linux/virtio_gpu.h>
#include <oriel/driver.h>

/* Commands to a virtio-gpu (VIRTIO 1.4, 5.7), many at a time, on an oriel_driver of one's own. It belongs to the
 * driver's thread. Numbers of commands and answers are in this machine's byte order, which is to be the device's,
 * little-endian. */
struct gpu_client;

/* The negative errno for an answer of another type than expected. */
int gpu_client_error(uint32_t type);

/* @driver stays the caller's. -ENODEV: it has no two queues. -ENOMEM. */
int gpu_client_new(struct oriel_driver *driver, struct gpu_client **out);
void gpu_client_free(struct gpu_client *client); /* NULL is accepted; no callbacks are called */
struct oriel_driver *gpu_client_driver(const struct gpu_client *client);

enum { GPU_CLIENT_CONTROL, GPU_CLIENT_CURSOR };
/* The parts of a command. */
struct gpu_client_command {
        const void *fixed;
        size_t fixed_size;
        const void *payload; /* NULL: none */
        size_t payload_size;
        size_t room; /* size of the answer; 0: only a header */
        unsigned queue;
};
/* @answer has @size bytes, 0 if there is none, and is the client's again afterwards. */
typedef void (*gpu_client_done_fn)(void *userdata, const struct virtio_gpu_ctrl_hdr *answer, size_t size);

/* Sends it without waiting. -EAGAIN: as many as possible are in flight. -EMSGSIZE: it is too large. */
int gpu_client_send(struct gpu_client *client, const struct gpu_client_command *command, gpu_client_done_fn done,
                    void *userdata);
/* Notifies the device of the commands sent. */
int gpu_client_kick(struct gpu_client *client);
/* Calls @done for all commands that were answered. Returns their number, or a negative errno. */
int gpu_client_collect(struct gpu_client *client);
/* Waits until there is something to collect, or @ms have passed: 0, -ETIMEDOUT, or the driver's errors. */
int gpu_client_wait(struct gpu_client *client, int ms);
unsigned gpu_client_pending(const struct gpu_client *client);

/* Sends it and waits for the answer, of which at most @size bytes are copied to @answer. Returns its type, or a
 * negative errno. Callbacks of other commands may be called meanwhile. */
int gpu_client_call(struct gpu_client *client, const struct gpu_client_command *command, void *answer, size_t size);

/* ---- commands: 0, or a negative errno ---- */

int gpu_client_create_context(struct gpu_client *client, uint32_t context_id, uint32_t capset_id, const char *name);
int gpu_client_destroy_context(struct gpu_client *client, uint32_t context_id);
int gpu_client_submit(struct gpu_client *client, uint32_t context_id, const void *commands, uint32_t size);
int gpu_client_attach(struct gpu_client *client, uint32_t context_id, uint32_t resource_id);
int gpu_client_unref(struct gpu_client *client, uint32_t resource_id);
struct gpu_client_blob {
        uint32_t context_id, resource_id;
        uint32_t mem, flags; /* VIRTIO_GPU_BLOB_MEM_, VIRTIO_GPU_BLOB_FLAG_ */
        uint64_t blob_id, size;
};
/* A blob in the host's memory. */
int gpu_client_create(struct gpu_client *client, const struct gpu_client_blob *blob);
/* The same: mem HOST3D, mappable. */
int gpu_client_create_blob(struct gpu_client *client, uint32_t context_id, uint32_t resource_id, uint64_t blob_id,
                           uint64_t size);
/* A blob in guest memory: @memory is the driver's, from oriel_driver_alloc(). */
int gpu_client_create_guest_blob(struct gpu_client *client, uint32_t context_id, uint32_t resource_id, void *memory,
                                 uint32_t size);
int gpu_client_map(struct gpu_client *client, uint32_t resource_id, uint64_t offset, uint32_t *map_info);
int gpu_client_unmap(struct gpu_client *client, uint32_t resource_id);
/* Gets at most @size bytes of the capset; returns their number. */
int gpu_client_get_capset(struct gpu_client *client, uint32_t capset_id, uint32_t version, void *data, size_t size);
/* -ENOENT: there is no capset of that index. */
int gpu_client_get_capset_info(struct gpu_client *client, uint32_t index, struct virtio_gpu_resp_capset_info *out);

#endif
