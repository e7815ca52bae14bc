/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_REPORT_H
#define PROGRAM_REPORT_H

/* What a program says of itself, and how it ends. */

/* What main() or a subcommand returns. */
enum exit_status {
        STATUS_SUCCESS = 0,
        STATUS_FAILURE = 1,
        STATUS_USAGE = 2,
};

/* "oriel: " and the message on stderr, one line. */
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, as the exit status of what failed. */
#define fail(...) (report(__VA_ARGS__), STATUS_FAILURE)

/* @status, or a failure's if not all that was printed could be written: that is a failure too. */
int finish_output(int status);

/* What a logger of a command writes with: errors and warnings as fail() does, the rest as it is. */
struct oriel_log;
struct oriel_log stderr_log(int verbose);

#endif
