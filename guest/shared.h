/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_SHARED_H
#define GUEST_SHARED_H

#include <stdint.h>

/* Shared by "oriel demo" and its guest (guest/demo.c): two files, which both see, the guest through a
 * window. */

enum { DEMO_NAME_MAX = 255 };

/* The share that holds them has a window of twice this: the list at its start, the sums from here on. */
#define DEMO_SUMS_OFFSET (UINT64_C(64) << 20)

/* The file "list". */
struct demo_list {
        uint64_t n;
        char paths[]; /* relative, one after the other, each with its zero */
};

enum { DEMO_NOT_FOUND = 1, DEMO_NOT_MAPPED = 2 };

/* The file "sums", one for each path, and one whose size is how many paths were done. */
struct demo_sum {
        uint64_t sum, size, mappings, error;
};

#define DEMO_SUM_START UINT64_C(0xcbf29ce484222325)

/* FNV-1a, eight bytes at a time; the rest of a file byte by byte. */
static inline uint64_t demo_add(uint64_t sum, uint64_t word)
{
        return (sum ^ word) * UINT64_C(0x100000001b3);
}

#endif
