/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_RANGE_H
#define ORIEL_RANGE_H

#include <stdint.h>

/* [start, start + size) of any address space, in bytes. Passed by value, so it can't ever change. */
struct oriel_range {
        uint64_t start;
        uint64_t size;
};

/* The access to memory that is wanted or allowed; the values of VHOST_ACCESS_RO, _WO and _RW of linux/vhost_types.h. */
enum oriel_access {
        ORIEL_ACCESS_NONE = 0,
        ORIEL_ACCESS_READ = 1,
        ORIEL_ACCESS_WRITE = 2,
        ORIEL_ACCESS_READ_WRITE = 3,
};

#endif
