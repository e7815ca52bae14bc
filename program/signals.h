/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_SIGNALS_H
#define PROGRAM_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Blocks the signals that ask a program to end (SIGINT, SIGTERM, SIGHUP) and returns a signalfd for them: the caller's,
 * non-blocking. Or a negative errno. */
int signals_open(void);
/* The same, with signal @number in addition. */
int signals_open_and(int number);
/* The same for @numbers. Stores the former signal mask in @before, which may be NULL. */
int signals_open_for(const int *numbers, size_t n, sigset_t *before);

/* Whether @number, of a signalfd_siginfo, is one of those three. */
bool signal_asks_end(uint32_t number);

/* From now on those signals only set a flag, and interrupt every wait. */
void signals_note(void);
bool signals_noted(void);

#endif
