/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_SHMEM_H
#define ORIEL_SHMEM_H

#include <oriel/range.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* A VIRTIO Shared Memory Region as its front-end keeps it, the mappings in it, and the window they are placed in. The
 * rules are those of vhost-user's SHMEM_MAP and SHMEM_UNMAP. Every function may be called from any thread; a region's
 * lock covers that region alone. */

struct oriel_region;
struct oriel_mapping;

/* Where mappings go; the first three are needed. Calls come one at a time for a region, with its lock held, so they
 * must not call the region: there its functions are -EDEADLK, or find nothing and do nothing. Ranges are offsets in the
 * region, whole pages, and never overlap. What the placement has to remember of a mapping it hangs on that
 * (oriel_mapping_set_data()). */
struct oriel_placement_ops {
        size_t struct_size;
        /* Make @mapping's range show @fd from its fd_offset on. @fd is the caller's. 0 or a negative errno, with the
         * range as before. */
        int (*place)(void *userdata, struct oriel_mapping *mapping, int fd);
        /* Put the hole back: when this returns nobody reaches the file through the region any more. */
        void (*remove)(void *userdata, struct oriel_mapping *mapping);
        /* The same for the whole region of @size bytes at once. */
        void (*remove_all)(void *userdata, uint64_t size);
        /* @mapping, which was placed, is no more in the region: after either of the above, and for each one. It may
         * live on as a record. NULL: nothing hangs on mappings. */
        void (*removed)(void *userdata, struct oriel_mapping *mapping);
        /* Make @mapping's range, which is all of @old's, show @fd in its place, in one step: a guest that uses it never
         * finds a hole. @old, which belongs to nobody (oriel_region_orphan_all()), is then told of as removed. 0 or a
         * negative errno, with the range as before. NULL: it is removed, and then the other placed. */
        int (*replace)(void *userdata, struct oriel_mapping *old, struct oriel_mapping *mapping, int fd);
};
#define ORIEL_PLACEMENT_OPS_LEAST (offsetof(struct oriel_placement_ops, remove_all) + sizeof(void (*)(void)))

/* Options of oriel_region_new(). A member that is 0 has its default. */
struct oriel_region_options {
        size_t struct_size;
        uint8_t shmid;                               /* the region's number */
        uint64_t size;                               /* bytes, a multiple of the page size */
        unsigned max_mappings;                       /* quota; 0: as many as the placement takes */
        const struct oriel_placement_ops *placement; /* copied */
        void *userdata;                              /* the placement's, as a window; must outlive the region */
        bool allow_remote_files;                     /* see oriel_region_map() */
        unsigned keep_fds; /* of so many mappings at once a copy of the fd is kept, see oriel_mapping_fd() */
};
#define ORIEL_REGION_OPTIONS_LEAST offsetof(struct oriel_region_options, userdata)

/* Make a region. -EINVAL: a size of 0 or not in whole pages, or no placement; a struct_size that no version has.
 * -E2BIG: a later version's options or ops, with something set that this library knows nothing of. -ENOMEM. *@out is
 * NULL after an error. */
int oriel_region_new(const struct oriel_region_options *options, struct oriel_region **out);
/* Free the region and remove all its mappings. Those that are still referenced live on as records. NULL is accepted. */
void oriel_region_free(struct oriel_region *region);

/* The shmid and the size of the region, as the options had them. */
uint8_t oriel_region_shmid(const struct oriel_region *region);
uint64_t oriel_region_size(const struct oriel_region *region);

/* Place a mapping of @fd at @range, whose size is rounded up to whole pages. @fd stays the caller's and may be closed.
 * A file that is shorter than the range is not changed. @access is READ or READ_WRITE.
 * -EINVAL: empty, an offset that is not a multiple of the page size (for hugetlbfs: of the huge page size, and the size
 * too), a place behind the last that a file can have, or an @access that is neither. -ERANGE: outside the region, or
 * the end overflows. -EEXIST: a part of the range is mapped. -EACCES: @fd is not open for that. -EBADF: not an open
 * file. -ENODEV: not a regular file, memfd, hugetlbfs file (since Linux 5.16) or dmabuf. -EREMOTE: a
 * file on a file system that another process, machine or host serves (FUSE, NFS, virtiofs and the like), or on one that
 * is not known, without allow_remote_files: who serves it can have each thread that touches the mapping wait for ever.
 * -ENOSPC: the quota, or the process's limit on mappings. Else what mmap says.
 * vhost-user, SHMEM_MAP.
 */
int oriel_region_map(struct oriel_region *region, struct oriel_range range, int fd, uint64_t fd_offset,
                     enum oriel_access access);

/* Remove the mapping that is exactly @range (its size rounded up to whole pages). -ENOENT: nothing is mapped there.
 * -EINVAL: empty, or only a part of a mapping, or more than one. -ERANGE. vhost-user, SHMEM_UNMAP. */
int oriel_region_unmap(struct oriel_region *region, struct oriel_range range);
/* Remove all mappings: at reset, disconnect and removal. Returns how many mappings there were. */
size_t oriel_region_unmap_all(struct oriel_region *region);
/* Orphan all mappings, when the back-end is gone and another is to come: what is mapped stays in the guest's sight, but
 * belongs to nobody. A mapping that overlaps such a one takes its place, and may be unmapped as any other. Returns how
 * many there are. */
size_t oriel_region_orphan_all(struct oriel_region *region);

/* Find the mapping that covers @offset, with a reference for the caller, or NULL. */
struct oriel_mapping *oriel_region_find(struct oriel_region *region, uint64_t offset);
/* List all mappings in order, with a reference each. The array is the caller's, to be freed with oriel_mappings_free().
 * -ENOMEM. */
int oriel_region_list(struct oriel_region *region, struct oriel_mapping ***out, size_t *count);
void oriel_mappings_free(struct oriel_mapping **mappings, size_t count);
/* How many mappings the region has. */
size_t oriel_region_count(struct oriel_region *region);
/* Call @visit for each mapping in order, or for the one that covers @offset, with the region's lock held, as the
 * placement's functions are called. Return how many there were. */
size_t oriel_region_each(struct oriel_region *region, void (*visit)(void *userdata, struct oriel_mapping *mapping),
                         void *userdata);
size_t oriel_region_at(struct oriel_region *region, uint64_t offset,
                       void (*visit)(void *userdata, struct oriel_mapping *mapping), void *userdata);

/* The answer of oriel_mapping_get_info(). */
struct oriel_mapping_info {
        size_t struct_size;       /* of the caller's, who is told what fits */
        struct oriel_range range; /* in the region */
        uint64_t fd_offset;       /* where in the file it begins */
        enum oriel_access access; /* READ or READ_WRITE */
        uint64_t device;          /* st_dev of the file */
        uint64_t inode;           /* its st_ino */
        int64_t created_ms;       /* CLOCK_MONOTONIC */
        unsigned references;      /* the region's included */
        bool live;                /* false once it was unmapped */
        bool orphan;              /* oriel_region_orphan_all() */
};
#define ORIEL_MAPPING_INFO_LEAST offsetof(struct oriel_mapping_info, fd_offset)

/* Where the mapping is in its region. */
struct oriel_range oriel_mapping_range(const struct oriel_mapping *mapping);
/* A copy of the mapping's fd, which is the mapping's: it is closed with the last reference. -1: the region keeps none
 * (keep_fds), or none was left, or it is of a file that another process or host serves. */
int oriel_mapping_fd(const struct oriel_mapping *mapping);
/* A slot for whoever has made the region: what it hangs there is its own to free. NULL at first. */
void *oriel_mapping_data(const struct oriel_mapping *mapping);
void oriel_mapping_set_data(struct oriel_mapping *mapping, void *data);

/* Take a reference, and give one back: the last one frees it. NULL is accepted by the second. */
struct oriel_mapping *oriel_mapping_ref(struct oriel_mapping *mapping);
void oriel_mapping_unref(struct oriel_mapping *mapping);
/* Tell of a mapping what @out has room for by its struct_size; zeros behind what this version knows. -EINVAL: a size
 * that no version has.
 */
int oriel_mapping_get_info(struct oriel_mapping *mapping, struct oriel_mapping_info *out);

/* A window: an address range of this process, reserved once, in which mappings are placed. At no moment is a part of it
 * unmapped, whatever the file of a mapping is: another thread's mmap() never lands in it. */
struct oriel_window;

/* The contents of a window where nothing is mapped. */
enum oriel_hole {
        ORIEL_HOLE_ZERO, /* reads give 0, a write is SIGSEGV (KVM: EFAULT); one VMA, no memory */
        ORIEL_HOLE_SINK, /* reads and writes go to 2 MiB that are repeated, one VMA for each; to more in a window of
                          more than 32 GiB, so that there are at most 16384 */
};

/* Reserve a window of @size bytes, a multiple of the page size, aligned to 2 MiB. -EINVAL. -ENOSPC: more sink than the
 * process may map. -ENOMEM. */
int oriel_window_new(uint64_t size, enum oriel_hole hole, struct oriel_window **out);
/* Unmap the whole range. NULL is accepted. */
void oriel_window_free(struct oriel_window *window);
/* Where the window is, and how large. */
void *oriel_window_address(const struct oriel_window *window);
uint64_t oriel_window_size(const struct oriel_window *window);
/* The placement whose userdata is a window. What is beyond its end, where the region is larger, is -ERANGE. What all
 * windows hold of vm.max_map_count stays 4096 below it, so that the rest of the process has these: beyond that a
 * mapping is refused with -ENOSPC. At the limit itself not even a hole could be put back. */
const struct oriel_placement_ops *oriel_window_placement(void);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
