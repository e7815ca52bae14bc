/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <oriel/log.h>
#include <stdatomic.h>

/* Copies the caller's log; a log that writes nothing where @from is NULL. -EINVAL, -E2BIG: its struct_size, as in
 * struct_take(). */
int log_take(struct oriel_log *to, const struct oriel_log *from);

/* One line of at most 511 bytes; longer ones are cut. @log may be NULL. */
void log_line(const struct oriel_log *log, enum oriel_log_level level, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/* A limit on the log lines about one connection, so that neither its peer nor a guest fills the log: 200 lines, and a
 * last one that says so. For everything that can happen repeatedly; the end of the connection is not counted. Any
 * thread. Starts as zeros. */
struct log_budget {
        atomic_uint used;
};
void log_within(struct log_budget *budget, const struct oriel_log *log, enum oriel_log_level level, const char *format,
                ...) __attribute__((format(printf, 4, 5)));

#define log_error(log, ...)   log_line(log, ORIEL_LOG_ERROR, __VA_ARGS__)
#define log_warning(log, ...) log_line(log, ORIEL_LOG_WARNING, __VA_ARGS__)
#define log_info(log, ...)    log_line(log, ORIEL_LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...)   log_line(log, ORIEL_LOG_DEBUG, __VA_ARGS__)

#endif
