/* SPDX-License-Identifier: BSD-2-Clause */

/* Guest memory that a driver names by entries (VIRTIO 1.4, 5.7.6.8, struct virtio_gpu_mem_entry). backing_new()
 * translates the entries once, into spans of host memory, and keeps the memory table that they were found in, so
 * that the spans stay valid. Reads and writes find their first span by binary search and go on from there; writes
 * mark guest memory dirty. */

#include "devices/gpu/core/state.h"

#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/param.h>

void backing_free(struct backing *backing)
{
        if (!backing)
                return;
        oriel_memory_unref(backing->memory);
        free(backing->spans);
        free(backing->places);
        free(backing);
}

DEFINE_CLEANUP(struct backing *, backing_free);

/* An entry may cross from one region of memory into the next, or further. */
enum { PIECES_MAX = 64 };

static int backing_grow(struct backing *backing, unsigned *room, unsigned more)
{
        if (backing->n + more <= *room)
                return 0;

        unsigned wanted = (backing->n + more) * 2;
        struct iovec *spans = reallocarray(backing->spans, wanted, sizeof(*spans));

        backing->spans = spans ? spans : backing->spans;

        struct place *places = reallocarray(backing->places, wanted, sizeof(*places));

        backing->places = places ? places : backing->places;
        *room = wanted;
        return spans && places ? 0 : -ENOMEM;
}

static int backing_add(struct backing *backing, unsigned *room, struct oriel_range range)
{
        struct iovec pieces[PIECES_MAX];
        int n = oriel_memory_translate(backing->memory, ORIEL_ADDRESS_GUEST, range, ORIEL_ACCESS_READ_WRITE, pieces,
                                       PIECES_MAX, NULL);
        int r = n < 0 ? n : backing_grow(backing, room, (unsigned)n);

        if (r < 0)
                return r;
        for (int i = 0; i < n; i++) {
                backing->spans[backing->n] = pieces[i];
                backing->places[backing->n++] = (struct place){range.start, backing->size};
                range.start += pieces[i].iov_len;
                backing->size += pieces[i].iov_len;
        }
        return 0;
}

static int backing_fill(struct backing *backing, const void *entries, uint32_t n)
{
        unsigned room = 0;

        for (uint32_t i = 0; i < n; i++) {
                struct virtio_gpu_mem_entry entry;

                memcpy(&entry, (const uint8_t *)entries + i * sizeof(entry), sizeof(entry));

                const struct oriel_range range = {le64toh(entry.addr), le32toh(entry.length)};
                int r = backing_add(backing, &room, range);

                if (r < 0)
                        return r;
        }
        return 0;
}

uint32_t backing_new(struct gpu *gpu, const void *entries, size_t size, uint32_t n, struct backing **out)
{
        if (n > GPU_ENTRIES_MAX || size / sizeof(struct virtio_gpu_mem_entry) < n)
                return VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;

        _cleanup_(backing_freep) struct backing *backing = calloc(1, sizeof(*backing));

        if (!backing)
                return VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY;
        backing->memory = gpu->options.ops->memory(gpu->options.userdata);

        int r = backing_fill(backing, entries, n);

        if (r < 0)
                return r == -ENOMEM ? VIRTIO_GPU_RESP_ERR_OUT_OF_MEMORY : VIRTIO_GPU_RESP_ERR_INVALID_PARAMETER;
        *out = steal(backing);
        return 0;
}

/* Finds the span that @offset, which is within, is in. A backing may have a million of them, and each row of an
 * image is a search. */
static unsigned find_span(const struct backing *backing, uint64_t offset)
{
        unsigned from = 0, to = backing->n;

        while (to - from > 1) {
                unsigned middle = from + (to - from) / 2;

                if (backing->places[middle].offset <= offset)
                        from = middle;
                else
                        to = middle;
        }
        return from;
}

/* Copies between [@offset, @offset + @size) and @data: into guest memory with @options, else out of it. */
static size_t backing_copy(const struct backing *backing, uint64_t offset, size_t size, void *data,
                           const struct gpu_options *options)
{
        size_t done = 0;

        if (offset >= backing->size)
                return 0;
        for (unsigned i = find_span(backing, offset); i < backing->n && done < size; i++) {
                size_t from = (size_t)(offset + done - backing->places[i].offset);
                size_t n = MIN(backing->spans[i].iov_len - from, size - done);
                uint8_t *guest = (uint8_t *)backing->spans[i].iov_base + from, *at = (uint8_t *)data + done;

                memcpy(options ? guest : at, options ? at : guest, n);
                if (options)
                        options->ops->mark_dirty(options->userdata,
                                                 (struct oriel_range){backing->places[i].guest + from, n});
                done += n;
        }
        return done;
}

size_t backing_read(const struct backing *backing, uint64_t offset, void *data, size_t size)
{
        return backing_copy(backing, offset, size, data, NULL);
}

size_t backing_write(struct gpu *gpu, const struct backing *backing, uint64_t offset, const void *data, size_t size)
{
        return backing_copy(backing, offset, size, (void *)(uintptr_t)data, &gpu->options);
}
