/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fd.h"
#include "base/range.h"
#include "base/struct.h"
#include "shmem/file.h"
#include "shmem/filesystem.h"
#include "shmem/mapping.h"

#include <errno.h>
#include <pthread.h>
#include <search.h>
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

        pthread_mutex_t lock;
        void *tree; /* tsearch(), of struct oriel_mapping by range */
        size_t count;
};

/* -EDEADLK: in a call of the placement's. */
static int region_lock(struct oriel_region *region)
{
        return -pthread_mutex_lock(&region->lock);
}

static uint64_t page_size(void)
{
        return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Mappings never overlap, so ranges that share a byte compare as equal: a lookup of a range finds a mapping in it. */
static int compare(const void *a, const void *b)
{
        const struct oriel_range *left = a, *right = b;

        return range_compare(*left, *right);
}

static struct oriel_mapping *find(const struct oriel_region *region, const struct oriel_range *range)
{
        struct oriel_mapping *const *node = tfind(range, &region->tree, compare);

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
                       !is_aligned(options.size, page_size())))
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
        filesystem_open_mounts();
        /* A placement that calls its region is told so. */
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
        if (range->size == 0 || !is_aligned(range->start, page_size()))
                return -EINVAL;
        if (!checked_round_up(range->size, page_size(), &range->size) || !range_within(*range, region->size))
                return -ERANGE;
        return 0;
}

static void drop(void *object)
{
        struct oriel_mapping *mapping = object;

        atomic_store(&mapping->live, false);
        oriel_mapping_unref(mapping);
}

/* With the lock held. */
static void take_out(struct oriel_region *region, struct oriel_mapping *mapping)
{
        tdelete(mapping, &region->tree, compare);
        region->placement.remove(region->userdata, mapping->range);
        region->count--;
}

/* With the lock held. Whether nothing is in the way in @range. What belongs to nobody gives way, and stays away if then
 * something else does not. */
static bool make_room(struct oriel_region *region, struct oriel_range range)
{
        struct oriel_mapping *mapping;

        while ((mapping = find(region, &range))) {
                if (!atomic_load(&mapping->orphan))
                        return false;
                take_out(region, mapping);
                drop(mapping);
        }
        return true;
}

/* With the lock held. The tree gets its node before the file is placed: nothing that can fail comes after. */
static int place(struct oriel_region *region, struct oriel_mapping *mapping, int fd)
{
        if (!make_room(region, mapping->range))
                return -EEXIST;
        if (region->count >= region->max_mappings)
                return -ENOSPC;
        if (!tsearch(mapping, &region->tree, compare))
                return -ENOMEM;

        int r = region->placement.place(region->userdata, mapping->range, fd, mapping->fd_offset, mapping->access);

        if (r < 0) {
                tdelete(mapping, &region->tree, compare);
                return r;
        }
        atomic_store(&mapping->live, true);
        region->count++;
        return 0;
}

int oriel_region_map(struct oriel_region *region, struct oriel_range range, int fd, uint64_t fd_offset,
                     enum oriel_access access)
{
        struct statx stat;

        if ((access != ORIEL_ACCESS_READ && access != ORIEL_ACCESS_READ_WRITE) || !is_aligned(fd_offset, page_size()))
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

        r = region_lock(region);
        if (r < 0)
                return r;
        r = place(region, mapping, fd);
        if (r == 0)
                (void)steal(mapping);
        pthread_mutex_unlock(&region->lock);
        return r;
}

/* With the lock held. */
static int take_exact(struct oriel_region *region, struct oriel_range range, struct oriel_mapping **out)
{
        struct oriel_mapping *mapping = find(region, &range);

        if (!mapping)
                return -ENOENT;
        if (mapping->range.start != range.start || mapping->range.size != range.size)
                return -EINVAL;
        take_out(region, mapping);
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

size_t oriel_region_unmap_all(struct oriel_region *region)
{
        if (region_lock(region) < 0)
                return 0;

        void *tree = steal(region->tree);
        size_t count = region->count;

        region->count = 0;
        if (count > 0)
                region->placement.remove_all(region->userdata, region->size);
        pthread_mutex_unlock(&region->lock);
        tdestroy(tree, drop);
        return count;
}

static void orphan_one(const void *node, VISIT visit, void *closure)
{
        struct oriel_mapping *mapping = *(struct oriel_mapping *const *)node;

        (void)closure;
        if (visit == postorder || visit == leaf)
                atomic_store(&mapping->orphan, true);
}

size_t oriel_region_orphan_all(struct oriel_region *region)
{
        if (region_lock(region) < 0)
                return 0;
        twalk_r(region->tree, orphan_one, NULL);

        size_t count = region->count;

        pthread_mutex_unlock(&region->lock);
        return count;
}

struct oriel_mapping *oriel_region_find(struct oriel_region *region, uint64_t offset)
{
        struct oriel_mapping *mapping = NULL;

        if (region_lock(region) < 0)
                return NULL;
        mapping = find(region, &(struct oriel_range){offset, 1});
        if (mapping)
                oriel_mapping_ref(mapping);
        pthread_mutex_unlock(&region->lock);
        return mapping;
}

struct listing {
        struct oriel_mapping **mappings;
        size_t count;
};

static void list_one(const void *node, VISIT visit, void *closure)
{
        struct listing *listing = closure;

        if (visit == postorder || visit == leaf)
                listing->mappings[listing->count++] = oriel_mapping_ref(*(struct oriel_mapping *const *)node);
}

int oriel_region_list(struct oriel_region *region, struct oriel_mapping ***out, size_t *count)
{
        struct listing listing = {0};
        int r = region_lock(region);

        if (r < 0)
                return r;
        listing.mappings = calloc(region->count + 1, sizeof(struct oriel_mapping *));
        if (listing.mappings)
                twalk_r(region->tree, list_one, &listing);
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
