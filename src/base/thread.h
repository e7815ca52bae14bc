/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Start a thread that gets no signals: they are the main thread's. SIGBUS is let through, because it is about what the
 * thread itself has done, and its handler can put zeros there (base/guard.h) only where it is not blocked. 0 or a
 * negative errno. */
int thread_start(pthread_t *thread, void *(*run)(void *userdata), void *userdata);

/* Join it, unless it is not back at @deadline_ms, on the clock of now_ms(). Whether it was. */
bool thread_join(pthread_t thread, int64_t deadline_ms);

#endif
