/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SHMEM_MAPPING_H
#define SHMEM_MAPPING_H

#include "base/cleanup.h"

#include <oriel/shmem.h>
#include <stdatomic.h>

/* All members but the counters and @data are fixed when the mapping is made. */
struct oriel_mapping {
        struct oriel_range range; /* the first member, because the region's tree compares it */
        uint64_t fd_offset;
        uint64_t device;
        uint64_t inode;
        int64_t created_ms;
        enum oriel_access access;
        bool keep;  /* keep its fd, if the region's limit allows */
        int fd;     /* -1: not kept */
        void *data; /* the owner's; read and written with the region's lock held */
        atomic_bool live;
        atomic_bool orphan;
        atomic_uint references;
};

/* A mapping with one reference, not live. NULL without memory. */
struct oriel_mapping *mapping_new(struct oriel_range range, uint64_t fd_offset, enum oriel_access access);

DEFINE_CLEANUP(struct oriel_mapping *, oriel_mapping_unref);

#endif
