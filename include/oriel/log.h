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

/* Make a logger that writes lines up to @level to standard error, each as "oriel: LEVEL: LINE". It has nothing to free.
 * Any thread. */
struct oriel_log oriel_log_stderr(enum oriel_log_level level);

/* Say in words what @error, a negative errno that a function of this library has returned, means there; for those that
 * have no meaning of their own, and for 0, as strerror(3) does. The text is never NULL, has no newline, and is valid
 * until the next call by the same thread. As thread-safe as strerror(3). */
const char *oriel_error_text(int error);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
