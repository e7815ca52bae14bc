/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_MOUNT_OPTIONS_H
#define CLI_MOUNT_OPTIONS_H

#include "program/options.h"

#include <stdbool.h>

/* What a mount is to be like. */
struct mount_options {
        const char *source; /* what mount(8) and /proc/mounts call it */
        bool dax, readonly, verbose;
        bool by_mount;            /* by mount.fuse3(8), as root: that adds "suid" and "dev" by itself */
        struct option_list lists; /* of mount(8)'s options, with commas between; "\," is a comma in one */
};

/* What libfuse is to mount with, to be freed; NULL: out of memory. Of the lists, what is Oriel's own goes into
 * @options, and what is for mount(8) and the boot alone is left out; libfuse says what it does not know. */
char *mount_options_join(struct mount_options *options);

#endif
