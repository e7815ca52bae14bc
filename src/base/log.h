/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <oriel/log.h>

/* One line of at most 511 bytes; longer ones are cut. @log may be NULL. */
void log_line(const struct oriel_log *log, enum oriel_log_level level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

#define log_error(log, ...)   log_line(log, ORIEL_LOG_ERROR, __VA_ARGS__)
#define log_warning(log, ...) log_line(log, ORIEL_LOG_WARNING, __VA_ARGS__)
#define log_info(log, ...)    log_line(log, ORIEL_LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...)   log_line(log, ORIEL_LOG_DEBUG, __VA_ARGS__)

#endif
