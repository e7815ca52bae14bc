/* SPDX-License-Identifier: BSD-2-Clause */

/* The end of a resource, and the commands that are for each kind (VIRTIO 1.4, 5.7.6.8). The table holds one reference,
 * what is mapped another: a resource without a name lives on until nothing of it is in the window. */

#include "devices/gpu/core/command.h"

#include "base/cleanup.h"
#include "base/syscalls.h"

#include <search.h>
#include <string.h>
#include <sys/random.h>

USES_SYSCALLS(SYSCALL(getrandom));

void resource_remove(struct resource *resource)
{
        struct gpu *gpu = resource->gpu;

        scanouts_forget(gpu, resource);
        tdelete(resource, &gpu->resources, compare_ids);
        if (resource->mapping)
                blob_mapping_end(resource, NULL);
        resource_unref(resource);
}

COMMAND_HANDLER(handle_unref)
{
        resource_remove(command->resource);
        return VIRTIO_GPU_RESP_OK_NODATA;
}

/* Of a 2D resource: a blob has its memory from the start. */
COMMAND_HANDLER(handle_attach_backing)
{
        struct resource *resource = command->resource;

        if (!resource->image)
                return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
        if (resource->backing)
                return VIRTIO_GPU_RESP_ERR_UNSPEC;

        uint32_t type = backing_new(gpu, command->payload, command->payload_size,
                                    le32toh(command->fixed.attach_backing.nr_entries), &resource->backing);

        return type ? type : VIRTIO_GPU_RESP_OK_NODATA;
}

COMMAND_HANDLER(handle_detach_backing)
{
        struct resource *resource = command->resource;

        if (!resource->image)
                return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
        if (!resource->backing)
                return VIRTIO_GPU_RESP_ERR_UNSPEC;
        backing_free(steal(resource->backing));
        return VIRTIO_GPU_RESP_OK_NODATA;
}

/* RFC 4122, version 4: from random bytes. */
COMMAND_HANDLER(handle_assign_uuid)
{
        struct resource *resource = command->resource;
        struct virtio_gpu_resp_resource_uuid *answer = (void *)command->answer;

        if (!resource->has_uuid) {
                if (getrandom(resource->uuid, sizeof(resource->uuid), 0) != sizeof(resource->uuid))
                        return VIRTIO_GPU_RESP_ERR_UNSPEC;
                resource->uuid[6] = (uint8_t)((resource->uuid[6] & 0x0f) | 0x40);
                resource->uuid[8] = (uint8_t)((resource->uuid[8] & 0x3f) | 0x80);
                resource->has_uuid = true;
        }
        memcpy(answer->uuid, resource->uuid, sizeof(answer->uuid));
        return VIRTIO_GPU_RESP_OK_RESOURCE_UUID;
}
