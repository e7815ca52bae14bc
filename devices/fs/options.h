/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_OPTIONS_H
#define DEVICES_FS_OPTIONS_H

#include "devices/fs/core/fs.h"
#include "program/options.h"

/* The command line of oriel-fs. Strings point into it. */
struct fs_command_line {
        const char *tag;
        unsigned request_queues;
        unsigned thread_pool_size;
        unsigned poll_us;
        struct fs_options fs;

        /* Text that is parsed into the fields above. */
        const char *xattrmap;
        const char *dax, *parked;
        struct option_list translate_uid, translate_gid, compat;
        bool ignored;
};

extern struct fs_command_line fs_command_line;
extern const struct option_row fs_rows[];
extern const size_t fs_n_rows;

/* For struct daemon_device. */
int fs_check_options(void);
int fs_check_files(void);

#endif
