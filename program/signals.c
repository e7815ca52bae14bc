/* SPDX-License-Identifier: BSD-2-Clause */
#include "program/signals.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>

int signals_open(void)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);

        int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

        return fd < 0 ? -errno : fd;
}
