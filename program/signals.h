/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_SIGNALS_H
#define PROGRAM_SIGNALS_H

/* The signals that ask a program to end (SIGINT, SIGTERM, SIGHUP) are blocked from now on, and come by the signalfd
 * that is returned: the caller's, non-blocking. Or a negative errno. */
int signals_open(void);

#endif
