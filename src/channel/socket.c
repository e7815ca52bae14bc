/* SPDX-License-Identifier: BSD-2-Clause */

/* The functions of oriel/socket.h: connecting to a path, listening at one, and accepting. connect() is made
 * non-blocking, so that a listener whose queue is full is an error and not a wait. If a path to listen at exists
 * already, connecting to it tells whether a process still listens there; a socket that refuses is a stale file and is
 * removed, any other file is left alone. */

#include "channel/socket.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <oriel/socket.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(accept4));

static int make_address(const char *path, struct sockaddr_un *address)
{
        if (!path)
                return -EINVAL;

        size_t length = strlen(path);

        *address = (struct sockaddr_un){.sun_family = AF_UNIX};
        /* The kernel would choose an address for an empty path. */
        if (length == 0)
                return -ENOENT;
        if (length >= sizeof(address->sun_path))
                return -ENAMETOOLONG;
        memcpy(address->sun_path, path, length + 1);
        return 0;
}

static int new_socket(void)
{
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        return fd < 0 ? -errno : fd;
}

int oriel_socket_connect(const char *path)
{
        struct sockaddr_un address;
        int r = make_address(path, &address);

        if (r < 0)
                return r;

        _cleanup_(fd_closep) int fd = new_socket();

        if (fd < 0)
                return fd;
        /* Without this, connect() waits for a listener whose queue is full. */
        r = fd_set_nonblocking(fd, 1);
        if (r == 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                r = -errno;
        if (r == 0)
                r = fd_set_nonblocking(fd, 0);
        return r < 0 ? r : fd_take(&fd);
}

/* Removes the file of a listener that has ended: connections to it are refused. */
static int socket_remove_stale(const char *path)
{
        struct stat st;

        if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode))
                return -EADDRINUSE;

        _cleanup_(fd_closep) int probe = oriel_socket_connect(path);

        if (probe != -ECONNREFUSED)
                return -EADDRINUSE;
        return unlink(path) < 0 ? -errno : 0;
}

int socket_listen(const char *path, struct stat *file)
{
        struct sockaddr_un address;
        int r = make_address(path, &address);

        if (r < 0)
                return r;

        _cleanup_(fd_closep) int fd = new_socket();

        if (fd < 0)
                return fd;

        r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        if (r == -EADDRINUSE) {
                r = socket_remove_stale(path);
                if (r == 0)
                        r = bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
        }
        /* Before listen(), since a process that sees the socket listen may replace the file at once. Since bind()
         * another may have taken the file for stale and replaced it: then @file is the other's. */
        if (r == 0 && file && lstat(path, file) < 0)
                r = -errno;
        if (r < 0)
                return r;
        if (listen(fd, 1) < 0)
                return -errno;
        return fd_take(&fd);
}

int oriel_socket_listen(const char *path)
{
        return socket_listen(path, NULL);
}

int oriel_socket_inherited(void)
{
        const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
        const long n = fds ? strtol(fds, NULL, 10) : 0;
        const int first = 3; /* sd_listen_fds(3) */

        if (!pid || n < 1 || strtol(pid, NULL, 10) != getpid())
                return -ENOENT;
        for (long i = 0; i < n; i++)
                if (fcntl(first + (int)i, F_SETFD, FD_CLOEXEC) < 0)
                        return -errno;
        return first;
}

int oriel_socket_accept(int listener)
{
        int fd = fd_check(listener);

        if (fd < 0)
                return fd;
        do
                fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        while (fd < 0 && (errno == EINTR || errno == ECONNABORTED));

        return fd < 0 ? -errno : fd;
}
