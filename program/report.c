/* SPDX-License-Identifier: BSD-2-Clause */
#include "program/report.h"

#include "base/log.h"
#include "program/printable.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void report(const char *format, ...)
{
        char text[512];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        /* File names may contain any character, and the report has to be one line. */
        make_printable(text);
        fprintf(stderr, "oriel: %s\n", text);
}

int finish_output(int status)
{
        if (status != STATUS_SUCCESS)
                return status;
        if (fflush(stdout) != 0)
                return fail("standard output: %s", strerror(errno));
        /* An earlier write has failed; its errno is not known any more. */
        if (ferror(stdout))
                return fail("standard output: not all of it could be written");
        return STATUS_SUCCESS;
}

static void report_write_line(void *userdata, enum oriel_log_level level, const char *line)
{
        fprintf(stderr, level <= ORIEL_LOG_WARNING ? "oriel: %s\n" : "%s\n", line);
}

struct oriel_log stderr_log(int verbose)
{
        return (struct oriel_log){sizeof(struct oriel_log), report_write_line, NULL,
                                  verbose ? ORIEL_LOG_DEBUG : ORIEL_LOG_WARNING};
}
