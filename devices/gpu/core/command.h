/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CORE_COMMAND_H
#define DEVICES_GPU_CORE_COMMAND_H

#include "devices/gpu/core/state.h"

/* One command, whose row has been checked: its fixed part is complete, and there is room for the answer. Fields are
 * in the driver's byte order, which is little-endian. */
struct command {
        struct origin origin;
        union {
                struct virtio_gpu_ctrl_hdr header;
                struct virtio_gpu_resource_create_2d create_2d;
                struct virtio_gpu_resource_unref unref;
                struct virtio_gpu_set_scanout set_scanout;
                struct virtio_gpu_resource_flush flush;
                struct virtio_gpu_transfer_to_host_2d transfer;
                struct virtio_gpu_resource_attach_backing attach_backing;
                struct virtio_gpu_resource_detach_backing detach_backing;
                struct virtio_gpu_get_capset_info get_capset_info;
                struct virtio_gpu_get_capset get_capset;
                struct virtio_gpu_cmd_get_edid get_edid;
                struct virtio_gpu_resource_assign_uuid assign_uuid;
                struct virtio_gpu_resource_create_blob create_blob;
                struct virtio_gpu_set_scanout_blob set_scanout_blob;
                struct virtio_gpu_ctx_create ctx_create;
                struct virtio_gpu_ctx_resource ctx_resource;
                struct virtio_gpu_cmd_submit submit;
                struct virtio_gpu_resource_map_blob map_blob;
                struct virtio_gpu_resource_unmap_blob unmap_blob;
                struct virtio_gpu_update_cursor cursor;
        } fixed;
        const uint8_t *payload; /* follows the fixed part */
        size_t payload_size;
        struct context *context;   /* of the commands that need one */
        struct resource *resource; /* of the commands whose row has its offset */
        uint8_t *answer;           /* zeros, of the size that the row has */
        size_t answer_size, room;
};

/* The type of the answer; 0: it comes later. */
typedef uint32_t (*command_fn)(struct gpu *gpu, struct command *command);

/* The conditions of a command: features that the driver took, by their bits, and a bit that is not a feature's. */
enum command_needs {
        NEEDS_VIRGL = 1 << VIRTIO_GPU_F_VIRGL,
        NEEDS_EDID = 1 << VIRTIO_GPU_F_EDID,
        NEEDS_UUID = 1 << VIRTIO_GPU_F_RESOURCE_UUID,
        NEEDS_BLOB = 1 << VIRTIO_GPU_F_RESOURCE_BLOB,
        NEEDS_CONTEXT = 1 << 24, /* its ctx_id must be a context's */
};

struct command_row {
        uint32_t type;
        const char *name;
        enum gpu_queue queue;
        unsigned size;   /* of the fixed part */
        unsigned answer; /* at least, its header included */
        unsigned needs;
        unsigned resource; /* offset of the id of a resource, which must exist; 0: none */
        command_fn handle; /* NULL: a command of virgl, which this device does not have: it is answered by an error */
};

extern const struct command_row command_rows[];
extern const unsigned n_command_rows;

/* resource.c */
uint32_t handle_unref(struct gpu *gpu, struct command *command);
uint32_t handle_attach_backing(struct gpu *gpu, struct command *command);
uint32_t handle_detach_backing(struct gpu *gpu, struct command *command);
uint32_t handle_assign_uuid(struct gpu *gpu, struct command *command);
/* blob.c */
uint32_t handle_create_blob(struct gpu *gpu, struct command *command);
uint32_t handle_map_blob(struct gpu *gpu, struct command *command);
uint32_t handle_unmap_blob(struct gpu *gpu, struct command *command);
/* context.c */
uint32_t handle_get_capset_info(struct gpu *gpu, struct command *command);
uint32_t handle_get_capset(struct gpu *gpu, struct command *command);
uint32_t handle_ctx_create(struct gpu *gpu, struct command *command);
uint32_t handle_ctx_destroy(struct gpu *gpu, struct command *command);
uint32_t handle_ctx_attach_resource(struct gpu *gpu, struct command *command);
uint32_t handle_ctx_detach_resource(struct gpu *gpu, struct command *command);
uint32_t handle_submit_3d(struct gpu *gpu, struct command *command);
/* image.c */
uint32_t handle_create_2d(struct gpu *gpu, struct command *command);
uint32_t handle_transfer_to_host_2d(struct gpu *gpu, struct command *command);
/* display.c */
uint32_t handle_get_display_info(struct gpu *gpu, struct command *command);
uint32_t handle_get_edid(struct gpu *gpu, struct command *command);
/* scanout.c */
uint32_t handle_set_scanout(struct gpu *gpu, struct command *command);
uint32_t handle_set_scanout_blob(struct gpu *gpu, struct command *command);
uint32_t handle_flush(struct gpu *gpu, struct command *command);
uint32_t handle_update_cursor(struct gpu *gpu, struct command *command);
uint32_t handle_move_cursor(struct gpu *gpu, struct command *command);

#endif
