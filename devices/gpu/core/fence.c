/* SPDX-License-Identifier: BSD-2-Clause */

/* Answers, and commands that ask for a fence (VIRTIO 1.4, 5.7.6.7): their answer stays in a list until the context's
 * renderer signals that all submissions before are done. Each ring of a context is a timeline of its own.
 *
 * A renderer may signal on a thread of its own, or within its create_fence(), so the list has its own lock, which is
 * held over no call. */

#include "base/cleanup.h"
#include "base/clock.h"
#include "devices/gpu/core/state.h"

#include <errno.h>
#include <string.h>

void answer_begin(void *answer, uint32_t type, const struct origin *origin)
{
        struct virtio_gpu_ctrl_hdr header = {.type = htole32(type)};

        if (origin->flags & VIRTIO_GPU_FLAG_FENCE) {
                header.flags = htole32(origin->flags & (VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX));
                header.fence_id = htole64(origin->fence_id);
                header.ctx_id = htole32(origin->context_id);
                header.ring_idx = origin->ring;
        }
        memcpy(answer, &header, sizeof(header));
}

/* Selects fences. */
struct which {
        uint32_t context_id;  /* 0: of any */
        const uint32_t *ring; /* NULL: of any */
        const void *queue;    /* NULL: of any */
};

static bool is_one(const struct fence *fence, const struct which *which)
{
        const struct origin *origin = &fence->origin;

        return (which->context_id == 0 || origin->context_id == which->context_id) &&
               (!which->ring || origin->ring == *which->ring) && (!which->queue || origin->token.queue == which->queue);
}

/* The first selected fence that is @from or behind it. With the list's lock held. */
static struct fence *timeline_find(struct fence *from, const struct which *which)
{
        while (from && !is_one(from, which))
                from = TAILQ_NEXT(from, entry);
        return from;
}

/* Completes the selected fences in their order, up to @last; NULL: all. Called with the list's lock, which is
 * released meanwhile. */
static void complete_those(struct gpu *gpu, const struct which *which, const struct fence *last)
{
        struct fence_list done = TAILQ_HEAD_INITIALIZER(done);
        struct fence *fence = timeline_find(TAILQ_FIRST(&gpu->fences.waiting), which), *next;

        for (; fence; fence = next) {
                next = fence == last ? NULL : timeline_find(TAILQ_NEXT(fence, entry), which);
                TAILQ_REMOVE(&gpu->fences.waiting, fence, entry);
                TAILQ_INSERT_TAIL(&done, fence, entry);
        }
        gpu->fences.completing++;
        pthread_mutex_unlock(&gpu->fences.lock);
        while ((fence = TAILQ_FIRST(&done))) {
                TAILQ_REMOVE(&done, fence, entry);
                gpu->options.ops->complete(gpu->options.userdata, fence->origin.token, fence->answer, fence->size);
                free(fence);
        }
        pthread_mutex_lock(&gpu->fences.lock);
        gpu->fences.completing--;
        pthread_cond_broadcast(&gpu->fences.fewer);
}

void gpu_fence_signalled(struct gpu *gpu, uint32_t context_id, uint32_t ring, uint64_t fence_id)
{
        const struct which which = {.context_id = context_id, .ring = &ring};
        struct fence *fence;

        pthread_mutex_lock(&gpu->fences.lock);
        fence = timeline_find(TAILQ_FIRST(&gpu->fences.waiting), &which);
        while (fence && fence->origin.fence_id != fence_id)
                fence = timeline_find(TAILQ_NEXT(fence, entry), &which);
        /* Those before it are done too: a renderer may signal the last one alone. */
        if (fence)
                complete_those(gpu, &which, fence);
        pthread_mutex_unlock(&gpu->fences.lock);
}

void fences_complete(struct gpu *gpu, uint32_t context_id)
{
        const struct which which = {.context_id = context_id};

        pthread_mutex_lock(&gpu->fences.lock);
        complete_those(gpu, &which, NULL);
        pthread_mutex_unlock(&gpu->fences.lock);
}

/* Takes @mine out of the list and frees it. False: it was not there. */
static bool take_back(struct gpu *gpu, struct fence *mine)
{
        struct fence *fence;

        pthread_mutex_lock(&gpu->fences.lock);
        TAILQ_FOREACH(fence, &gpu->fences.waiting, entry)
        if (fence == mine)
                break;
        if (fence)
                TAILQ_REMOVE(&gpu->fences.waiting, fence, entry);
        pthread_mutex_unlock(&gpu->fences.lock);

        const bool was_there = fence;

        free(fence);
        return was_there;
}

int fence_wait(struct gpu *gpu, const struct origin *origin, const void *answer, size_t size)
{
        struct context *context = context_find(gpu, origin->context_id);

        if (!(origin->flags & VIRTIO_GPU_FLAG_FENCE) || !context)
                return 0;

        struct fence *fence = malloc(sizeof(*fence) + size);

        if (!fence)
                return 0;
        fence->origin = *origin;
        fence->size = size;
        memcpy(fence->answer, answer, size);
        /* Before create_fence(), as the fence may be signalled before that returns. */
        pthread_mutex_lock(&gpu->fences.lock);
        TAILQ_INSERT_TAIL(&gpu->fences.waiting, fence, entry);
        pthread_mutex_unlock(&gpu->fences.lock);

        int r = context->renderer->create_fence(context->renderer, context->id, origin->ring, origin->fence_id);

        /* It is done, or no renderer will ever signal it. */
        if (r != 0 && take_back(gpu, fence))
                return 0;
        return -EINPROGRESS;
}

void fences_settle(struct gpu *gpu, const void *queue, unsigned ms)
{
        const struct which which = {.queue = queue};
        int64_t end = now_ms() + ms;
        const struct timespec deadline = {end / 1000, end % 1000 * 1000000};
        int r = 0;

        pthread_mutex_lock(&gpu->fences.lock);

        bool waits = timeline_find(TAILQ_FIRST(&gpu->fences.waiting), &which);

        pthread_mutex_unlock(&gpu->fences.lock);
        for (unsigned i = 0; waits && i < gpu->n_renderers; i++)
                if (gpu->options.renderers[i]->release_fences)
                        gpu->options.renderers[i]->release_fences(gpu->options.renderers[i]);
        pthread_mutex_lock(&gpu->fences.lock);
        while (r == 0 && timeline_find(TAILQ_FIRST(&gpu->fences.waiting), &which))
                r = pthread_cond_clockwait(&gpu->fences.fewer, &gpu->fences.lock, CLOCK_MONOTONIC, &deadline);
        /* Fences that another thread is completing must reach the driver before the queue stops. */
        while (gpu->fences.completing > 0)
                pthread_cond_wait(&gpu->fences.fewer, &gpu->fences.lock);
        /* A driver that goes on after the stop would otherwise wait for ever. */
        complete_those(gpu, &which, NULL);
        pthread_mutex_unlock(&gpu->fences.lock);
}
