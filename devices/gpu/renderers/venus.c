/* SPDX-License-Identifier: BSD-2-Clause */

/* Venus by libvirglrenderer (0.10 and later): contexts, blobs and fences of the gpu are the library's, one for one. Its
 * render server does the work; in this process the library only passes on commands and descriptors. It is told to
 * signal fences on a thread of its own, so that nobody has to poll.
 *
 * The library has one state for the whole process, which lives from start() to free(). Its errors are positive or
 * negative errnos, or -1. */

#include "devices/gpu/renderers/venus.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "devices/gpu/core/state.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#define VIRGL_RENDERER_UNSTABLE_APIS
#include <virgl/virglrenderer.h>

SYSCALL_ROWS syscalls_used[] = {
        SYSCALL(socketpair), SYSCALL(sendmsg),  SYSCALL(recvmsg),         SYSCALL(memfd_create), SYSCALL(ftruncate),
        SYSCALL(fcntl),      SYSCALL(eventfd2), SYSCALL(clock_nanosleep), SYSCALL(lseek),
#ifdef __NR_poll
        SYSCALL(poll),
#endif
};

struct venus {
        struct gpu_renderer renderer;
        struct gpu *gpu;
        struct oriel_log log;
        int server_fd;
};

static struct venus *venus_of(struct gpu_renderer *renderer)
{
        return (struct venus *)renderer;
}

static int error_of(int r)
{
        return r == 0 ? 0 : r == -1 ? -EIO : r > 0 ? -r : r;
}

/* ---- what the library calls ---- */

static void write_context_fence(void *cookie, uint32_t context_id, uint32_t ring, uint64_t fence_id)
{
        struct venus *venus = cookie;

        gpu_fence_signalled(venus->gpu, context_id, ring, fence_id);
}

/* The library's messages, which it would otherwise print. Its callback has no userdata. */
static const struct oriel_log *library_log;

static void write_log(const char *format, va_list args)
{
        char line[256];

        vsnprintf(line, sizeof(line), format, args);
        line[strcspn(line, "\n")] = '\0';
        log_debug(library_log, "%s", line);
}

static void write_fence(void *cookie, uint32_t fence_id)
{
}

static int get_server_fd(void *cookie, uint32_t version)
{
        struct venus *venus = cookie;

        return fd_take(&venus->server_fd);
}

/* ---- what the gpu calls ---- */

static int venus_start(struct gpu_renderer *renderer, struct gpu *gpu)
{
        static struct virgl_renderer_callbacks callbacks = {
                .version = 3,
                .write_fence = write_fence,
                .write_context_fence = write_context_fence,
                .get_server_fd = get_server_fd,
        };
        const int flags = VIRGL_RENDERER_VENUS | VIRGL_RENDERER_NO_VIRGL | VIRGL_RENDERER_RENDER_SERVER |
                          VIRGL_RENDERER_USE_EXTERNAL_BLOB | VIRGL_RENDERER_THREAD_SYNC | VIRGL_RENDERER_ASYNC_FENCE_CB;

        library_log = &venus_of(renderer)->log;
        virgl_set_debug_callback(write_log);
        venus_of(renderer)->gpu = gpu;

        int r = error_of(virgl_renderer_init(renderer, flags, &callbacks));

        /* Nothing to clean up then: a failed init has done so. */
        if (r < 0)
                venus_of(renderer)->gpu = NULL;
        return r;
}

static void venus_free(struct gpu_renderer *renderer)
{
        struct venus *venus = venus_of(renderer);

        if (venus->gpu)
                virgl_renderer_cleanup(renderer);
        fd_close(venus->server_fd);
        library_log = NULL;
        free(venus);
}

static int venus_get_capset(struct gpu_renderer *renderer, uint32_t version, void *data, uint32_t *max_version,
                            uint32_t *size)
{
        virgl_renderer_get_cap_set(GPU_CAPSET_VENUS, max_version, size);
        if (*size == 0)
                return -ENODEV;
        if (data)
                virgl_renderer_fill_caps(GPU_CAPSET_VENUS, version, data);
        return 0;
}

static int venus_create_context(struct gpu_renderer *renderer, uint32_t context_id, const char *name)
{
        int r = error_of(
                virgl_renderer_context_create_with_flags(context_id, GPU_CAPSET_VENUS, (uint32_t)strlen(name), name));

        if (r < 0)
                log_error(&venus_of(renderer)->log, "venus: no context: the render server may have ended");
        return r;
}

static void venus_destroy_context(struct gpu_renderer *renderer, uint32_t context_id)
{
        virgl_renderer_context_destroy(context_id);
}

static int venus_submit(struct gpu_renderer *renderer, uint32_t context_id, const void *commands, size_t size)
{
        if (size % sizeof(uint32_t) != 0)
                return -EINVAL;
        return error_of(virgl_renderer_submit_cmd((void *)(uintptr_t)commands, (int)context_id,
                                                  (int)(size / sizeof(uint32_t))));
}

static int export_blob(uint32_t resource_id, struct gpu_blob *out)
{
        static const enum gpu_blob_type types[] = {
                [VIRGL_RENDERER_BLOB_FD_TYPE_DMABUF] = GPU_BLOB_DMABUF,
                [VIRGL_RENDERER_BLOB_FD_TYPE_OPAQUE] = GPU_BLOB_OPAQUE,
                [VIRGL_RENDERER_BLOB_FD_TYPE_SHM] = GPU_BLOB_SHM,
        };
        uint32_t type = 0;
        int fd = -1;

        /* Not every blob can be exported: others are the renderer's alone. */
        if (virgl_renderer_resource_export_blob(resource_id, &type, &fd) != 0)
                return 0;
        out->fd = fd;
        out->type = type < ARRAY_SIZE(types) ? types[type] : GPU_BLOB_NONE;
        if (virgl_renderer_resource_get_map_info(resource_id, &out->map_info) != 0)
                out->map_info = VIRTIO_GPU_MAP_CACHE_CACHED;
        return 0;
}

static int venus_create_blob(struct gpu_renderer *renderer, const struct gpu_blob_request *request,
                             struct gpu_blob *out)
{
        const struct virgl_renderer_resource_create_blob_args args = {
                .res_handle = request->resource_id,
                .ctx_id = request->mem == VIRTIO_GPU_BLOB_MEM_GUEST ? 0 : request->context_id,
                .blob_mem = request->mem,
                .blob_flags = request->flags,
                .blob_id = request->blob_id,
                .size = request->size,
                .iovecs = request->spans,
                .num_iovs = request->n_spans,
        };
        int r = error_of(virgl_renderer_resource_create_blob(&args));

        if (r < 0 || request->mem == VIRTIO_GPU_BLOB_MEM_GUEST)
                return r;
        return export_blob(request->resource_id, out);
}

static void venus_destroy_blob(struct gpu_renderer *renderer, uint32_t resource_id)
{
        virgl_renderer_resource_unref(resource_id);
}

static int venus_attach(struct gpu_renderer *renderer, uint32_t context_id, uint32_t resource_id)
{
        virgl_renderer_ctx_attach_resource((int)context_id, (int)resource_id);
        return 0;
}

static void venus_detach(struct gpu_renderer *renderer, uint32_t context_id, uint32_t resource_id)
{
        virgl_renderer_ctx_detach_resource((int)context_id, (int)resource_id);
}

static int venus_create_fence(struct gpu_renderer *renderer, uint32_t context_id, uint32_t ring, uint64_t fence_id)
{
        return error_of(virgl_renderer_context_create_fence(context_id, 0, ring, fence_id));
}

int venus_new(int server_fd, const struct oriel_log *log, struct gpu_renderer **out)
{
        struct venus *venus = calloc(1, sizeof(*venus));

        if (!venus)
                return -ENOMEM;
        venus->log = *log;
        venus->server_fd = server_fd;
        venus->renderer = (struct gpu_renderer){
                .capset_id = GPU_CAPSET_VENUS,
                .start = venus_start,
                .free = venus_free,
                .get_capset = venus_get_capset,
                .create_context = venus_create_context,
                .destroy_context = venus_destroy_context,
                .submit = venus_submit,
                .create_blob = venus_create_blob,
                .destroy_blob = venus_destroy_blob,
                .attach = venus_attach,
                .detach = venus_detach,
                .create_fence = venus_create_fence,
        };
        *out = &venus->renderer;
        return 0;
}
