/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

struct oriel_log;
struct statx;

/* Close @fd unless it is negative. errno is kept. Returns -1, to be assigned: fd = fd_close(fd). */
int fd_close(int fd);

static inline void fd_closep(int *fd)
{
        *fd = fd_close(*fd);
}

/* Moves the fd out of the slot, which becomes -1. */
static inline int fd_take(int *slot)
{
        int fd = *slot;

        *slot = -1;
        return fd;
}

/* Checks an fd argument, which is often the result of a call that may have failed: 0, or the error to return. -1 is
 * -EBADF, another negative value is the errno itself. Where -1 stands for no fd, it is no error. */
static inline int fd_check(int fd)
{
        return fd >= 0 ? 0 : fd == -1 ? -EBADF : fd;
}

static inline int fd_check_optional(int fd)
{
        return fd >= -1 ? 0 : fd;
}

/* A duplicate with close-on-exec, owned by the caller, or a negative errno. */
int fd_dup(int fd);

/* fd_close() of a descriptor that @epoll_fd watches: removes the watch first. It would otherwise remain while another
 * process has the same open file, as its sender does for a while, and report events that cannot be removed any more. */
int fd_close_watched(int epoll_fd, int fd);

/* Close @n fds; each slot becomes -1. */
void fd_close_all(int *fds, size_t n);

/* Eventfds that a peer may fill or make blocking at any time (see eventfd.c). Any thread. None of these blocks; without
 * asynchronous I/O a peer can delay each by a millisecond, which takes a timer and a real-time signal without a
 * handler. */

/* Set up before there is a peer. Writes once to @log, which may be NULL, if asynchronous I/O is missing. */
void fd_event_prepare(const struct oriel_log *log);
/* Add 1. 0 or a negative errno. A full counter stays full and returns 0. */
int fd_event_signal(int fd);
/* Add 1 to an eventfd that no other process has; this can't fail. */
void fd_event_wake(int fd);
/* Set the counter to 0. Returns 1 if it was not 0, 0 if it was, or a negative errno. */
int fd_event_clear(int fd);
/* 0 if @fd is an eventfd, else -EINVAL. Does not change the counter, and calls no file system. */
int fd_event_check(int fd);

/* Type, size, device and inode number of what @fd is open on, without a call to the file system's server: fstat() calls
 * it, and the server of a descriptor that a peer sent need not answer. What a server can change may be outdated, such
 * as the size. 0 or a negative errno. */
int fd_look(int fd, struct statx *out);

/* O_NONBLOCK on or off. 0 or a negative errno. */
int fd_set_nonblocking(int fd, int on);

#endif
