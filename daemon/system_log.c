/* SPDX-License-Identifier: BSD-2-Clause */

/* The way of log lines out of the sandbox.
 *
 * syslog(3) needs a datagram socket, and a process that has one can send to any socket whose name it knows: the host's
 * abstract ones, and those that the guest makes in the share. A filter of system calls does not see the name, and
 * syslog(3) makes new sockets as well. So a separate process calls it, with the lines that it reads from a pipe, and
 * ends when the other end of the pipe was closed. */

#include "daemon/system_log.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(write));

/* A line is written with its prefix in one write, which is atomic on a pipe: PIPE_BUF is 4096. */
#define LINE_MOST 600

static int pipe_fd = -1;

/* Each line: the digit of a priority, and text. The writer may be compromised: a longer line is split, and no memory is
 * allocated for it. */
static _Noreturn void system_log_pass_on(int from, const char *daemon, pid_t owner)
{
        char name[64], line[LINE_MOST + 2];
        FILE *lines = fdopen(from, "r");

        snprintf(name, sizeof(name), "%s[%d]", daemon, (int)owner);
        openlog(name, 0, LOG_DAEMON);
        while (lines && fgets(line, sizeof(line), lines))
                syslog((line[0] - '0') & LOG_PRIMASK, "%s", line + (line[0] != '\0'));
        _exit(0);
}

int system_log_open(const char *daemon)
{
        const pid_t owner = getpid();
        int fds[2];

        if (access("/dev/log", F_OK) < 0)
                report("--syslog: /dev/log: %s", strerror(errno));
        if (pipe2(fds, O_CLOEXEC) < 0)
                return -errno;

        _cleanup_(fd_closep) int ours = fds[1], theirs = fds[0];

        /* Non-blocking, so that a stopped reader can't block the daemon; the reader normally keeps the pipe empty. */
        int r = fcntl(ours, F_SETFL, O_NONBLOCK) < 0 ? -errno : 0;

        if (r < 0)
                return r;

        pid_t pid = fork();

        if (pid < 0)
                return -errno;
        if (pid == 0) {
                /* Signals don't end this process; only the end of the pipe does. */
                signal(SIGINT, SIG_IGN);
                signal(SIGTERM, SIG_IGN);
                signal(SIGHUP, SIG_IGN);
                if (dup2(theirs, STDERR_FILENO + 1) < 0)
                        _exit(1);
                close_range(STDERR_FILENO + 2, ~0u, 0);
                system_log_pass_on(STDERR_FILENO + 1, daemon, owner);
        }
        pipe_fd = fd_take(&ours);
        return 0;
}

void system_log_write(void *userdata, enum oriel_log_level level, const char *line)
{
        static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
        char text[LINE_MOST + 1];
        int size = snprintf(text, LINE_MOST, "%d%s", priorities[level], line);

        if (size >= LINE_MOST)
                size = LINE_MOST - 1;
        text[size] = '\n';
        (void)!write(pipe_fd, text, (size_t)size + 1);
}
