/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/thread.h"

#include "base/clock.h"

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

/* Polls, because ThreadSanitizer does not support pthread_clockjoin_np(). */
bool thread_join(pthread_t thread, int64_t deadline_ms)
{
        const struct timespec pause = {0, 500 * 1000};

        while (pthread_tryjoin_np(thread, NULL) != 0) {
                if (now_ms() >= deadline_ms)
                        return false;
                nanosleep(&pause, NULL);
        }
        return true;
}
