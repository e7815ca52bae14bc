/* SPDX-License-Identifier: BSD-2-Clause */

/* The one descriptor of a front-end, an epoll, tells its owner's loop that there is something to dispatch, and, of a
 * call that does not wait, that it can go on. While such a call is paused the epoll has its time limit, a timer, and
 * room in the socket for a request that was not sent yet; and it leaves out what would make it ready in vain. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "frontend/frontend.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

int frontend_watch(struct oriel_frontend *frontend, int fd, struct channel *channel)
{
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = channel};

        return epoll_ctl(frontend->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Watches for @events from now on. */
static void frontend_watch_for(struct oriel_frontend *frontend, int fd, struct channel *channel, uint32_t events)
{
        struct epoll_event event = {.events = events, .data.ptr = channel};

        if (fd >= 0)
                epoll_ctl(frontend->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

int oriel_frontend_set_nonblocking(struct oriel_frontend *frontend, bool nonblocking)
{
        if (nonblocking && frontend->timer_fd < 0) {
                _cleanup_(fd_closep) int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
                int r = fd < 0 ? -errno : frontend_watch(frontend, fd, NULL);

                if (r < 0)
                        return r;
                frontend->timer_fd = fd_take(&fd);
        }
        frontend->nonblocking = nonblocking;
        return 0;
}

int call_pause(struct oriel_frontend *frontend)
{
        struct call *call = &frontend->call;
        const struct itimerspec at = {
                .it_value = {.tv_sec = call->deadline / 1000, .tv_nsec = call->deadline % 1000 * 1000000}};

        call->paused = true;
        fd_event_clear(frontend->more_fd);
        timerfd_settime(frontend->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
        frontend_watch_for(frontend, frontend->main.fd, &frontend->main, EPOLLIN | (call->sent ? 0 : EPOLLOUT));
        frontend_watch_for(frontend, frontend->back.fd, &frontend->back, may_serve(frontend) ? EPOLLIN : 0);
        return -EINPROGRESS;
}

void call_end(struct oriel_frontend *frontend)
{
        struct call *call = &frontend->call;

        if (call->paused) {
                timerfd_settime(frontend->timer_fd, 0, &(struct itimerspec){0}, NULL);
                frontend_watch_for(frontend, frontend->main.fd, &frontend->main, EPOLLIN);
                frontend_watch_for(frontend, frontend->back.fd, &frontend->back, EPOLLIN);
        }
        call->under_way = call->paused = false;
}
