/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MEMORY_FILE_MAP_H
#define MEMORY_FILE_MAP_H

#include <stddef.h>
#include <stdint.h>

/* A shared mapping of part of a file; @size is 0 where there is none. */
struct file_map {
        void *address;
        size_t size;
};

/* Maps @size bytes of @fd from @offset on. Neither need be a multiple of the file's page size: the mapping is widened
 * to whole pages, and @host is the address of @offset. -EINVAL: empty, or not a place that a file can have. */
int file_map(int fd, uint64_t offset, uint64_t size, int protection, struct file_map *out, uint8_t **host);
void file_unmap(struct file_map *map);

#endif
