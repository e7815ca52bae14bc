/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include "daemon/daemon.h"
#include "daemon/sandbox.h"

#include <oriel/log.h>

/* The options that every device daemon has, spelled as virtiofsd spells them where it has them. */

/* The values of --log-level. */
enum daemon_log_level {
        DAEMON_LOG_ERROR,
        DAEMON_LOG_WARN,
        DAEMON_LOG_INFO,
        DAEMON_LOG_DEBUG,
        DAEMON_LOG_TRACE,
        DAEMON_LOG_OFF,
};

struct daemon_options {
        const char *socket_path; /* NULL: @fd */
        const char *socket_group;
        unsigned fd; /* UINT32_MAX: none */
        bool once;
        const char *dialect;
        unsigned rlimit_nofile; /* UINT32_MAX: not named; 0: to be left alone */
        unsigned seccomp;       /* enum filter_action */
        unsigned log_level;     /* enum daemon_log_level */
        bool verbose;
        bool to_syslog;
        bool print_capabilities;
        struct sandbox_options sandbox;

        /* A device's check_options() may set it: making the device is tried in a process of its own before there is a
         * socket, since what it needs may be missing in the sandbox, and that can't be left again. */
        bool rehearse;
};

/* Of this process. Does not change once the command line is read. */
extern struct daemon_options daemon_options;

/* For rows of a device's own, in the order of the enums that they are. */
extern const char *const daemon_sandboxes[], *const daemon_log_levels[];

/* Read the command line: the exit status, with everything said, or -1. */
int daemon_options_read(const struct daemon_device *device, int argc, char **argv);

/* Report that @wrong is what is wrong with the command line. STATUS_USAGE. */
int daemon_usage(const char *wrong);

/* Where to log, at which level. */
struct oriel_log daemon_log(void);

#endif
