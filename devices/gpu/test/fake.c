/* SPDX-License-Identifier: BSD-2-Clause */

/* The renderer for tests: memfds for blobs, and fences that wait as long as a test wants. */

#include "devices/gpu/test/fake.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_gpu.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct fake {
        struct gpu_renderer renderer;
        struct gpu *gpu;
        pthread_mutex_t lock;
        struct fake_counts counts;
        atomic_bool hold;
};

static struct fake *fake_of(struct gpu_renderer *renderer)
{
        return (struct fake *)renderer;
}

static void count(struct fake *fake, unsigned *what, int by)
{
        pthread_mutex_lock(&fake->lock);
        *what += (unsigned)by;
        pthread_mutex_unlock(&fake->lock);
}

static int fake_start(struct gpu_renderer *renderer, struct gpu *gpu)
{
        fake_of(renderer)->gpu = gpu;
        return 0;
}

static void fake_free(struct gpu_renderer *renderer)
{
        pthread_mutex_destroy(&fake_of(renderer)->lock);
        free(renderer);
}

static int fake_get_capset(struct gpu_renderer *renderer, uint32_t version, void *data, uint32_t *max_version,
                           uint32_t *size)
{
        *max_version = 1;
        *size = FAKE_CAPS_SIZE;
        if (data)
                memset(data, 0xca, FAKE_CAPS_SIZE);
        return 0;
}

static int fake_create_context(struct gpu_renderer *renderer, uint32_t context_id, const char *name)
{
        if (strcmp(name, "refused") == 0)
                return -EIO;
        count(fake_of(renderer), &fake_of(renderer)->counts.contexts, 1);
        return 0;
}

static void fake_destroy_context(struct gpu_renderer *renderer, uint32_t context_id)
{
        count(fake_of(renderer), &fake_of(renderer)->counts.contexts, -1);
}

static int fake_submit(struct gpu_renderer *renderer, uint32_t context_id, const void *commands, size_t size)
{
        uint64_t command = 0;

        memcpy(&command, commands, size < sizeof(command) ? size : sizeof(command));
        if (command == FAKE_FAIL)
                return -EINVAL;
        count(fake_of(renderer), &fake_of(renderer)->counts.submitted, 1);
        return 0;
}

static int make_file(const struct gpu_blob_request *request, struct gpu_blob *out)
{
        char path[64];

        out->fd = memfd_create("fake", MFD_CLOEXEC);
        out->type = request->blob_id == FAKE_BLOB_OPAQUE ? GPU_BLOB_OPAQUE : GPU_BLOB_SHM;
        out->map_info = VIRTIO_GPU_MAP_CACHE_CACHED;
        if (out->fd < 0 || ftruncate(out->fd, (off_t)((request->size + 4095) & ~UINT64_C(4095))) < 0)
                return -errno;
        if (request->blob_id != FAKE_BLOB_READ_ONLY)
                return 0;
        snprintf(path, sizeof(path), "/proc/self/fd/%d", out->fd);

        int fd = open(path, O_RDONLY | O_CLOEXEC);

        fd_close(out->fd);
        out->fd = fd;
        return 0;
}

static int fake_create_blob(struct gpu_renderer *renderer, const struct gpu_blob_request *request, struct gpu_blob *out)
{
        int r = 0;

        if (request->mem != VIRTIO_GPU_BLOB_MEM_GUEST) {
                if (request->blob_id == FAKE_BLOB_REFUSED)
                        return -ENOMEM;
                if (request->blob_id != FAKE_BLOB_NO_FD)
                        r = make_file(request, out);
        }
        if (r < 0)
                out->fd = fd_close(out->fd);
        else
                count(fake_of(renderer), &fake_of(renderer)->counts.blobs, 1);
        return r;
}

static void fake_destroy_blob(struct gpu_renderer *renderer, uint32_t resource_id)
{
        count(fake_of(renderer), &fake_of(renderer)->counts.blobs, -1);
}

static int fake_attach(struct gpu_renderer *renderer, uint32_t context_id, uint32_t resource_id)
{
        if (resource_id == FAKE_RESOURCE_REFUSED)
                return -ENOMEM;
        count(fake_of(renderer), &fake_of(renderer)->counts.attached, 1);
        return 0;
}

static void fake_detach(struct gpu_renderer *renderer, uint32_t context_id, uint32_t resource_id)
{
        count(fake_of(renderer), &fake_of(renderer)->counts.attached, -1);
}

static int fake_create_fence(struct gpu_renderer *renderer, uint32_t context_id, uint32_t ring, uint64_t fence_id)
{
        struct fake *fake = fake_of(renderer);

        if (!atomic_load(&fake->hold))
                gpu_fence_signalled(fake->gpu, context_id, ring, fence_id);
        return 0;
}

static void fake_reset(struct gpu_renderer *renderer)
{
        count(fake_of(renderer), &fake_of(renderer)->counts.resets, 1);
}

struct gpu_renderer *fake_new(void)
{
        struct fake *fake = calloc(1, sizeof(*fake));

        pthread_mutex_init(&fake->lock, NULL);
        fake->renderer = (struct gpu_renderer){
                .capset_id = FAKE_CAPSET,
                .start = fake_start,
                .free = fake_free,
                .get_capset = fake_get_capset,
                .create_context = fake_create_context,
                .destroy_context = fake_destroy_context,
                .submit = fake_submit,
                .create_blob = fake_create_blob,
                .destroy_blob = fake_destroy_blob,
                .attach = fake_attach,
                .detach = fake_detach,
                .create_fence = fake_create_fence,
                .reset = fake_reset,
        };
        return &fake->renderer;
}

void fake_hold_fences(struct gpu_renderer *renderer, bool hold)
{
        atomic_store(&fake_of(renderer)->hold, hold);
}

void fake_signal(struct gpu_renderer *renderer, uint32_t context_id, uint32_t ring, uint64_t fence_id)
{
        gpu_fence_signalled(fake_of(renderer)->gpu, context_id, ring, fence_id);
}

struct fake_counts fake_count(struct gpu_renderer *renderer)
{
        struct fake *fake = fake_of(renderer);

        pthread_mutex_lock(&fake->lock);

        struct fake_counts counts = fake->counts;

        pthread_mutex_unlock(&fake->lock);
        return counts;
}
