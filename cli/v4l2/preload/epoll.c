/* SPDX-License-Identifier: BSD-2-Clause */

/* Waiting for the device with epoll(7). epoll_ctl(2) adds a node's descriptors for poll(2) to the program's instance,
 * each with the bit that it reports by itself. What they report is one event of the node for the program, as the kernel
 * has it for a device: a program that takes one event at a time must learn of V4L2_EVENT_EOS (EPOLLPRI) no later than
 * of the buffer that comes after it (EPOLLIN). So the kernel gets a record's address as the event's data, by which
 * epoll_wait(2) finds the node, and asks for all that is ready now. There is no lock: see node.c. */

#include "cli/v4l2/preload/node.h"

#include "base/cleanup.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

static const uint32_t FLAGS = (uint32_t)EPOLLET | EPOLLONESHOT | EPOLLWAKEUP;

/* A node in an epoll instance. Events of one that was removed meanwhile come with what it has still. */
struct watch {
        atomic_int set; /* the instance plus one; 0: the record is free */
        atomic_int fd;
        atomic_int process; /* that has added the node: a child has copies of the records, and the same instance */
        atomic_uint events;
        _Atomic uint64_t data;
};

static struct watch watches[1024];
static atomic_uint n_watches; /* none was in use behind these */

/* NULL: there is none. */
static struct watch *watch_find(int set, int fd)
{
        for (unsigned i = 0; i < n_watches; i++)
                if (watches[i].set == set + 1 && watches[i].fd == fd)
                        return &watches[i];
        return NULL;
}

/* NULL and errno: there are too many. */
static struct watch *watch_new(int set, int fd)
{
        for (unsigned i = 0; i < ARRAY_SIZE(watches); i++) {
                int unused = 0;
                unsigned n = n_watches;

                if (!atomic_compare_exchange_strong(&watches[i].set, &unused, set + 1))
                        continue;
                watches[i].fd = fd;
                while (n <= i && !atomic_compare_exchange_weak(&n_watches, &n, i + 1))
                        ;
                return &watches[i];
        }
        errno = ENOSPC;
        return NULL;
}

/* NULL: the event is another descriptor's. */
static struct watch *watch_of(const struct epoll_event *event)
{
        const uintptr_t at = (uintptr_t)event->data.u64 - (uintptr_t)watches;

        return at < sizeof(watches) && at % sizeof(*watches) == 0 ? &watches[at / sizeof(*watches)] : NULL;
}

/* ---- epoll_ctl ---- */

static void remove_ready(int set, const int *ready)
{
        const int saved = errno;

        for (unsigned i = 0; i < V4L2_READY_FDS; i++)
                REAL(epoll_ctl)(set, EPOLL_CTL_DEL, ready[i], NULL);
        errno = saved;
}

static int add_ready(struct watch *watch, const int *ready)
{
        const uint32_t asked = watch->events;
        const int set = watch->set - 1;

        for (unsigned i = 0; i < V4L2_READY_FDS; i++) {
                struct epoll_event one = {.events = (asked & FLAGS) | (uint16_t)node_conditions[i].own,
                                          .data.ptr = watch};

                if (!(asked & (uint16_t)node_conditions[i].bits))
                        REAL(epoll_ctl)(set, EPOLL_CTL_DEL, ready[i], NULL);
                else if (REAL(epoll_ctl)(set, EPOLL_CTL_MOD, ready[i], &one) < 0 &&
                         REAL(epoll_ctl)(set, EPOLL_CTL_ADD, ready[i], &one) < 0)
                        return -1;
        }
        errno = 0;
        return 0;
}

/* The node itself is there to report that the device is gone. */
static int watch_node(struct watch *watch, int operation, const int *ready, const struct epoll_event *asked)
{
        struct epoll_event end = {.events = asked->events & FLAGS, .data.ptr = watch};

        if (REAL(epoll_ctl)(watch->set - 1, operation, watch->fd, &end) < 0)
                return -1;
        watch->process = getpid();
        watch->data = asked->data.u64;
        watch->events = asked->events;
        return add_ready(watch, ready);
}

EXPORT int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
        int ready[V4L2_READY_FDS], r;

        if ((!event && operation != EPOLL_CTL_DEL) || !node_ready_fds(fd, ready))
                return REAL(epoll_ctl)(set, operation, fd, event);

        struct watch *found = watch_find(set, fd);
        struct watch *watch = found || operation == EPOLL_CTL_DEL ? found : watch_new(set, fd);

        if (operation == EPOLL_CTL_DEL) {
                r = REAL(epoll_ctl)(set, operation, fd, event);
                remove_ready(set, ready);
        } else {
                r = watch ? watch_node(watch, operation, ready, event) : -1;
        }
        if (watch && (operation == EPOLL_CTL_DEL || (r < 0 && !found)))
                watch->set = 0;
        return r;
}

/* Closing does not take the descriptors for poll(2) out of an instance, as "oriel v4l2" has them open too. */
static void watch_end(const struct watch *watch)
{
        int ready[V4L2_READY_FDS];

        if (node_ready_fds(watch->fd, ready))
                remove_ready(watch->set - 1, ready);
        REAL(epoll_ctl)(watch->set - 1, EPOLL_CTL_DEL, watch->fd, NULL);
}

void epoll_forget(int fd)
{
        const int saved = errno;

        for (unsigned i = 0; i < n_watches; i++) {
                struct watch *watch = &watches[i];
                const bool is_node = watch->set > 0 && watch->fd == fd && watch->process == getpid();

                if (is_node)
                        watch_end(watch);
                if (is_node || watch->set == fd + 1)
                        watch->set = 0;
        }
        errno = saved;
}

/* ---- epoll_wait ---- */

/* All that the node reports now, and after EPOLLONESHOT nothing more until the program asks again. */
static void event_complete(struct epoll_event *event)
{
        const struct watch *watch = watch_of(event);
        int ready[V4L2_READY_FDS];

        if (!watch)
                return;

        const uint32_t asked = watch->events;
        struct pollfd now = {.fd = watch->fd, .events = (short)asked};

        event->data.u64 = watch->data;
        if (watch->set == 0 || !node_ready_fds(now.fd, ready))
                return;
        if (poll(&now, 1, 0) > 0)
                event->events |= (uint16_t)now.revents;
        if (asked & EPOLLONESHOT)
                remove_ready(watch->set - 1, ready);
}

/* Returns how many are left of @n, or -1. */
static int events_fold(struct epoll_event *events, int n)
{
        int kept = 0;

        for (int i = 0; i < n; i++) {
                int same = watch_of(&events[i]) ? 0 : kept;

                while (same < kept && events[same].data.u64 != events[i].data.u64)
                        same++;
                if (same < kept)
                        events[same].events |= events[i].events;
                else
                        events[kept++] = events[i];
        }
        for (int i = 0; i < kept; i++)
                event_complete(&events[i]);
        return n < 0 ? n : kept;
}

EXPORT int epoll_wait(int set, struct epoll_event *events, int max, int ms)
{
        return events_fold(events, REAL(epoll_wait)(set, events, max, ms));
}

EXPORT int epoll_pwait(int set, struct epoll_event *events, int max, int ms, const sigset_t *mask)
{
        return events_fold(events, REAL(epoll_pwait)(set, events, max, ms, mask));
}

EXPORT int epoll_pwait2(int set, struct epoll_event *events, int max, const struct timespec *timeout,
                        const sigset_t *mask)
{
        return events_fold(events, REAL(epoll_pwait2)(set, events, max, timeout, mask));
}
