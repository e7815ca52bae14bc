/* SPDX-License-Identifier: BSD-2-Clause */

/* A region's mappings, in a tree by range, and the rules for them: alignment, bounds, no overlap, exact unmaps,
 * limits. The placement does the mapping; it is called with the region's lock held, so that tree and address space
 * agree. The lock checks for errors: a placement or visitor that calls its region gets -EDEADLK instead of a deadlock.
 *
 * The tree has one reference to each mapping. region_place() inserts the node before it places the file, so nothing can
 * fail after the guest sees it. Files are checked before the lock is taken, because their servers may make that wait.
 */

#include "base/fd.h"
#include "base/libc.h"
#include "base/range.h"
#include "base/struct.h"
#include "shmem/file.h"
#include "shmem/filesystem.h"
#include "shmem/mapping.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

struct oriel_region {
        uint8_t shmid;
        uint64_t size;
        size_t max_mappings;
        struct oriel_placement_ops placement;
        void *userdata;
        bool allow_remote_files;
        size_t max_kept;

        pthread_mutex_t lock;
        void *tree; /* tsearch(), of struct oriel_mapping by range */
        size_t count, kept;
};

/* -EDEADLK: called from within a function of the placement. */
static int region_lock(struct oriel_region *region)
{
        return -pthread_mutex_lock(&region->lock);
}

static uint64_t region_page_size(void)
{
        return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Mappings never overlap, so ranges that share a byte compare as equal: a lookup by range finds a mapping in it. */
static int mapping_order(const void *a, const void *b)
{
        const struct oriel_range *left = a, *right = b;

        return range_compare(*left, *right);
}

static struct oriel_mapping *region_find(const struct oriel_region *region, const struct oriel_range *range)
{
        struct oriel_mapping *const *node = tfind(range, &region->tree, mapping_order);

        return node ? *node : NULL;
}

int oriel_region_new(const struct oriel_region_options *from, struct oriel_region **out)
{
        struct oriel_region_options options;
        struct oriel_placement_ops placement;

        if (!out)
                return -EINVAL;
        *out = NULL;

        int r = STRUCT_TAKE(&options, from, ORIEL_REGION_OPTIONS_LEAST);

        if (r == 0)
                r = STRUCT_TAKE(&placement, options.placement, ORIEL_PLACEMENT_OPS_LEAST);
        if (r == 0 && (!placement.place || !placement.remove || !placement.remove_all || options.size == 0 ||
                       !is_aligned(options.size, region_page_size())))
                r = -EINVAL;
        if (r < 0)
                return r;

        struct oriel_region *region = calloc(1, sizeof(*region));
        pthread_mutexattr_t attributes;

        if (!region)
                return -ENOMEM;
        region->shmid = options.shmid;
        region->size = options.size;
        region->max_mappings = options.max_mappings ? options.max_mappings : SIZE_MAX;
        region->placement = placement;
        region->userdata = options.userdata;
        region->allow_remote_files = options.allow_remote_files;
        region->max_kept = options.keep_fds;
        filesystem_open_mounts();
        /* With error checking, a placement that calls its region gets -EDEADLK. */
        pthread_mutexattr_init(&attributes);
        pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
        pthread_mutex_init(&region->lock, &attributes);
        pthread_mutexattr_destroy(&attributes);
        *out = region;
        return 0;
}

void oriel_region_free(struct oriel_region *region)
{
        if (!region || region_lock(region) < 0)
                return;
        pthread_mutex_unlock(&region->lock);
        oriel_region_unmap_all(region);
        pthread_mutex_destroy(&region->lock);
        filesystem_close_mounts();
        free(region);
}

uint8_t oriel_region_shmid(const struct oriel_region *region)
{
        return region->shmid;
}

uint64_t oriel_region_size(const struct oriel_region *region)
{
        return region->size;
}

static int check_range(const struct oriel_region *region, struct oriel_range *range)
{
        if (range->size == 0 || !is_aligned(range->start, region_page_size()))
                return -EINVAL;
        if (!checked_round_up(range->size, region_page_size(), &range->size) || !range_within(*range, region->size))
                return -ERANGE;
        return 0;
}

static void region_drop(void *object)
{
        struct oriel_mapping *mapping = object;

        atomic_store(&mapping->live, false);
        oriel_mapping_unref(mapping);
}

/* With the lock held. */
static void tell_removed(struct oriel_region *region, struct oriel_mapping *mapping)
{
        if (region->placement.removed)
                region->placement.removed(region->userdata, mapping);
        region->kept -= mapping->fd >= 0;
        region->count--;
}

/* With the lock held. */
static void region_take_out(struct oriel_region *region, struct oriel_mapping *mapping)
{
        tdelete(mapping, &region->tree, mapping_order);
        region->placement.remove(region->userdata, mapping);
        tell_removed(region, mapping);
}

/* With the lock held. Removes orphans in @range; they stay removed even where another mapping is in the way. Returns
 * whether @range is free. */
static bool region_make_room(struct oriel_region *region, struct oriel_range range)
{
        struct oriel_mapping *mapping;

        while ((mapping = region_find(region, &range))) {
                if (!atomic_load(&mapping->orphan))
                        return false;
                region_take_out(region, mapping);
                region_drop(mapping);
        }
        return true;
}

/* Keeps a copy of @fd, if the limit allows. @old is the mapping that @mapping replaces, or NULL: its copy does not
 * count. */
static void keep_fd(struct oriel_region *region, const struct oriel_mapping *old, struct oriel_mapping *mapping, int fd)
{
        const size_t kept = region->kept - (old && old->fd >= 0);
        int copy = mapping->keep && kept < region->max_kept ? fd_dup(fd) : -1;

        mapping->fd = copy < 0 ? -1 : copy;
}

static void count_in(struct oriel_region *region, struct oriel_mapping *mapping)
{
        region->kept += mapping->fd >= 0;
        atomic_store(&mapping->live, true);
        region->count++;
}

/* With the lock held. The tree's node of an orphan that has exactly @range, if the placement can replace mappings. */
static struct oriel_mapping **find_replaceable(struct oriel_region *region, struct oriel_range range)
{
        struct oriel_mapping **node = region->placement.replace ? tfind(&range, &region->tree, mapping_order) : NULL;

        return node && atomic_load(&(*node)->orphan) && (*node)->range.start == range.start &&
                               (*node)->range.size == range.size
                       ? node
                       : NULL;
}

/* With the lock held. */
static int region_replace(struct oriel_region *region, struct oriel_mapping **node, struct oriel_mapping *mapping,
                          int fd)
{
        struct oriel_mapping *old = *node;

        keep_fd(region, old, mapping, fd);

        int r = region->placement.replace(region->userdata, old, mapping, fd);

        if (r < 0)
                return r;
        *node = mapping;
        tell_removed(region, old);
        region_drop(old);
        count_in(region, mapping);
        return 0;
}

/* With the lock held. Inserts the node before the file is placed, so that nothing can fail afterwards. */
static int region_place(struct oriel_region *region, struct oriel_mapping *mapping, int fd)
{
        struct oriel_mapping **node = find_replaceable(region, mapping->range);

        if (node)
                return region_replace(region, node, mapping, fd);
        if (!region_make_room(region, mapping->range))
                return -EEXIST;
        if (region->count >= region->max_mappings)
                return -ENOSPC;
        if (!tsearch(mapping, &region->tree, mapping_order))
                return -ENOMEM;

        keep_fd(region, NULL, mapping, fd);

        int r = region->placement.place(region->userdata, mapping, fd);

        if (r < 0) {
                tdelete(mapping, &region->tree, mapping_order);
                return r;
        }
        count_in(region, mapping);
        return 0;
}

int oriel_region_map(struct oriel_region *region, struct oriel_range range, int fd, uint64_t fd_offset,
                     enum oriel_access access)
{
        struct statx stat;

        if ((access != ORIEL_ACCESS_READ && access != ORIEL_ACCESS_READ_WRITE) ||
            !is_aligned(fd_offset, region_page_size()))
                return -EINVAL;

        int r = fd_check(fd);

        if (r == 0)
                r = check_range(region, &range);
        if (r == 0)
                r = file_check_mappable(fd, range, fd_offset, access, region->allow_remote_files, &stat);
        if (r < 0)
                return r;

        _cleanup_(oriel_mapping_unrefp) struct oriel_mapping *mapping = mapping_new(range, fd_offset, access);

        if (!mapping)
                return -ENOMEM;
        mapping->device = makedev(stat.stx_dev_major, stat.stx_dev_minor);
        mapping->inode = stat.stx_ino;
        /* A holder of a copy of the fd would wait for the file's server as well, so that of a remote file is not
         * kept. */
        mapping->keep = region->max_kept > 0 && (!region->allow_remote_files || filesystem_is_local(fd, &stat));

        r = region_lock(region);
        if (r < 0)
                return r;
        r = region_place(region, mapping, fd);
        if (r == 0)
                (void)steal(mapping);
        pthread_mutex_unlock(&region->lock);
        return r;
}

/* With the lock held. */
static int take_exact(struct oriel_region *region, struct oriel_range range, struct oriel_mapping **out)
{
        struct oriel_mapping *mapping = region_find(region, &range);

        if (!mapping)
                return -ENOENT;
        if (mapping->range.start != range.start || mapping->range.size != range.size)
                return -EINVAL;
        region_take_out(region, mapping);
        *out = mapping;
        return 0;
}

int oriel_region_unmap(struct oriel_region *region, struct oriel_range range)
{
        _cleanup_(oriel_mapping_unrefp) struct oriel_mapping *mapping = NULL;
        int r = check_range(region, &range);

        if (r == 0)
                r = region_lock(region);
        if (r < 0)
                return r;
        r = take_exact(region, range, &mapping);
        pthread_mutex_unlock(&region->lock);
        if (r == 0)
                atomic_store(&mapping->live, false);
        return r;
}

static void region_remove_one(const void *node, VISIT visit, void *closure)
{
        if (visit == postorder || visit == leaf)
                tell_removed(closure, *(struct oriel_mapping *const *)node);
}

size_t oriel_region_unmap_all(struct oriel_region *region)
{
        if (region_lock(region) < 0)
                return 0;

        size_t count = region->count;

        if (count > 0)
                region->placement.remove_all(region->userdata, region->size);
        twalk_r(region->tree, region_remove_one, region);

        void *tree = steal(region->tree);

        pthread_mutex_unlock(&region->lock);
        tdestroy(tree, region_drop);
        return count;
}

struct oriel_mapping *oriel_region_find(struct oriel_region *region, uint64_t offset)
{
        struct oriel_mapping *mapping = NULL;

        if (region_lock(region) < 0)
                return NULL;
        mapping = region_find(region, &(struct oriel_range){offset, 1});
        if (mapping)
                oriel_mapping_ref(mapping);
        pthread_mutex_unlock(&region->lock);
        return mapping;
}

struct visitor {
        void (*visit)(void *userdata, struct oriel_mapping *mapping);
        void *userdata;
};

static void visit_one(const void *node, VISIT visit, void *closure)
{
        const struct visitor *visitor = closure;

        if (visit == postorder || visit == leaf)
                visitor->visit(visitor->userdata, *(struct oriel_mapping *const *)node);
}

size_t oriel_region_each(struct oriel_region *region, void (*visit)(void *userdata, struct oriel_mapping *mapping),
                         void *userdata)
{
        struct visitor visitor = {visit, userdata};

        if (region_lock(region) < 0)
                return 0;
        twalk_r(region->tree, visit_one, &visitor);

        size_t count = region->count;

        pthread_mutex_unlock(&region->lock);
        return count;
}

size_t oriel_region_at(struct oriel_region *region, uint64_t offset,
                       void (*visit)(void *userdata, struct oriel_mapping *mapping), void *userdata)
{
        if (region_lock(region) < 0)
                return 0;

        struct oriel_mapping *mapping = region_find(region, &(struct oriel_range){offset, 1});

        if (mapping)
                visit(userdata, mapping);
        pthread_mutex_unlock(&region->lock);
        return mapping ? 1 : 0;
}

static void orphan_one(void *userdata, struct oriel_mapping *mapping)
{
        atomic_store(&mapping->orphan, true);
}

size_t oriel_region_orphan_all(struct oriel_region *region)
{
        return oriel_region_each(region, orphan_one, NULL);
}

struct listing {
        struct oriel_mapping **mappings;
        size_t count;
};

static void list_one(void *userdata, struct oriel_mapping *mapping)
{
        struct listing *listing = userdata;

        listing->mappings[listing->count++] = oriel_mapping_ref(mapping);
}

int oriel_region_list(struct oriel_region *region, struct oriel_mapping ***out, size_t *count)
{
        struct listing listing = {0};
        int r = region_lock(region);

        if (r < 0)
                return r;
        listing.mappings = calloc(region->count + 1, sizeof(struct oriel_mapping *));
        if (listing.mappings)
                twalk_r(region->tree, visit_one, &(struct visitor){list_one, &listing});
        pthread_mutex_unlock(&region->lock);
        if (!listing.mappings)
                return -ENOMEM;
        *out = listing.mappings;
        *count = listing.count;
        return 0;
}

void oriel_mappings_free(struct oriel_mapping **mappings, size_t count)
{
        for (size_t i = 0; i < count; i++)
                oriel_mapping_unref(mappings[i]);
        free(mappings);
}

size_t oriel_region_count(struct oriel_region *region)
{
        if (region_lock(region) < 0)
                return 0;

        size_t count = region->count;

        pthread_mutex_unlock(&region->lock);
        return count;
}
