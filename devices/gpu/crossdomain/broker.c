/* SPDX-License-Identifier: BSD-2-Clause */

/* A process that connects to the compositor's socket whenever it is asked, and passes the connection on. The daemon
 * can't do so itself: its root is empty in every mode of the sandbox but none, and an O_PATH descriptor of the socket
 * becomes useless when the compositor is started again and the path leads to a new socket. Since the path and connect()
 * stay outside, a process in the sandbox that was taken over reaches this one socket and no other.
 *
 * A request is an int, and so is its answer: 0 with the connection, or a negative errno. One 0 comes unasked, when the
 * process is ready. */

#include "devices/gpu/crossdomain/crossdomain.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "channel/rights.h"
#include "daemon/helper.h"

#include <errno.h>
#include <oriel/socket.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(sendmsg), SYSCALL(recvmsg), SYSCALL(poll));

/* It answers at once, but for a busy machine. A device that is to stop has 2 s for that in oriel run. */
enum { ANSWER_MS = 1400, START_MS = 10000 };

union one_fd {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
};

static bool broker_say(int broker, int what, int fd)
{
        struct iovec iov = {&what, sizeof(what)};
        union one_fd control;
        struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

        if (fd >= 0)
                rights_attach(&message, &control, &fd, 1);
        return sendmsg(broker, &message, MSG_NOSIGNAL | MSG_DONTWAIT) == sizeof(what);
}

/* Returns an answer's result, *fd the connection if one came with it; -ETIMEDOUT; or -EPIPE: it can't be used any more.
 */
static int broker_hear(int broker, int64_t deadline, int *fd)
{
        struct pollfd answer = {.fd = broker, .events = POLLIN};
        union one_fd control;
        int result;
        struct iovec iov = {&result, sizeof(result)};
        struct msghdr message = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof(int))};
        int r = poll(&answer, 1, poll_timeout(deadline));

        *fd = -1;
        if (r == 0)
                return -ETIMEDOUT;
        if (r < 0 || recvmsg(broker, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) != sizeof(result))
                return -EPIPE;
        if (message.msg_controllen >= CMSG_LEN(sizeof(int)))
                memcpy(fd, CMSG_DATA(&control.header), sizeof(*fd));
        return result;
}

/* Keeps no descriptor but the socket and standard error. */
static void cross_broker_run(const void *path, int broker)
{
        bool goes_on = dup2(broker, STDIN_FILENO) == STDIN_FILENO && close_range(STDERR_FILENO + 1, ~0U, 0) == 0;
        int request;

        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        close(STDOUT_FILENO);
        goes_on = goes_on && broker_say(STDIN_FILENO, 0, -1);
        while (goes_on && read(STDIN_FILENO, &request, sizeof(request)) == sizeof(request)) {
                int fd = oriel_socket_connect(path);

                goes_on = broker_say(STDIN_FILENO, fd < 0 ? fd : 0, fd);
                fd_close(fd);
        }
        _exit(0);
}

int wayland_broker_start(const char *path)
{
        _cleanup_(fd_closep) int first = oriel_socket_connect(path);
        _cleanup_(fd_closep) int broker = first < 0 ? first : helper_start(cross_broker_run, path);
        int none, r = broker < 0 ? broker : broker_hear(broker, now_ms() + START_MS, &none);

        return r < 0 ? r : fd_take(&broker);
}

int wayland_broker_connect(struct wayland_broker *broker)
{
        const int64_t deadline = now_ms() + ANSWER_MS;
        _cleanup_(fd_closep) int fd = -1;
        int r = broker_say(broker->fd, 0, -1) ? 0 : -EPIPE;

        if (r == 0)
                broker->owed++;
        /* Those before ours are of requests that were not waited for any more. */
        while (r != -EPIPE && broker->owed > 0) {
                fd_close(fd);
                r = broker_hear(broker->fd, deadline, &fd);
                if (r == -ETIMEDOUT)
                        return r;
                broker->owed--;
        }
        if (r == -EPIPE)
                broker->fd = fd_close(broker->fd);
        return r < 0 ? r : fd < 0 ? -EMFILE : fd_take(&fd);
}
