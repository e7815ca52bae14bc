/* SPDX-License-Identifier: BSD-2-Clause */

/* Blobs (VIRTIO 1.4, 5.7.6.8): resources that are bytes alone. RESOURCE_CREATE_BLOB is checked before anything is
 * made; then a guest blob gets its backing, and a host blob is created by the renderer of the command's context,
 * which gives an fd if the blob can be mapped. A guest blob is created in a renderer when it is attached to one of
 * its contexts (context.c). RESOURCE_MAP_BLOB and RESOURCE_UNMAP_BLOB check the range; mapping.c does the rest. */

#include "devices/gpu/core/command.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <errno.h>
#include <unistd.h>

static uint32_t type_of(int error)
{
        return error == -ENOMEM || error == -EMFILE || error == -ENFILE || error == -ENOSPC
                       ? VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY
                       : VIRTIO_GPU_RESP_ERR_UNSPEC;
}

int blob_make_known(struct gpu *gpu, struct resource *resource, const struct context *context)
{
        struct gpu_blob blob = {.fd = -1};

        if (resource->known_to & context->renderer->bit)
                return 0;
        resource->request.context_id = context->id;

        int r = context->renderer->create_blob(context->renderer, &resource->request, &blob);

        if (r < 0)
                return r;
        resource->known_to |= context->renderer->bit;
        resource->blob = blob;
        gpu->blob_memory += blob.memory;
        return gpu->blob_memory > GPU_BLOB_MEMORY_MAX ? -ENOMEM : 0;
}

/* Checks the command before anything is made: 0, or the type of an error. */
static uint32_t blob_check(const struct gpu *gpu, const struct command *command, const struct gpu_blob_request *request)
{
        const uint32_t n = le32toh(command->fixed.create_blob.nr_entries);
        const bool of_host =
                request->mem == VIRTIO_GPU_BLOB_MEM_HOST3D || request->mem == VIRTIO_GPU_BLOB_MEM_HOST3D_GUEST;
        const uint32_t flags = VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE | VIRTIO_GPU_BLOB_FLAG_USE_SHAREABLE |
                               VIRTIO_GPU_BLOB_FLAG_USE_CROSS_DEVICE;

        if (request->size == 0 || request->flags & ~flags || (request->mem != VIRTIO_GPU_BLOB_MEM_GUEST && !of_host))
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        if (of_host && !(atomic_load(&gpu->features) & ORIEL_FEATURE(VIRTIO_GPU_F_VIRGL)))
                return VIRTIO_GPU_RESP_ERR_UNSPEC;
        if (of_host && !command->context)
                return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
        return (n > 0) == (request->mem != VIRTIO_GPU_BLOB_MEM_HOST3D) ? 0 : VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
}

static uint32_t blob_fill(struct gpu *gpu, const struct command *command, struct resource *resource)
{
        uint32_t n = le32toh(command->fixed.create_blob.nr_entries);

        if (n > 0) {
                uint32_t type = backing_new(gpu, command->payload, command->payload_size, n, &resource->backing);

                if (type)
                        return type;
                if (resource->backing->size < resource->size)
                        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
                resource->request.spans = resource->backing->spans;
                resource->request.n_spans = resource->backing->n;
        }
        if (resource->request.mem == VIRTIO_GPU_BLOB_MEM_GUEST)
                return 0;

        int r = blob_make_known(gpu, resource, command->context);

        return r < 0 ? type_of(r) : 0;
}

uint32_t handle_create_blob(struct gpu *gpu, struct command *command)
{
        const struct virtio_gpu_resource_create_blob *create = &command->fixed.create_blob;
        const struct gpu_blob_request request = {
                .resource_id = le32toh(create->resource_id),
                .mem = le32toh(create->blob_mem),
                .flags = le32toh(create->blob_flags),
                .blob_id = le64toh(create->blob_id),
                .size = le64toh(create->size),
        };
        struct resource *resource;

        command->context = context_find(gpu, command->origin.context_id);

        uint32_t type = blob_check(gpu, command, &request);

        if (type == 0)
                type = resource_new(gpu, request.resource_id, &resource);
        if (type)
                return type;
        resource->request = request;
        resource->size = request.size;
        type = blob_fill(gpu, command, resource);
        if (type)
                resource_remove(resource);
        return type ? type : VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t handle_map_blob(struct gpu *gpu, struct command *command)
{
        struct resource *resource = command->resource;
        struct oriel_range range = {.start = le64toh(command->fixed.map_blob.offset)};
        const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

        if (!(resource->request.flags & VIRTIO_GPU_BLOB_FLAG_USE_MAPPABLE) || !gpu_blob_is_file(&resource->blob))
                return VIRTIO_GPU_RESP_ERR_UNSPEC;
        if (resource->mapping || !is_aligned(range.start, page) ||
            !checked_round_up(resource->size, page, &range.size) || !range_within(range, gpu->options.window_size))
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        return blob_mapping_new(resource, range, &command->origin);
}

/* Linux sends it also after a map that was refused, and accepts the error. */
uint32_t handle_unmap_blob(struct gpu *gpu, struct command *command)
{
        if (!command->resource->mapping)
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        return blob_mapping_end(command->resource, &command->origin);
}
