/* SPDX-License-Identifier: BSD-2-Clause */

/* From addresses of a guest, or of the front-end's process, to host memory. memory_find() finds one contiguous piece:
 * by the IOTLB, if there is one, and then by the table's regions. All others are loops over it: spans, one contiguous
 * piece, a copy, marks in the dirty log. Every call has a length, and checks the access rights of the region and of the
 * IOTLB entry. -EAGAIN is an IOTLB miss, -EFAULT an address outside of memory; the fault says which. Nothing here
 * changes the table or takes a lock, so any thread that holds a reference may translate. */

#include "base/range.h"
#include "memory/piece.h"
#include "memory/table.h"

#include <errno.h>
#include <string.h>

static uint64_t smaller(uint64_t a, uint64_t b)
{
        return a < b ? a : b;
}

static int fault_at(struct oriel_range range, enum oriel_access access, int error, struct oriel_fault *fault)
{
        if (fault)
                *fault = (struct oriel_fault){.address = range.start, .size = range.size, .access = access};
        return error;
}

/* The rest of @range behind its first @done bytes. */
static struct oriel_range range_behind(struct oriel_range range, uint64_t done)
{
        return (struct oriel_range){range.start + done, range.size - done};
}

/* The first piece of @range; false if it does not start in one of @places with these rights. */
static bool piece_of(const struct place *places, unsigned n, struct oriel_range range, enum oriel_access access,
                     struct memory_piece *out)
{
        const struct place *place = place_find(places, n, range.start);
        uint64_t offset;

        if (!place || (place->region->access & access) != access)
                return false;
        offset = range.start - place->range.start;
        *out = (struct memory_piece){
                .host = place->region->host + offset,
                .guest = place->region->row.guest_address + offset,
                .size = smaller(range.size, place->range.size - offset),
        };
        return true;
}

int memory_find(const struct oriel_memory *memory, enum oriel_address_space space, struct oriel_range range,
                enum oriel_access access, struct memory_piece *out, struct oriel_fault *fault)
{
        const struct place *places = space == ORIEL_ADDRESS_USER ? memory->by_user : memory->by_guest;
        struct oriel_range asked = range;

        if (!range_valid(range))
                return -EINVAL;
        if (space == ORIEL_ADDRESS_GUEST && memory->iotlb) {
                const struct iotlb_entry *entry = iotlb_find(memory->iotlb, range.start);
                uint64_t offset;

                if (!entry || (entry->access & access) != access)
                        return fault_at(asked, access, -EAGAIN, fault);
                offset = range.start - entry->iova.start;
                places = memory->by_user;
                range.start = entry->user_address + offset;
                range.size = smaller(range.size, entry->iova.size - offset);
        }
        if (!piece_of(places, memory->n, range, access, out))
                return fault_at(asked, access, -EFAULT, fault);
        return 0;
}

int oriel_memory_translate(struct oriel_memory *memory, enum oriel_address_space space, struct oriel_range range,
                           enum oriel_access access, struct iovec *spans, unsigned max, struct oriel_fault *fault)
{
        unsigned n = 0;

        if ((space != ORIEL_ADDRESS_GUEST && space != ORIEL_ADDRESS_USER) || access == ORIEL_ACCESS_NONE ||
            access > ORIEL_ACCESS_READ_WRITE)
                return -EINVAL;
        do {
                struct memory_piece piece;
                int r = memory_find(memory, space, range, access, &piece, fault);

                if (r < 0)
                        return r;
                if (n > 0 && (uint8_t *)spans[n - 1].iov_base + spans[n - 1].iov_len == piece.host) {
                        spans[n - 1].iov_len += piece.size;
                } else {
                        if (n == max)
                                return -E2BIG;
                        spans[n++] = (struct iovec){.iov_base = piece.host, .iov_len = piece.size};
                }
                range = range_behind(range, piece.size);
        } while (range.size > 0);
        return (int)n;
}

int memory_find_whole(const struct oriel_memory *memory, enum oriel_address_space space, struct oriel_range range,
                      enum oriel_access access, struct memory_piece *out, struct oriel_fault *fault)
{
        int r = memory_find(memory, space, range, access, out, fault);

        while (r == 0 && out->size < range.size) {
                struct oriel_range rest = range_behind(range, out->size);
                struct memory_piece piece;

                r = memory_find(memory, space, rest, access, &piece, fault);
                if (r < 0)
                        break;
                if (piece.host != out->host + out->size || piece.guest != out->guest + out->size)
                        return fault_at(rest, access, -EFAULT, fault);
                out->size += piece.size;
        }
        return r;
}

int memory_read(const struct oriel_memory *memory, enum oriel_address_space space, struct oriel_range range, void *to,
                struct oriel_fault *fault)
{
        uint8_t *at = to;

        do {
                struct memory_piece piece;
                int r = memory_find(memory, space, range, ORIEL_ACCESS_READ, &piece, fault);

                if (r < 0)
                        return r;
                memcpy(at, piece.host, piece.size);
                at += piece.size;
                range = range_behind(range, piece.size);
        } while (range.size > 0);
        /* From here on only the copy is valid: keeps the compiler from reading the shared bytes again. */
        __asm__ volatile("" ::: "memory");
        return 0;
}

void memory_mark_dirty(const struct oriel_memory *memory, struct oriel_dirty_log *log, struct oriel_range range)
{
        while (memory->iotlb && range.size > 0) {
                struct memory_piece piece;

                if (memory_find(memory, ORIEL_ADDRESS_GUEST, range, ORIEL_ACCESS_WRITE, &piece, NULL) < 0)
                        break;
                oriel_dirty_log_mark(log, (struct oriel_range){piece.guest, piece.size});
                range = range_behind(range, piece.size);
        }
        oriel_dirty_log_mark(log, range);
}
