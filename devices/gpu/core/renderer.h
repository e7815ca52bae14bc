/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CORE_RENDERER_H
#define DEVICES_GPU_CORE_RENDERER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* A renderer executes the commands of contexts of one capset. All functions are called with the gpu's lock held,
 * unless it says otherwise, and must not wait for the driver; those that return int return 0 or a negative errno. */

/* The kind of a host blob's fd. */
enum gpu_blob_type {
        GPU_BLOB_NONE, /* there is nothing to map */
        GPU_BLOB_SHM,  /* a memfd or the like */
        GPU_BLOB_DMABUF,
        /* Meaningful for its driver alone: mmap() does not show the blob's bytes, so it is never mapped. */
        GPU_BLOB_OPAQUE,
};

struct gpu_blob {
        int fd; /* -1: none; the gpu's from now on */
        enum gpu_blob_type type;
        uint32_t map_info; /* VIRTIO_GPU_MAP_CACHE_ */
        bool read_only;    /* the fd can't be mapped for writing */
        size_t memory;     /* bytes of this process; limit for a driver's blobs: GPU_BLOB_MEMORY_MAX */
};

/* Whether the blob's bytes are those of its fd, from the start. */
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

/* Called by a renderer, from any thread, also within its own functions: all commands of ring @ring of @context_id,
 * up to the one with @fence_id, are done. */
struct gpu;
void gpu_fence_signalled(struct gpu *gpu, uint32_t context_id, uint32_t ring, uint64_t fence_id);

struct gpu_renderer {
        uint32_t capset_id;
        unsigned bit; /* set by the gpu, which notes by it which renderers know a blob */
        /* From now on @gpu may be given to gpu_fence_signalled(). */
        int (*start)(struct gpu_renderer *renderer, struct gpu *gpu);
        void (*free)(struct gpu_renderer *renderer);
        /* Returns the capset's version and size; with @data also its *@size bytes for @version. */
        int (*get_capset)(struct gpu_renderer *renderer, uint32_t version, void *data, uint32_t *max_version,
                          uint32_t *size);
        int (*create_context)(struct gpu_renderer *renderer, uint32_t context_id, const char *name);
        void (*destroy_context)(struct gpu_renderer *renderer, uint32_t context_id);
        int (*submit)(struct gpu_renderer *renderer, uint32_t context_id, const void *commands, size_t size);
        /* Creates a blob: a guest blob, with mem GUEST, when it is attached to one of the renderer's contexts; a
         * host blob when the driver creates it. */
        int (*create_blob)(struct gpu_renderer *renderer, const struct gpu_blob_request *request, struct gpu_blob *out);
        void (*destroy_blob)(struct gpu_renderer *renderer, uint32_t resource_id);
        /* May be NULL, as detach() and reset() may. */
        int (*attach)(struct gpu_renderer *renderer, uint32_t context_id, uint32_t resource_id);
        void (*detach)(struct gpu_renderer *renderer, uint32_t context_id, uint32_t resource_id);
        /* 0: gpu_fence_signalled() follows when all submissions before on @ring are done. 1: they are. */
        int (*create_fence)(struct gpu_renderer *renderer, uint32_t context_id, uint32_t ring, uint64_t fence_id);
        /* A queue is about to stop: signal the fences that wait for something else than the renderer, possibly for
         * ever. Without the gpu's lock. May be NULL. */
        void (*release_fences)(struct gpu_renderer *renderer);
        /* All contexts and blobs are gone. */
        void (*reset)(struct gpu_renderer *renderer);
};

#endif
