/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_REPORT_H
#define PROGRAM_REPORT_H

/* A program's messages, and its exit status. */

/* The result of main() or of a subcommand. */
enum exit_status {
        STATUS_SUCCESS = 0,
        STATUS_FAILURE = 1,
        STATUS_USAGE = 2,
};

/* "oriel: " and the message on stderr, one line. */
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, returning the exit status of a failure. */
#define fail(...) (report(__VA_ARGS__), STATUS_FAILURE)

/* Returns @status, or STATUS_FAILURE if standard output could not be written completely. */
int finish_output(int status);

/* The log of a command: errors and warnings are printed as fail() does, the rest unchanged. */
struct oriel_log;
struct oriel_log stderr_log(int verbose);

#endif
