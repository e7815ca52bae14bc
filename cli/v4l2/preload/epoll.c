/* SPDX-License-Identifier: BSD-2-Clause */

/* Waiting for the device with epoll(7). epoll_ctl(2) adds a node's descriptors for poll(2) to the program's instance,
 * with the program's data, each for the bit that it reports by itself. For the program they are one descriptor: one
 * that takes an event at a time must learn of V4L2_EVENT_EOS (EPOLLPRI) no later than of the buffer that comes after it
 * (EPOLLIN). So epoll_wait(2) looks up the node by the instance and the data, and makes one event of all that is ready.
 *
 * The records serve nothing else. Without one the program gets the kernel's events, several for a node: through a
 * duplicate of the instance, in a program that has inherited it, or where another thread has just freed the record. The
 * same ready state may also be told twice with EPOLLET, and to several threads that wait in one instance. There is no
 * lock: see node.c. */

#include "cli/v4l2/preload/node.h"

#include "base/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

/* Older C libraries have no such function. */
int epoll_pwait2(int set, struct epoll_event *events, int max, const struct timespec *timeout, const sigset_t *mask);

enum { WATCHES = 1024, TAKEN = -1 };

static const uint32_t FLAGS = (uint32_t)EPOLLET | EPOLLONESHOT | EPOLLWAKEUP | EPOLLEXCLUSIVE;

/* A node in an epoll instance. */
struct watch {
        atomic_int set; /* the instance plus one; 0: the record is free; TAKEN: it is being filled */
        atomic_int fd;
        atomic_int process; /* the one that has added the node: a child has a copy of this, and the same instance */
        atomic_uint events;
        _Atomic uint64_t data;
};

static struct watch watches[WATCHES];
static atomic_uint n_watches; /* from here on they were never used */

/* NULL: there is none. */
static struct watch *watch_find(int set, int fd)
{
        for (unsigned i = 0; i < n_watches; i++)
                if (watches[i].set == set + 1 && watches[i].fd == fd)
                        return &watches[i];
        return NULL;
}

static void watch_note(struct watch *watch, const struct epoll_event *asked)
{
        watch->process = getpid();
        watch->data = asked->data.u64;
        watch->events = asked->events;
}

static void watch_new(int set, int fd, const struct epoll_event *asked)
{
        for (unsigned i = 0; i < WATCHES; i++) {
                unsigned n = n_watches;

                if (!atomic_compare_exchange_strong(&watches[i].set, &(int){0}, TAKEN))
                        continue;
                watches[i].fd = fd;
                watch_note(&watches[i], asked);
                watches[i].set = set + 1;
                while (n <= i && !atomic_compare_exchange_weak(&n_watches, &n, i + 1))
                        ;
                return;
        }
}

/* ---- epoll_ctl ---- */

static void remove_ready(int set, const int *ready)
{
        const int saved = errno;

        for (unsigned i = 0; i < V4L2_READY_FDS; i++)
                REAL(epoll_ctl)(set, EPOLL_CTL_DEL, ready[i], NULL);
        errno = saved;
}

static int add_ready(int set, const int *ready, const struct epoll_event *asked)
{
        for (unsigned i = 0; i < V4L2_READY_FDS; i++) {
                struct epoll_event one = {.events = (asked->events & FLAGS) | (uint16_t)node_conditions[i].own,
                                          .data = asked->data};

                if (!(asked->events & (uint16_t)node_conditions[i].bits))
                        REAL(epoll_ctl)(set, EPOLL_CTL_DEL, ready[i], NULL);
                else if (REAL(epoll_ctl)(set, EPOLL_CTL_MOD, ready[i], &one) < 0 &&
                         REAL(epoll_ctl)(set, EPOLL_CTL_ADD, ready[i], &one) < 0)
                        return -1;
        }
        return 0;
}

static int remove_node(int set, int fd, const int *ready)
{
        struct watch *watch = watch_find(set, fd);
        int r = REAL(epoll_ctl)(set, EPOLL_CTL_DEL, fd, NULL);

        remove_ready(set, ready);
        if (watch)
                watch->set = 0;
        return r;
}

EXPORT int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
        const int saved = errno;
        int ready[V4L2_READY_FDS];

        if ((!event && operation != EPOLL_CTL_DEL) || !node_ready_fds(fd, ready))
                return REAL(epoll_ctl)(set, operation, fd, event);
        if (operation == EPOLL_CTL_DEL)
                return remove_node(set, fd, ready);

        /* The node itself is there to report that the device is gone. */
        struct epoll_event end = {.events = event->events & FLAGS, .data = event->data};
        struct watch *watch = watch_find(set, fd);

        if (REAL(epoll_ctl)(set, operation, fd, &end) < 0)
                return -1;
        if (watch)
                watch_note(watch, event);
        else
                watch_new(set, fd, event);
        if (add_ready(set, ready, event) < 0) {
                const int error = errno;

                if (operation == EPOLL_CTL_ADD)
                        remove_node(set, fd, ready);
                errno = error;
                return -1;
        }
        errno = saved;
        return 0;
}

/* Whether this process has to take out what was added: another one still has it open. */
static bool watch_is_ours(const struct watch *watch)
{
        const int process = watch->process;

        return process == getpid() || (kill(process, 0) < 0 && errno == ESRCH);
}

/* Closing does not take the descriptors for poll(2) out of an instance, as "oriel v4l2" has them open too. */
void epoll_forget(int fd)
{
        const int saved = errno;
        int ready[V4L2_READY_FDS];

        for (unsigned i = 0; i < n_watches; i++) {
                const int set = watches[i].set - 1;

                if (set < 0)
                        continue;
                if (watches[i].fd == fd && watch_is_ours(&watches[i]) && node_known_fds(fd, ready))
                        remove_node(set, fd, ready);
                if (set == fd)
                        watches[i].set = 0;
        }
        errno = saved;
}

/* ---- epoll_wait ---- */

static struct watch *watch_of(int set, const struct epoll_event *event)
{
        for (unsigned i = 0; i < n_watches; i++)
                if (watches[i].set == set + 1 && watches[i].data == event->data.u64)
                        return &watches[i];
        return NULL;
}

/* Adds all that the node reports now; after EPOLLONESHOT it reports nothing more until the program asks again. */
static void event_complete(int set, struct epoll_event *event)
{
        const struct watch *watch = watch_of(set, event);
        int ready[V4L2_READY_FDS];

        if (!watch || !node_known_fds(watch->fd, ready))
                return;

        const uint32_t asked = watch->events, now = node_ready_now(ready, (short)asked);

        event->events |= now;
        /* Another descriptor may have the same data. */
        if (asked & EPOLLONESHOT && now)
                remove_ready(set, ready);
}

/* Returns how many are left of @n, or -1. */
static int events_fold(int set, struct epoll_event *events, int n)
{
        int kept = 0;

        if (n_watches == 0)
                return n;
        for (int i = 0; i < n; i++) {
                int same = watch_of(set, &events[i]) ? 0 : kept;

                while (same < kept && events[same].data.u64 != events[i].data.u64)
                        same++;
                if (same < kept)
                        events[same].events |= events[i].events;
                else
                        events[kept++] = events[i];
        }
        for (int i = 0; i < kept; i++)
                event_complete(set, &events[i]);
        return n < 0 ? n : kept;
}

EXPORT int epoll_wait(int set, struct epoll_event *events, int max, int ms)
{
        return events_fold(set, events, REAL(epoll_wait)(set, events, max, ms));
}

EXPORT int epoll_pwait(int set, struct epoll_event *events, int max, int ms, const sigset_t *mask)
{
        return events_fold(set, events, REAL(epoll_pwait)(set, events, max, ms, mask));
}

EXPORT int epoll_pwait2(int set, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask)
{
        if (REAL(epoll_pwait2))
                return events_fold(set, events, REAL(epoll_pwait2)(set, events, max, timeout, mask));
        errno = ENOSYS;
        return -1;
}
