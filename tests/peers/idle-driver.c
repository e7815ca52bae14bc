/* SPDX-License-Identifier: BSD-2-Clause */

/* A front-end whose driver brings the device up and does nothing with it: idle-driver SOCKET. It connects as often as
 * it is disconnected. SIGUSR1 resets the device, SIGTERM ends it. */

#include "base/cleanup.h"
#include "program/report.h"

#include <oriel/driver.h>
#include <oriel/socket.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define RETRY_MS 20

static int open_signals(void)
{
        sigset_t set;

        signal(SIGPIPE, SIG_IGN);
        sigemptyset(&set);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &set, NULL);
        return signalfd(-1, &set, SFD_CLOEXEC);
}

/* 0 on nothing, the signal's number else. */
static unsigned wait_signal(int signals, int other, int timeout_ms)
{
        struct signalfd_siginfo info;
        struct pollfd fds[] = {{.fd = signals, .events = POLLIN}, {.fd = other, .events = POLLIN}};

        if (poll(fds, ARRAY_SIZE(fds), timeout_ms) <= 0 || !fds[0].revents)
                return 0;
        return read(signals, &info, sizeof(info)) == sizeof(info) ? info.ssi_signo : 0;
}

static int reset(struct oriel_driver *driver)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < oriel_driver_queue_count(driver); i++)
                r = oriel_driver_stop_queue(driver, i);
        if (r == 0)
                r = oriel_frontend_reset_device(oriel_driver_frontend(driver));
        return r;
}

/* Until the connection ends (0), the device was reset (0), or SIGTERM (1). */
static int serve(struct oriel_driver *driver, int signals)
{
        struct oriel_frontend *frontend = oriel_driver_frontend(driver);

        for (;;) {
                unsigned number = wait_signal(signals, oriel_frontend_get_fd(frontend), -1);

                if (number == SIGTERM)
                        return 1;
                if (number == SIGUSR1) {
                        if (reset(driver) < 0)
                                return 0;
                        for (unsigned i = 0; i < oriel_driver_queue_count(driver); i++)
                                oriel_driver_start_queue(driver, i);
                        continue;
                }
                if (oriel_frontend_dispatch(frontend) < 0)
                        return 0;
        }
}

int main(int argc, char **argv)
{
        const struct oriel_driver_options options = {
                .struct_size = sizeof(options),
                .hole = ORIEL_HOLE_ZERO,
                .windows_as_memory = argc == 3 && strcmp(argv[2], "windows-as-memory") == 0,
        };
        struct oriel_driver *driver;
        int signals = open_signals(), done = 0;

        if (argc < 2 || signals < 0)
                return fail("a socket is needed");
        oriel_memory_survive_sigbus();
        while (!done) {
                int socket = oriel_socket_connect(argv[1]);

                if (socket < 0 || oriel_driver_new(&options, socket, &driver) < 0) {
                        done = wait_signal(signals, -1, RETRY_MS) == SIGTERM;
                        continue;
                }
                done = serve(driver, signals);
                oriel_driver_free(driver);
        }
        return STATUS_SUCCESS;
}
