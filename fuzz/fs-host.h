/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FUZZ_FS_HOST_H
#define FUZZ_FS_HOST_H

#include "devices/fs/core/fs.h"
#include "fuzz/input.h"

/* The host around oriel-fs's core: a directory to share, what other programs do in it, and a front-end's window. */

#define HOST_PAGE   UINT64_C(4096)
#define HOST_WINDOW (16 * HOST_PAGE)

/* The directory, which is made with the first call: a small tmpfs of this process's own where it may mount one, with
 * another one mounted on the name "mnt" in it, so that nothing outside can be reached. */
const char *host_share(void);
/* The names in it. */
const char *host_name(struct input *input);
/* Another program changes something there. */
void host_act(struct input *input);
/* Nothing is left in it, and nothing outside was touched. */
void host_clear(void);

/* A window that keeps books. It maps what it is given, nothing, or only what lies in the file as a whole or is open
 * for writing, by @how's bits. With HOST_RESUMED it may be asked to unmap what is not mapped, and refuses. */
enum { HOST_FULL = 1, HOST_WHOLE_ONLY = 2, HOST_WRITABLE_ONLY = 4, HOST_RESUMED = 8 };
void host_window_begin(unsigned how);
/* The guest stores a byte somewhere, if something that can be written is mapped there. */
void host_window_store(struct input *input);
extern const struct fs_window_ops host_window_ops;
/* Every ticket was waited for. What is mapped goes. */
void host_window_end(void);

#endif
