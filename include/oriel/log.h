/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_LOG_H
#define ORIEL_LOG_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* How much a line matters. */
enum oriel_log_level {
        ORIEL_LOG_ERROR,   /* a connection, request or queue was lost */
        ORIEL_LOG_WARNING, /* something works less well than it could */
        ORIEL_LOG_INFO,    /* a session begins or ends */
        ORIEL_LOG_DEBUG,   /* each message, when it was sent or received, with its payload in words */
};

/* Where an object reports to. @write gets one line without a newline, from whichever thread made the call that caused
 * it, and must not call back into the object. Lines above @level are not made. A NULL logger, or a NULL @write, is
 * silence. The struct is copied; @userdata stays the caller's. */
struct oriel_log {
        size_t struct_size;
        void (*write)(void *userdata, enum oriel_log_level level, const char *line);
        void *userdata;
        enum oriel_log_level level; /* the last that is told: ORIEL_LOG_ERROR is 0, and so the default */
};
#define ORIEL_LOG_LEAST offsetof(struct oriel_log, userdata)

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
