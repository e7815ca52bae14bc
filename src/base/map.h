/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>
#include <sys/types.h>

/* mmap() of whole pages at @address, in place of what is mapped there. 0, or a negative errno with the old mapping
 * unchanged. May be called in a signal handler. */
int map_over(void *address, size_t size, int protection, int flags, int fd, off_t offset);

#endif
