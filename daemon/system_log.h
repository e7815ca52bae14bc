/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_SYSTEM_LOG_H
#define DAEMON_SYSTEM_LOG_H

#include <oriel/log.h>

/* --syslog: lines go to a process of their own, which has the way to syslog(3) that whoever is in the sandbox may not
 * have, under the name of @daemon. Before the sandbox. 0 or a negative errno. */
int system_log_open(const char *daemon);

/* Of struct oriel_log. What there is no room for is lost. */
void system_log_write(void *userdata, enum oriel_log_level level, const char *line);

#endif
