/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <stdlib.h>

/* Calls @func with the variable's address when its scope ends. The variable may have no other use. */
#define _cleanup_(func) __attribute__((__cleanup__(func), __unused__))

/* Moves the value out of @ptr, which becomes NULL, so that its cleanup does nothing. */
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
