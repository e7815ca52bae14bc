/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SHMEM_MAPPING_H
#define SHMEM_MAPPING_H

#include "base/cleanup.h"

#include <oriel/shmem.h>
#include <stdatomic.h>

/* Everything but the counters, and what its region hangs on it, is fixed when it is made. */
struct oriel_mapping {
        struct oriel_range range; /* the first member: what the region's tree compares */
        uint64_t fd_offset;
        uint64_t device;
        uint64_t inode;
        int64_t created_ms;
        enum oriel_access access;
        bool keep;  /* its fd, if there is room */
        int fd;     /* -1: not kept */
        void *data; /* with the region's lock; its owner's */
        atomic_bool live;
        atomic_bool orphan;
        atomic_uint references;
};

/* One reference, not live. NULL without memory. */
struct oriel_mapping *mapping_new(struct oriel_range range, uint64_t fd_offset, enum oriel_access access);

DEFINE_CLEANUP(struct oriel_mapping *, oriel_mapping_unref);

#endif
