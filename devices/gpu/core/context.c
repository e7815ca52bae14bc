/* SPDX-License-Identifier: BSD-2-Clause */

/* Contexts, capsets and submissions (VIRTIO 1.4, 5.7.6.9). A context belongs to the renderer of its capset, which
 * alone knows what its commands mean. A context has a tree of the resources that are attached to it, by id, with
 * their serials: context_resource() finds these alone, and not a later resource with the same id. Handlers run with
 * the gpu's lock held. */

#include "devices/gpu/core/command.h"

#include "base/cleanup.h"

#include <errno.h>
#include <search.h>
#include <string.h>
#include <sys/param.h>

static struct gpu_renderer *renderer_of(const struct gpu *gpu, uint32_t capset_id)
{
        for (unsigned i = 0; i < gpu->n_renderers; i++)
                if (gpu->options.renderers[i]->capset_id == capset_id)
                        return gpu->options.renderers[i];
        return NULL;
}

static void context_delete(struct gpu *gpu, struct context *context)
{
        tdelete(context, &gpu->contexts, compare_ids);
        tdestroy(context->attached, free);
        gpu->n_attached -= context->n_attached;
        gpu->n_contexts--;
        free(context);
}

static int context_add(struct gpu *gpu, uint32_t id, struct gpu_renderer *renderer, const char *name)
{
        struct context *context = calloc(1, sizeof(*context));

        if (!context)
                return -ENOMEM;
        *context = (struct context){.id = id, .renderer = renderer};
        if (!tsearch(context, &gpu->contexts, compare_ids)) {
                free(context);
                return -ENOMEM;
        }
        gpu->n_contexts++;

        int r = renderer->create_context(renderer, id, name);

        if (r < 0)
                context_delete(gpu, context);
        return r;
}

static void context_remove(struct gpu *gpu, struct context *context)
{
        uint32_t id = context->id;

        context->renderer->destroy_context(context->renderer, id);
        context_delete(gpu, context);
        fences_complete(gpu, id);
}

void contexts_remove_all(struct gpu *gpu)
{
        while (gpu->contexts)
                context_remove(gpu, *(struct context **)gpu->contexts);
}

/* ---- attached resources ---- */

struct attached {
        uint32_t id;
        uint64_t serial;
};

/* The row of a resource that has ended stays, until another resource with its id takes it over. */
static int attached_add(struct gpu *gpu, struct context *context, const struct resource *resource)
{
        struct attached key = {resource->id, resource->serial};
        struct attached *const *found = tfind(&key, &context->attached, compare_ids);
        _cleanup_(freep) struct attached *attached = NULL;

        if (found) {
                (*found)->serial = resource->serial;
                return 0;
        }
        attached = gpu->n_attached < GPU_ATTACHED_MAX ? malloc(sizeof(*attached)) : NULL;
        if (!attached)
                return -ENOMEM;
        *attached = key;
        if (!tsearch(attached, &context->attached, compare_ids))
                return -ENOMEM;
        (void)steal(attached);
        context->n_attached++;
        gpu->n_attached++;
        return 0;
}

static void attached_remove(struct gpu *gpu, struct context *context, uint32_t id)
{
        struct attached *const *found = tfind(&id, &context->attached, compare_ids);
        struct attached *attached = found ? *found : NULL;

        if (!attached)
                return;
        tdelete(&id, &context->attached, compare_ids);
        free(attached);
        context->n_attached--;
        gpu->n_attached--;
}

const struct resource *context_resource(struct gpu *gpu, uint32_t context_id, uint32_t resource_id)
{
        const struct context *context = context_find(gpu, context_id);
        const struct resource *resource = resource_find(gpu, resource_id);
        struct attached *const *found = context ? tfind(&resource_id, &context->attached, compare_ids) : NULL;

        return resource && found && (*found)->serial == resource->serial ? resource : NULL;
}

/* ---- commands ---- */

uint32_t handle_get_capset_info(struct gpu *gpu, struct command *command)
{
        uint32_t index = le32toh(command->fixed.get_capset_info.capset_index), version = 0, size = 0;
        struct virtio_gpu_resp_capset_info *answer = (void *)command->answer;

        if (index >= gpu->n_renderers)
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;

        struct gpu_renderer *renderer = gpu->options.renderers[index];

        if (renderer->get_capset(renderer, 0, NULL, &version, &size) < 0)
                return VIRTIO_GPU_RESP_ERR_UNSPEC;
        answer->capset_id = htole32(renderer->capset_id);
        answer->capset_max_version = htole32(version);
        answer->capset_max_size = htole32(size);
        return VIRTIO_GPU_RESP_OK_CAPSET_INFO;
}

uint32_t handle_get_capset(struct gpu *gpu, struct command *command)
{
        const struct virtio_gpu_get_capset *get = &command->fixed.get_capset;
        struct gpu_renderer *renderer = renderer_of(gpu, le32toh(get->capset_id));
        uint32_t version = 0, size = 0, wanted = le32toh(get->capset_version);

        if (!renderer || renderer->get_capset(renderer, 0, NULL, &version, &size) < 0 || wanted > version ||
            size > command->room - sizeof(struct virtio_gpu_resp_capset))
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;

        uint8_t *data = command->answer + sizeof(struct virtio_gpu_resp_capset);

        memset(data, 0, size);
        if (renderer->get_capset(renderer, wanted, data, &version, &size) < 0)
                return VIRTIO_GPU_RESP_ERR_UNSPEC;
        command->answer_size = sizeof(struct virtio_gpu_resp_capset) + size;
        return VIRTIO_GPU_RESP_OK_CAPSET;
}

/* Without CONTEXT_INIT the driver means virgl, which this device does not have. */
uint32_t handle_ctx_create(struct gpu *gpu, struct command *command)
{
        const struct virtio_gpu_ctx_create *create = &command->fixed.ctx_create;
        uint32_t init = le32toh(create->context_init), id = command->origin.context_id;
        bool named = atomic_load(&gpu->features) & ORIEL_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT);
        struct gpu_renderer *renderer = renderer_of(gpu, init & VIRTIO_GPU_CONTEXT_INIT_CAPSET_ID_MASK);
        char name[sizeof(create->debug_name) + 1] = "";

        if (id == 0 || context_find(gpu, id))
                return VIRTIO_GPU_RESP_ERR_INVALID_CONTEXT_ID;
        if (!named || !renderer || init & ~(uint32_t)VIRTIO_GPU_CONTEXT_INIT_CAPSET_ID_MASK)
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        if (gpu->n_contexts == GPU_CONTEXTS_MAX)
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
        memcpy(name, create->debug_name, MIN(le32toh(create->nlen), sizeof(create->debug_name)));

        int r = context_add(gpu, id, renderer, name);

        if (r < 0)
                return r == -ENOMEM ? VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY : VIRTIO_GPU_RESP_ERR_UNSPEC;
        return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t handle_ctx_destroy(struct gpu *gpu, struct command *command)
{
        context_remove(gpu, command->context);
        return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t handle_ctx_attach_resource(struct gpu *gpu, struct command *command)
{
        struct resource *resource = command->resource;
        struct gpu_renderer *renderer = command->context->renderer;

        /* The pixels of a 2D resource are no renderer's, but Linux attaches it too. */
        if (resource->image)
                return VIRTIO_GPU_RESP_OK_NODATA;

        int r = 0;

        if (resource->request.mem == VIRTIO_GPU_BLOB_MEM_GUEST)
                r = blob_make_known(gpu, resource, command->context);
        if (r == 0 && renderer->attach)
                r = renderer->attach(renderer, command->context->id, resource->id);
        if (r < 0)
                return VIRTIO_GPU_RESP_ERR_UNSPEC;
        /* Only what the renderer has taken: it fails only where the resource was not attached before. */
        r = attached_add(gpu, command->context, resource);
        if (r < 0 && renderer->detach)
                renderer->detach(renderer, command->context->id, resource->id);
        return r < 0 ? VIRTIO_GPU_RESP_ERR_UNSPEC : VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t handle_ctx_detach_resource(struct gpu *gpu, struct command *command)
{
        struct resource *resource = command->resource;
        struct gpu_renderer *renderer = command->context->renderer;

        if (!resource->image) {
                attached_remove(gpu, command->context, resource->id);
                if (renderer->detach)
                        renderer->detach(renderer, command->context->id, resource->id);
        }
        return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t handle_submit_3d(struct gpu *gpu, struct command *command)
{
        uint32_t size = le32toh(command->fixed.submit.size);
        struct gpu_renderer *renderer = command->context->renderer;

        if (size > command->payload_size)
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;

        /* A submission of no bytes is there for its fence. */
        int r = size ? renderer->submit(renderer, command->context->id, command->payload, size) : 0;

        return r < 0 ? VIRTIO_GPU_RESP_ERR_UNSPEC : VIRTIO_GPU_RESP_OK_NODATA;
}
