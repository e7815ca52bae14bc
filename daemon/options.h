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
        unsigned rlimit_nofile; /* UINT32_MAX: not given; 0: leave it unchanged */
        unsigned seccomp;       /* enum filter_action */
        unsigned log_level;     /* enum daemon_log_level */
        bool verbose;
        bool to_syslog;
        bool print_capabilities;
        struct sandbox_options sandbox;

        /* May be set by a device's check_options(): a separate process tries to make the device before there is a
         * socket, because the sandbox, which can't be left again, may lack something that the device needs. */
        bool rehearse;
};

/* The options of this process, constant after the command line was read. */
extern struct daemon_options daemon_options;

/* For a device's own rows; in the order of their enums. */
extern const char *const daemon_sandboxes[], *const daemon_log_levels[];

/* Reads the command line: the exit status, with the error reported, or -1. */
int daemon_options_read(const struct daemon_device *device, int argc, char **argv);

/* Reports @wrong as an error of the command line. Returns STATUS_USAGE. */
int daemon_usage(const char *wrong);

/* The log and its level, as the options say. */
struct oriel_log daemon_log(void);

#endif
