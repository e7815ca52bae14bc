/* SPDX-License-Identifier: BSD-2-Clause */

/* The commands of virtio-gpu, one row each (VIRTIO 1.4, 5.7.6). Before a handler runs, the row is checked: the
 * queue, the size of the fixed part, the features that the driver took, the context, the resource, and that there is
 * room for the answer. The docs and the fuzzer read the same rows. */

#include "devices/gpu/core/command.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>

#define ROW(TYPE, request, reply, ...)                                                                     \
        {                                                                                                  \
                .type = VIRTIO_GPU_CMD_##TYPE, .name = #TYPE, .size = sizeof(struct virtio_gpu_##request), \
                .answer = sizeof(struct virtio_gpu_##reply), __VA_ARGS__                                   \
        }
#define OF_RESOURCE(TYPE, request, ...) \
        ROW(TYPE, request, __VA_ARGS__, .resource = offsetof(struct virtio_gpu_##request, resource_id))

const struct command_row command_rows[] = {
        ROW(GET_DISPLAY_INFO, ctrl_hdr, resp_display_info, .handle = handle_get_display_info),
        ROW(RESOURCE_CREATE_2D, resource_create_2d, ctrl_hdr, .handle = handle_create_2d),
        OF_RESOURCE(RESOURCE_UNREF, resource_unref, ctrl_hdr, .handle = handle_unref),
        ROW(SET_SCANOUT, set_scanout, ctrl_hdr, .handle = handle_set_scanout),
        OF_RESOURCE(RESOURCE_FLUSH, resource_flush, ctrl_hdr, .handle = handle_flush),
        OF_RESOURCE(TRANSFER_TO_HOST_2D, transfer_to_host_2d, ctrl_hdr, .handle = handle_transfer_to_host_2d),
        OF_RESOURCE(RESOURCE_ATTACH_BACKING, resource_attach_backing, ctrl_hdr, .handle = handle_attach_backing),
        OF_RESOURCE(RESOURCE_DETACH_BACKING, resource_detach_backing, ctrl_hdr, .handle = handle_detach_backing),
        ROW(GET_CAPSET_INFO, get_capset_info, resp_capset_info, .handle = handle_get_capset_info),
        ROW(GET_CAPSET, get_capset, resp_capset, .handle = handle_get_capset),
        ROW(GET_EDID, cmd_get_edid, resp_edid, .needs = NEEDS_EDID, .handle = handle_get_edid),
        OF_RESOURCE(RESOURCE_ASSIGN_UUID, resource_assign_uuid, resp_resource_uuid, .needs = NEEDS_UUID,
                    .handle = handle_assign_uuid),
        ROW(RESOURCE_CREATE_BLOB, resource_create_blob, ctrl_hdr, .needs = NEEDS_BLOB, .handle = handle_create_blob),
        ROW(SET_SCANOUT_BLOB, set_scanout_blob, ctrl_hdr, .needs = NEEDS_BLOB, .handle = handle_set_scanout_blob),
        ROW(CTX_CREATE, ctx_create, ctrl_hdr, .needs = NEEDS_VIRGL, .handle = handle_ctx_create),
        ROW(CTX_DESTROY, ctx_destroy, ctrl_hdr, .needs = NEEDS_VIRGL | NEEDS_CONTEXT, .handle = handle_ctx_destroy),
        OF_RESOURCE(CTX_ATTACH_RESOURCE, ctx_resource, ctrl_hdr, .needs = NEEDS_VIRGL | NEEDS_CONTEXT,
                    .handle = handle_ctx_attach_resource),
        OF_RESOURCE(CTX_DETACH_RESOURCE, ctx_resource, ctrl_hdr, .needs = NEEDS_VIRGL | NEEDS_CONTEXT,
                    .handle = handle_ctx_detach_resource),
        ROW(RESOURCE_CREATE_3D, resource_create_3d, ctrl_hdr, .needs = NEEDS_VIRGL),
        ROW(TRANSFER_TO_HOST_3D, transfer_host_3d, ctrl_hdr, .needs = NEEDS_VIRGL | NEEDS_CONTEXT),
        ROW(TRANSFER_FROM_HOST_3D, transfer_host_3d, ctrl_hdr, .needs = NEEDS_VIRGL | NEEDS_CONTEXT),
        ROW(SUBMIT_3D, cmd_submit, ctrl_hdr, .needs = NEEDS_VIRGL | NEEDS_CONTEXT, .handle = handle_submit_3d),
        OF_RESOURCE(RESOURCE_MAP_BLOB, resource_map_blob, resp_map_info, .needs = NEEDS_BLOB,
                    .handle = handle_map_blob),
        OF_RESOURCE(RESOURCE_UNMAP_BLOB, resource_unmap_blob, ctrl_hdr, .needs = NEEDS_BLOB,
                    .handle = handle_unmap_blob),
        ROW(UPDATE_CURSOR, update_cursor, ctrl_hdr, .queue = GPU_CURSOR_QUEUE, .handle = handle_update_cursor),
        ROW(MOVE_CURSOR, update_cursor, ctrl_hdr, .queue = GPU_CURSOR_QUEUE, .handle = handle_move_cursor),
};
const unsigned n_command_rows = ARRAY_SIZE(command_rows);

static const struct command_row *command_row_find(enum gpu_queue queue, uint32_t type)
{
        for (unsigned i = 0; i < n_command_rows; i++)
                if (command_rows[i].type == type && command_rows[i].queue == queue)
                        return &command_rows[i];
        return NULL;
}

/* 0, or the type of an error. */
static uint32_t command_row_check(struct gpu *gpu, const struct command_row *row, struct command *command,
                                  const uint8_t *bytes, size_t size)
{
        uint32_t id;

        if (!row || !row->handle || row->needs & ~(unsigned)NEEDS_CONTEXT & ~atomic_load(&gpu->features))
                return VIRTIO_GPU_RESP_ERR_UNSPEC;
        if (size < row->size || command->room < row->answer)
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        if (row->needs & NEEDS_CONTEXT) {
                command->context = context_find(gpu, command->origin.context_id);
                if (!command->context)
                        return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
        }
        if (row->resource) {
                memcpy(&id, bytes + row->resource, sizeof(id));
                command->resource = resource_find(gpu, le32toh(id));
                if (!command->resource)
                        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
        }
        return 0;
}

static void take_header(struct command *command, const void *bytes, struct gpu_token token)
{
        struct virtio_gpu_ctrl_hdr header;

        memcpy(&header, bytes, sizeof(header));
        command->fixed.header = header;
        command->origin = (struct origin){
                .token = token,
                .flags = le32toh(header.flags),
                .context_id = le32toh(header.ctx_id),
                .ring = le32toh(header.flags) & VIRTIO_GPU_FLAG_INFO_RING_IDX ? header.ring_idx : 0,
                .fence_id = le64toh(header.fence_id),
        };
}

/* Returns the type of the answer; 0: it comes later. */
static uint32_t gpu_command_run(struct gpu *gpu, enum gpu_queue queue, struct command *command, const uint8_t *bytes,
                                size_t size)
{
        const struct command_row *row = command_row_find(queue, le32toh(command->fixed.header.type));
        uint32_t type = command_row_check(gpu, row, command, bytes, size);

        if (type == 0) {
                memcpy(&command->fixed, bytes, row->size);
                command->payload = bytes + row->size;
                command->payload_size = size - row->size;
                command->answer_size = row->answer;
                memset(command->answer, 0, row->answer);
                type = row->handle(gpu, command);
        }
        if (type >= VIRTIO_GPU_RESP_ERR_UNSPEC) {
                log_debug(&gpu->options.log, "%s 0x%x: answered 0x%x", row ? row->name : "unknown command",
                          le32toh(command->fixed.header.type), type);
                command->answer_size = sizeof(struct virtio_gpu_ctrl_hdr);
        }
        return type;
}

ssize_t gpu_handle(struct gpu *gpu, enum gpu_queue queue, const void *bytes, size_t size, void *answer, size_t room,
                   struct gpu_token token)
{
        struct command command = {.answer = answer, .room = MIN(room, (size_t)GPU_ANSWER_MAX)};
        bool heard = room >= sizeof(struct virtio_gpu_ctrl_hdr);

        /* Linux leaves no room for an answer to cursor commands. */
        if (size < sizeof(struct virtio_gpu_ctrl_hdr) || (!heard && queue != GPU_CURSOR_QUEUE))
                return 0;

        struct virtio_gpu_ctrl_hdr unheard;

        if (!heard) {
                command.answer = (uint8_t *)&unheard;
                command.room = sizeof(unheard);
        }
        take_header(&command, bytes, token);
        pthread_mutex_lock(&gpu->lock);

        uint32_t type = gpu_command_run(gpu, queue, &command, bytes, size);
        ssize_t r = type == 0 ? -EINPROGRESS : (ssize_t)command.answer_size;

        if (type > 0)
                answer_begin(command.answer, type, &command.origin);
        /* Without room for an answer, no fence can be waited for, and the command must not be answered a second
         * time. */
        if (heard && type > 0 && type < VIRTIO_GPU_RESP_ERR_UNSPEC &&
            fence_wait(gpu, &command.origin, command.answer, command.answer_size) < 0)
                r = -EINPROGRESS;
        pthread_mutex_unlock(&gpu->lock);
        return heard ? r : 0;
}
