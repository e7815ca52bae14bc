/* SPDX-License-Identifier: BSD-2-Clause */

/* The commands of virtio-gpu that a client without a display needs: contexts, blobs and their mappings, capsets. Each
 * is one function that fills in the command and waits for its answer (gpu_client_call()); the type of the answer must
 * be the one that the command has, else it is an error by gpu_client_error(). Nothing is kept between calls. */

#include "clients/gpu/client.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>

/* Sends the command; its answer has to be of type @due, and is copied to @answer. */
static int command_ask(struct gpu_client *client, const void *fixed, size_t fixed_size, const void *payload,
                       size_t payload_size, uint32_t due, void *answer, size_t size)
{
        const struct gpu_client_command command = {fixed, fixed_size, payload, payload_size, 0, GPU_CLIENT_CONTROL};
        struct virtio_gpu_ctrl_hdr header;
        int r = gpu_client_call(client, &command, answer ? answer : &header, answer ? size : sizeof(header));

        return r < 0 ? r : (uint32_t)r == due ? 0 : gpu_client_error((uint32_t)r);
}

#define ASK(client, fixed, payload, payload_size) \
        command_ask(client, fixed, sizeof(*(fixed)), payload, payload_size, VIRTIO_GPU_RESP_OK_NODATA, NULL, 0)

int gpu_client_create_context(struct gpu_client *client, uint32_t context_id, uint32_t capset_id, const char *name)
{
        struct virtio_gpu_ctx_create create = {
                .hdr = {.type = VIRTIO_GPU_CMD_CTX_CREATE, .ctx_id = context_id},
                .nlen = (uint32_t)MIN(strlen(name), sizeof(create.debug_name)),
                .context_init = capset_id,
        };

        memcpy(create.debug_name, name, create.nlen);
        return ASK(client, &create, NULL, 0);
}

int gpu_client_destroy_context(struct gpu_client *client, uint32_t context_id)
{
        const struct virtio_gpu_ctx_destroy destroy = {
                .hdr = {.type = VIRTIO_GPU_CMD_CTX_DESTROY, .ctx_id = context_id}};

        return ASK(client, &destroy, NULL, 0);
}

int gpu_client_submit(struct gpu_client *client, uint32_t context_id, const void *commands, uint32_t size)
{
        const struct virtio_gpu_cmd_submit submit = {.hdr = {.type = VIRTIO_GPU_CMD_SUBMIT_3D, .ctx_id = context_id},
                                                     .size = size};

        return ASK(client, &submit, commands, size);
}

/* Sends a command that consists of a header and the id of a resource; the device ignores padding. */
static int ask_of_resource(struct gpu_client *client, uint32_t type, uint32_t context_id, uint32_t resource_id)
{
        const struct virtio_gpu_ctx_resource command = {.hdr = {.type = type, .ctx_id = context_id},
                                                        .resource_id = resource_id};

        return ASK(client, &command, NULL, 0);
}

int gpu_client_attach(struct gpu_client *client, uint32_t context_id, uint32_t resource_id)
{
        return ask_of_resource(client, VIRTIO_GPU_CMD_CTX_ATTACH_RESOURCE, context_id, resource_id);
}

int gpu_client_unref(struct gpu_client *client, uint32_t resource_id)
{
        return ask_of_resource(client, VIRTIO_GPU_CMD_RESOURCE_UNREF, 0, resource_id);
}

int gpu_client_unmap(struct gpu_client *client, uint32_t resource_id)
{
        return ask_of_resource(client, VIRTIO_GPU_CMD_RESOURCE_UNMAP_BLOB, 0, resource_id);
}

int gpu_client_create(struct gpu_client *client, const struct gpu_client_blob *blob)
{
        const struct virtio_gpu_resource_create_blob create = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = blob->context_id},
                .resource_id = blob->resource_id,
                .blob_mem = blob->mem,
                .blob_flags = blob->flags,
                .blob_id = blob->blob_id,
                .size = blob->size,
        };

        return ASK(client, &create, NULL, 0);
}

int gpu_client_create_blob(struct gpu_client *client, uint32_t context_id, uint32_t resource_id, uint64_t blob_id,
                           uint64_t size)
{
        const struct gpu_client_blob blob = {
                context_id, resource_id, VIRTIO_GPU_BLOB_MEM_HOST3D, VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE, blob_id, size};

        return gpu_client_create(client, &blob);
}

int gpu_client_create_guest_blob(struct gpu_client *client, uint32_t context_id, uint32_t resource_id, void *memory,
                                 uint32_t size)
{
        struct virtio_gpu_mem_entry entry = {.length = size};
        const struct virtio_gpu_resource_create_blob create = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_CREATE_BLOB, .ctx_id = context_id},
                .resource_id = resource_id,
                .blob_mem = VIRTIO_GPU_BLOB_MEM_GUEST,
                .nr_entries = 1,
                .size = size,
        };
        int r = oriel_driver_address(gpu_client_driver(client), memory, size, (uint64_t *)&entry.addr);

        return r < 0 ? r : ASK(client, &create, &entry, sizeof(entry));
}

int gpu_client_map(struct gpu_client *client, uint32_t resource_id, uint64_t offset, uint32_t *map_info)
{
        const struct virtio_gpu_resource_map_blob map = {
                .hdr = {.type = VIRTIO_GPU_CMD_RESOURCE_MAP_BLOB}, .resource_id = resource_id, .offset = offset};
        struct virtio_gpu_resp_map_info info = {.map_info = 0};
        int r = command_ask(client, &map, sizeof(map), NULL, 0, VIRTIO_GPU_RESP_OK_MAP_INFO, &info, sizeof(info));

        if (r == 0 && map_info)
                *map_info = info.map_info;
        return r;
}

int gpu_client_get_capset_info(struct gpu_client *client, uint32_t index, struct virtio_gpu_resp_capset_info *out)
{
        const struct virtio_gpu_get_capset_info get = {.hdr = {.type = VIRTIO_GPU_CMD_GET_CAPSET_INFO},
                                                       .capset_index = index};
        int r = command_ask(client, &get, sizeof(get), NULL, 0, VIRTIO_GPU_RESP_OK_CAPSET_INFO, out, sizeof(*out));

        return r == -EINVAL ? -ENOENT : r;
}

int gpu_client_get_capset(struct gpu_client *client, uint32_t capset_id, uint32_t version, void *data, size_t size)
{
        const struct virtio_gpu_get_capset get = {
                .hdr = {.type = VIRTIO_GPU_CMD_GET_CAPSET}, .capset_id = capset_id, .capset_version = version};
        size_t whole = sizeof(struct virtio_gpu_resp_capset) + size;
        _cleanup_(freep) uint8_t *answer = calloc(1, whole);

        if (!answer)
                return -ENOMEM;

        int r = command_ask(client, &get, sizeof(get), NULL, 0, VIRTIO_GPU_RESP_OK_CAPSET, answer, whole);

        if (r == 0)
                memcpy(data, answer + sizeof(struct virtio_gpu_resp_capset), size);
        return r;
}
