/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Starts a thread that blocks all signals; the main thread handles them. SIGBUS stays unblocked: the thread's own
 * accesses cause it, and its handler can put zeros there (base/guard.h) only if it is not blocked. 0 or a negative
 * errno. */
int thread_start(pthread_t *thread, void *(*run)(void *userdata), void *userdata);

/* Joins the thread if it ends before @deadline_ms, on the clock of now_ms(). Returns whether it did. */
bool thread_join(pthread_t thread, int64_t deadline_ms);

#endif
