/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

void log_line(const struct oriel_log *log, enum oriel_log_level level, const char *format, ...)
{
        char line[512];
        va_list args;

        if (!log || !log->write || level > log->level)
                return;

        va_start(args, format);
        vsnprintf(line, sizeof(line), format, args);
        va_end(args);
        log->write(log->userdata, level, line);
}
