/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_ARCH_X86_WRITER_H
#define VMM_ARCH_X86_WRITER_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Appends little-endian values to a buffer. What does not fit is dropped, and from then on everything: look at @full
 * once, at the end. */
struct writer {
        uint8_t *data;
        size_t size;
        size_t used;
        bool full;
};

static inline void put_bytes(struct writer *writer, const void *data, size_t size)
{
        if (writer->full || size > writer->size - writer->used) {
                writer->full = true;
                return;
        }
        memcpy(writer->data + writer->used, data, size);
        writer->used += size;
}

static inline void put8(struct writer *writer, unsigned value)
{
        put_bytes(writer, &(uint8_t){(uint8_t)value}, 1);
}

/* A field of a table: how many bytes it has, 8 at most, and what is in them. */
struct field {
        uint8_t size;
        uint64_t value;
};

static inline void put_fields(struct writer *writer, const struct field *fields, size_t n)
{
        for (size_t i = 0; i < n; i++)
                put_bytes(writer, &fields[i].value, fields[i].size);
}

/* Each of the rest is {size, value}. */
#define PUT_FIELDS(writer, ...)                                 \
        put_fields(writer, (const struct field[]){__VA_ARGS__}, \
                   sizeof((const struct field[]){__VA_ARGS__}) / sizeof(struct field))

static inline void put_zeros(struct writer *writer, size_t count)
{
        while (count-- > 0 && !writer->full)
                put8(writer, 0);
}

#endif
