/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SHMEM_FILESYSTEM_H
#define SHMEM_FILESYSTEM_H

#include "base/libc.h"

#include <stdbool.h>

/* Open and close the files that filesystem_is_local() reads; a sandbox may prevent opening them later. Counted: they
 * are closed by the last call that matches one of the first. */
void filesystem_open_mounts(void);
void filesystem_close_mounts(void);

/* Whether @fd, with @stat of fd_look(), is memory or on a file system that the kernel serves by itself, from
 * memory or a local disk. Any other may be served by a process or machine that does not answer: a thread that accesses
 * such a file then waits without limit and can't be interrupted. A file counts as remote if it can't be found out. */
bool filesystem_is_local(int fd, const struct statx *stat);

/* Whether it is certain that another process or machine serves it. False for a directory on overlayfs whose layers
 * can't be found out. */
bool filesystem_is_remote(const struct statx *stat);

#endif
