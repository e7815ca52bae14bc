/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/thread.h"

#include <signal.h>
#include <time.h>

int thread_start(pthread_t *thread, void *(*run)(void *userdata), void *userdata)
{
        sigset_t all, before;

        sigfillset(&all);
        sigdelset(&all, SIGBUS);
        pthread_sigmask(SIG_SETMASK, &all, &before);

        int r = pthread_create(thread, NULL, run, userdata);

        pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

bool thread_join(pthread_t thread, int64_t deadline_ms)
{
        const struct timespec deadline = {deadline_ms / 1000, deadline_ms % 1000 * 1000000};

        return pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &deadline) == 0;
}
