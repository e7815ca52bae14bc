/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VIRTQUEUE_TEST_SHAPES_H
#define VIRTQUEUE_TEST_SHAPES_H

/* Rings of every shape, and tests that run once for each of them: a test gets its struct shape as the state. */

#include "virtqueue/test-ring.h"

#include <stdio.h>

enum { SHAPES = 14 };

static struct shape {
        const char *name;
        uint64_t features;
        uint16_t size;
} shapes[SHAPES] = {
        {"split", 0, 64},
        {"split, 1 entry", 0, 1},
        {"split, 2 entries, indirect", INDIRECT, 2},
        {"split, indirect", INDIRECT, 64},
        {"split, event index", EVENT_IDX, 64},
        {"split, in order", IN_ORDER, 64},
        {"split, all", INDIRECT | EVENT_IDX | IN_ORDER, 16},
        {"packed", PACKED, 64},
        {"packed, 1 entry", PACKED, 1},
        {"packed, 7 entries", PACKED, 7},
        {"packed, indirect", PACKED | INDIRECT, 61},
        {"packed, event index", PACKED | EVENT_IDX, 64},
        {"packed, in order", PACKED | IN_ORDER, 50},
        {"packed, all", PACKED | INDIRECT | EVENT_IDX | IN_ORDER, 13},
};

/* A test for the shapes with @features and at least @size entries. */
struct shape_test {
        const char *name;
        CMUnitTestFunction function;
        uint64_t features;
        uint16_t size;
};

struct shape_names {
        char of[SHAPES][64];
};

/* Adds each of the @n_rows tests for each of its shapes to @tests, which has room for SHAPES of each, under names that
 * are kept in @names. Returns how many there are. */
static inline size_t add_shape_tests(struct CMUnitTest *tests, const struct shape_test *rows, struct shape_names *names,
                                     size_t n_rows)
{
        size_t n = 0;

        for (size_t i = 0; i < n_rows * SHAPES; i++) {
                const struct shape_test *row = &rows[i / SHAPES];
                struct shape *shape = &shapes[i % SHAPES];
                char *name = names[i / SHAPES].of[i % SHAPES];

                if ((shape->features & row->features) != row->features || shape->size < row->size)
                        continue;
                snprintf(name, sizeof(names->of[0]), "%s: %s", row->name, shape->name);
                tests[n++] = (struct CMUnitTest)counted_test(row->function);
                tests[n - 1].name = name;
                tests[n - 1].initial_state = shape;
        }
        return n;
}

#endif
