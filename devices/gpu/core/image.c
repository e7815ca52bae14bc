/* SPDX-License-Identifier: BSD-2-Clause */

/* 2D resources (VIRTIO 1.4, 5.7.6.8): pixels in this process, which the driver fills from guest memory. */

#include "devices/gpu/core/command.h"

#include "base/cleanup.h"
#include "base/range.h"

uint32_t handle_create_2d(struct gpu *gpu, struct command *command)
{
        const struct virtio_gpu_resource_create_2d *create = &command->fixed.create_2d;
        const uint32_t width = le32toh(create->width), height = le32toh(create->height);
        struct resource *resource;

        if (!scanout_format_is_known(le32toh(create->format)) || width == 0 || height == 0 || width > GPU_SIDE_MAX ||
            height > GPU_SIDE_MAX)
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;

        const size_t size = (size_t)width * height * 4;

        if (size > GPU_PIXELS_MAX - gpu->pixels)
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;

        uint32_t type = resource_new(gpu, le32toh(create->resource_id), &resource);

        if (type)
                return type;
        resource->image = calloc(1, sizeof(*resource->image) + size);
        if (!resource->image) {
                resource_remove(resource);
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
        }
        resource->image->format = le32toh(create->format);
        resource->image->width = width;
        resource->image->height = height;
        resource->size = size;
        gpu->pixels += size;
        return VIRTIO_GPU_RESP_OK_NODATA;
}

/* The rectangle's rows lie in the backing as in an image of the resource's width; the first is at the offset. */
uint32_t handle_transfer_to_host_2d(struct gpu *gpu, struct command *command)
{
        const struct virtio_gpu_transfer_to_host_2d *transfer = &command->fixed.transfer;
        struct resource *resource = command->resource;
        struct gpu_image *image = resource->image;
        const struct gpu_rect rect = rect_take(&transfer->r);
        const size_t row_size = (size_t)rect.width * 4;
        uint64_t offset = le64toh(transfer->offset);

        if (!image)
                return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
        if (!resource->backing || !rect_within(rect, image->width, image->height))
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        for (uint32_t row = 0; row < rect.height; row++) {
                uint8_t *at = image->pixels + ((size_t)(rect.y + row) * image->width + rect.x) * 4;

                if (backing_read(resource->backing, offset, at, row_size) != row_size ||
                    !checked_add(offset, (uint64_t)image->width * 4, &offset))
                        return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        }
        return VIRTIO_GPU_RESP_OK_NODATA;
}
