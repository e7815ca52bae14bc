/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_SYSTEM_LOG_H
#define DAEMON_SYSTEM_LOG_H

#include <oriel/log.h>

/* --syslog: starts a process that calls syslog(3), under the name of @daemon, with the lines that it gets from the
 * process in the sandbox. To be called before the sandbox. 0 or a negative errno. */
int system_log_open(const char *daemon);

/* The write function of a struct oriel_log. Lines for which the pipe has no room are lost. */
void system_log_write(void *userdata, enum oriel_log_level level, const char *line);

#endif
