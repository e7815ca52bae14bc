/* SPDX-License-Identifier: BSD-2-Clause */

/* The options of every device daemon, as one table: the rows of the socket, then the device's own, then those of the
 * process. options_parse() fills daemon_options and the device's targets; the device's check_options() comes next, and
 * may change options, and then the checks of the common ones. Read once at the start, before there is a thread or a
 * socket; the log is made from the options too. */

#include "daemon/options.h"

#include "base/cleanup.h"
#include "daemon/system_log.h"
#include "program/report.h"
#include "program/sanitized.h"
#include "seccomp/filter.h"

#include <oriel/socket.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct daemon_options daemon_options = {
        .fd = UINT32_MAX,
        .rlimit_nofile = UINT32_MAX,
        .seccomp = FILTER_KILL,
        .log_level = DAEMON_LOG_WARN,
        /* The sanitizer's search for leaks at the end needs /proc. */
        .sandbox = {.mode = SANITIZED ? SANDBOX_NONE : SANDBOX_NAMESPACE},
};

const char *const daemon_sandboxes[] = {"namespace", "chroot", "none", NULL};
const char *const daemon_log_levels[] = {"error", "warn", "info", "debug", "trace", "off", NULL};
static const char *const actions[] = {"none", "kill", "log", "trap", NULL};

static const struct option_row socket_rows[] = {
        {"socket-path", OPTION_STRING, &daemon_options.socket_path, "PATH", "listen on this Unix socket"},
        {"socket", OPTION_STRING, &daemon_options.socket_path, "PATH", NULL},
        {"socket-group", OPTION_STRING, &daemon_options.socket_group, "NAME", "let this group connect to it"},
        {"fd", OPTION_NUMBER, &daemon_options.fd, "FD", "use this inherited socket, listening or connected"},
        {"once", OPTION_FLAG, &daemon_options.once, NULL, "end when the first front-end has gone"},
};

static const struct option_row process_rows[] = {
        {"sandbox", OPTION_CHOICE, &daemon_options.sandbox.mode, "MODE", "namespace (default), chroot, none",
         daemon_sandboxes},
        {"uid-map", OPTION_LIST, &daemon_options.sandbox.uid_maps, "RANGE",
         "users of its user namespace, :INSIDE:OUTSIDE:COUNT:"},
        {"gid-map", OPTION_LIST, &daemon_options.sandbox.gid_maps, "RANGE", "the same for groups"},
        {"seccomp", OPTION_CHOICE, &daemon_options.seccomp, "ACTION",
         "at a system call it has no use for: kill (default), log, trap, none", actions},
        {"modcaps", OPTION_STRING, &daemon_options.sandbox.modcaps, "LIST",
         "capabilities to keep (+NAME) and drop (-NAME), with colons"},
        {"rlimit-nofile", OPTION_NUMBER, &daemon_options.rlimit_nofile, "N",
         "the limit on open files, 0: as it is (default: 1000000, or what is allowed)"},
        {"dialect", OPTION_STRING, &daemon_options.dialect, "NAME",
         "the front-end's number for SHMEM: standard, shmem-21, shmem-20"},
        {"print-capabilities", OPTION_FLAG, &daemon_options.print_capabilities, NULL,
         "print the back-end's capabilities as JSON"},
        {"log-level", OPTION_CHOICE, &daemon_options.log_level, "LEVEL",
         "error, warn (default), info, debug, trace, off", daemon_log_levels},
        {"verbose", OPTION_FLAG, &daemon_options.verbose, NULL, "log every request"},
        {"syslog", OPTION_FLAG, &daemon_options.to_syslog, NULL, "log to syslog in place of standard error"},
};

static const char *program_name = "oriel";

int daemon_usage(const char *wrong)
{
        report("%s (see %s --help)", wrong, program_name);
        return STATUS_USAGE;
}

static int options_check(void)
{
        const char *wrong = sandbox_check(&daemon_options.sandbox);

        if (daemon_options.fd == UINT32_MAX && !daemon_options.socket_path) {
                int inherited = oriel_socket_inherited();

                if (inherited >= 0)
                        daemon_options.fd = (unsigned)inherited;
        }
        if (!daemon_options.socket_path == (daemon_options.fd == UINT32_MAX))
                wrong = "either --socket-path or --fd is needed";
        else if (daemon_options.socket_group && !daemon_options.socket_path)
                wrong = "--socket-group is for --socket-path";
        else if (daemon_options.dialect && !oriel_dialect_find(daemon_options.dialect))
                wrong = "--dialect: standard, shmem-21 or shmem-20";
        return wrong ? daemon_usage(wrong) : -1;
}

static int parse(const struct daemon_device *device, int argc, char **argv)
{
        const size_t n = ARRAY_SIZE(socket_rows) + device->n_rows + ARRAY_SIZE(process_rows);
        _cleanup_(freep) struct option_row *rows = calloc(n, sizeof(*rows));
        char summary[512];
        const struct program program = {
                .name = device->name,
                .operands = "",
                .summary = summary,
                .rows = rows,
                .n_rows = n,
        };

        if (!rows)
                return fail("out of memory");
        memcpy(rows, socket_rows, sizeof(socket_rows));
        memcpy(rows + ARRAY_SIZE(socket_rows), device->rows, device->n_rows * sizeof(*rows));
        memcpy(rows + n - ARRAY_SIZE(process_rows), process_rows, sizeof(process_rows));
        snprintf(summary, sizeof(summary),
                 "%s\nServes one front-end after the other until SIGINT, SIGTERM or SIGHUP; with --once or a connected "
                 "--fd, one.",
                 device->summary);
        return options_parse(&program, argc, argv, NULL);
}

int daemon_options_read(const struct daemon_device *device, int argc, char **argv)
{
        program_name = device->name;
        daemon_options.sandbox.capabilities = device->capabilities;

        int status = parse(device, argc, argv);

        if (status < 0 && device->check_options)
                status = device->check_options();
        return status < 0 ? options_check() : status;
}

struct oriel_log daemon_log(void)
{
        static const enum oriel_log_level levels[] = {
                [DAEMON_LOG_ERROR] = ORIEL_LOG_ERROR, [DAEMON_LOG_WARN] = ORIEL_LOG_WARNING,
                [DAEMON_LOG_INFO] = ORIEL_LOG_INFO,   [DAEMON_LOG_DEBUG] = ORIEL_LOG_DEBUG,
                [DAEMON_LOG_TRACE] = ORIEL_LOG_DEBUG, [DAEMON_LOG_OFF] = ORIEL_LOG_ERROR,
        };
        struct oriel_log log = stderr_log(false);

        log.level = daemon_options.verbose ? ORIEL_LOG_DEBUG : levels[daemon_options.log_level];
        if (daemon_options.to_syslog)
                log.write = system_log_write;
        if (daemon_options.log_level == DAEMON_LOG_OFF)
                log.write = NULL;
        return log;
}
