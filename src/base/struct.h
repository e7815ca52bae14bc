/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_STRUCT_H
#define BASE_STRUCT_H

#include <errno.h>
#include <oriel/log.h>
#include <stddef.h>

/* Public option and ops structs begin with their size and grow at their end. Of @object, which may be NULL, this
 * version needs @least bytes and knows @known. 0; -EINVAL: NULL, or a size that no version has; -E2BIG: a later
 * version's, with something set that this one knows nothing of. */
static inline int struct_check(const void *object, size_t least, size_t known)
{
        enum { MOST = 4096 }; /* more is no size, but what was in memory */
        const unsigned char *bytes = object;
        size_t size = object ? *(const size_t *)object : 0;

        if (size < least || size > MOST)
                return -EINVAL;
        for (size_t i = known; i < size; i++)
                if (bytes[i])
                        return -E2BIG;
        return 0;
}

#define STRUCT_CHECK(object) struct_check(object, sizeof(*(object)), sizeof(*(object)))

#endif
