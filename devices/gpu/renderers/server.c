/* SPDX-License-Identifier: BSD-2-Clause */

/* The render server's start. It has one descriptor, its socket, and ends with that. */

#include "devices/gpu/renderers/venus.h"

#include "devices/gpu/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
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
        if (!path)
                path = SERVER;
        if (access(path, X_OK) < 0)
                return -errno;
        return helper_start(run_server, path);
}
