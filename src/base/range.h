/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_RANGE_H
#define BASE_RANGE_H

#include <oriel/range.h>
#include <stdbool.h>

/* All arithmetic on values from a peer or a guest goes through these helpers. Each returns false, and leaves @out
 * unchanged, where the true result does not fit. */
static inline bool checked_add(uint64_t a, uint64_t b, uint64_t *out)
{
        uint64_t sum;

        if (__builtin_add_overflow(a, b, &sum))
                return false;
        *out = sum;
        return true;
}

static inline bool checked_mul(uint64_t a, uint64_t b, uint64_t *out)
{
        uint64_t product;

        if (__builtin_mul_overflow(a, b, &product))
                return false;
        *out = product;
        return true;
}

/* @align is a power of two. */
static inline bool checked_round_up(uint64_t value, uint64_t align, uint64_t *out)
{
        uint64_t sum;

        if (!checked_add(value, align - 1, &sum))
                return false;
        *out = sum & ~(align - 1);
        return true;
}

static inline bool is_aligned(uint64_t value, uint64_t align)
{
        return (value & (align - 1)) == 0;
}

/* Not empty, and its last byte has an address. */
static inline bool range_valid(struct oriel_range range)
{
        return range.size > 0 && range.start <= UINT64_MAX - (range.size - 1);
}

/* @range lies in [0, @size). */
static inline bool range_within(struct oriel_range range, uint64_t size)
{
        return range.size <= size && range.start <= size - range.size;
}

/* For valid ranges only. */
static inline uint64_t range_last(struct oriel_range range)
{
        return range.start + (range.size - 1);
}

static inline bool range_contains(struct oriel_range outer, struct oriel_range inner)
{
        return range_valid(outer) && range_valid(inner) && inner.start >= outer.start &&
               range_last(inner) <= range_last(outer);
}

/* <0: @a lies wholly below @b; >0: above; 0: they share a byte. An order on any set of disjoint valid ranges. */
static inline int range_compare(struct oriel_range a, struct oriel_range b)
{
        if (range_last(a) < b.start)
                return -1;
        return a.start > range_last(b);
}

static inline bool range_overlaps(struct oriel_range a, struct oriel_range b)
{
        return range_valid(a) && range_valid(b) && range_compare(a, b) == 0;
}

#endif
