/* SPDX-License-Identifier: BSD-2-Clause */

/* The life of a gpu: gpu_new() starts the renderers, gpu_reset() removes all that a driver has made, and gpu_free()
 * does that too and frees the renderers. The configuration space has a lock of its own, and the features are atomic,
 * because the front-end reads and sets them while a command may wait for the front-end with the gpu's lock held. */

#include "devices/gpu/core/state.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

DEFINE_CLEANUP(struct gpu *, gpu_free);

static void config_init(struct gpu *gpu)
{
        long page = sysconf(_SC_PAGESIZE);

        gpu->config.num_scanouts = htole32(gpu->options.outputs);
        gpu->config.num_capsets = htole32(gpu->n_renderers);
        gpu->config.blob_alignment = htole32(page > 4096 ? (uint32_t)page : 0);
}

static void renderers_free(struct gpu_renderer *const *renderers)
{
        for (unsigned i = 0; i < GPU_RENDERERS_MAX && renderers[i]; i++)
                renderers[i]->free(renderers[i]);
}

/* If one fails, none is left: those that were started know @gpu, which ends. */
static int renderers_start(struct gpu *gpu)
{
        struct gpu_renderer *const *renderers = gpu->options.renderers;
        unsigned n = 0;
        int r = 0;

        for (; r == 0 && n < GPU_RENDERERS_MAX && renderers[n]; n++) {
                renderers[n]->bit = 1U << n;
                r = renderers[n]->start(renderers[n], gpu);
        }
        if (r < 0)
                renderers_free(renderers);
        else
                gpu->n_renderers = n;
        return r;
}

int gpu_new(const struct gpu_options *options, struct gpu **out)
{
        _cleanup_(gpu_freep) struct gpu *gpu = calloc(1, sizeof(*gpu));

        if (!gpu) {
                renderers_free(options->renderers);
                return -ENOMEM;
        }
        gpu->options = *options;
        displays_init(gpu);
        TAILQ_INIT(&gpu->asked);
        TAILQ_INIT(&gpu->fences.waiting);
        pthread_mutex_init(&gpu->lock, NULL);
        pthread_mutex_init(&gpu->config_lock, NULL);
        pthread_mutex_init(&gpu->objects_lock, NULL);
        pthread_mutex_init(&gpu->fences.lock, NULL);
        pthread_cond_init(&gpu->fences.fewer, NULL);

        int r = renderers_start(gpu);

        if (r < 0)
                return r;
        config_init(gpu);
        *out = steal(gpu);
        return 0;
}

void gpu_free(struct gpu *gpu)
{
        if (!gpu)
                return;
        gpu_reset(gpu);
        for (unsigned i = 0; i < gpu->n_renderers; i++)
                gpu->options.renderers[i]->free(gpu->options.renderers[i]);
        pthread_cond_destroy(&gpu->fences.fewer);
        pthread_mutex_destroy(&gpu->fences.lock);
        pthread_mutex_destroy(&gpu->config_lock);
        pthread_mutex_destroy(&gpu->objects_lock);
        pthread_mutex_destroy(&gpu->lock);
        free(gpu);
}

uint64_t gpu_features(const struct gpu *gpu)
{
        uint64_t features = ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_UUID) | ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB);

        if (gpu->n_renderers > 0)
                features |= ORIEL_FEATURE(VIRTIO_GPU_F_VIRGL) | ORIEL_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT);
        if (gpu->options.outputs > 0)
                features |= ORIEL_FEATURE(VIRTIO_GPU_F_EDID);
        if (gpu->config.blob_alignment)
                features |= ORIEL_FEATURE(GPU_F_BLOB_ALIGNMENT);
        return features;
}

void gpu_set_features(struct gpu *gpu, uint64_t features)
{
        atomic_store(&gpu->features, features);
}

int gpu_get_config(struct gpu *gpu, struct oriel_range range, void *data)
{
        if (!range_within(range, sizeof(gpu->config)))
                return -EINVAL;
        pthread_mutex_lock(&gpu->config_lock);
        memcpy(data, (const uint8_t *)&gpu->config + range.start, range.size);
        pthread_mutex_unlock(&gpu->config_lock);
        return 0;
}

/* Only events_clear can be written, which clears the events that it names. */
int gpu_set_config(struct gpu *gpu, struct oriel_range range, const void *data)
{
        const struct oriel_range clear = {offsetof(struct gpu_config_space, events_clear), sizeof(uint32_t)};
        uint32_t events;

        if (range.start != clear.start || range.size != clear.size)
                return -EINVAL;
        memcpy(&events, data, sizeof(events));
        pthread_mutex_lock(&gpu->config_lock);
        gpu->config.events_read &= ~events;
        pthread_mutex_unlock(&gpu->config_lock);
        return 0;
}

void gpu_reset(struct gpu *gpu)
{
        pthread_mutex_lock(&gpu->lock);
        scanouts_reset(gpu);
        blob_mappings_forget(gpu);
        contexts_remove_all(gpu);
        fences_complete(gpu, 0);
        displays_answer(gpu, NULL);
        gpu->displays.told = false;
        while (gpu->resources)
                resource_remove(*(struct resource **)gpu->resources);
        for (unsigned i = 0; i < gpu->n_renderers; i++)
                if (gpu->options.renderers[i]->reset)
                        gpu->options.renderers[i]->reset(gpu->options.renderers[i]);
        pthread_mutex_unlock(&gpu->lock);
}

void gpu_settle(struct gpu *gpu, void *queue, unsigned ms)
{
        pthread_mutex_lock(&gpu->lock);
        displays_answer(gpu, queue);
        pthread_mutex_unlock(&gpu->lock);
        fences_settle(gpu, queue, ms);
}

struct gpu_counts gpu_count(struct gpu *gpu)
{
        struct gpu_counts counts;
        const struct fence *fence;

        pthread_mutex_lock(&gpu->lock);
        counts = (struct gpu_counts){gpu->n_contexts, gpu->n_resources, gpu->n_mappings, 0};
        pthread_mutex_lock(&gpu->fences.lock);
        TAILQ_FOREACH(fence, &gpu->fences.waiting, entry)
        counts.fences++;
        pthread_mutex_unlock(&gpu->fences.lock);
        pthread_mutex_unlock(&gpu->lock);
        return counts;
}
