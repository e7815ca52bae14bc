/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_MOUNT_OPTIONS_H
#define CLI_MOUNT_OPTIONS_H

#include "program/options.h"

#include <stdbool.h>

/* The options of a mount. */
struct mount_options {
        const char *source; /* its name in mount(8) and /proc/mounts */
        bool dax, readonly, verbose;
        bool by_mount;            /* started by mount.fuse3(8) as root, which adds "suid" and "dev" by itself */
        struct option_list lists; /* of mount(8)'s options, with commas between; "\," is a comma in one */
};

/* Returns the options for libfuse, to be freed; NULL: out of memory. Options of the command itself in the lists go
 * into @options, and those for mount(8) and the boot scripts are left out. libfuse reports those that it does not
 * know. */
char *mount_options_join(struct mount_options *options);

#endif
