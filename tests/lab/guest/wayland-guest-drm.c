/* SPDX-License-Identifier: BSD-2-Clause */

/* The functions of tests/peers/wayland-guest.h by Linux's driver for virtio-gpu, as a proxy in a guest has them. A
 * resource's number is the kernel's: a table says which one the caller means. Where a command has an answer, the fence
 * that the kernel gives for it is waited for. */

#include "tests/peers/wayland-guest.h"

#include <drm/drm.h>
#include <drm/virtgpu_drm.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define XR24   0x34325258U
#define WINDOW (UINT64_C(256) << 20) /* of addresses, where blobs are mapped */

enum { RESOURCES = 8, WAIT_MS = 60000 };

struct own {
        int fd;
        uint32_t resources[RESOURCES]; /* the kernel's, by the caller's number */
        uint64_t sizes[RESOURCES], offsets[RESOURCES];
};

static struct own *own(struct guest *guest)
{
        return guest->own;
}

static int call(struct guest *guest, unsigned long request, void *argument)
{
        return ioctl(own(guest)->fd, request, argument) < 0 ? -errno : 0;
}

/* A blob that is mapped at @at, NULL: anywhere. */
static int make_blob(struct guest *guest, uint32_t mem, uint64_t blob_id, uint64_t size, void *at, uint32_t *resource,
                     void **out)
{
        struct drm_virtgpu_resource_create_blob create = {
                .blob_mem = mem, .blob_flags = VIRTGPU_BLOB_FLAG_USE_MAPPABLE, .size = size, .blob_id = blob_id};
        int r = call(guest, DRM_IOCTL_VIRTGPU_RESOURCE_CREATE_BLOB, &create);
        struct drm_virtgpu_map map = {.handle = create.bo_handle};

        if (r == 0)
                r = call(guest, DRM_IOCTL_VIRTGPU_MAP, &map);
        if (r < 0)
                return r;
        *resource = create.res_handle;
        *out = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), own(guest)->fd,
                    (off_t)map.offset);
        return *out == MAP_FAILED ? -errno : 0;
}

static int make_placed(struct guest *guest, uint32_t id, uint64_t blob_id, uint64_t size, uint64_t offset)
{
        struct own *mine = own(guest);
        void *memory;

        if (id >= RESOURCES || offset >= WINDOW || size > WINDOW - offset)
                return -EINVAL;
        mine->sizes[id] = size;
        mine->offsets[id] = offset;
        return make_blob(guest, VIRTGPU_BLOB_MEM_HOST3D, blob_id, size, guest->window + offset, &mine->resources[id],
                         &memory);
}

/* Waits until it is done, and on the channel's ring until a message is there. */
static int submit(struct guest *guest, const void *command, size_t size, uint32_t ring)
{
        struct drm_virtgpu_execbuffer execute = {
                .flags = VIRTGPU_EXECBUF_RING_IDX | VIRTGPU_EXECBUF_FENCE_FD_OUT,
                .size = (uint32_t)size,
                .command = (uintptr_t)command,
                .fence_fd = -1,
                .ring_idx = ring,
        };
        int r = call(guest, DRM_IOCTL_VIRTGPU_EXECBUFFER, &execute);
        struct pollfd fence = {.fd = execute.fence_fd, .events = POLLIN};

        if (r < 0)
                return r;
        r = poll(&fence, 1, WAIT_MS);
        close(execute.fence_fd);
        return r == 1 ? 0 : r == 0 ? -ETIMEDOUT : -errno;
}

static int begin(struct guest *guest)
{
        struct drm_virtgpu_context_set_param params[] = {
                {VIRTGPU_CONTEXT_PARAM_CAPSET_ID, VIRTGPU_DRM_CAPSET_CROSS_DOMAIN},
                {VIRTGPU_CONTEXT_PARAM_NUM_RINGS, CROSS_RINGS},
        };
        struct drm_virtgpu_context_init context = {.num_params = 2, .ctx_set_params = (uintptr_t)params};
        struct cross_init init = {.header = {.command = CROSS_INIT, .size = sizeof(init)},
                                  .channel_type = CROSS_CHANNEL_WAYLAND};
        int r = call(guest, DRM_IOCTL_VIRTGPU_CONTEXT_INIT, &context);

        if (r == 0)
                r = make_blob(guest, VIRTGPU_BLOB_MEM_GUEST, 0, CROSS_RING_SIZE, NULL, &init.ring_ids[0],
                              (void **)(uintptr_t)&guest->image);
        if (r == 0)
                r = make_blob(guest, VIRTGPU_BLOB_MEM_GUEST, 0, CROSS_RING_SIZE, NULL, &init.ring_ids[1],
                              (void **)(uintptr_t)&guest->message);
        return r < 0 ? r : submit(guest, &init, sizeof(init), CROSS_QUERY_RING);
}

int guest_open(struct guest *guest, const char *path,
               __attribute__((unused)) const struct oriel_driver_options *objects)
{
        *guest = (struct guest){.own = calloc(1, sizeof(struct own))};
        if (!guest->own)
                return -ENOMEM;
        own(guest)->fd = open(path, O_RDWR | O_CLOEXEC);
        guest->window = mmap(NULL, WINDOW, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (own(guest)->fd < 0 || guest->window == MAP_FAILED)
                return -errno;
        return begin(guest);
}

void guest_close(struct guest *guest)
{
        if (!guest->own)
                return;
        if (own(guest)->fd >= 0)
                close(own(guest)->fd);
        free(guest->own);
}

int guest_await(struct guest *guest)
{
        const struct cross_header poll = {.command = CROSS_POLL, .size = sizeof(poll)};

        return submit(guest, &poll, sizeof(poll), CROSS_CHANNEL_RING);
}

int guest_submit(struct guest *guest, const void *command, uint32_t size)
{
        return submit(guest, command, size, CROSS_QUERY_RING);
}

uint32_t guest_resource(const struct guest *guest, uint32_t id)
{
        const struct own *mine = guest->own;

        return id < RESOURCES ? mine->resources[id] : 0;
}

int guest_make_image(struct guest *guest, uint32_t id, uint32_t width, uint32_t height)
{
        const struct cross_get_image_requirements get = {
                .header = {.command = CROSS_GET_IMAGE_REQUIREMENTS, .size = sizeof(get)},
                .width = width,
                .height = height,
                .format = XR24};
        int r = guest_submit(guest, &get, sizeof(get));

        return r < 0 ? r : make_placed(guest, id, guest->image->blob_id, guest->image->size, 0);
}

int guest_map_received(struct guest *guest, uint32_t id, uint32_t blob_id, uint32_t size, uint64_t offset)
{
        return make_placed(guest, id, blob_id, (size + 4095) & ~UINT32_C(4095), offset);
}

int guest_unmap(struct guest *guest, uint32_t id)
{
        struct own *mine = own(guest);

        return munmap(guest->window + mine->offsets[id], mine->sizes[id]) < 0 ? -errno : 0;
}
