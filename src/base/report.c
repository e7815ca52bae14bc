/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <limits.h>
#include <oriel/log.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void write_to_stderr(void *userdata, enum oriel_log_level level, const char *line)
{
        static const char *const names[] = {
                [ORIEL_LOG_ERROR] = "error",
                [ORIEL_LOG_WARNING] = "warning",
                [ORIEL_LOG_INFO] = "info",
                [ORIEL_LOG_DEBUG] = "debug",
        };

        char text[600];
        int n = snprintf(text, sizeof(text), "oriel: %s: %s\n", names[level], line);

        /* In one call, so that lines of several threads and processes stay whole. */
        if (n < (int)sizeof(text) && write(STDERR_FILENO, text, (size_t)n) < 0)
                return;
}

struct oriel_log oriel_log_stderr(enum oriel_log_level level)
{
        return (struct oriel_log){.struct_size = sizeof(struct oriel_log), .write = write_to_stderr, .level = level};
}

const char *oriel_error_text(int error)
{
        static const struct {
                int error;
                const char *text;
        } texts[] = {
                {-ENOTCONN, "the other end has closed the connection"},
                {-EPROTO, "the other end broke the protocol"},
                {-ETIMEDOUT, "the other end did not answer in time"},
                {-EREMOTEIO, "the other end refused the request"},
                {-ECANCELED, "the object was freed in a callback"},
                {-EDEADLK, "this may not be called from a callback"},
                {-ESHUTDOWN, "the queue is not started"},
                {-EOPNOTSUPP, "the other end does not offer it, or it was not negotiated"},
                {-E2BIG, "more than the library takes, or options of a later version"},
        };

        for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
                if (texts[i].error == error)
                        return texts[i].text;
        return strerror(error < 0 && error > INT_MIN ? -error : 0);
}
