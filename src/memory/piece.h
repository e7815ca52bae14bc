/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MEMORY_PIECE_H
#define MEMORY_PIECE_H

#include <oriel/memory.h>

/* Host memory that is contiguous in its region. */
struct memory_piece {
        uint8_t *host;
        uint64_t guest; /* the guest physical address, also with an IOMMU: the dirty log is indexed by it */
        uint64_t size;
};

/* The piece at the start of @range, at most @range.size long. Errors as oriel_memory_translate(). */
int memory_find(const struct oriel_memory *memory, enum oriel_address_space space, struct oriel_range range,
                enum oriel_access access, struct memory_piece *out, struct oriel_fault *fault);

/* All of @range as one piece. -EFAULT also where it is not contiguous. */
int memory_find_whole(const struct oriel_memory *memory, enum oriel_address_space space, struct oriel_range range,
                      enum oriel_access access, struct memory_piece *out, struct oriel_fault *fault);

/* Copies @range out of guest memory; each byte is read once. */
int memory_read(const struct oriel_memory *memory, enum oriel_address_space space, struct oriel_range range, void *to,
                struct oriel_fault *fault);

/* Marks the pages of @range dirty. With an IOMMU its addresses are IOVAs; from the first one that is not found on, they
 * are marked untranslated. */
void memory_mark_dirty(const struct oriel_memory *memory, struct oriel_dirty_log *log, struct oriel_range range);

#endif
