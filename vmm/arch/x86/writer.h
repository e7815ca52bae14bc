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

static inline void put16(struct writer *writer, unsigned value)
{
        put_bytes(writer, &(uint16_t){(uint16_t)value}, 2);
}

static inline void put32(struct writer *writer, uint64_t value)
{
        put_bytes(writer, &(uint32_t){(uint32_t)value}, 4);
}

static inline void put64(struct writer *writer, uint64_t value)
{
        put_bytes(writer, &value, 8);
}

static inline void put_zeros(struct writer *writer, size_t count)
{
        while (count-- > 0 && !writer->full)
                put8(writer, 0);
}

#endif
