/* SPDX-License-Identifier: BSD-2-Clause */

/* A buffer of the driver's, between pop and push: its spans in host memory, readable ones first, and the guest address
 * of each, for the dirty log. chain_fill() translates the checked descriptors one by one and refuses a readable one
 * behind a writable one, more than 4 GiB, and more than max_spans pieces. The chain holds a reference to the table it
 * was translated with, so its spans stay valid when the table is replaced. Chains are reused (device_queue.c) and keep
 * their arrays. The rest of the file are the public functions that copy to and from the spans. */

#include "virtqueue/chain.h"

#include "base/range.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>

#define CHAIN_SIZE_MAX (UINT64_C(1) << 32) /* VIRTIO 1.2, 2.7.4.1 and 2.8.4 */

int descriptors_add(struct descriptors *descriptors, struct descriptor item)
{
        if (descriptors->n == descriptors->room) {
                unsigned room = descriptors->room > 0 ? descriptors->room * 2 : 16;
                struct descriptor *items = reallocarray(descriptors->items, room, sizeof(*items));

                if (!items)
                        return -ENOMEM;
                descriptors->items = items;
                descriptors->room = room;
        }
        descriptors->items[descriptors->n++] = item;
        return 0;
}

int chain_new(struct oriel_chain **out)
{
        *out = calloc(1, sizeof(**out));
        return *out ? 0 : -ENOMEM;
}

void chain_free(struct oriel_chain *chain)
{
        if (!chain)
                return;
        chain_release_memory(chain);
        free(chain->spans);
        free(chain->guests);
        free(chain);
}

void chain_release_memory(struct oriel_chain *chain)
{
        oriel_memory_unref(chain->memory);
        chain->memory = NULL;
}

static int chain_grow(struct oriel_chain *chain)
{
        unsigned room = chain->room > 0 ? chain->room * 2 : 8;
        struct iovec *spans;
        uint64_t *guests;

        spans = reallocarray(chain->spans, room, sizeof(*spans));
        if (!spans)
                return -ENOMEM;
        chain->spans = spans;
        guests = reallocarray(chain->guests, room, sizeof(*guests));
        if (!guests)
                return -ENOMEM;
        chain->guests = guests;
        chain->room = room;
        return 0;
}

/* Extends the last span if @piece continues it. */
static bool chain_join(struct oriel_chain *chain, const struct memory_piece *piece)
{
        struct iovec *last = chain->spans + chain->n - 1;

        if ((uint8_t *)last->iov_base + last->iov_len != piece->host ||
            chain->guests[chain->n - 1] + last->iov_len != piece->guest)
                return false;
        last->iov_len += piece->size;
        return true;
}

static int chain_add_span(struct oriel_chain *chain, const struct memory_piece *piece, bool may_join)
{
        /* Adjacent pages of an IOMMU are often adjacent in host memory too. */
        if (may_join && chain_join(chain, piece))
                return 0;
        if (chain->n == chain->room) {
                int r = chain_grow(chain);

                if (r < 0)
                        return r;
        }
        chain->spans[chain->n] = (struct iovec){.iov_base = piece->host, .iov_len = piece->size};
        chain->guests[chain->n++] = piece->guest;
        return 0;
}

static int chain_add(struct oriel_chain *chain, struct oriel_range range, enum oriel_access access, unsigned max_spans,
                     struct oriel_fault *fault)
{
        unsigned before = chain->n;

        while (range.size > 0) {
                struct memory_piece piece;
                int r = memory_find(chain->memory, ORIEL_ADDRESS_GUEST, range, access, &piece, fault);

                if (r == 0)
                        r = chain_add_span(chain, &piece, chain->n > before);
                if (r < 0)
                        return r;
                if (chain->n > max_spans)
                        return -E2BIG;
                range.start += piece.size;
                range.size -= piece.size;
        }
        return 0;
}

static int chain_add_descriptor(struct oriel_chain *chain, const struct descriptor *descriptor, unsigned max_spans,
                                struct oriel_fault *fault, struct ring_failure *failure)
{
        struct oriel_range range = {descriptor->address, descriptor->size};
        bool writable = descriptor->flags & VRING_DESC_F_WRITE;
        size_t *size = writable ? &chain->writable_size : &chain->readable_size;
        uint64_t whole = (uint64_t)chain->readable_size + chain->writable_size + descriptor->size;
        int r;

        if (whole > CHAIN_SIZE_MAX)
                return failure_set(failure, "a descriptor chain of more than 4 GiB");
        if (whole > SIZE_MAX)
                return failure_set(failure, "a descriptor chain of more bytes than there are addresses");
        *size += descriptor->size;
        r = chain_add(chain, range, writable ? ORIEL_ACCESS_WRITE : ORIEL_ACCESS_READ, max_spans, fault);
        switch (r) {
        case -EFAULT:
                return failure_set_absent(failure,
                                          "a %s descriptor at %#" PRIx64 ", %" PRIu32 " bytes, is not in memory",
                                          writable ? "writable" : "readable", range.start, descriptor->size);
        case -EINVAL:
                return failure_set(failure, "a descriptor's address %#" PRIx64 " and length %" PRIu32 " overflow",
                                   range.start, descriptor->size);
        case -E2BIG:
                return failure_set(failure, "a descriptor chain of more than %u pieces", max_spans);
        default:
                return r;
        }
}

int chain_fill(struct oriel_chain *chain, const struct descriptors *descriptors, struct oriel_memory *memory,
               unsigned max_spans, struct oriel_fault *fault, struct ring_failure *failure)
{
        bool writable = false;

        if (chain->memory != memory) {
                chain_release_memory(chain);
                chain->memory = oriel_memory_ref(memory);
        }
        chain->n = chain->n_readable = 0;
        chain->readable_size = chain->writable_size = 0;
        for (unsigned i = 0; i < descriptors->n; i++) {
                const struct descriptor *descriptor = &descriptors->items[i];
                int r;

                if (descriptor->flags & VRING_DESC_F_INDIRECT)
                        continue;
                if (writable && !(descriptor->flags & VRING_DESC_F_WRITE))
                        return failure_set(failure, "a readable descriptor behind a writable one");
                writable = descriptor->flags & VRING_DESC_F_WRITE;
                r = chain_add_descriptor(chain, descriptor, max_spans, fault, failure);
                if (r < 0)
                        return r;
                if (!writable)
                        chain->n_readable = chain->n;
        }
        return 0;
}

void chain_mark_dirty(const struct oriel_chain *chain, struct oriel_dirty_log *log)
{
        uint64_t left = chain->written;

        for (unsigned i = chain->n_readable; i < chain->n && left > 0; i++) {
                uint64_t size = chain->spans[i].iov_len < left ? chain->spans[i].iov_len : left;

                oriel_dirty_log_mark(log, (struct oriel_range){chain->guests[i], size});
                left -= size;
        }
}

const struct iovec *oriel_chain_readable(const struct oriel_chain *chain, unsigned *count)
{
        *count = chain->n_readable;
        return chain->spans;
}

const struct iovec *oriel_chain_writable(const struct oriel_chain *chain, unsigned *count)
{
        *count = chain->n - chain->n_readable;
        /* A chain that never had a span has no array. */
        return chain->spans ? chain->spans + chain->n_readable : NULL;
}

size_t oriel_chain_readable_size(const struct oriel_chain *chain)
{
        return chain->readable_size;
}

size_t oriel_chain_writable_size(const struct oriel_chain *chain)
{
        return chain->writable_size;
}

/* Copies between @data and @spans, from offset @offset on in these: as much as both have. */
static size_t spans_copy(const struct iovec *spans, unsigned n, size_t offset, void *data, size_t size, bool to_spans)
{
        size_t done = 0;

        for (unsigned i = 0; i < n && done < size; i++) {
                if (offset >= spans[i].iov_len) {
                        offset -= spans[i].iov_len;
                        continue;
                }

                size_t here = MIN(spans[i].iov_len - offset, size - done);
                uint8_t *span = (uint8_t *)spans[i].iov_base + offset, *at = (uint8_t *)data + done;

                memcpy(to_spans ? span : at, to_spans ? at : span, here);
                done += here;
                offset = 0;
        }
        return done;
}

size_t oriel_chain_read(const struct oriel_chain *chain, size_t offset, void *data, size_t size)
{
        unsigned n;
        const struct iovec *spans = oriel_chain_readable(chain, &n);

        return spans_copy(spans, n, offset, data, size, false);
}

size_t oriel_chain_write(struct oriel_chain *chain, size_t offset, const void *data, size_t size)
{
        unsigned n;
        const struct iovec *spans = oriel_chain_writable(chain, &n);

        return spans_copy(spans, n, offset, (void *)(uintptr_t)data, size, true);
}

uint16_t oriel_chain_id(const struct oriel_chain *chain)
{
        return chain->id;
}
