/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdlib.h>

/* The variable is handed to @func by address when its scope ends; that may be all it is for. */
#define _cleanup_(func) __attribute__((__cleanup__(func), __unused__))

/* Ownership leaves @ptr, which becomes NULL and so is not cleaned up. */
#define steal(ptr)                                    \
        ({                                            \
                __typeof__(ptr) *steal_from = &(ptr); \
                __typeof__(ptr) stolen = *steal_from; \
                *steal_from = NULL;                   \
                stolen;                               \
        })

static inline void freep(void *ptr)
{
        free(*(void **)ptr);
}

/* For types freed by a function of one pointer that accepts NULL. */
#define DEFINE_CLEANUP(type, func)               \
        static inline void func##p(type *object) \
        {                                        \
                func(*object);                   \
        }                                        \
        _Static_assert(1, "")

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

#endif
