/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fd.h"
#include "base/syscalls.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL_FCNTL(F_GETFL), SYSCALL_SET_FLAGS, SYSCALL_FCNTL(F_DUPFD_CLOEXEC), SYSCALL(preadv2));

int fd_close(int fd)
{
        if (fd >= 0) {
                int saved = errno;

                close(fd);
                errno = saved;
        }
        return -1;
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

/* The flags of an eventfd are shared with whoever else has it, and may have been changed since they were set. */
int fd_event_signal(int fd)
{
        int r = fd_set_nonblocking(fd, 1);

        return r < 0 ? r : fd_event_signal_soon(fd);
}

int fd_event_signal_soon(int fd)
{
        const uint64_t one = 1;
        ssize_t n;

        do
                n = write(fd, &one, sizeof(one));
        while (n < 0 && errno == EINTR);

        return n < 0 && errno != EAGAIN ? -errno : 0;
}

int fd_event_clear(int fd)
{
        uint64_t value;
        struct iovec iov = {&value, sizeof(value)};
        ssize_t n;

        do
                n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
        while (n < 0 && errno == EINTR);

        if (n < 0)
                return errno == EAGAIN ? 0 : -errno;
        return n > 0;
}

int fd_set_nonblocking(int fd, int on)
{
        int flags = fcntl(fd, F_GETFL);

        if (flags < 0)
                return -errno;

        int wanted = on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;

        if (wanted != flags && fcntl(fd, F_SETFL, wanted) < 0)
                return -errno;
        return 0;
}
