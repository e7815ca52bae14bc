/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_SHARED_H
#define BASE_SHARED_H

#include <stddef.h>
#include <string.h>

/* Copies @n bytes that another process may be changing, each read once. After a plain memcpy() the compiler may read a
 * value again where it is used, and get another one than it has checked. */
static inline void shared_copy(void *to, const void *from, size_t n)
{
        memcpy(to, from, n);
        __asm__ volatile("" : : "r"(to) : "memory");
}

#endif
