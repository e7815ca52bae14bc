/* SPDX-License-Identifier: BSD-2-Clause */

/* A cross-domain context by the driver in user space: no machine, no guest's kernel. */

#include "tests/peers/wayland-guest.h"

#include "clients/gpu/client.h"
#include "program/report.h"

#include <errno.h>
#include <oriel/socket.h>
#include <stdlib.h>
#include <string.h>

#define FEATURES                                                                         \
        (ORIEL_FEATURE(VIRTIO_GPU_F_VIRGL) | ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_UUID) | \
         ORIEL_FEATURE(VIRTIO_GPU_F_RESOURCE_BLOB) | ORIEL_FEATURE(VIRTIO_GPU_F_CONTEXT_INIT))
#define XR24 0x34325258U

/* The rings' resources; a caller's are others. */
enum { CONTEXT = 1, QUERY_ID = 1000, CHANNEL_ID };

struct own {
        struct oriel_driver *driver;
        struct gpu_client *client;
        uint64_t last_fence;
};

static struct own *own(struct guest *guest)
{
        return guest->own;
}

static int make_ring(struct guest *guest, uint32_t id, const void **out)
{
        void *memory = oriel_driver_alloc(own(guest)->driver, CROSS_RING_SIZE);
        int r = memory ? gpu_client_create_guest_blob(own(guest)->client, 0, id, memory, CROSS_RING_SIZE) : -ENOMEM;

        *out = memory;
        return r < 0 ? r : gpu_client_attach(own(guest)->client, CONTEXT, id);
}

static int begin(struct guest *guest)
{
        const struct cross_init init = {.header = {.command = CROSS_INIT, .size = sizeof(init)},
                                        .ring_ids = {QUERY_ID, CHANNEL_ID},
                                        .channel_type = CROSS_CHANNEL_WAYLAND};
        uint64_t size;
        int r = gpu_client_create_context(own(guest)->client, CONTEXT, 5, "wayland-guest");

        guest->window = oriel_driver_window(own(guest)->driver, VIRTIO_GPU_SHM_ID_HOST_VISIBLE, &size);
        if (r == 0)
                r = make_ring(guest, QUERY_ID, (const void **)&guest->image);
        if (r == 0)
                r = make_ring(guest, CHANNEL_ID, (const void **)&guest->message);
        return r < 0 ? r : gpu_client_submit(own(guest)->client, CONTEXT, &init, sizeof(init));
}

int guest_open(struct guest *guest, const char *path, const struct oriel_driver_options *objects)
{
        static struct oriel_log log;

        log = stderr_log(0);
        *guest = (struct guest){.own = calloc(1, sizeof(struct own))};
        if (!guest->own)
                return -ENOMEM;

        struct oriel_driver_options options = objects ? *objects : (struct oriel_driver_options){0};

        options.struct_size = sizeof(options);
        options.log = &log;
        options.features = FEATURES;

        int r = oriel_driver_new(&options, oriel_socket_connect(path), &own(guest)->driver);

        if (r == 0)
                r = gpu_client_new(own(guest)->driver, &own(guest)->client);
        return r < 0 ? r : begin(guest);
}

void guest_close(struct guest *guest)
{
        if (!guest->own)
                return;
        gpu_client_free(own(guest)->client);
        oriel_driver_free(own(guest)->driver);
        free(guest->own);
}

struct gpu_client *guest_client(const struct guest *guest)
{
        return ((const struct own *)guest->own)->client;
}

int guest_await(struct guest *guest)
{
        const struct cross_header poll = {.command = CROSS_POLL, .size = sizeof(poll)};
        const struct virtio_gpu_cmd_submit submit = {
                .hdr = {.type = VIRTIO_GPU_CMD_SUBMIT_3D,
                        .ctx_id = CONTEXT,
                        .flags = VIRTIO_GPU_FLAG_FENCE | VIRTIO_GPU_FLAG_INFO_RING_IDX,
                        .ring_idx = CROSS_CHANNEL_RING,
                        .fence_id = ++own(guest)->last_fence},
                .size = sizeof(poll)};
        const struct gpu_client_command command = {
                .fixed = &submit, .fixed_size = sizeof(submit), .payload = &poll, .payload_size = sizeof(poll)};
        struct virtio_gpu_ctrl_hdr answer;
        int r = gpu_client_call(own(guest)->client, &command, &answer, sizeof(answer));

        return r < 0 ? r : r == VIRTIO_GPU_RESP_OK_NODATA ? 0 : gpu_client_error((uint32_t)r);
}

int guest_submit(struct guest *guest, const void *command, uint32_t size)
{
        return gpu_client_submit(own(guest)->client, CONTEXT, command, size);
}

uint32_t guest_resource(const struct guest *guest, uint32_t id)
{
        return id;
}

int guest_make_image(struct guest *guest, uint32_t id, uint32_t width, uint32_t height)
{
        const struct cross_get_image_requirements get = {
                .header = {.command = CROSS_GET_IMAGE_REQUIREMENTS, .size = sizeof(get)},
                .width = width,
                .height = height,
                .format = XR24};
        int r = gpu_client_submit(own(guest)->client, CONTEXT, &get, sizeof(get));

        if (r == 0)
                r = gpu_client_create_blob(own(guest)->client, CONTEXT, id, guest->image->blob_id, guest->image->size);
        if (r == 0)
                r = gpu_client_map(own(guest)->client, id, 0, NULL);
        return r < 0 ? r : gpu_client_attach(own(guest)->client, CONTEXT, id);
}

int guest_map_received(struct guest *guest, uint32_t id, uint32_t blob_id, uint32_t size, uint64_t offset)
{
        const uint32_t whole = (size + CROSS_RING_SIZE - 1) & ~(uint32_t)(CROSS_RING_SIZE - 1);
        int r = gpu_client_create_blob(own(guest)->client, CONTEXT, id, blob_id, whole);

        return r < 0 ? r : gpu_client_map(own(guest)->client, id, offset, NULL);
}

int guest_unmap(struct guest *guest, uint32_t id)
{
        return gpu_client_unmap(own(guest)->client, id);
}
