/* SPDX-License-Identifier: BSD-2-Clause */

/* Outputs and what they show (VIRTIO 1.4, 5.7.6.8 and 5.7.6.10). Each output that is on has a copy of its resource
 * in one format. RESOURCE_FLUSH updates the copy, and sinks read it: a sink never reads guest memory. The driver's
 * cursor is copied from its resource too. */

#include "devices/gpu/core/command.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/param.h>

/* ---- sinks ---- */

static struct gpu_frame frame_of(const struct scanout *scanout)
{
        return (struct gpu_frame){scanout->pixels, scanout->rect.width, scanout->rect.height, scanout->rect.width};
}

#define EACH_SINK(sink, gpu) for (const struct gpu_sink *const *at = (gpu)->sinks, *sink; (sink = *at); at++)

static void scanout_show(struct gpu *gpu, unsigned output)
{
        const struct scanout *scanout = &gpu->outputs[output];
        struct gpu_frame frame = frame_of(scanout);

        EACH_SINK(sink, gpu)
        if (sink->set)
                sink->set(sink->userdata, output, scanout->resource ? &frame : NULL);
}

static void scanout_update(struct gpu *gpu, unsigned output, struct gpu_rect rect)
{
        struct gpu_frame frame = frame_of(&gpu->outputs[output]);

        EACH_SINK(sink, gpu)
        if (sink->update)
                sink->update(sink->userdata, output, &frame, rect);
}

static size_t size_of(const struct scanout *scanout)
{
        return (size_t)scanout->rect.width * scanout->rect.height * 4;
}

static void turn_off(struct gpu *gpu, unsigned output)
{
        struct scanout *scanout = &gpu->outputs[output];

        if (!scanout->resource)
                return;
        gpu->pixels -= size_of(scanout);
        free(scanout->pixels);
        *scanout = (struct scanout){.resource = NULL};
        scanout_show(gpu, output);
}

void scanouts_forget(struct gpu *gpu, const struct resource *resource)
{
        for (unsigned i = 0; i < gpu->options.outputs; i++)
                if (gpu->outputs[i].resource == resource)
                        turn_off(gpu, i);
}

void scanouts_reset(struct gpu *gpu)
{
        for (unsigned i = 0; i < gpu->options.outputs; i++)
                turn_off(gpu, i);
}

int gpu_add_sink(struct gpu *gpu, const struct gpu_sink *sink)
{
        unsigned n = 0;

        pthread_mutex_lock(&gpu->lock);
        while (gpu->sinks[n])
                n++;
        if (n < GPU_SINKS_MAX)
                gpu->sinks[n] = sink;
        for (unsigned i = 0; n < GPU_SINKS_MAX && sink->set && i < gpu->options.outputs; i++) {
                struct gpu_frame frame = frame_of(&gpu->outputs[i]);

                if (frame.pixels)
                        sink->set(sink->userdata, i, &frame);
        }
        if (n < GPU_SINKS_MAX && gpu->displays.told && sink->ask)
                sink->ask(sink->userdata);
        pthread_mutex_unlock(&gpu->lock);
        return n < GPU_SINKS_MAX ? 0 : -ENOSPC;
}

void gpu_remove_sink(struct gpu *gpu, const struct gpu_sink *sink)
{
        const struct gpu_sink **from = gpu->sinks, **to = from;

        pthread_mutex_lock(&gpu->lock);
        for (; *from; from++)
                if (*from != sink)
                        *to++ = *from;
        *to = NULL;
        pthread_mutex_unlock(&gpu->lock);
}

bool scanouts_ask(struct gpu *gpu)
{
        bool asked = false;

        EACH_SINK(sink, gpu)
        if (sink->ask && sink->ask(sink->userdata))
                asked = true;
        return asked;
}

bool gpu_output_size(struct gpu *gpu, unsigned output, uint32_t *width, uint32_t *height)
{
        pthread_mutex_lock(&gpu->lock);

        struct gpu_frame frame = frame_of(&gpu->outputs[output]);

        pthread_mutex_unlock(&gpu->lock);
        *width = frame.width;
        *height = frame.height;
        return frame.pixels;
}

struct gpu_rect rect_take(const struct virtio_gpu_rect *from)
{
        return (struct gpu_rect){le32toh(from->x), le32toh(from->y), le32toh(from->width), le32toh(from->height)};
}

bool rect_within(struct gpu_rect rect, uint32_t width, uint32_t height)
{
        return range_within((struct oriel_range){rect.x, rect.width}, width) &&
               range_within((struct oriel_range){rect.y, rect.height}, height);
}

bool gpu_copy_output(struct gpu *gpu, unsigned output, struct gpu_rect rect, uint32_t *to, uint32_t stride)
{
        pthread_mutex_lock(&gpu->lock);

        struct gpu_frame frame = frame_of(&gpu->outputs[output]);
        bool there = frame.pixels && rect_within(rect, frame.width, frame.height);

        for (uint32_t y = 0; there && y < rect.height; y++)
                memcpy(to + (size_t)y * stride, frame.pixels + (size_t)(rect.y + y) * frame.stride + rect.x,
                       (size_t)rect.width * 4);
        pthread_mutex_unlock(&gpu->lock);
        return there;
}

/* ---- pixels ---- */

/* Returns where red, green, blue and alpha are in four bytes; NULL: the format is unknown. */
static const uint8_t *order_of(uint32_t format)
{
        static const struct {
                uint32_t formats[2];
                uint8_t order[4];
        } rows[] = {
                {{VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM}, {2, 1, 0, 3}},
                {{VIRTIO_GPU_FORMAT_A8R8G8B8_UNORM, VIRTIO_GPU_FORMAT_X8R8G8B8_UNORM}, {1, 2, 3, 0}},
                {{VIRTIO_GPU_FORMAT_R8G8B8A8_UNORM, VIRTIO_GPU_FORMAT_R8G8B8X8_UNORM}, {0, 1, 2, 3}},
                {{VIRTIO_GPU_FORMAT_A8B8G8R8_UNORM, VIRTIO_GPU_FORMAT_X8B8G8R8_UNORM}, {3, 2, 1, 0}},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (rows[i].formats[0] == format || rows[i].formats[1] == format)
                        return rows[i].order;
        return NULL;
}

bool scanout_format_is_known(uint32_t format)
{
        return order_of(format);
}

static void scanout_convert(uint32_t *to, const uint8_t *from, size_t n, const uint8_t order[4])
{
        for (size_t i = 0; i < n; i++, from += 4)
                to[i] = (uint32_t)from[order[3]] << 24 | (uint32_t)from[order[0]] << 16 |
                        (uint32_t)from[order[1]] << 8 | from[order[2]];
}

/* Reads @size bytes of @resource from @offset on, out of its image or its backing. */
static bool read_resource(const struct resource *resource, uint64_t offset, void *data, size_t size)
{
        if (resource->image) {
                if (!range_within((struct oriel_range){offset, size}, resource->size))
                        return false;
                memcpy(data, resource->image->pixels + offset, size);
                return true;
        }
        return resource->backing && backing_read(resource->backing, offset, data, size) == size;
}

/* Reads and converts @rect of @layout into @to, with @stride pixels in a row. */
static bool read_pixels(const struct resource *resource, const struct layout *layout, struct gpu_rect rect,
                        uint32_t *to, uint32_t stride)
{
        _cleanup_(freep) uint8_t *row = malloc((size_t)rect.width * 4);

        if (!row)
                return false;
        for (uint32_t y = 0; y < rect.height; y++) {
                uint64_t offset = layout->offset + (uint64_t)(rect.y + y) * layout->stride + (uint64_t)rect.x * 4;

                if (!read_resource(resource, offset, row, (size_t)rect.width * 4))
                        return false;
                scanout_convert(to + (size_t)y * stride, row, rect.width, order_of(layout->format));
        }
        return true;
}

/* ---- commands ---- */

static struct layout layout_of(const struct gpu_image *image)
{
        return (struct layout){image->format, image->width, image->height, image->width * 4, 0};
}

static bool layout_within(const struct layout *layout, uint64_t size)
{
        return scanout_format_is_known(layout->format) && layout->width <= GPU_SIDE_MAX &&
               layout->height <= GPU_SIDE_MAX && layout->height > 0 && layout->stride / 4 >= layout->width &&
               layout->offset + (uint64_t)layout->stride * (layout->height - 1) + (uint64_t)layout->width * 4 <= size;
}

static uint32_t set_scanout(struct gpu *gpu, uint32_t output, const struct resource *resource,
                            const struct layout *layout, struct gpu_rect rect)
{
        struct scanout *scanout = &gpu->outputs[output];
        const size_t size = (size_t)rect.width * rect.height * 4, before = size_of(scanout);
        /* A driver flips pages in this way: at the same size, sinks get an update, and don't see the output go off
         * and on. */
        const bool same = scanout->resource && scanout->rect.width == rect.width && scanout->rect.height == rect.height;

        if (rect.width == 0 || rect.height == 0 || !rect_within(rect, layout->width, layout->height))
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        if (size > GPU_PIXELS_MAX - (gpu->pixels - before))
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;

        uint32_t *pixels = same ? scanout->pixels : calloc(1, size);

        if (!pixels)
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
        if (!same)
                free(scanout->pixels);
        gpu->pixels += size - before;
        *scanout = (struct scanout){resource, *layout, rect, pixels};
        read_pixels(resource, layout, rect, pixels, rect.width);
        if (same)
                scanout_update(gpu, output, (struct gpu_rect){0, 0, rect.width, rect.height});
        else
                scanout_show(gpu, output);
        return VIRTIO_GPU_RESP_OK_NODATA;
}

_Static_assert(offsetof(struct virtio_gpu_set_scanout, resource_id) ==
                       offsetof(struct virtio_gpu_set_scanout_blob, resource_id),
               "both begin alike");

/* @of_blob: the layout of a blob, from the command; the blob must be guest memory, as a renderer's is not read here.
 * NULL: the resource is an image. */
static uint32_t handle_set(struct gpu *gpu, const struct virtio_gpu_set_scanout *set, const struct layout *of_blob)
{
        const uint32_t output = le32toh(set->scanout_id), id = le32toh(set->resource_id);
        const struct resource *resource = resource_find(gpu, id);

        if (output >= gpu->options.outputs)
                return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
        if (id == 0) {
                turn_off(gpu, output);
                return VIRTIO_GPU_RESP_OK_NODATA;
        }
        if (!resource || (of_blob ? resource->image || !resource->backing : !resource->image))
                return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;

        const struct layout layout = of_blob ? *of_blob : layout_of(resource->image);

        if (!layout_within(&layout, resource->size))
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        return set_scanout(gpu, output, resource, &layout, rect_take(&set->r));
}

uint32_t handle_set_scanout(struct gpu *gpu, struct command *command)
{
        return handle_set(gpu, &command->fixed.set_scanout, NULL);
}

uint32_t handle_set_scanout_blob(struct gpu *gpu, struct command *command)
{
        const struct virtio_gpu_set_scanout_blob *set = &command->fixed.set_scanout_blob;
        const struct layout layout = {le32toh(set->format), le32toh(set->width), le32toh(set->height),
                                      le32toh(set->strides[0]), le32toh(set->offsets[0])};

        return handle_set(gpu, &command->fixed.set_scanout, &layout);
}

/* The intersection of two rectangles, relative to the first. */
static bool scanout_meet(struct gpu_rect a, struct gpu_rect b, struct gpu_rect *out)
{
        uint64_t x = MAX(a.x, b.x), y = MAX(a.y, b.y);
        uint64_t right = MIN((uint64_t)a.x + a.width, (uint64_t)b.x + b.width);
        uint64_t bottom = MIN((uint64_t)a.y + a.height, (uint64_t)b.y + b.height);

        if (x >= right || y >= bottom)
                return false;
        *out = (struct gpu_rect){(uint32_t)x - a.x, (uint32_t)y - a.y, (uint32_t)(right - x), (uint32_t)(bottom - y)};
        return true;
}

static void scanout_refresh(struct gpu *gpu, unsigned output, struct gpu_rect of_resource)
{
        struct scanout *scanout = &gpu->outputs[output];
        struct gpu_rect changed;

        if (!scanout_meet(scanout->rect, of_resource, &changed))
                return;

        const struct gpu_rect there = {scanout->rect.x + changed.x, scanout->rect.y + changed.y, changed.width,
                                       changed.height};
        uint32_t *to = scanout->pixels + (size_t)changed.y * scanout->rect.width + changed.x;

        if (read_pixels(scanout->resource, &scanout->layout, there, to, scanout->rect.width))
                scanout_update(gpu, output, changed);
}

uint32_t handle_flush(struct gpu *gpu, struct command *command)
{
        const struct virtio_gpu_resource_flush *flush = &command->fixed.flush;
        struct resource *resource = command->resource;
        struct gpu_rect rect = rect_take(&flush->r);

        if (resource->image && !rect_within(rect, resource->image->width, resource->image->height))
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        for (unsigned i = 0; i < gpu->options.outputs; i++)
                if (gpu->outputs[i].resource == resource)
                        scanout_refresh(gpu, i, rect);
        return VIRTIO_GPU_RESP_OK_NODATA;
}

/* ---- the cursor ---- */

uint32_t handle_update_cursor(struct gpu *gpu, struct command *command)
{
        const struct virtio_gpu_update_cursor *set = &command->fixed.cursor;
        const uint32_t output = le32toh(set->pos.scanout_id), id = le32toh(set->resource_id);
        const struct resource *resource = resource_find(gpu, id);
        uint32_t pixels[GPU_CURSOR_SIZE * GPU_CURSOR_SIZE];
        struct gpu_cursor cursor = {le32toh(set->pos.x), le32toh(set->pos.y), le32toh(set->hot_x), le32toh(set->hot_y),
                                    id ? pixels : NULL};

        if (output >= gpu->options.outputs)
                return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
        if (id) {
                const struct gpu_rect all = {0, 0, GPU_CURSOR_SIZE, GPU_CURSOR_SIZE};
                const struct layout of_blob = {VIRTIO_GPU_FORMAT_B8G8R8A8_UNORM, GPU_CURSOR_SIZE, GPU_CURSOR_SIZE,
                                               GPU_CURSOR_SIZE * 4, 0};
                const struct layout layout = resource && resource->image ? layout_of(resource->image) : of_blob;

                if (!resource || layout.width != GPU_CURSOR_SIZE || layout.height != GPU_CURSOR_SIZE ||
                    !read_pixels(resource, &layout, all, pixels, GPU_CURSOR_SIZE))
                        return VIRTIO_GPU_RESP_ERR_INVALID_RESOURCE_ID;
        }
        EACH_SINK(sink, gpu)
        if (sink->set_cursor)
                sink->set_cursor(sink->userdata, output, &cursor);
        return VIRTIO_GPU_RESP_OK_NODATA;
}

uint32_t handle_move_cursor(struct gpu *gpu, struct command *command)
{
        const struct virtio_gpu_update_cursor *set = &command->fixed.cursor;
        const uint32_t output = le32toh(set->pos.scanout_id);

        if (output >= gpu->options.outputs)
                return VIRTIO_GPU_RESP_ERR_INVALID_SCANOUT_ID;
        EACH_SINK(sink, gpu)
        if (sink->move_cursor)
                sink->move_cursor(sink->userdata, output, le32toh(set->pos.x), le32toh(set->pos.y));
        return VIRTIO_GPU_RESP_OK_NODATA;
}
