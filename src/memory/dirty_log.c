/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fd.h"
#include "base/libc.h"
#include "base/range.h"
#include "memory/file_map.h"

#include <errno.h>
#include <linux/vhost_types.h>
#include <oriel/memory.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

struct oriel_dirty_log {
        atomic_uint references;
        struct file_map map;
        uint8_t *bits;
        uint64_t size;
};

/* The front-end says how long the log is, and its file may be shorter: a mark behind the end would be SIGBUS. */
static int check_file_size(int fd, uint64_t offset, uint64_t size)
{
        struct oriel_range range = {offset, size};
        struct statx st;
        int r = fd_look(fd, &st);

        if (r < 0)
                return r;
        if (size == 0 || (S_ISREG(st.stx_mode) && !range_within(range, st.stx_size)))
                return -EINVAL;
        return 0;
}

int oriel_dirty_log_new(int fd, uint64_t offset, uint64_t size, struct oriel_dirty_log **out)
{
        struct oriel_dirty_log *log;
        int r = fd_check(fd);

        if (!out)
                return -EINVAL;
        *out = NULL;
        if (r == 0)
                r = check_file_size(fd, offset, size);
        if (r < 0)
                return r;
        log = calloc(1, sizeof(*log));
        if (!log)
                return -ENOMEM;
        r = file_map(fd, offset, size, PROT_READ | PROT_WRITE, &log->map, &log->bits);
        if (r < 0) {
                free(log);
                return r;
        }
        log->references = 1;
        log->size = size;
        *out = log;
        return 0;
}

struct oriel_dirty_log *oriel_dirty_log_ref(struct oriel_dirty_log *log)
{
        atomic_fetch_add_explicit(&log->references, 1, memory_order_relaxed);
        return log;
}

void oriel_dirty_log_unref(struct oriel_dirty_log *log)
{
        if (!log || atomic_fetch_sub_explicit(&log->references, 1, memory_order_acq_rel) > 1)
                return;
        file_unmap(&log->map);
        free(log);
}

void oriel_dirty_log_mark(struct oriel_dirty_log *log, struct oriel_range guest)
{
        uint64_t first, last;

        if (!range_valid(guest))
                return;
        first = guest.start / VHOST_PAGE_SIZE;
        last = range_last(guest) / VHOST_PAGE_SIZE;
        for (uint64_t byte = first / 8; byte <= last / 8 && byte < log->size; byte++) {
                unsigned low = byte == first / 8 ? first % 8 : 0;
                unsigned high = byte == last / 8 ? last % 8 : 7;
                uint8_t mask = (uint8_t)((0xffU << low) & (0xffU >> (7 - high)));

                /* Release: a reader that takes the bit then copies what was written to the page before it was set.
                 * The exchange is made also where the bit is set: it may be taken before our write to the page is
                 * visible. */
                __atomic_fetch_or(&log->bits[byte], mask, __ATOMIC_RELEASE);
        }
}
