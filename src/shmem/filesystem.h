/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SHMEM_FILESYSTEM_H
#define SHMEM_FILESYSTEM_H

#include "base/libc.h"

#include <stdbool.h>

/* Open what filesystem_is_local() reads, which a sandbox may keep from being opened later; and close it when each who
 * has called the first has called the second. */
void filesystem_open_mounts(void);
void filesystem_close_mounts(void);

/* The kind, file system and number of what @fd is open on, without a question to whoever serves it: sizes and times may
 * be those of some time ago. 0 or a negative errno. */
int filesystem_look(int fd, struct statx *out);

/* Whether @fd, of which filesystem_look() has found @stat, is memory or on a file system that the kernel serves by
 * itself, from memory or a local disk. A process or another machine may serve any other, and may not answer: then
 * whoever touches such a file waits, without a limit and past a signal. A file counts as remote if it can't be found
 * out. */
bool filesystem_is_local(int fd, const struct statx *stat);

/* Whether it is certain that somebody else serves it. Of a directory on overlayfs that can't be found out: false. */
bool filesystem_is_remote(const struct statx *stat);

#endif
