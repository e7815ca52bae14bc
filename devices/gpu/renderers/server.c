/* SPDX-License-Identifier: BSD-2-Clause */

/* The render server's start. It has one descriptor, its socket, and ends with that. */

#include "devices/gpu/renderers/venus.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SERVER "/usr/libexec/virgl_render_server"

/* In the child: never returns. */
static void run_server(const char *path, int fd)
{
        char number[16];

        snprintf(number, sizeof(number), "%d", fd);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        signal(SIGPIPE, SIG_DFL);
        if (fcntl(fd, F_SETFD, 0) == 0)
                execl(path, path, "--socket-fd", number, (char *)NULL);
        _exit(127);
}

int venus_start_server(const char *path)
{
        int fds[2];

        if (!path)
                path = SERVER;
        if (access(path, X_OK) < 0)
                return -errno;
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;

        _cleanup_(fd_closep) int theirs = fds[1];
        pid_t pid = fork();

        if (pid == 0) {
                /* Nobody waits for it: the one that started it is not the one that goes on. */
                if (fork() == 0)
                        run_server(path, theirs);
                _exit(0);
        }
        if (pid < 0) {
                int error = -errno;

                fd_close(fds[0]);
                return error;
        }
        while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                ;
        return fds[0];
}
