/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

/* The fuzzer's bytes as a list of decisions. At the end of the input every decision is 0, so that each prefix of an
 * input is an input. */

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct input {
        const uint8_t *data;
        size_t size;
};

/* A condition that holds whatever the input is. */
static inline void need(bool holds)
{
        if (!holds)
                abort();
}

static inline size_t take(struct input *input, void *to, size_t size)
{
        size_t n = size < input->size ? size : input->size;

        if (n > 0)
                memcpy(to, input->data, n);
        memset((uint8_t *)to + n, 0, size - n);
        input->data += n;
        input->size -= n;
        return n;
}

static inline uint8_t take_byte(struct input *input)
{
        uint8_t byte;

        take(input, &byte, 1);
        return byte;
}

/* One of @n. */
static inline unsigned take_choice(struct input *input, unsigned n)
{
        return take_byte(input) % n;
}

/* Small numbers, and those at powers of two, take one byte; any other takes nine. */
static inline uint64_t take_number(struct input *input)
{
        uint8_t byte = take_byte(input);
        uint64_t value;

        if (byte < 62)
                return byte;
        if (byte < 254) /* 64 powers, one less, and one more */
                return (UINT64_C(1) << (byte - 62) / 3) + (uint64_t)((byte - 62) % 3) - 1;
        if (byte == 254)
                return UINT64_MAX;
        take(input, &value, sizeof(value));
        return value;
}

/* The rest of the input, or its first @most bytes, in memory of exactly that size (at least 1), so that the sanitizer
 * sees every step outside. The caller's. */
static inline uint8_t *take_block(struct input *input, size_t most, size_t *size)
{
        uint8_t *block;

        *size = most < input->size ? most : input->size;
        block = malloc(*size ? *size : 1);
        need(block);
        take(input, block, *size);
        return block;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
