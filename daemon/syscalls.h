/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DAEMON_SYSCALLS_H
#define DAEMON_SYSCALLS_H

#include "seccomp/filter.h"

/* filter_enter() with what the files of oriel-fs name. */
int syscalls_limit(enum filter_action action);

#endif
