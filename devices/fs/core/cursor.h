/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_CORE_CURSOR_H
#define DEVICES_FS_CORE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

/* A place in scattered memory that only moves forward, and never past the end. The memory is the guest's: each byte
 * is copied out once, and examined afterwards. A copy of a cursor is an independent place in the same memory. */
struct cursor {
        const struct iovec *spans;
        unsigned n_spans;
        size_t passed; /* bytes of the first span */
        size_t left;   /* bytes from here to the end */
};

struct cursor cursor_at(const struct iovec *spans, unsigned n_spans);

/* Makes the end at most @left bytes from here. */
void cursor_limit(struct cursor *cursor, size_t left);

/* Move by all of @size, or return false and don't move. */
bool cursor_read(struct cursor *cursor, void *to, size_t size);
bool cursor_write(struct cursor *cursor, const void *from, size_t size);
bool cursor_skip(struct cursor *cursor, size_t size);

/* Reads a string and its NUL into @to. Returns its length, -ENAMETOOLONG if it doesn't fit, -EINVAL if it has no
 * end. */
ssize_t cursor_read_string(struct cursor *cursor, char *to, size_t size);

/* Sets @spans to the memory of the next @size bytes, or of a part of them if @max spans are too few. Does not move.
 * Returns the number of spans. */
unsigned cursor_spans(const struct cursor *cursor, size_t size, struct iovec *spans, unsigned max);

#endif
