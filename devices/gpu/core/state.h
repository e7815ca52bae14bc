/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_GPU_CORE_STATE_H
#define DEVICES_GPU_CORE_STATE_H

#include "devices/gpu/core/gpu.h"
#include "devices/gpu/core/renderer.h"
#include "devices/gpu/core/sink.h"

#include <endian.h>
#include <linux/virtio_gpu.h>
#include <oriel/protocol.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

/* VIRTIO 1.4, 5.7.3 and 5.7.6.8, which not every kernel's header has. */
#define GPU_F_BLOB_ALIGNMENT    5
#define GPU_CAPSET_VENUS        4
#define GPU_CAPSET_CROSS_DOMAIN 5
/* 5.7.4: struct virtio_gpu_config ends in front of blob_alignment in older headers. */
struct gpu_config_space {
        uint32_t events_read, events_clear, num_scanouts, num_capsets, blob_alignment; /* little endian */
};

/* Limits of a driver. */
enum { GPU_RESOURCES_MAX = 65536, GPU_CONTEXTS_MAX = 1024, GPU_ENTRIES_MAX = 1 << 20, GPU_ATTACHED_MAX = 1 << 18 };
#define GPU_PIXELS_MAX ((size_t)512 << 20)
/* Of blobs whose memory is in this process: some thirty buffers of 4K. */
#define GPU_BLOB_MEMORY_MAX ((size_t)1 << 30)

/* ---- resources: table.c, backing.c, resource.c ---- */

/* The guest memory of a resource, as the driver's entries name it. It is translated once, and its memory table is
 * kept: memory that the front-end removes meanwhile stays readable, and nobody sees what is written there. */
struct backing {
        struct oriel_memory *memory;
        struct iovec *spans;
        struct place {
                uint64_t guest, offset; /* address in guest memory; bytes before it */
        } * places;                     /* of each span */
        unsigned n;
        uint64_t size;
};

struct gpu_mapping;
struct gpu_image;

struct resource {
        uint32_t id; /* first, as in everything that is in a tree by its id */
        struct gpu *gpu;
        uint64_t serial;     /* unique for ever, unlike the id */
        unsigned references; /* of the table, of a mapping, and of requests for the object */
        struct backing *backing;
        struct gpu_image *image; /* of a 2D resource; NULL: a blob */
        uint8_t uuid[16];
        bool has_uuid, is_object; /* the front-end knows it */
        bool announced;           /* the front-end is being told */

        uint64_t size;

        /* Of a blob. */
        struct gpu_blob_request request;
        struct gpu_blob blob;
        unsigned known_to;           /* by the renderers with these bits */
        struct gpu_mapping *mapping; /* NULL: it is not mapped */
};

/* Compares two structs that begin with an id, for trees of search.h. */
int compare_ids(const void *a, const void *b);
struct resource *resource_find(struct gpu *gpu, uint32_t id);
/* Adds a new resource to the table. 0, or the type of an error. */
uint32_t resource_new(struct gpu *gpu, uint32_t id, struct resource **out);
/* Removes the resource from the table; it ends when nothing of it is mapped. */
void resource_remove(struct resource *resource);
void resource_unref(struct resource *resource);
/* Translates @n entries, each a struct virtio_gpu_mem_entry, of @size bytes. 0, or the type of an error. */
uint32_t backing_new(struct gpu *gpu, const void *entries, size_t size, uint32_t n, struct backing **out);
void backing_free(struct backing *backing);
/* Copy from or to @offset of it. Return how many bytes there were. */
size_t backing_read(const struct backing *backing, uint64_t offset, void *data, size_t size);
size_t backing_write(struct gpu *gpu, const struct backing *backing, uint64_t offset, const void *data, size_t size);

/* ---- contexts: table.c, context.c ---- */

struct context {
        uint32_t id;
        struct gpu_renderer *renderer;
        void *attached; /* a tree of resources' ids and serials */
        unsigned n_attached;
};

struct context *context_find(struct gpu *gpu, uint32_t id);
void contexts_remove_all(struct gpu *gpu);
/* The resource, if it is attached to the context, or NULL: a context's commands may name no other. Renderers call it
 * too, with the gpu's lock held, as in all calls to them; the resource's guest memory is valid until destroy_blob(). */
const struct resource *context_resource(struct gpu *gpu, uint32_t context_id, uint32_t resource_id);

/* ---- answers and fences: fence.c ---- */

/* A command's header, in this machine's byte order, and its token. */
struct origin {
        struct gpu_token token;
        uint32_t flags, context_id;
        uint8_t ring;
        uint64_t fence_id;
};

struct fence {
        TAILQ_ENTRY(fence) entry;
        struct origin origin;
        size_t size;
        uint8_t answer[];
};
TAILQ_HEAD(fence_list, fence);

/* The lock is taken after the gpu's, and never held in a renderer or a completion. */
struct fences {
        pthread_mutex_t lock;
        pthread_cond_t fewer;
        struct fence_list waiting;
        unsigned completing; /* threads that complete fences they have taken from the list */
};

/* Fills in the header of @answer for @origin. */
void answer_begin(void *answer, uint32_t type, const struct origin *origin);
/* Keeps the answer until the context's renderer signals the fence. -EINPROGRESS: kept. 0: nothing is to be waited
 * for. */
int fence_wait(struct gpu *gpu, const struct origin *origin, const void *answer, size_t size);
/* Completes the waiting fences of one context; 0: of all. */
void fences_complete(struct gpu *gpu, uint32_t context_id);
/* Waits at most @ms for the fences of one queue, and completes those that are left. Without the gpu's lock. */
void fences_settle(struct gpu *gpu, const void *queue, unsigned ms);

/* ---- mappings: mapping.c ---- */

struct asked;
TAILQ_HEAD(asked_list, asked);

/* Asks the front-end to show @resource, which is not mapped, at @range of the window. 0: the command's answer comes
 * later; else the type of an error. */
uint32_t blob_mapping_new(struct resource *resource, struct oriel_range range, const struct origin *origin);
/* Asks the front-end to remove the mapping of @resource, which has one. 0: the answer to @origin, unless NULL, comes
 * later; else its type. */
uint32_t blob_mapping_end(struct resource *resource, const struct origin *origin);
/* Announces the object @resource to the front-end. False: the front-end has no objects, or can't be asked. True: the
 * answer to @origin, which is that of RESOURCE_ASSIGN_UUID, comes later. */
bool object_announce(struct resource *resource, const struct origin *origin);
/* Removes all mappings, and asks the front-end to do so, if it can be asked. */
void blob_mappings_forget(struct gpu *gpu);

/* ---- blobs: blob.c ---- */

/* Creates the blob @resource in the renderer of @context, unless it knows the blob. 0 or a negative errno. */
int blob_make_known(struct gpu *gpu, struct resource *resource, const struct context *context);

/* ---- 2D: image.c, scanout.c ---- */

/* The pixels of a 2D resource, four bytes each. */
struct gpu_image {
        uint32_t format; /* VIRTIO_GPU_FORMAT_ */
        uint32_t width, height;
        uint8_t pixels[];
};

/* The layout of pixels in a resource. */
struct layout {
        uint32_t format, width, height, stride; /* stride in bytes */
        uint64_t offset;
};

struct scanout {
        const struct resource *resource; /* NULL: off */
        struct layout layout;            /* of the resource */
        struct gpu_rect rect;            /* of it */
        uint32_t *pixels;                /* rect's, in the format of sinks */
};

bool scanout_format_is_known(uint32_t format);
struct gpu_rect rect_take(const struct virtio_gpu_rect *from);
bool rect_within(struct gpu_rect rect, uint32_t width, uint32_t height);
void scanouts_reset(struct gpu *gpu);
/* @resource is about to end: outputs that show it go off. */
void scanouts_forget(struct gpu *gpu, const struct resource *resource);
/* Asks the sinks for the settings of outputs. False: no sink will answer. */
bool scanouts_ask(struct gpu *gpu);

/* ---- the settings of outputs: display.c ---- */

struct display_question;
TAILQ_HEAD(question_list, display_question);

struct displays {
        struct gpu_display known[GPU_OUTPUTS_MAX];
        bool told; /* the driver knows these */
        struct question_list questions;
};

void displays_init(struct gpu *gpu);
/* Answers the driver's commands that wait, with what is known: those of one queue, or all for NULL. */
void displays_answer(struct gpu *gpu, const void *queue);

/* ---- all of it ---- */

struct gpu {
        struct gpu_options options;
        pthread_mutex_t config_lock; /* of the configuration space alone, which is read while others wait */
        struct gpu_config_space config;

        /* Taken by the driver. They may be set while a command waits for the front-end, which waits for them to be
         * taken. */
        _Atomic uint64_t features;

        /* Of the objects alone: the front-end asks for one while a command may wait for the front-end with @lock
         * held. */
        pthread_mutex_t objects_lock;
        void *objects; /* a tree of search.h: resources by UUID */

        pthread_mutex_t lock; /* of what follows */
        unsigned n_renderers;
        void *resources, *contexts, *mappings; /* trees of search.h, by id and by range */
        unsigned n_resources, n_contexts, n_mappings, n_attached;
        uint64_t last_serial;
        size_t pixels;           /* bytes of all images and scanouts */
        size_t blob_memory;      /* of blobs whose renderers say how much */
        struct asked_list asked; /* requests to the front-end, oldest first */
        struct fences fences;
        const struct gpu_sink *sinks[GPU_SINKS_MAX + 1]; /* NULL-terminated */
        struct scanout outputs[GPU_OUTPUTS_MAX];
        struct displays displays;
};

#endif
