/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MEMORY_IOTLB_H
#define MEMORY_IOTLB_H

#include "base/cleanup.h"

#include <oriel/range.h>

#define IOTLB_ENTRIES_MAX 4096

struct iotlb_entry {
        struct oriel_range iova;
        uint64_t user_address;
        uint64_t age;
        enum oriel_access access;
};

/* The IOTLB of a memory table: like the table it never changes and is shared by reference. */
struct iotlb;

int iotlb_new(struct iotlb **out);
struct iotlb *iotlb_ref(struct iotlb *iotlb);
void iotlb_unref(struct iotlb *iotlb);
DEFINE_CLEANUP(struct iotlb *, iotlb_unref);

/* A copy of @old without the entries that overlap @gone, and with @added unless NULL. @gone is valid and contains
 * @added's range. Where there would be more than IOTLB_ENTRIES_MAX, the oldest entry is dropped. */
int iotlb_replace(const struct iotlb *old, struct oriel_range gone, const struct iotlb_entry *added,
                  struct iotlb **out);

/* The entry with @address, or NULL. */
const struct iotlb_entry *iotlb_find(const struct iotlb *iotlb, uint64_t address);

#endif
