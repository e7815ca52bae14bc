/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fd.h"
#include "base/libc.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL_FCNTL(F_GETFL), SYSCALL_SET_FLAGS, SYSCALL_FCNTL(F_DUPFD_CLOEXEC), SYSCALL(epoll_ctl),
              SYSCALL_AT(statx, 0));

int fd_close(int fd)
{
        if (fd >= 0) {
                int saved = errno;

                close(fd);
                errno = saved;
        }
        return -1;
}

int fd_close_watched(int epoll_fd, int fd)
{
        int saved = errno;

        if (fd >= 0)
                epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, NULL);
        errno = saved;
        return fd_close(fd);
}

int fd_dup(int fd)
{
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

        return copy < 0 ? -errno : copy;
}

void fd_close_all(int *fds, size_t n)
{
        for (size_t i = 0; i < n; i++)
                fds[i] = fd_close(fds[i]);
}

int fd_look(int fd, struct statx *out)
{
        const unsigned wanted = STATX_TYPE | STATX_INO | STATX_SIZE | STATX_MNT_ID;

        return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, wanted, out) < 0 ? -errno : 0;
}

int fd_set_nonblocking(int fd, int on)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return -errno;

        /* Another holder of the open file may have set O_ASYNC; the filter of system calls refuses F_SETFL with it. */
        int wanted = (on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK) & ~O_ASYNC;

        if (wanted != flags && fcntl(fd, F_SETFL, wanted) < 0)
                return -errno;
        return 0;
}
