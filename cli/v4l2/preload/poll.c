/* SPDX-License-Identifier: BSD-2-Clause */

/* Waiting for the device with poll(2), select(2) and their like, which watch other descriptors for a node: they are
 * ready for input, output, events and errors. The node itself reports a hang-up. select(2) is made of poll(2).
 * Events are looked at last: "oriel v4l2" makes them ready before the buffer that came after them. */

#include "cli/v4l2/preload/node.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/param.h>
#include <sys/select.h>
#include <time.h>

const struct node_condition node_conditions[V4L2_READY_FDS] = {
        [V4L2_READY_IN] = {POLLIN | POLLRDNORM, POLLIN | POLLRDNORM, POLLIN},
        [V4L2_READY_OUT] = {POLLOUT | POLLWRNORM, POLLOUT | POLLWRNORM, POLLOUT},
        [V4L2_READY_PRI] = {POLLPRI, POLLPRI, POLLPRI},
        [V4L2_READY_ERR] = {POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM, POLLERR, POLLERR},
};

uint32_t node_ready_now(const int *fds, short asked)
{
        struct pollfd all[V4L2_READY_FDS];
        int now = 0;

        for (unsigned i = 0; i < V4L2_READY_FDS; i++)
                all[i] = (struct pollfd){.fd = asked & node_conditions[i].bits ? fds[i] : -1,
                                         .events = node_conditions[i].own};
        REAL(poll)(all, V4L2_READY_FDS, 0);
        for (unsigned i = 0; i < V4L2_READY_FDS; i++)
                if (all[i].revents & node_conditions[i].own)
                        now |= (asked | POLLERR) & node_conditions[i].gives;
        return (uint32_t)now;
}

static bool has_node(const struct pollfd *fds, nfds_t n)
{
        bool has = false;

        for (nfds_t i = 0; !has && i < n; i++)
                has = fds[i].fd >= 0 && node_is_here(fds[i].fd);
        return has;
}

/* Fills @all with the program's @n entries, followed by V4L2_READY_FDS for each of them. */
static void set_expand(const struct pollfd *fds, nfds_t n, struct pollfd *all)
{
        int ready[V4L2_READY_FDS];

        memcpy(all, fds, n * sizeof(*fds));
        for (nfds_t i = 0; i < n; i++) {
                const bool is_node = fds[i].fd >= 0 && node_is_here(fds[i].fd);
                const bool has_ready = is_node && node_ready_fds(fds[i].fd, ready);

                for (unsigned j = 0; j < V4L2_READY_FDS; j++) {
                        const bool asked = has_ready && fds[i].events & node_conditions[j].bits;

                        all[n + i * V4L2_READY_FDS + j] =
                                (struct pollfd){.fd = asked ? ready[j] : -1, .events = node_conditions[j].own};
                }
                if (is_node)
                        all[i].events = 0;
        }
}

/* Sets the program's revents, and returns how many of its entries are ready. */
static int set_fold(struct pollfd *fds, nfds_t n, const struct pollfd *all)
{
        int count = 0;

        for (nfds_t i = 0; i < n; i++) {
                fds[i].revents = all[i].revents;
                /* POLLHUP: the device is gone. Only a node's entry has other events than the program's. */
                if (all[i].events != fds[i].events && fds[i].revents & POLLHUP)
                        fds[i].revents |= POLLERR;
                for (unsigned j = 0; j < V4L2_READY_FDS; j++)
                        if (all[n + i * V4L2_READY_FDS + j].revents & node_conditions[j].own)
                                fds[i].revents = (short)(fds[i].revents |
                                                         ((fds[i].events | POLLERR) & node_conditions[j].gives));
                count += fds[i].revents != 0;
        }
        return count;
}

static int wait_for(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
        if (!has_node(fds, n))
                return REAL(ppoll)(fds, n, timeout, mask);

        struct pollfd *all = calloc(MAX(n, 1), (1 + V4L2_READY_FDS) * sizeof(*all));

        if (!all)
                return -1;
        set_expand(fds, n, all);

        int r = REAL(ppoll)(all, n * (1 + V4L2_READY_FDS), timeout, mask);

        if (r >= 0)
                r = set_fold(fds, n, all);

        const int saved = errno;

        free(all);
        errno = saved;
        return r;
}

EXPORT int ppoll(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask)
{
        return wait_for(fds, n, timeout, mask);
}

EXPORT int poll(struct pollfd *fds, nfds_t n, int ms)
{
        const struct timespec timeout = {ms / 1000, ms % 1000 * 1000000L};

        return wait_for(fds, n, ms < 0 ? NULL : &timeout, NULL);
}

/* Called by programs that are built with _FORTIFY_SOURCE. */
int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t size);
int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size);

EXPORT int __poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t size)
{
        if (size / sizeof(*fds) < n)
                abort();
        return poll(fds, n, ms);
}

EXPORT int __ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask, size_t size)
{
        if (size / sizeof(*fds) < n)
                abort();
        return wait_for(fds, n, timeout, mask);
}

/* ---- select ---- */

/* For each set of select(2): the bits that it asks for, and those that count as ready. */
static const struct {
        short asks, told;
} sets[3] = {
        {POLLIN | POLLRDNORM, POLLIN | POLLRDNORM | POLLHUP | POLLERR},
        {POLLOUT | POLLWRNORM, POLLOUT | POLLWRNORM | POLLERR},
        {POLLPRI, POLLPRI},
};

static nfds_t take_sets(int n, fd_set *const given[3], struct pollfd *fds)
{
        nfds_t count = 0;

        for (int fd = 0; fd < n && fd < FD_SETSIZE; fd++) {
                short events = 0;

                for (unsigned i = 0; i < 3; i++)
                        if (given[i] && FD_ISSET(fd, given[i]))
                                events = (short)(events | sets[i].asks);
                if (events)
                        fds[count++] = (struct pollfd){.fd = fd, .events = events};
        }
        return count;
}

static int give_sets(fd_set *const given[3], const struct pollfd *fds, nfds_t count)
{
        int total = 0;

        for (nfds_t i = 0; i < count; i++)
                if (fds[i].revents & POLLNVAL) {
                        errno = EBADF;
                        return -1;
                }
        for (nfds_t i = 0; i < count; i++)
                for (unsigned j = 0; j < 3; j++) {
                        if (!given[j] || !(fds[i].events & sets[j].asks))
                                continue;
                        if (!(fds[i].revents & sets[j].told))
                                FD_CLR(fds[i].fd, given[j]);
                        else if (FD_ISSET(fds[i].fd, given[j]))
                                total++;
                }
        return total;
}

EXPORT int pselect(int n, fd_set *in, fd_set *out, fd_set *except, const struct timespec *timeout, const sigset_t *mask)
{
        fd_set *const given[3] = {in, out, except};
        struct pollfd fds[FD_SETSIZE];
        const nfds_t count = node_is_used() ? take_sets(n, given, fds) : 0;

        if (!has_node(fds, count))
                return REAL(pselect)(n, in, out, except, timeout, mask);

        int r = wait_for(fds, count, timeout, mask);

        return r < 0 ? r : give_sets(given, fds, count);
}

EXPORT int select(int n, fd_set *in, fd_set *out, fd_set *except, struct timeval *timeout)
{
        fd_set *const given[3] = {in, out, except};
        struct pollfd fds[FD_SETSIZE];
        const struct timespec time = {timeout ? timeout->tv_sec : 0, timeout ? timeout->tv_usec * 1000 : 0};

        if (!has_node(fds, node_is_used() ? take_sets(n, given, fds) : 0))
                return REAL(select)(n, in, out, except, timeout);
        return pselect(n, in, out, except, timeout ? &time : NULL, NULL);
}
