/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CORE_RENDERER_H
#define DEVICES_GPU_CORE_RENDERER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* What executes the commands of contexts of one capset. All functions are called with the gpu's lock held, but
 * where it says otherwise, and must not wait for the driver; those that return int return 0 or a negative errno. */

/* What a host blob's fd is. */
enum gpu_blob_type {
        GPU_BLOB_NONE, /* there is nothing to map */
        GPU_BLOB_SHM,  /* a memfd or the like */
        GPU_BLOB_DMABUF,
        GPU_BLOB_OPAQUE, /* known to its driver alone: what mmap() shows of it are not the blob's bytes, so that it is
                            never mapped */
};

struct gpu_blob {
        int fd; /* -1: none; the gpu's from now on */
        enum gpu_blob_type type;
        uint32_t map_info; /* VIRTIO_GPU_MAP_CACHE_ */
        bool read_only;    /* the fd can't be mapped to write to */
        size_t memory;     /* of this process's that it takes, of which a driver may have GPU_BLOB_MEMORY_MAX */
};

/* Its bytes are those of its fd, from the start. */
static inline bool gpu_blob_is_file(const struct gpu_blob *blob)
{
        return blob->fd >= 0 && (blob->type == GPU_BLOB_SHM || blob->type == GPU_BLOB_DMABUF);
}

struct gpu_blob_request {
        uint32_t resource_id, context_id; /* context 0: none */
        uint32_t mem, flags;              /* VIRTIO_GPU_BLOB_MEM_, VIRTIO_GPU_BLOB_FLAG_ */
        uint64_t blob_id, size;
        const struct iovec *spans; /* guest memory, valid until destroy_blob() */
        unsigned n_spans;
};

/* What a renderer calls back, from any thread, its own calls included: all commands of @context_id's ring @ring up to
 * the one with @fence_id are done. */
struct gpu;
void gpu_fence_signalled(struct gpu *gpu, uint32_t context_id, uint32_t ring, uint64_t fence_id);

struct gpu_renderer {
        uint32_t capset_id;
        unsigned bit; /* the gpu's, for what its renderers know */
        /* @gpu is for gpu_fence_signalled(), from now on. */
        int (*start)(struct gpu_renderer *renderer, struct gpu *gpu);
        void (*free)(struct gpu_renderer *renderer);
        /* The capset's version and size; with @data also its @size bytes, for @version. */
        int (*get_capset)(struct gpu_renderer *renderer, uint32_t version, void *data, uint32_t *max_version,
                          uint32_t *size);
        int (*create_context)(struct gpu_renderer *renderer, uint32_t context_id, const char *name);
        void (*destroy_context)(struct gpu_renderer *renderer, uint32_t context_id);
        int (*submit)(struct gpu_renderer *renderer, uint32_t context_id, const void *commands, size_t size);
        /* Guest blobs come here when they are attached to one of its contexts, with mem GUEST; host blobs when they are
         * created. */
        int (*create_blob)(struct gpu_renderer *renderer, const struct gpu_blob_request *request, struct gpu_blob *out);
        void (*destroy_blob)(struct gpu_renderer *renderer, uint32_t resource_id);
        /* NULL, as for the next and reset(): nothing is to be done. */
        int (*attach)(struct gpu_renderer *renderer, uint32_t context_id, uint32_t resource_id);
        void (*detach)(struct gpu_renderer *renderer, uint32_t context_id, uint32_t resource_id);
        /* 0: gpu_fence_signalled() comes when all that was submitted before on @ring is done. 1: it is. */
        int (*create_fence)(struct gpu_renderer *renderer, uint32_t context_id, uint32_t ring, uint64_t fence_id);
        /* A queue is about to stop: signal fences that wait for somebody else than the renderer, which may be for ever.
         * Without the gpu's lock. NULL: there are none. */
        void (*release_fences)(struct gpu_renderer *renderer);
        /* All contexts and blobs are gone. */
        void (*reset)(struct gpu_renderer *renderer);
};

#endif
