/* SPDX-License-Identifier: BSD-2-Clause */

/* Blobs in the window (VIRTIO 1.4, 5.7.6.8: MAP_BLOB and UNMAP_BLOB). The driver chooses the place; a mapping is one
 * SHMEM_MAP of the whole blob, rounded up to pages.
 *
 * The front-end is asked at once; gpu_await_mappings() waits for the answers, and holds the lock only between the
 * waits: the front-end answers in order, so requests made meanwhile are appended to the list. A mapping keeps its
 * resource until the front-end has removed it. */

#include "devices/gpu/core/command.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "base/range.h"

#include <errno.h>
#include <search.h>
#include <string.h>

struct gpu_mapping {
        struct resource *resource;
        struct oriel_range range;
        unsigned references; /* of the tree, and of requests for it */
};

/* A request to the front-end that is not answered yet. */
struct asked {
        TAILQ_ENTRY(asked) entry;
        struct resource *object;     /* to announce; NULL: the request is for a mapping, or its end */
        bool again;                  /* waits for an earlier request for the object, which has the ticket */
        struct gpu_mapping *mapping; /* of a map: it may have been removed since */
        bool map;
        uint64_t ticket;
        struct origin origin; /* of the command, if @has_origin */
        bool has_origin;
};

/* Mappings in the tree are disjoint, so ranges that overlap count as equal. */
static int mapping_compare_ranges(const void *a, const void *b)
{
        return range_compare(((const struct gpu_mapping *)a)->range, ((const struct gpu_mapping *)b)->range);
}

static void mapping_take_out(struct gpu_mapping *mapping)
{
        struct gpu *gpu = mapping->resource->gpu;

        tdelete(mapping, &gpu->mappings, mapping_compare_ranges);
        mapping->resource->mapping = NULL;
        gpu->n_mappings--;
}

static void mapping_unref(struct gpu_mapping *mapping)
{
        if (--mapping->references > 0)
                return;
        resource_unref(mapping->resource);
        free(mapping);
}

static uint32_t type_of_error(int error)
{
        switch (error) {
        case -ENOSPC:
        case -ENOMEM:
        case -ETOOMANYREFS:
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
        case -ERANGE:
        case -EINVAL:
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        default:
                return VIRTIO_GPU_RESP_ERR_UNSPEC;
        }
}

/* Asks the front-end to map or unmap it, and adds the request to the list. */
static int mapping_ask(struct gpu *gpu, struct gpu_mapping *mapping, bool map, const struct origin *origin)
{
        const struct gpu_ops *ops = gpu->options.ops;
        const struct gpu_blob *blob = &mapping->resource->blob;
        const enum oriel_access access = blob->read_only ? ORIEL_ACCESS_READ : ORIEL_ACCESS_READ_WRITE;
        _cleanup_(freep) struct asked *asked = calloc(1, sizeof(*asked));

        if (!asked)
                return -ENOMEM;
        *asked = (struct asked){.mapping = mapping, .map = map, .has_origin = origin};
        if (origin)
                asked->origin = *origin;

        int r = map ? ops->map(gpu->options.userdata, mapping->range, blob->fd, access, &asked->ticket)
                    : ops->unmap(gpu->options.userdata, mapping->range, &asked->ticket);

        if (r < 0)
                return r;
        TAILQ_INSERT_TAIL(&gpu->asked, asked, entry);
        (void)steal(asked);
        return 0;
}

uint32_t blob_mapping_new(struct resource *resource, struct oriel_range range, const struct origin *origin)
{
        struct gpu *gpu = resource->gpu;
        _cleanup_(freep) struct gpu_mapping *mapping = calloc(1, sizeof(*mapping));

        if (!mapping)
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
        *mapping = (struct gpu_mapping){resource, range, 2};

        struct gpu_mapping **node = tsearch(mapping, &gpu->mappings, mapping_compare_ranges);

        if (!node)
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
        /* Another mapping overlaps. */
        if (*node != mapping)
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        resource->mapping = mapping;
        gpu->n_mappings++;

        int r = mapping_ask(gpu, mapping, true, origin);

        if (r < 0) {
                mapping_take_out(mapping);
                return type_of_error(r);
        }
        resource->references++;
        (void)steal(mapping);
        return 0;
}

uint32_t blob_mapping_end(struct resource *resource, const struct origin *origin)
{
        struct gpu *gpu = resource->gpu;
        struct gpu_mapping *mapping = resource->mapping;

        mapping_take_out(mapping);
        /* If the front-end can't be asked, the mapping counts as removed: the front-end is gone, or about to remove
         * all. */
        if (mapping_ask(gpu, mapping, false, origin) == 0)
                return 0;
        mapping_unref(mapping);
        return VIRTIO_GPU_RESP_OK_NODATA;
}

bool object_announce(struct resource *resource, const struct origin *origin)
{
        struct gpu *gpu = resource->gpu;
        _cleanup_(freep) struct asked *asked = calloc(1, sizeof(*asked));

        if (!asked)
                return false;
        *asked =
                (struct asked){.object = resource, .again = resource->announced, .origin = *origin, .has_origin = true};
        if (!asked->again && gpu->options.ops->object_add(gpu->options.userdata, resource->uuid, &asked->ticket) < 0)
                return false;
        resource->references++;
        resource->announced = true;
        TAILQ_INSERT_TAIL(&gpu->asked, asked, entry);
        (void)steal(asked);
        return true;
}

void blob_mappings_forget(struct gpu *gpu)
{
        while (gpu->mappings) {
                struct gpu_mapping *mapping = *(struct gpu_mapping **)gpu->mappings;

                mapping_take_out(mapping);
                gpu->options.ops->unmap(gpu->options.userdata, mapping->range, NULL);
                mapping_unref(mapping);
        }
}

/* ---- answers ---- */

static void mapping_answer(struct gpu *gpu, const struct asked *asked, uint32_t type, void *bytes, size_t size)
{
        answer_begin(bytes, type, &asked->origin);
        if (type < VIRTIO_GPU_RESP_ERR_UNSPEC && fence_wait(gpu, &asked->origin, bytes, size) < 0)
                return;
        gpu->options.ops->complete(gpu->options.userdata, asked->origin.token, bytes, size);
}

/* If the front-end refuses the object, the UUID stays a name that no other device can look up. */
static void finish_object(struct gpu *gpu, struct asked *asked, int result)
{
        struct virtio_gpu_resp_resource_uuid uuid;

        if (result < 0)
                log_warning(&gpu->options.log, "resource %u is not to be shared with other devices: %s",
                            asked->object->id, strerror(-result));
        memcpy(uuid.uuid, asked->object->uuid, sizeof(uuid.uuid));
        asked->object->announced = false;
        mapping_answer(gpu, asked, VIRTIO_GPU_RESP_OK_RESOURCE_UUID, &uuid, sizeof(uuid));
        resource_unref(asked->object);
}

static void finish_map(struct gpu *gpu, struct asked *asked, int result)
{
        struct gpu_mapping *mapping = asked->mapping;
        struct virtio_gpu_resp_map_info info = {.map_info = htole32(mapping->resource->blob.map_info)};

        if (result < 0) {
                log_warning(&gpu->options.log, "resource %u can't be mapped at 0x%lx: %s", mapping->resource->id,
                            (unsigned long)mapping->range.start, strerror(-result));
                /* Unless its end was asked for meanwhile. */
                if (mapping->resource->mapping == mapping) {
                        mapping_take_out(mapping);
                        mapping_unref(mapping);
                }
        }
        if (result < 0)
                mapping_answer(gpu, asked, type_of_error(result), &info, sizeof(info.hdr));
        else
                mapping_answer(gpu, asked, VIRTIO_GPU_RESP_OK_MAP_INFO, &info, sizeof(info));
}

static void mapping_finish(struct gpu *gpu, struct asked *asked, int result)
{
        struct virtio_gpu_ctrl_hdr header;

        if (asked->object) {
                finish_object(gpu, asked, result);
                return;
        }
        if (asked->map)
                finish_map(gpu, asked, result);
        /* The mapping's resource, if nothing else keeps it, is gone before the driver gets the answer. */
        mapping_unref(asked->mapping);
        if (!asked->map && asked->has_origin)
                mapping_answer(gpu, asked, VIRTIO_GPU_RESP_OK_NODATA, &header, sizeof(header));
}

static struct asked *take_asked(struct gpu *gpu)
{
        struct asked *asked = TAILQ_FIRST(&gpu->asked);

        if (asked)
                TAILQ_REMOVE(&gpu->asked, asked, entry);
        return asked;
}

void gpu_await_mappings(struct gpu *gpu)
{
        struct asked *asked;

        pthread_mutex_lock(&gpu->lock);
        while ((asked = take_asked(gpu))) {
                pthread_mutex_unlock(&gpu->lock);

                int result = asked->again ? 0 : gpu->options.ops->wait(gpu->options.userdata, asked->ticket);

                pthread_mutex_lock(&gpu->lock);
                mapping_finish(gpu, asked, result);
                free(asked);
        }
        pthread_mutex_unlock(&gpu->lock);
}
