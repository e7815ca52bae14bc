/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_SIGNALS_H
#define PROGRAM_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The signals that ask a program to end (SIGINT, SIGTERM, SIGHUP) are blocked from now on, and come by the signalfd
 * that is returned: the caller's, non-blocking. Or a negative errno. */
int signals_open(void);
/* The same with another one besides. */
int signals_open_and(int number);
/* The same for @numbers. What was blocked before goes to @before, which may be NULL. */
int signals_open_for(const int *numbers, size_t n, sigset_t *before);

/* Whether it is one of those three, as signalfd_siginfo numbers it. */
bool signal_asks_end(uint32_t number);

/* From now on those that ask for an end are only noted, and end every wait. */
void signals_note(void);
bool signals_noted(void);

#endif
