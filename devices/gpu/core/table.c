/* SPDX-License-Identifier: BSD-2-Clause */

/* Resources and contexts by their ids, which the driver chooses. */

#include "devices/gpu/core/state.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <search.h>

int compare_ids(const void *a, const void *b)
{
        const uint32_t *left = a, *right = b;

        return *left < *right ? -1 : *left > *right;
}

struct resource *resource_find(struct gpu *gpu, uint32_t id)
{
        struct resource **node = tfind(&id, &gpu->resources, compare_ids);

        return node ? *node : NULL;
}

uint32_t resource_new(struct gpu *gpu, uint32_t id, struct resource **out)
{
        if (id == 0 || resource_find(gpu, id))
                return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
        if (gpu->n_resources == GPU_RESOURCES_MAX)
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;

        struct resource *resource = calloc(1, sizeof(*resource));

        if (!resource)
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
        *resource =
                (struct resource){.gpu = gpu, .id = id, .serial = ++gpu->last_serial, .references = 1, .blob.fd = -1};
        if (!tsearch(resource, &gpu->resources, compare_ids)) {
                free(resource);
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
        }
        gpu->n_resources++;
        *out = resource;
        return 0;
}

/* In each renderer that knows it. */
static void destroy_blob(struct resource *resource)
{
        struct gpu *gpu = resource->gpu;

        for (unsigned i = 0; i < gpu->n_renderers; i++)
                if (resource->known_to & gpu->options.renderers[i]->bit)
                        gpu->options.renderers[i]->destroy_blob(gpu->options.renderers[i], resource->id);
        fd_close(resource->blob.fd);
        gpu->blob_memory -= resource->blob.memory;
}

void resource_unref(struct resource *resource)
{
        if (--resource->references > 0)
                return;
        destroy_blob(resource);
        resource->gpu->pixels -= resource->image ? resource->size : 0;
        free(resource->image);
        backing_free(resource->backing);
        resource->gpu->n_resources--;
        free(resource);
}

struct context *context_find(struct gpu *gpu, uint32_t id)
{
        struct context **node = tfind(&id, &gpu->contexts, compare_ids);

        return node ? *node : NULL;
}
