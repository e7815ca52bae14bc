/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SHMEM_FILE_H
#define SHMEM_FILE_H

#include "base/libc.h"

#include <oriel/range.h>
#include <stdbool.h>

/* Whether @fd can be mapped at @range (whole pages) from @fd_offset with @access, as far as can be told without mapping
 * it and without a call to its file system's server. @remote: files that are not local are accepted as well. 0 and its
 * @stat, or the errors of oriel_region_map(). */
int file_check_mappable(int fd, struct oriel_range range, uint64_t fd_offset, enum oriel_access access, bool remote,
                        struct statx *stat);

#endif
