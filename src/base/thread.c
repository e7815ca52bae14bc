/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/thread.h"

#include <signal.h>

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
