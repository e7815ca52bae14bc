/* SPDX-License-Identifier: BSD-2-Clause */

/* A window of the guest: a host window (oriel_window) with a region placed in it, shown by one KVM memory slot.
 * guest_window_place() adds to the library's placement what a VMM needs: each mapping's struct placed, and its
 * announcement to other devices (dma.c). Where a file has become shorter, private zeros cover the mapping's end, as far
 * as placed->shown tells; guest_window_restore() shows the file again.
 *
 * The region's lock covers struct placed: placement calls, oriel_region_each() and oriel_region_at() run with it held.
 * The guest's address is atomic, because any vcpu asks for it. */

#include "vmm/virtio/guest_window.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/map.h"
#include "base/range.h"
#include "program/printable.h"
#include "shmem/filesystem.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Descriptors that mappings may not use up: for everything else in the process. */
#define FDS_RESERVED 512
/* How much memory of this process all guests' stores may use where files have become shorter. */
#define MAX_ZEROS (UINT64_C(64) << 20)

static atomic_uint_fast64_t zeros_in_all;

/* The window's data of a mapping. */
struct placed {
        uint64_t shown;          /* bytes from the start that show the file; the rest are zeros */
        struct dma_piece *piece; /* while other devices reach it */
};

/* Mappings are the region's, and so is the lock that what hangs on them is changed with. */
struct guest_window {
        struct guest_window_options options;
        struct oriel_window *host;
        struct oriel_region *region;
        atomic_uint_fast64_t zeros;   /* bytes of them */
        atomic_uint_fast64_t address; /* the guest's; 0: not shown */
        int slot;                     /* while it is; whoever shows and hides it has it alone */
        bool fds_ran_out;
};

static uint8_t *host_at(const struct guest_window *window, uint64_t offset)
{
        return (uint8_t *)oriel_window_address(window->host) + offset;
}

/* A mapping with what is known of it. */
struct window_view {
        struct oriel_mapping_info info;
        struct placed *placed;
};

static struct window_view view_of(struct oriel_mapping *mapping)
{
        struct window_view view = {.info = {.struct_size = sizeof(view.info)}, .placed = oriel_mapping_data(mapping)};

        oriel_mapping_get_info(mapping, &view.info);
        return view;
}

/* ---- descriptors ---- */

/* The process's limits are divided among the windows, so that no back-end uses up what another needs. */
static unsigned most_fds(unsigned shares)
{
        const unsigned limit = limit_fds();

        return limit <= FDS_RESERVED ? 0 : (limit - FDS_RESERVED) / shares;
}

/* Each mapping may take two entries of the process's memory map, and a quarter of them is for what shows where nothing
 * is mapped. */
static unsigned most_mappings(unsigned shares)
{
        unsigned most = limit_mappings() / 8 * 3 / shares;

        return most > 0 ? most : 1;
}

/* A file that is not local is not kept: another device's back-end would wait for its server as well. */
static void note_fd(struct guest_window *window, const struct oriel_mapping *mapping, int fd)
{
        struct statx stat;

        if (oriel_mapping_fd(mapping) >= 0 || window->fds_ran_out ||
            (window->options.allow_remote_files && (fd_look(fd, &stat) < 0 || !filesystem_is_local(fd, &stat))))
                return;
        log_warning(window->options.log,
                    "no descriptors are left to keep for mappings: other devices can't reach the new ones");
        window->fds_ran_out = true;
}

static void give_zeros_back(struct guest_window *window, uint64_t size)
{
        atomic_fetch_sub(&window->zeros, size);
        atomic_fetch_sub(&zeros_in_all, size);
}

/* ---- the placement; with the region's lock ---- */

static void guest_window_share(void *userdata, struct oriel_mapping *mapping)
{
        struct guest_window *window = userdata;
        const uint64_t address = atomic_load(&window->address);
        const struct window_view view = view_of(mapping);
        const struct oriel_memory_region region = {
                .guest_address = address + view.info.range.start,
                .size = view.info.range.size,
                .user_address = (uintptr_t)host_at(window, view.info.range.start),
                .mmap_offset = view.info.fd_offset,
        };

        if (address && !view.placed->piece && oriel_mapping_fd(mapping) >= 0)
                view.placed->piece = dma_add(window->options.dma, &region, mapping, window, window->options.shares);
}

/* Its pieces of memory go before those of what comes in its place: they are at the same addresses. */
static void take_back_one(void *userdata, struct oriel_mapping *mapping)
{
        struct guest_window *window = userdata;
        struct placed *placed = oriel_mapping_data(mapping);

        dma_remove(window->options.dma, placed->piece);
        placed->piece = NULL;
}

/* In the place of @old, or with NULL of nothing. */
static int guest_window_replace(void *userdata, struct oriel_mapping *old, struct oriel_mapping *mapping, int fd)
{
        const struct oriel_placement_ops *library = oriel_window_placement();
        struct guest_window *window = userdata;
        struct placed *placed = calloc(1, sizeof(*placed));
        int r = !placed ? -ENOMEM
                : old   ? library->replace(window->host, old, mapping, fd)
                        : library->place(window->host, mapping, fd);

        if (r < 0) {
                free(placed);
                return r;
        }
        if (old)
                take_back_one(window, old);
        placed->shown = oriel_mapping_range(mapping).size;
        oriel_mapping_set_data(mapping, placed);
        note_fd(window, mapping, fd);
        guest_window_share(window, mapping);
        return 0;
}

static int guest_window_place(void *userdata, struct oriel_mapping *mapping, int fd)
{
        return guest_window_replace(userdata, NULL, mapping, fd);
}

static void guest_window_remove_one(void *userdata, struct oriel_mapping *mapping)
{
        struct guest_window *window = userdata;

        oriel_window_placement()->remove(window->host, mapping);
}

static void guest_window_remove_all(void *userdata, uint64_t size)
{
        struct guest_window *window = userdata;

        oriel_window_placement()->remove_all(window->host, size);
}

static void guest_window_removed(void *userdata, struct oriel_mapping *mapping)
{
        struct guest_window *window = userdata;
        struct placed *placed = oriel_mapping_data(mapping);

        give_zeros_back(window, oriel_mapping_range(mapping).size - placed->shown);
        dma_remove(window->options.dma, placed->piece);
        oriel_mapping_set_data(mapping, NULL);
        free(placed);
}

/* ---- visits ---- */

/* Of all mappings, or of one: whether any was what is looked for. */
struct visit {
        struct guest_window *window;
        uint64_t offset; /* of the one */
        bool any;
};

/* ---- */

DEFINE_CLEANUP(struct guest_window *, guest_window_free);

int guest_window_new(const struct guest_window_options *options, struct guest_window **out)
{
        static const struct oriel_placement_ops placement = {
                .struct_size = sizeof(placement),
                .place = guest_window_place,
                .remove = guest_window_remove_one,
                .remove_all = guest_window_remove_all,
                .removed = guest_window_removed,
                .replace = guest_window_replace,
        };
        _cleanup_(guest_window_freep) struct guest_window *window = calloc(1, sizeof(*window));

        if (!window)
                return -ENOMEM;
        window->options = *options;

        int r = oriel_window_new(options->size, ORIEL_HOLE_SINK, &window->host);

        if (r < 0)
                return r;

        const struct oriel_region_options region = {
                .struct_size = sizeof(region),
                .shmid = options->shmid,
                .size = options->size,
                .max_mappings = most_mappings(options->shares),
                .placement = &placement,
                .userdata = window,
                .allow_remote_files = options->allow_remote_files,
                .keep_fds = most_fds(options->shares),
        };

        r = oriel_region_new(&region, &window->region);
        if (r < 0)
                return r;
        *out = steal(window);
        return 0;
}

void guest_window_free(struct guest_window *window)
{
        if (!window)
                return;
        guest_window_hide(window);
        oriel_region_free(window->region);
        oriel_window_free(window->host);
        free(window);
}

struct oriel_region *guest_window_region(struct guest_window *window)
{
        return window->region;
}

uint64_t guest_window_size(const struct guest_window *window)
{
        return oriel_window_size(window->host);
}

int guest_window_show(struct guest_window *window, uint64_t address)
{
        guest_window_hide(window);

        int r = kvm_add_slot(window->options.kvm, address, oriel_window_address(window->host),
                             guest_window_size(window));

        if (r < 0) {
                log_error(window->options.log, "the window of shmid %u can't be shown at 0x%llx: %s",
                          window->options.shmid, (unsigned long long)address, strerror(-r));
                return r;
        }
        window->slot = r;
        /* Later mappings are shared when they are placed. */
        atomic_store(&window->address, address);
        oriel_region_each(window->region, guest_window_share, window);
        return 0;
}

void guest_window_hide(struct guest_window *window)
{
        if (atomic_exchange(&window->address, 0) == 0)
                return;
        oriel_region_each(window->region, take_back_one, window);
        kvm_remove_slot(window->options.kvm, window->slot);
}

bool guest_window_shown(struct guest_window *window, uint64_t *address)
{
        *address = atomic_load(&window->address);
        return *address != 0;
}

/* ---- files that have become shorter ---- */

static bool has_pages(const struct guest_window *window, struct oriel_range range)
{
        return madvise(host_at(window, range.start), range.size, MADV_POPULATE_READ) == 0 || errno != EFAULT;
}

static uint64_t guest_window_page_size(void)
{
        return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* How many bytes from the mapping's start have pages. A file has all pages before its end, so this can be halved. */
static uint64_t find_end(const struct guest_window *window, const struct window_view *view)
{
        uint64_t low = 0, high = view->placed->shown / guest_window_page_size();

        while (low < high) {
                uint64_t middle = low + (high - low) / 2;

                if (has_pages(window, (struct oriel_range){view->info.range.start + middle * guest_window_page_size(),
                                                           guest_window_page_size()}))
                        low = middle + 1;
                else
                        high = middle;
        }
        return low * guest_window_page_size();
}

/* Zeros that the guest may write to, as long as that is not too much to give; then zeros that it may read. */
static int guest_window_put_zeros(struct guest_window *window, struct oriel_range range)
{
        int prot = atomic_load(&zeros_in_all) + range.size <= MAX_ZEROS ? PROT_READ | PROT_WRITE : PROT_READ;

        return map_over(host_at(window, range.start), range.size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                        0);
}

/* From @end on, the file has gone. */
static bool guest_window_lose(struct guest_window *window, const struct window_view *view, uint64_t end)
{
        struct oriel_range lost = {view->info.range.start + end, view->placed->shown - end};

        if (lost.size == 0 || guest_window_put_zeros(window, lost) < 0)
                return false;
        atomic_fetch_add(&window->zeros, lost.size);
        atomic_fetch_add(&zeros_in_all, lost.size);
        view->placed->shown = end;
        return true;
}

static void zero_fill_one(void *userdata, struct oriel_mapping *mapping)
{
        struct visit *visit = userdata;
        struct guest_window *window = visit->window;
        const struct window_view view = view_of(mapping);
        const uint64_t page = guest_window_page_size(), shown = view.placed->shown;

        if (shown > 0 && !has_pages(window, (struct oriel_range){view.info.range.start + shown - page, page}))
                visit->any |= guest_window_lose(window, &view, find_end(window, &view));
}

bool guest_window_zero_fill(struct guest_window *window)
{
        struct visit visit = {.window = window};

        oriel_region_each(window->region, zero_fill_one, &visit);
        return visit.any;
}

/* The last page of a mapping is the first that a shorter file lacks. */
static void look_for_limit(void *userdata, struct oriel_mapping *mapping)
{
        struct visit *visit = userdata;
        const struct window_view view = view_of(mapping);
        const struct oriel_range range = view.info.range;
        const uint64_t page = guest_window_page_size();

        visit->any |= view.info.access == ORIEL_ACCESS_READ || view.placed->shown < range.size ||
                      !has_pages(visit->window, (struct oriel_range){range.start + range.size - page, page});
}

bool guest_window_is_limited(struct guest_window *window)
{
        struct visit visit = {.window = window};

        oriel_region_each(window->region, look_for_limit, &visit);
        return visit.any;
}

bool guest_window_read(struct guest_window *window, uint64_t offset, void *data, size_t size)
{
        const uint64_t page = guest_window_page_size(), start = offset & ~(page - 1);
        uint64_t end;

        if (!range_within((struct oriel_range){offset, size}, guest_window_size(window)) ||
            !checked_round_up(offset + size, page, &end) ||
            madvise(host_at(window, start), end - start, MADV_POPULATE_READ) < 0)
                return false;
        memcpy(data, host_at(window, offset), size);
        return true;
}

/* The process survives a file that is cut short right now (oriel_memory_survive_sigbus()), but the zeros that are there
 * then would not be accounted for: so has_pages() looks first. */
bool guest_window_access(struct guest_window *window, uint64_t offset, void *data, unsigned size, bool write)
{
        const struct oriel_range page = {offset & ~(guest_window_page_size() - 1), guest_window_page_size()};

        if (write || !range_within((struct oriel_range){offset, size}, guest_window_size(window)))
                return false;

        bool zero_filled = !has_pages(window, page) && guest_window_zero_fill(window);

        guest_window_read(window, offset, data, size);
        return zero_filled;
}

/* How much of a mapping its file fills now, in whole pages. */
static uint64_t guest_window_filled(struct oriel_mapping *mapping, const struct window_view *view)
{
        const int fd = oriel_mapping_fd(mapping);
        struct statx stat;
        uint64_t size, end;

        if (fd < 0 || fd_look(fd, &stat) < 0 || stat.stx_size <= view->info.fd_offset)
                return 0;
        size = stat.stx_size - view->info.fd_offset;
        if (!checked_round_up(size, guest_window_page_size(), &end) || end > view->info.range.size)
                end = view->info.range.size;
        return end;
}

/* At the place itself, not at the mapping's end: zeros may be there already. */
static void zero_fill_at(void *userdata, struct oriel_mapping *mapping)
{
        struct visit *at = userdata;
        const struct window_view view = view_of(mapping);
        const uint64_t page = (at->offset - view.info.range.start) & ~(guest_window_page_size() - 1);

        at->any =
                page < view.placed->shown &&
                !has_pages(at->window, (struct oriel_range){view.info.range.start + page, guest_window_page_size()}) &&
                guest_window_lose(at->window, &view, page);
}

bool guest_window_zero_fill_at(struct guest_window *window, uint64_t offset)
{
        struct visit at = {.window = window, .offset = offset};

        oriel_region_at(window->region, offset, zero_fill_at, &at);
        return at.any;
}

static void restore_one(void *userdata, struct oriel_mapping *mapping)
{
        struct guest_window *window = userdata;
        const struct window_view view = view_of(mapping);
        const uint64_t shown = view.placed->shown,
                       end = shown < view.info.range.size ? guest_window_filled(mapping, &view) : 0;
        const int prot = view.info.access == ORIEL_ACCESS_READ_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;

        if (end <= shown || map_over(host_at(window, view.info.range.start + shown), end - shown, prot, MAP_SHARED,
                                     oriel_mapping_fd(mapping), (off_t)(view.info.fd_offset + shown)) < 0)
                return;
        give_zeros_back(window, end - shown);
        view.placed->shown = end;
}

bool guest_window_restore(struct guest_window *window)
{
        if (atomic_load(&window->zeros) > 0)
                oriel_region_each(window->region, restore_one, window);
        return atomic_load(&window->zeros) > 0;
}

/* ---- what is there ---- */

static void guest_window_read_name(int fd, char *name, size_t size)
{
        char path[32];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

        ssize_t n = fd < 0 ? -1 : readlink(path, name, size - 1);

        name[n < 0 ? 0 : n] = '\0';
        make_printable(name);
}

static void look_at_mapping(void *userdata, struct oriel_mapping *mapping)
{
        struct guest_window_view *out = userdata;
        const struct window_view view = view_of(mapping);

        *out = (struct guest_window_view){
                .range = view.info.range,
                .access = view.info.access,
                .fd_offset = view.info.fd_offset,
                .lost = view.info.range.size - view.placed->shown,
        };
        guest_window_read_name(oriel_mapping_fd(mapping), out->name, sizeof(out->name));
}

bool guest_window_look(struct guest_window *window, uint64_t offset, struct guest_window_view *out)
{
        return oriel_region_at(window->region, offset, look_at_mapping, out) > 0;
}
