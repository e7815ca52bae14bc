/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_STRUCT_H
#define BASE_STRUCT_H

#include <errno.h>
#include <stddef.h>
#include <string.h>

/* Public structs that may grow begin with their size, and grow at their end. The caller's may be of an earlier
 * version, which is shorter, or of a later one. @least is the size that the first version needs: the constant beside
 * the struct. */

enum { STRUCT_MOST = 4096 }; /* larger values are uninitialized memory */

/* Copies the caller's @from, NULL or beginning with its size, to @to, this version's of @size bytes. Missing members
 * are 0. -EINVAL: NULL, or a size that no version has. -E2BIG: a later version's, with a member set that this version
 * does not have. @to is changed only on success. */
static inline int struct_take(void *to, size_t size, const void *from, size_t least)
{
        const unsigned char *bytes = from;
        size_t given = from ? *(const size_t *)from : 0;

        if (given < least || given > STRUCT_MOST)
                return -EINVAL;
        for (size_t i = size; i < given; i++)
                if (bytes[i])
                        return -E2BIG;
        memset(to, 0, size);
        memcpy(to, from, given < size ? given : size);
        *(size_t *)to = size;
        return 0;
}

/* The opposite direction: copies @from, this version's of @size bytes, into the caller's @to as far as it has room;
 * members of a later version are set to 0. -EINVAL as above. */
static inline int struct_give(void *to, size_t least, const void *from, size_t size)
{
        size_t room = to ? *(const size_t *)to : 0;

        if (room < least || room > STRUCT_MOST)
                return -EINVAL;
        memset(to, 0, room);
        memcpy(to, from, room < size ? room : size);
        *(size_t *)to = room;
        return 0;
}

#define STRUCT_TAKE(to, from, least) struct_take(to, sizeof(*(to)), 1 ? (from) : (to), least)
#define STRUCT_GIVE(to, from, least) struct_give(to, least, 1 ? (from) : (to), sizeof(*(to)))

#endif
