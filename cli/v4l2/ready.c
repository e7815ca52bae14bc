/* SPDX-License-Identifier: BSD-2-Clause */

/* The descriptors for poll(2) of an open file. Each reports the poll bit that it stands for by itself, so that
 * epoll can watch it: EPOLLIN by an eventfd with a value, EPOLLOUT by an eventfd with room (it has none at its
 * greatest value), EPOLLPRI by a socket that has received a byte out of band, EPOLLERR by a pipe without a reader. */

#include "cli/v4l2/ready.h"
#include "base/fd.h"
#include "clients/media/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint64_t FULL = UINT64_MAX - 1;

static void set_counter(int fd, uint64_t value)
{
        uint64_t before;

        if (read(fd, &before, sizeof(before)) < 0 && errno != EAGAIN)
                return;
        if (value > 0 && write(fd, &value, sizeof(value)) < 0)
                return;
}

static void set_priority(const struct ready *ready, bool on)
{
        char byte = 0;

        if (on)
                send(ready->pri, &byte, 1, MSG_OOB | MSG_NOSIGNAL);
        else if (recv(ready->fds[V4L2_READY_PRI], &byte, 1, MSG_OOB) == 1)
                /* An empty read frees the byte's place in the queue. */
                recv(ready->fds[V4L2_READY_PRI], &byte, 1, 0);
}

/* A pipe gets a new reader by its name in /proc. */
static void set_error(struct ready *ready, bool on)
{
        char name[32];

        ready->reader = fd_close(ready->reader);
        if (on)
                return;
        snprintf(name, sizeof(name), "/proc/self/fd/%d", ready->fds[V4L2_READY_ERR]);
        ready->reader = open(name, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

int ready_open(struct ready *ready)
{
        int pair[2] = {-1, -1}, ends[2] = {-1, -1};
        int r = pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0 ||
                                socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0
                        ? -errno
                        : 0;

        *ready = (struct ready){.fds = {[V4L2_READY_IN] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                                        [V4L2_READY_OUT] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                                        [V4L2_READY_PRI] = pair[0],
                                        [V4L2_READY_ERR] = ends[1]},
                                .pri = pair[1],
                                .reader = fd_close(ends[0]),
                                .now = MEDIA_READY_ERR};
        if (ready->fds[V4L2_READY_IN] < 0 || ready->fds[V4L2_READY_OUT] < 0)
                return -EMFILE;
        set_counter(ready->fds[V4L2_READY_OUT], FULL);
        return r;
}

void ready_close(struct ready *ready)
{
        fd_close_all(ready->fds, V4L2_READY_FDS);
        ready->pri = fd_close(ready->pri);
        ready->reader = fd_close(ready->reader);
}

void ready_set(struct ready *ready, unsigned now)
{
        const unsigned changed = now ^ ready->now;

        /* First: a program must see an event such as V4L2_EVENT_EOS no later than the buffer that came after it, and
         * the preloaded library looks for events last. */
        if (changed & MEDIA_READY_PRI)
                set_priority(ready, now & MEDIA_READY_PRI);
        if (changed & MEDIA_READY_IN)
                set_counter(ready->fds[V4L2_READY_IN], now & MEDIA_READY_IN ? 1 : 0);
        if (changed & MEDIA_READY_OUT)
                set_counter(ready->fds[V4L2_READY_OUT], now & MEDIA_READY_OUT ? 0 : FULL);
        if (changed & MEDIA_READY_ERR)
                set_error(ready, now & MEDIA_READY_ERR);
        ready->now = now;
}
