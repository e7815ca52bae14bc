/* SPDX-License-Identifier: BSD-2-Clause */

/* The end of a resource, and the commands that all kinds have (VIRTIO 1.4, 5.7.6.8). The table holds one reference, and
 * a mapping another: a resource that the driver has given up lives until nothing of it is in the window.
 *
 * A resource with a UUID is a virtio object (VIRTIO 1.4, 2.11) if its memory is a file, which other devices of the
 * guest get by way of the front-end. */

#include "devices/gpu/core/command.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/uuid.h"

#include <errno.h>
#include <search.h>
#include <string.h>

static int compare_uuids(const void *a, const void *b)
{
        const struct resource *one = a, *other = b;

        return memcmp(one->uuid, other->uuid, sizeof(one->uuid));
}

void resource_remove(struct resource *resource)
{
        struct gpu *gpu = resource->gpu;

        scanouts_forget(gpu, resource);
        tdelete(resource, &gpu->resources, compare_ids);
        if (resource->mapping)
                blob_mapping_end(resource, NULL);
        if (resource->is_object) {
                pthread_mutex_lock(&gpu->objects_lock);
                tdelete(resource, &gpu->objects, compare_uuids);
                pthread_mutex_unlock(&gpu->objects_lock);
                gpu->options.ops->object_remove(gpu->options.userdata, resource->uuid);
        }
        resource_unref(resource);
}

uint32_t handle_unref(struct gpu *gpu, struct command *command)
{
        resource_remove(command->resource);
        return VIRTIO_GPU_RESP_OK_NODATA;
}

/* For 2D resources: a blob has its memory from the start. */
uint32_t handle_attach_backing(struct gpu *gpu, struct command *command)
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

uint32_t handle_detach_backing(struct gpu *gpu, struct command *command)
{
        struct resource *resource = command->resource;

        if (!resource->image)
                return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
        if (!resource->backing)
                return VIRTIO_GPU_RESP_ERR_UNSPEC;
        backing_free(steal(resource->backing));
        return VIRTIO_GPU_RESP_OK_NODATA;
}

int gpu_get_object(struct gpu *gpu, const uint8_t uuid[16])
{
        struct resource wanted = {.id = 0};

        memcpy(wanted.uuid, uuid, sizeof(wanted.uuid));
        pthread_mutex_lock(&gpu->objects_lock);

        struct resource **found = tfind(&wanted, &gpu->objects, compare_uuids);
        const int fd = found ? fd_dup((*found)->blob.fd) : -ENOENT;

        pthread_mutex_unlock(&gpu->objects_lock);
        return fd;
}

/* The guest is answered when the front-end knows the object, as it may then name the object to another device. */
uint32_t handle_assign_uuid(struct gpu *gpu, struct command *command)
{
        struct resource *resource = command->resource;
        struct virtio_gpu_resp_resource_uuid *answer = (void *)command->answer;
        const bool is_new = !resource->has_uuid;

        if (is_new && uuid_new(resource->uuid) < 0)
                return VIRTIO_GPU_RESP_ERR_UNSPEC;
        resource->has_uuid = true;
        if (resource->announced && object_announce(resource, &command->origin))
                return 0;
        if (is_new && !resource->image && gpu_blob_is_file(&resource->blob) &&
            object_announce(resource, &command->origin)) {
                resource->is_object = true;
                pthread_mutex_lock(&gpu->objects_lock);
                tsearch(resource, &gpu->objects, compare_uuids);
                pthread_mutex_unlock(&gpu->objects_lock);
                return 0;
        }
        memcpy(answer->uuid, resource->uuid, sizeof(answer->uuid));
        return VIRTIO_GPU_RESP_OK_RESOURCE_UUID;
}
