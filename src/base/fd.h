/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

struct oriel_log;

/* Close @fd unless it is negative. errno is kept. Returns -1, to be assigned: fd = fd_close(fd). */
int fd_close(int fd);

static inline void fd_closep(int *fd)
{
        *fd = fd_close(*fd);
}

/* Ownership leaves the slot, which becomes -1. */
static inline int fd_take(int *slot)
{
        int fd = *slot;

        *slot = -1;
        return fd;
}

/* What a caller has passed for an fd, often straight from a call that may have failed: 0, or the error to return. A
 * negative errno is that one; -1 is -EBADF, or where it stands for no fd, no error. */
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

/* fd_close() of what @epoll_fd watches. Whoever else has the same open file, as who has sent it does for a while, would
 * keep the watch, and with it events that nobody can take back. */
int fd_close_watched(int epoll_fd, int fd);

/* Close @n fds; each slot becomes -1. */
void fd_close_all(int *fds, size_t n);

/* Eventfds, whatever whoever else has them does to them: see eventfd.c. Any thread. None blocks; without asynchronous
 * I/O a peer can delay each by a millisecond, by a timer and a real-time signal that the program has no handler for. */

/* Get ready, before there is a peer, and say once in @log, which may be NULL, what is missing. */
void fd_event_prepare(const struct oriel_log *log);
/* Add one. 0 or a negative errno; a full counter stays full, which is 0. */
int fd_event_signal(int fd);
/* The same for an eventfd that no other process has: this can't fail. */
void fd_event_wake(int fd);
/* Take back every signal so far. 1 if there was one, 0 if not, or a negative errno. */
int fd_event_clear(int fd);
/* 0 if @fd is an eventfd, else -EINVAL. Changes nothing, and asks no file system. */
int fd_event_check(int fd);

/* O_NONBLOCK on or off. 0 or a negative errno. */
int fd_set_nonblocking(int fd, int on);

#endif
