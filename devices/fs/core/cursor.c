/* SPDX-License-Identifier: BSD-2-Clause */

/* A cursor over scattered guest memory: the spans that are left, how much of the first one has passed, and how many
 * bytes are left in all. take_piece() returns the next contiguous bytes and moves on; reads, writes and skips loop
 * over it after a check against the bytes that are left, so none passes the end. A failed call does not move. The
 * sum of the spans' lengths saturates instead of overflowing. */

#include "devices/fs/core/cursor.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/param.h>

struct cursor cursor_at(const struct iovec *spans, unsigned n_spans)
{
        struct cursor cursor = {.spans = spans, .n_spans = n_spans};

        for (unsigned i = 0; i < n_spans; i++) {
                if (__builtin_add_overflow(cursor.left, spans[i].iov_len, &cursor.left))
                        cursor.left = SIZE_MAX;
        }
        return cursor;
}

void cursor_limit(struct cursor *cursor, size_t left)
{
        cursor->left = MIN(cursor->left, left);
}

/* Takes the next contiguous bytes, at most @max of them; none at the end. */
static struct iovec take_piece(struct cursor *cursor, size_t max)
{
        while (cursor->n_spans > 0 && cursor->passed == cursor->spans->iov_len) {
                cursor->spans++;
                cursor->n_spans--;
                cursor->passed = 0;
        }
        if (cursor->n_spans == 0 || cursor->left == 0)
                return (struct iovec){0};

        struct iovec piece = {
                .iov_base = (char *)cursor->spans->iov_base + cursor->passed,
                .iov_len = MIN(MIN(cursor->spans->iov_len - cursor->passed, cursor->left), max),
        };

        cursor->passed += piece.iov_len;
        cursor->left -= piece.iov_len;
        return piece;
}

bool cursor_read(struct cursor *cursor, void *to, size_t size)
{
        if (size > cursor->left)
                return false;
        for (size_t done = 0; done < size;) {
                struct iovec piece = take_piece(cursor, size - done);

                memcpy((char *)to + done, piece.iov_base, piece.iov_len);
                done += piece.iov_len;
        }
        return true;
}

bool cursor_write(struct cursor *cursor, const void *from, size_t size)
{
        if (size > cursor->left)
                return false;
        for (size_t done = 0; done < size;) {
                struct iovec piece = take_piece(cursor, size - done);

                memcpy(piece.iov_base, (const char *)from + done, piece.iov_len);
                done += piece.iov_len;
        }
        return true;
}

bool cursor_skip(struct cursor *cursor, size_t size)
{
        if (size > cursor->left)
                return false;
        for (size_t done = 0; done < size;)
                done += take_piece(cursor, size - done).iov_len;
        return true;
}

ssize_t cursor_read_string(struct cursor *cursor, char *to, size_t size)
{
        struct cursor ahead = *cursor;
        size_t available = MIN(ahead.left, size);

        /* Looks for the end in our copy: in the guest's memory it could move meanwhile. */
        cursor_read(&ahead, to, available);

        const char *end = memchr(to, '\0', available);

        if (!end)
                return available == size ? -ENAMETOOLONG : -EINVAL;
        cursor_skip(cursor, (size_t)(end - to) + 1);
        return end - to;
}

unsigned cursor_spans(const struct cursor *cursor, size_t size, struct iovec *spans, unsigned max)
{
        struct cursor ahead = *cursor;
        unsigned n = 0;

        cursor_limit(&ahead, size);
        while (n < max && ahead.left > 0)
                spans[n++] = take_piece(&ahead, ahead.left);
        return n;
}
