/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/virtio/window.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/map.h"
#include "base/range.h"
#include "program/printable.h"
#include "shmem/filesystem.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* Descriptors that mappings may not use up: for everything else in the process. */
#define FDS_RESERVED 512
/* What a guest may store where files have gone, of memory of this process's. */
#define MAX_ZEROS (UINT64_C(64) << 20)

static atomic_uint_fast64_t zeros_in_all;

/* One mapping as it is placed. */
struct placed {
        struct oriel_range range; /* first: what the tree compares */
        uint64_t fd_offset;
        enum oriel_access access;
        uint64_t shown; /* bytes from the start that show the file; the rest are zeros */
        int fd;         /* -1: not kept */
};

struct window {
        struct kvm *kvm;
        struct dma *dma;
        const struct oriel_log *log;
        struct oriel_window *host;
        struct oriel_region *region;
        uint8_t shmid;

        pthread_mutex_t lock; /* after the region's */
        void *placed;         /* tsearch(), by range */
        uint64_t zeros;       /* bytes of them */
        uint64_t address;     /* the guest's */
        int slot;             /* -1: not shown */
        unsigned shares;      /* see struct window_options */
        unsigned fds_kept, max_fds;
        bool fds_ran_out;
        bool allow_remote_files;
};

static uint8_t *host_at(const struct window *window, uint64_t offset)
{
        return (uint8_t *)oriel_window_address(window->host) + offset;
}

static int compare(const void *a, const void *b)
{
        const struct oriel_range *x = a, *y = b;

        return range_compare(*x, *y);
}

static struct placed *find(const struct window *window, uint64_t offset)
{
        const struct oriel_range key = {offset, 1};
        struct placed **node = tfind(&key, &window->placed, compare);

        return node ? *node : NULL;
}

/* ---- descriptors ---- */

/* The process's limits are divided among the windows, so that no back-end uses up what another needs. */
static unsigned most_fds(unsigned shares)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= FDS_RESERVED)
                return 0;
        /* Each is kept once by the window and once for the other devices. */
        return (unsigned)((limit.rlim_cur < UINT32_MAX ? limit.rlim_cur : UINT32_MAX) - FDS_RESERVED) / 2 / shares;
}

/* Each mapping may take two entries of the process's memory map, and a quarter of them is for what shows where nothing
 * is mapped. */
static unsigned most_mappings(unsigned shares)
{
        unsigned limit = 65530, most;
        FILE *file = fopen("/proc/sys/vm/max_map_count", "re");

        if (file) {
                if (fscanf(file, "%u", &limit) != 1)
                        limit = 65530;
                fclose(file);
        }
        most = limit / 8 * 3 / shares;
        return most > 0 ? most : 1;
}

/* A file that is not local is not kept: another device's back-end would wait for its server as well. */
static bool may_share(const struct window *window, int fd)
{
        struct statx stat;

        return !window->allow_remote_files || (filesystem_look(fd, &stat) == 0 && filesystem_is_local(fd, &stat));
}

static int keep_fd(struct window *window, int fd)
{
        if (!may_share(window, fd))
                return -1;

        int copy = window->fds_kept < window->max_fds ? fd_dup(fd) : -1;

        if (copy >= 0) {
                window->fds_kept++;
                return copy;
        }
        if (!window->fds_ran_out)
                log_warning(window->log,
                            "no descriptors are left to keep for mappings: other devices can't reach the new ones");
        window->fds_ran_out = true;
        return -1;
}

static void free_placed(void *object)
{
        struct placed *placed = object;

        fd_close(placed->fd);
        free(placed);
}

static void give_zeros_back(struct window *window, uint64_t size)
{
        window->zeros -= size;
        atomic_fetch_sub(&zeros_in_all, size);
}

/* ---- the placement; with the region's lock ---- */

/* With the lock. */
static void share(struct window *window, const struct placed *placed)
{
        struct oriel_memory_region region = {
                .guest_address = window->address + placed->range.start,
                .size = placed->range.size,
                .user_address = (uintptr_t)host_at(window, placed->range.start),
                .mmap_offset = placed->fd_offset,
        };
        int fd = window->slot >= 0 && placed->fd >= 0 ? fd_dup(placed->fd) : -1;

        if (fd >= 0)
                dma_add(window->dma, &region, fd, window, window->shares);
}

static void take_back(struct window *window, const struct placed *placed)
{
        if (window->slot >= 0)
                dma_remove(window->dma, window->address + placed->range.start);
}

static int place(void *userdata, struct oriel_range range, int fd, uint64_t fd_offset, enum oriel_access access)
{
        struct window *window = userdata;
        struct placed *placed = malloc(sizeof(*placed));

        if (!placed)
                return -ENOMEM;
        *placed = (struct placed){range, fd_offset, access, range.size, -1};
        pthread_mutex_lock(&window->lock);

        int r = tsearch(placed, &window->placed, compare) ? 0 : -ENOMEM;

        if (r == 0) {
                r = oriel_window_placement()->place(window->host, range, fd, fd_offset, access);
                if (r < 0)
                        tdelete(placed, &window->placed, compare);
        }
        if (r == 0) {
                placed->fd = keep_fd(window, fd);
                share(window, placed);
        }
        pthread_mutex_unlock(&window->lock);
        if (r < 0)
                free(placed);
        return r;
}

static void remove_one(void *userdata, struct oriel_range range)
{
        struct window *window = userdata;

        pthread_mutex_lock(&window->lock);

        struct placed *placed = find(window, range.start);

        oriel_window_placement()->remove(window->host, range);
        if (placed) {
                tdelete(placed, &window->placed, compare);
                give_zeros_back(window, placed->range.size - placed->shown);
                take_back(window, placed);
                window->fds_kept -= placed->fd >= 0;
                free_placed(placed);
        }
        pthread_mutex_unlock(&window->lock);
}

struct visitor {
        struct window *window;
        bool (*visit)(struct window *window, struct placed *placed);
        unsigned count;
};

static void visit_one(const void *node, VISIT visit, void *closure)
{
        struct visitor *visitor = closure;

        if (visit == postorder || visit == leaf)
                visitor->count += visitor->visit(visitor->window, *(struct placed *const *)node);
}

/* With the lock. How many visits returned true. */
static unsigned each(struct window *window, bool (*visit)(struct window *window, struct placed *placed))
{
        struct visitor visitor = {window, visit, 0};

        twalk_r(window->placed, visit_one, &visitor);
        return visitor.count;
}

static bool take_back_one(struct window *window, struct placed *placed)
{
        take_back(window, placed);
        return true;
}

static bool share_one(struct window *window, struct placed *placed)
{
        share(window, placed);
        return true;
}

static void remove_all(void *userdata, uint64_t size)
{
        struct window *window = userdata;

        pthread_mutex_lock(&window->lock);
        oriel_window_placement()->remove_all(window->host, size);
        each(window, take_back_one);
        tdestroy(steal(window->placed), free_placed);
        window->fds_kept = 0;
        give_zeros_back(window, window->zeros);
        pthread_mutex_unlock(&window->lock);
}

/* ---- */

DEFINE_CLEANUP(struct window *, window_free);

int window_new(const struct window_options *options, struct window **out)
{
        static const struct oriel_placement_ops placement = {
                .struct_size = sizeof(placement),
                .place = place,
                .remove = remove_one,
                .remove_all = remove_all,
        };
        _cleanup_(window_freep) struct window *window = calloc(1, sizeof(*window));

        if (!window)
                return -ENOMEM;
        pthread_mutex_init(&window->lock, NULL);
        window->kvm = options->kvm;
        window->dma = options->dma;
        window->log = options->log;
        window->shmid = options->shmid;
        window->slot = -1;
        window->allow_remote_files = options->allow_remote_files;
        window->shares = options->shares;
        window->max_fds = most_fds(options->shares);

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
        };

        r = oriel_region_new(&region, &window->region);
        if (r < 0)
                return r;
        *out = steal(window);
        return 0;
}

void window_free(struct window *window)
{
        if (!window)
                return;
        window_hide(window);
        oriel_region_free(window->region);
        oriel_window_free(window->host);
        pthread_mutex_destroy(&window->lock);
        free(window);
}

struct oriel_region *window_region(struct window *window)
{
        return window->region;
}

uint64_t window_size(const struct window *window)
{
        return oriel_window_size(window->host);
}

int window_show(struct window *window, uint64_t address)
{
        window_hide(window);
        pthread_mutex_lock(&window->lock);
        window->slot = kvm_add_slot(window->kvm, address, oriel_window_address(window->host), window_size(window));
        window->address = address;

        int r = window->slot < 0 ? window->slot : 0;

        if (r == 0)
                each(window, share_one);
        else
                log_error(window->log, "the window of shmid %u can't be shown at 0x%llx: %s", window->shmid,
                          (unsigned long long)address, strerror(-r));
        if (r < 0)
                window->slot = -1;
        pthread_mutex_unlock(&window->lock);
        return r;
}

void window_hide(struct window *window)
{
        pthread_mutex_lock(&window->lock);
        if (window->slot >= 0) {
                each(window, take_back_one);
                kvm_remove_slot(window->kvm, window->slot);
        }
        window->slot = -1;
        pthread_mutex_unlock(&window->lock);
}

bool window_shown(struct window *window, uint64_t *address)
{
        pthread_mutex_lock(&window->lock);

        bool shown = window->slot >= 0;

        *address = window->address;
        pthread_mutex_unlock(&window->lock);
        return shown;
}

/* ---- files that have become shorter ---- */

static bool has_pages(const struct window *window, struct oriel_range range)
{
        return madvise(host_at(window, range.start), range.size, MADV_POPULATE_READ) == 0 || errno != EFAULT;
}

static uint64_t page_size(void)
{
        return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* How many bytes from the mapping's start have pages. A file has all pages before its end, so this can be halved. */
static uint64_t find_end(const struct window *window, const struct placed *placed)
{
        uint64_t low = 0, high = placed->shown / page_size();

        while (low < high) {
                uint64_t middle = low + (high - low) / 2;

                if (has_pages(window, (struct oriel_range){placed->range.start + middle * page_size(), page_size()}))
                        low = middle + 1;
                else
                        high = middle;
        }
        return low * page_size();
}

/* Zeros that the guest may write to, as long as that is not too much to give; then zeros that it may read. */
static int put_zeros(struct window *window, struct oriel_range range)
{
        int prot = atomic_load(&zeros_in_all) + range.size <= MAX_ZEROS ? PROT_READ | PROT_WRITE : PROT_READ;

        return map_over(host_at(window, range.start), range.size, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                        0);
}

/* From @end on, the file has gone. */
static bool lose(struct window *window, struct placed *placed, uint64_t end)
{
        struct oriel_range lost = {placed->range.start + end, placed->shown - end};

        if (lost.size == 0 || put_zeros(window, lost) < 0)
                return false;
        window->zeros += lost.size;
        atomic_fetch_add(&zeros_in_all, lost.size);
        placed->shown = end;
        return true;
}

static bool mend_one(struct window *window, struct placed *placed)
{
        uint64_t page = page_size();

        if (placed->shown == 0 ||
            has_pages(window, (struct oriel_range){placed->range.start + placed->shown - page, page}))
                return false;

        return lose(window, placed, find_end(window, placed));
}

bool window_mend(struct window *window)
{
        pthread_mutex_lock(&window->lock);

        unsigned found = each(window, mend_one);

        pthread_mutex_unlock(&window->lock);
        return found > 0;
}

/* The last page of a mapping is the first that a shorter file lacks. */
static bool is_limited(struct window *window, struct placed *placed)
{
        uint64_t page = page_size();

        return placed->access == ORIEL_ACCESS_READ || placed->shown < placed->range.size ||
               !has_pages(window, (struct oriel_range){placed->range.start + placed->range.size - page, page});
}

bool window_is_limited(struct window *window)
{
        pthread_mutex_lock(&window->lock);

        unsigned found = each(window, is_limited);

        pthread_mutex_unlock(&window->lock);
        return found > 0;
}

bool window_read(struct window *window, uint64_t offset, void *data, size_t size)
{
        const uint64_t page = page_size(), start = offset & ~(page - 1);
        uint64_t end;

        if (!range_within((struct oriel_range){offset, size}, window_size(window)) ||
            !checked_round_up(offset + size, page, &end) ||
            madvise(host_at(window, start), end - start, MADV_POPULATE_READ) < 0)
                return false;
        memcpy(data, host_at(window, offset), size);
        return true;
}

/* What is cut short right now the process survives (oriel_memory_survive_sigbus()), but nobody would know of the zeros
 * that are there then. */
bool window_access(struct window *window, uint64_t offset, void *data, unsigned size, bool write)
{
        const struct oriel_range page = {offset & ~(page_size() - 1), page_size()};

        if (write || !range_within((struct oriel_range){offset, size}, window_size(window)))
                return false;

        bool mended = !has_pages(window, page) && window_mend(window);

        window_read(window, offset, data, size);
        return mended;
}

/* How much of a mapping its file fills now, in whole pages. */
static uint64_t filled(const struct placed *placed)
{
        struct statx stat;
        uint64_t size, end;

        if (placed->fd < 0 || filesystem_look(placed->fd, &stat) < 0 || stat.stx_size <= placed->fd_offset)
                return 0;
        size = stat.stx_size - placed->fd_offset;
        if (!checked_round_up(size, page_size(), &end) || end > placed->range.size)
                end = placed->range.size;
        return end;
}

bool window_mend_at(struct window *window, uint64_t offset)
{
        bool mended = false;

        pthread_mutex_lock(&window->lock);

        struct placed *placed = find(window, offset);

        if (placed) {
                uint64_t page = (offset - placed->range.start) & ~(page_size() - 1);

                /* At the place itself, not at the mapping's end: zeros may be there already. */
                if (page < placed->shown &&
                    !has_pages(window, (struct oriel_range){placed->range.start + page, page_size()}))
                        mended = lose(window, placed, page);
        }
        pthread_mutex_unlock(&window->lock);
        return mended;
}

static bool heal_one(struct window *window, struct placed *placed)
{
        uint64_t end = placed->shown < placed->range.size ? filled(placed) : 0;
        int prot = placed->access == ORIEL_ACCESS_READ_WRITE ? PROT_READ | PROT_WRITE : PROT_READ;

        if (end <= placed->shown)
                return false;

        if (map_over(host_at(window, placed->range.start + placed->shown), end - placed->shown, prot, MAP_SHARED,
                     placed->fd, (off_t)(placed->fd_offset + placed->shown)) < 0)
                return false;
        give_zeros_back(window, end - placed->shown);
        placed->shown = end;
        return true;
}

bool window_heal(struct window *window)
{
        pthread_mutex_lock(&window->lock);
        if (window->zeros > 0)
                each(window, heal_one);

        bool left = window->zeros > 0;

        pthread_mutex_unlock(&window->lock);
        return left;
}

/* ---- what is there ---- */

static void read_name(int fd, char *name, size_t size)
{
        char path[32];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

        ssize_t n = fd < 0 ? -1 : readlink(path, name, size - 1);

        name[n < 0 ? 0 : n] = '\0';
        make_printable(name);
}

bool window_look(struct window *window, uint64_t offset, struct window_view *out)
{
        pthread_mutex_lock(&window->lock);

        const struct placed *placed = find(window, offset);

        if (placed) {
                *out = (struct window_view){
                        .range = placed->range,
                        .access = placed->access,
                        .fd_offset = placed->fd_offset,
                        .lost = placed->range.size - placed->shown,
                };
                read_name(placed->fd, out->name, sizeof(out->name));
        }
        pthread_mutex_unlock(&window->lock);
        return placed;
}
