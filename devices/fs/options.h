/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_OPTIONS_H
#define DEVICES_FS_OPTIONS_H

#include "daemon/sandbox.h"
#include "devices/fs/core/fs.h"
#include "program/options.h"

/* What the command line says. Strings point into it. */
struct command_line {
        const char *socket_path; /* NULL: @fd */
        const char *socket_group;
        unsigned fd; /* UINT32_MAX: none */
        const char *tag;
        unsigned request_queues;
        unsigned thread_pool_size;
        unsigned poll_us;
        const char *dialect;
        unsigned rlimit_nofile; /* UINT32_MAX: not named; 0: to be left alone */
        unsigned seccomp;       /* enum filter_action */
        unsigned log_level;     /* enum fs_log_level */
        bool debug;
        bool to_syslog;
        struct sandbox_options sandbox;
        struct fs_options fs;

        /* What has become a part of the above. */
        const char *xattrmap;
        const char *dax, *parked;
        struct option_list translate_uid, translate_gid, compat;
        bool print_capabilities;
        bool once;
        bool ignored;
};

/* The values of --log-level. */
enum fs_log_level {
        LEVEL_ERROR,
        LEVEL_WARN,
        LEVEL_INFO,
        LEVEL_DEBUG,
        LEVEL_TRACE,
        LEVEL_OFF,
};

/* The exit status, with everything said, or -1 and @out, which is one static object. */
int command_line_read(int argc, char **argv, struct command_line **out);

#endif
