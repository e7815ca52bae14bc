/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"
#include "base/struct.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

#define MOST_LINES 200u

int log_take(struct oriel_log *to, const struct oriel_log *from)
{
        *to = (struct oriel_log){.struct_size = sizeof(*to)};
        return from ? STRUCT_TAKE(to, from, ORIEL_LOG_LEAST) : 0;
}

static bool log_wants(const struct oriel_log *log, enum oriel_log_level level)
{
        return log && log->write && level <= log->level;
}

static void log_write_line(const struct oriel_log *log, enum oriel_log_level level, const char *format, va_list args)
{
        char line[512];

        vsnprintf(line, sizeof(line), format, args);
        log->write(log->userdata, level, line);
}

void log_line(const struct oriel_log *log, enum oriel_log_level level, const char *format, ...)
{
        va_list args;

        if (!log_wants(log, level))
                return;
        va_start(args, format);
        log_write_line(log, level, format, args);
        va_end(args);
}

void log_within(struct log_budget *budget, const struct oriel_log *log, enum oriel_log_level level, const char *format,
                ...)
{
        va_list args;

        if (!log_wants(log, level) || atomic_load(&budget->used) >= MOST_LINES)
                return;

        unsigned before = atomic_fetch_add(&budget->used, 1);

        if (before >= MOST_LINES)
                return;
        va_start(args, format);
        log_write_line(log, level, format, args);
        va_end(args);
        if (before == MOST_LINES - 1)
                log_line(log, level, "more that goes wrong in this connection is not logged");
}
