/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/helper.h"

#include "base/cleanup.h"
#include "base/fd.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

int helper_start(void (*run)(const void *what, int fd), const void *what)
{
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;

        _cleanup_(fd_closep) int ours = fds[0], theirs = fds[1];
        pid_t pid = fork();

        if (pid == 0) {
                /* Forks twice: the first child ends, so that nobody has to wait for the helper. */
                pid = fork();
                if (pid == 0)
                        run(what, theirs);
                _exit(pid < 0);
        }
        if (pid < 0)
                return -errno;

        int status = 0;

        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        return status == 0 ? fd_take(&ours) : -EAGAIN;
}
