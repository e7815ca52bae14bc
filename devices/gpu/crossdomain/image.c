/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/gpu/crossdomain/channel.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <endian.h>
#include <errno.h>
#include <unistd.h>

#define FOURCC(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)

/* From drm_fourcc.h: the bytes of one sample of each plane, and the shift by which the later planes are smaller. */
static const struct format_row {
        uint32_t format;
        uint8_t planes[3], shift;
} format_rows[] = {
        {FOURCC('X', 'R', '2', '4'), {4}, 0},       {FOURCC('A', 'R', '2', '4'), {4}, 0},
        {FOURCC('X', 'B', '2', '4'), {4}, 0},       {FOURCC('A', 'B', '2', '4'), {4}, 0},
        {FOURCC('X', 'R', '3', '0'), {4}, 0},       {FOURCC('A', 'R', '3', '0'), {4}, 0},
        {FOURCC('X', 'B', '3', '0'), {4}, 0},       {FOURCC('A', 'B', '3', '0'), {4}, 0},
        {FOURCC('B', 'G', '2', '4'), {3}, 0},       {FOURCC('R', 'G', '2', '4'), {3}, 0},
        {FOURCC('R', 'G', '1', '6'), {2}, 0},       {FOURCC('G', 'R', '8', '8'), {2}, 0},
        {FOURCC('R', '8', ' ', ' '), {1}, 0},       {FOURCC('N', 'V', '1', '2'), {1, 2}, 1},
        {FOURCC('Y', 'V', '1', '2'), {1, 1, 1}, 1},
};

/* One plane after the other, rows without gaps, as wl_shm accepts them. */
static int image_layout(const struct format_row *row, uint32_t width, uint32_t height,
                        struct cross_image_requirements *out)
{
        uint64_t size = 0, plane;

        for (unsigned i = 0; i < ARRAY_SIZE(row->planes) && row->planes[i]; i++) {
                const uint64_t shift = i > 0 ? row->shift : 0, round = (UINT64_C(1) << shift) - 1;
                const uint64_t stride = ((width + round) >> shift) * row->planes[i];

                if (!checked_mul(stride, (height + round) >> shift, &plane))
                        return -EINVAL;
                out->strides[i] = htole32((uint32_t)stride);
                out->offsets[i] = htole32((uint32_t)size);
                if (!checked_add(size, plane, &size) || size > CROSS_IMAGE_MAX)
                        return -EINVAL;
        }
        size = (size + CROSS_PAGE - 1) & ~(uint64_t)(CROSS_PAGE - 1);
        out->size = htole64(size);
        return size > 0 ? 0 : -EINVAL;
}

int cross_image_layout(uint32_t format, uint32_t width, uint32_t height, struct cross_image_requirements *out)
{
        *out = (struct cross_image_requirements){
                .blob_id = htole32(CROSS_IMAGE_ID),
                .map_info = htole32(VIRTIO_GPU_MAP_CACHE_CACHED),
                .memory_index = -1,
                .physical_device_index = -1,
        };
        for (size_t i = 0; i < ARRAY_SIZE(format_rows); i++)
                if (format_rows[i].format == format)
                        return image_layout(&format_rows[i], width, height, out);
        return -EINVAL;
}
