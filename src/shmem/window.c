/* SPDX-License-Identifier: BSD-2-Clause */

/* A window: an address range of this process, reserved once and never unmapped in part, in which a region's mappings
 * replace holes. A hole is zeros, or a sink: a memfd that is mapped repeatedly and takes writes. Unmapping puts the
 * hole back with MAP_FIXED, because an munmap() would leave a gap for the process's next mmap().
 *
 * A map needs VMAs, which vm.max_map_count limits for the whole process; window_hold() and window_release() count them
 * in one atomic for all windows. The placement's functions are called with the region's lock held, which protects
 * `held` too. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/guard.h"
#include "base/limits.h"
#include "base/map.h"
#include "base/range.h"
#include "shmem/mapping.h"

#include <errno.h>
#include <oriel/shmem.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK     (UINT64_C(2) << 20) /* the smallest sink, and what a window is aligned to */
#define MAX_TILES 16384               /* sinks in a row: for a larger window the sink is larger */
#define RESERVE   4096                /* VMAs left to everything else in the process */
#define PER_PLACE 2                   /* VMAs that a mapping can add: itself, and the hole behind it */

struct oriel_window {
        uint8_t *address;
        uint64_t size;
        enum oriel_hole hole;
        int sink;
        uint64_t sink_size;
        size_t held; /* part of the process's VMA budget that this window uses */
};

/* vm.max_map_count is a limit of the process, so all windows count in one variable. */
static atomic_size_t vmas_held;
static size_t vmas_allowed;
static pthread_once_t vmas_once = PTHREAD_ONCE_INIT;

static void read_limit(void)
{
        size_t limit = limit_mappings();

        vmas_allowed = limit > RESERVE ? limit - RESERVE : 0;
}

static int window_hold(struct oriel_window *window, size_t vmas)
{
        pthread_once(&vmas_once, read_limit);
        if (atomic_fetch_add(&vmas_held, vmas) + vmas > vmas_allowed) {
                atomic_fetch_sub(&vmas_held, vmas);
                return -ENOSPC;
        }
        window->held += vmas;
        return 0;
}

static void window_release(struct oriel_window *window, size_t vmas)
{
        atomic_fetch_sub(&vmas_held, vmas);
        window->held -= vmas;
}

/* For holes only: MAP_FIXED is safe for anonymous memory and our own memfd, which never refuse (see map_over()). */
static int map_fixed(void *address, uint64_t size, int prot, int flags, int fd, uint64_t offset)
{
        void *got = mmap(address, size, prot, flags | MAP_FIXED, fd, (off_t)offset);

        return got == MAP_FAILED ? -errno : 0;
}

static int sink_range(const struct oriel_window *window, struct oriel_range range)
{
        for (uint64_t at = range.start, end = range.start + range.size; at < end;) {
                uint64_t offset = at % window->sink_size, left = window->sink_size - offset,
                         size = end - at < left ? end - at : left;
                int r = map_fixed(window->address + at, size, PROT_READ | PROT_WRITE, MAP_SHARED, window->sink, offset);

                if (r < 0)
                        return r;
                at += size;
        }
        return 0;
}

static int zero_range(const struct oriel_window *window, struct oriel_range range)
{
        return map_fixed(window->address + range.start, range.size, PROT_READ,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

/* Never by munmap(): the next mmap() of the process could use the gap. If the kernel has no VMA for a hole, the file is
 * at least made inaccessible. */
static void make_hole(const struct oriel_window *window, struct oriel_range range)
{
        int r = window->hole == ORIEL_HOLE_SINK ? sink_range(window, range) : zero_range(window, range);

        if (r < 0)
                mprotect(window->address + range.start, range.size, PROT_NONE);
}

/* Reserves a whole number of chunks, and unmaps the unaligned ends before the address is known to anyone. */
static int window_reserve(struct oriel_window *window)
{
        uint64_t size;

        if (!checked_add(window->size, CHUNK, &size) || size > INT64_MAX || size > SIZE_MAX)
                return -ENOMEM;

        uint8_t *base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        if (base == MAP_FAILED)
                return -errno;

        uint64_t head = -(uintptr_t)base % CHUNK;

        window->address = base + head;
        if (head > 0)
                munmap(base, head);
        munmap(window->address + window->size, CHUNK - head);
        return 0;
}

static int open_sink(struct oriel_window *window)
{
        int fd = memfd_create("oriel-sink", MFD_CLOEXEC);

        if (fd < 0)
                return -errno;
        window->sink = fd;
        return ftruncate(fd, (off_t)window->sink_size) < 0 ? -errno : 0;
}

/* VMAs that an empty window needs. */
static size_t entries_of_hole(const struct oriel_window *window)
{
        return window->hole == ORIEL_HOLE_SINK ? window->size / window->sink_size + 1 : 1;
}

static int window_build(struct oriel_window *window)
{
        struct oriel_range all = {0, window->size};
        bool sink = window->hole == ORIEL_HOLE_SINK;
        int r = window_hold(window, entries_of_hole(window));

        if (r == 0 && sink)
                r = open_sink(window);
        if (r == 0)
                r = window_reserve(window);
        if (r == 0)
                r = sink ? sink_range(window, all) : zero_range(window, all);
        if (r == 0)
                r = guard_add(window->address, window->size);
        return r;
}

DEFINE_CLEANUP(struct oriel_window *, oriel_window_free);

int oriel_window_new(uint64_t size, enum oriel_hole hole, struct oriel_window **out)
{
        if (!out)
                return -EINVAL;
        *out = NULL;
        if (size == 0 || !is_aligned(size, (uint64_t)sysconf(_SC_PAGESIZE)))
                return -EINVAL;

        _cleanup_(oriel_window_freep) struct oriel_window *window = calloc(1, sizeof(*window));

        if (!window)
                return -ENOMEM;
        window->size = size;
        window->hole = hole;
        window->sink = -1;
        window->sink_size = CHUNK;
        while (size / window->sink_size > MAX_TILES)
                window->sink_size *= 2;

        int r = window_build(window);

        if (r < 0)
                return r;
        *out = steal(window);
        return 0;
}

void oriel_window_free(struct oriel_window *window)
{
        if (!window)
                return;
        if (window->address) {
                guard_remove(window->address);
                munmap(window->address, window->size);
        }
        fd_close(window->sink);
        window_release(window, window->held);
        free(window);
}

void *oriel_window_address(const struct oriel_window *window)
{
        return window->address;
}

uint64_t oriel_window_size(const struct oriel_window *window)
{
        return window->size;
}

/* Replaces whatever is there in one step. */
static int window_mmap(const struct oriel_window *window, const struct oriel_mapping *mapping, int fd)
{
        const struct oriel_range range = mapping->range;
        int prot = mapping->access == ORIEL_ACCESS_READ_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;
        int r = map_over(window->address + range.start, range.size, prot, MAP_SHARED, fd, (off_t)mapping->fd_offset);

        return r == -ENOMEM ? -ENOSPC : r;
}

static int window_place(void *userdata, struct oriel_mapping *mapping, int fd)
{
        struct oriel_window *window = userdata;

        /* The region's owner may have made the region larger than the window. */
        if (!range_within(mapping->range, window->size))
                return -ERANGE;

        int r = window_hold(window, PER_PLACE);

        if (r < 0)
                return r;
        r = window_mmap(window, mapping, fd);
        if (r < 0)
                window_release(window, PER_PLACE);
        return r;
}

static int window_replace(void *userdata, struct oriel_mapping *old, struct oriel_mapping *mapping, int fd)
{
        return window_mmap(userdata, mapping, fd);
}

static void window_remove_one(void *userdata, struct oriel_mapping *mapping)
{
        struct oriel_window *window = userdata;

        make_hole(window, mapping->range);
        window_release(window, PER_PLACE);
}

static void window_remove_all(void *userdata, uint64_t size)
{
        struct oriel_window *window = userdata;

        make_hole(window, (struct oriel_range){0, size < window->size ? size : window->size});
        window_release(window, window->held - entries_of_hole(window));
}

const struct oriel_placement_ops *oriel_window_placement(void)
{
        static const struct oriel_placement_ops ops = {
                .struct_size = sizeof(ops),
                .place = window_place,
                .remove = window_remove_one,
                .remove_all = window_remove_all,
                .replace = window_replace,
        };

        return &ops;
}
