/* SPDX-License-Identifier: BSD-2-Clause */
#include "program/signals.h"
#include "base/cleanup.h"

#include <errno.h>
#include <string.h>
#include <sys/signalfd.h>

static const int asking[] = {SIGINT, SIGTERM, SIGHUP};
static volatile sig_atomic_t noted;

static void signal_note(int number)
{
        noted = 1;
}

void signals_note(void)
{
        const struct sigaction action = {.sa_handler = signal_note};

        for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
                sigaction(asking[i], &action, NULL);
}

bool signals_noted(void)
{
        return noted;
}

int signals_open_for(const int *numbers, size_t n, sigset_t *before)
{
        sigset_t set;

        sigemptyset(&set);
        for (size_t i = 0; i < n; i++)
                sigaddset(&set, numbers[i]);
        sigprocmask(SIG_BLOCK, &set, before);

        int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

        return fd < 0 ? -errno : fd;
}

int signals_open(void)
{
        return signals_open_for(asking, ARRAY_SIZE(asking), NULL);
}

int signals_open_and(int number)
{
        int numbers[ARRAY_SIZE(asking) + 1];

        memcpy(numbers, asking, sizeof(asking));
        numbers[ARRAY_SIZE(asking)] = number;
        return signals_open_for(numbers, ARRAY_SIZE(numbers), NULL);
}

bool signal_asks_end(uint32_t number)
{
        for (size_t i = 0; i < ARRAY_SIZE(asking); i++)
                if ((uint32_t)asking[i] == number)
                        return true;
        return false;
}
