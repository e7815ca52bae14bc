/* SPDX-License-Identifier: BSD-2-Clause */

/* Nodes and their calls. A node is recognized by the name of its socket's peer. That costs a system call, and works
 * without a record for duplicates, in children and in programs that have inherited it. Only the descriptors for
 * poll(2) are recorded, by the node's number, and requested again where they are missing. There is no lock: these
 * functions may be called after fork() in a process of many threads. */

#include "cli/v4l2/preload/node.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { BLOCKS = 1024, BLOCK = 1024, HIGH = 256, END_MS = 1000 };

/* Each value is a descriptor plus one; 0: none. */
struct node_ready {
        atomic_int fds[V4L2_READY_FDS];
};

/* By the node's number, in blocks that are allocated on demand and never freed. */
static struct node_ready *_Atomic ready[BLOCKS];
static atomic_bool here;
static atomic_int process; /* whose memory this is */

/* From the environment at the start of the program. */
static struct {
        struct sockaddr_un address; /* AF_UNSPEC: not set */
        char device[32];
        unsigned number;
} node;

const char *node_device(void)
{
        return node.address.sun_family == AF_UNIX ? node.device : NULL;
}

unsigned node_number(void)
{
        return node.number;
}

bool node_is(int fd)
{
        struct sockaddr_un peer = {.sun_family = AF_UNSPEC};
        socklen_t size = sizeof(peer);
        const int saved = errno;
        bool is = node_device() && getpeername(fd, (struct sockaddr *)&peer, &size) == 0 &&
                  peer.sun_family == AF_UNIX &&
                  strncmp(peer.sun_path, node.address.sun_path, sizeof(peer.sun_path)) == 0;

        errno = saved;
        if (is)
                here = true;
        return is;
}

static void note_process(void)
{
        process = getpid();
}

bool node_is_lent(void)
{
        return here && process != getpid();
}

__attribute__((constructor)) static void node_begin(void)
{
        const char *path = getenv(V4L2_SOCKET_VARIABLE), *device = getenv(V4L2_DEVICE_VARIABLE);

        if (!path || !device || strlen(path) >= sizeof(node.address.sun_path) ||
            strlen(device) >= sizeof(node.device) || sscanf(device, "/dev/video%u", &node.number) != 1)
                return;
        memcpy(node.device, device, strlen(device));
        memcpy(node.address.sun_path, path, strlen(path));
        node.address.sun_family = AF_UNIX;
        note_process();
        pthread_atfork(NULL, NULL, note_process);
        /* Finds inherited nodes, which have low numbers. */
        for (int fd = 0; fd < HIGH && !here; fd++)
                node_is(fd);
}

bool node_is_used(void)
{
        return here;
}

bool node_is_here(int fd)
{
        return here && node_is(fd);
}

static void close_quietly(int fd)
{
        const int saved = errno;

        REAL(close)(fd);
        errno = saved;
}

/* ---- calls ---- */

int node_move_up(int fd)
{
        const int up = fcntl(fd, F_DUPFD_CLOEXEC, HIGH);

        if (up < 0)
                return fd;
        REAL(close)(fd);
        return up;
}

static int send_call(int fd, const struct v4l2_call *call, int socket)
{
        struct iovec iov = {(void *)(uintptr_t)call, sizeof(*call)};
        union {
                char bytes[CMSG_SPACE(sizeof(int))];
                struct cmsghdr align;
        } control = {.bytes = {0}};
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        struct cmsghdr *rights = CMSG_FIRSTHDR(&msg);
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        ssize_t n;

        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(rights), &socket, sizeof(int));
        /* The program may have set O_NONBLOCK, which concerns waiting for frames only: a call waits for room. */
        while ((n = sendmsg(fd, &msg, MSG_NOSIGNAL)) < 0 && (errno == EAGAIN || errno == EINTR))
                REAL(poll)(&room, 1, 10);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN))
                errno = ENODEV;
        return n < 0 ? -1 : 0;
}

/* The kernel's wait for a message looks first whether there is one, then whether the other end is closed. If the
 * answer is sent and its socket closed between these two looks, recvmsg() returns 0 as if there were no message, and
 * the next call returns it. */
static ssize_t node_receive_message(int socket, struct msghdr *msg, int flags)
{
        const struct msghdr asked = *msg;
        ssize_t got = recvmsg(socket, msg, MSG_CMSG_CLOEXEC | flags);

        if (got == 0) {
                *msg = asked;
                got = recvmsg(socket, msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
        }
        return got;
}

/* Neither an answer nor an end of the node has come: "oriel v4l2" had no descriptor left for the answer's socket. */
static int error_without_answer(int fd)
{
        struct pollfd end = {.fd = fd, .events = 0};

        while (REAL(poll)(&end, 1, END_MS) < 0 && errno == EINTR)
                ;
        return end.revents ? ENODEV : ENFILE;
}

static int node_receive_answer(int socket, struct v4l2_answer *answer, int *fds, unsigned n, int flags)
{
        struct iovec iov = {answer, sizeof(*answer)};
        union {
                char bytes[CMSG_SPACE(V4L2_READY_FDS * sizeof(int))];
                struct cmsghdr align;
        } control;
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        ssize_t got = node_receive_message(socket, &msg, flags);
        struct cmsghdr *rights = got < 0 ? NULL : CMSG_FIRSTHDR(&msg);

        if (got < 0)
                return -1;
        if (got != (ssize_t)sizeof(*answer)) {
                errno = ENODEV;
                return -1;
        }
        if (n > 0 && answer->result >= 0) {
                if (!rights || rights->cmsg_len != CMSG_LEN(n * sizeof(int))) {
                        errno = EMFILE;
                        return -1;
                }
                memcpy(fds, CMSG_DATA(rights), n * sizeof(int));
        }
        return 0;
}

/* @socket and @theirs are a pair; @theirs is closed. */
static int node_exchange(int fd, const struct v4l2_call *call, int socket, int theirs, struct v4l2_answer *answer,
                         int *fds, unsigned n)
{
        int r = send_call(fd, call, theirs);

        *answer = (struct v4l2_answer){.result = -EIO};

        close_quietly(theirs);
        if (r == 0) {
                r = node_receive_answer(socket, answer, fds, n, 0);
                if (r < 0 && errno == ENODEV)
                        errno = error_without_answer(fd);
        }
        if (r < 0 && errno == EINTR) {
                /* From here on no answer can be sent; one may have been sent just before. */
                shutdown(socket, SHUT_RD);
                r = node_receive_answer(socket, answer, fds, n, MSG_DONTWAIT);
                if (r < 0)
                        errno = EINTR;
        }
        if (r < 0 || answer->result >= 0)
                return r;
        errno = -answer->result;
        return -1;
}

int node_call(int fd, const struct v4l2_call *call, struct v4l2_answer *answer, int *fds, unsigned n, int *lease)
{
        int pair[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
                return -1;

        int r = node_exchange(fd, call, pair[0], pair[1], answer, fds, n);

        if (r == 0 && lease)
                *lease = pair[0];
        else
                close_quietly(pair[0]);
        return r;
}

/* ---- descriptors for poll(2) ---- */

/* NULL: the node has no entry; or, with @make, there is no memory for one. */
static struct node_ready *ready_of(int fd, bool make)
{
        struct node_ready *block, *made;

        if (fd < 0 || fd / BLOCK >= BLOCKS)
                return NULL;
        block = atomic_load(&ready[fd / BLOCK]);
        if (!block && make && (made = calloc(BLOCK, sizeof(*made)))) {
                if (atomic_compare_exchange_strong(&ready[fd / BLOCK], &block, made))
                        block = made;
                else
                        free(made);
        }
        return block ? &block[fd % BLOCK] : NULL;
}

bool node_known_fds(int fd, int *fds)
{
        struct node_ready *of = fd >= 0 && here ? ready_of(fd, false) : NULL;

        for (unsigned i = 0; of && i < V4L2_READY_FDS; i++)
                fds[i] = of->fds[i] - 1;
        return of && fds[V4L2_READY_FDS - 1] >= 0;
}

bool node_ready_fds(int fd, int *fds)
{
        const struct v4l2_call call = {.kind = V4L2_CALL_READY};
        struct v4l2_answer answer;

        struct node_ready *of = fd >= 0 && node_is_here(fd) ? ready_of(fd, true) : NULL;

        if (!of)
                return false;
        if (node_known_fds(fd, fds))
                return true;
        if (node_call(fd, &call, &answer, fds, V4L2_READY_FDS, NULL) < 0)
                return false;
        for (unsigned i = 0; i < V4L2_READY_FDS; i++) {
                fds[i] = node_move_up(fds[i]);
                of->fds[i] = fds[i] + 1;
        }
        return true;
}

void node_forget(int fd)
{
        struct node_ready *of = here ? ready_of(fd, false) : NULL;

        for (unsigned i = 0; of && i < V4L2_READY_FDS; i++) {
                const int other = atomic_exchange(&of->fds[i], 0) - 1;

                if (other >= 0)
                        close_quietly(other);
        }
}

static int node_connect(int flags)
{
        const struct sockaddr_un *address = &node.address;
        int fd = socket(AF_UNIX, SOCK_SEQPACKET | (flags & O_CLOEXEC ? SOCK_CLOEXEC : 0), 0);

        if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
                REAL(close)(fd);
                errno = ENODEV;
                return -1;
        }
        return fd;
}

/* A new file was closed at once: "oriel v4l2" closes those for which it has no descriptor (accept_or_refuse()). If it
 * has ended, nobody accepts another. */
static int error_of_refusal(void)
{
        const int fd = node_connect(O_CLOEXEC);

        if (fd < 0)
                return errno;
        REAL(close)(fd);
        return ENFILE;
}

int v4l2_node_open(int flags)
{
        const int fd = node_connect(flags);

        if (fd < 0)
                return -1;
        here = true;

        const struct v4l2_call call = {.kind = V4L2_CALL_OPEN};
        struct v4l2_answer answer = {.result = 0};

        if (node_call(fd, &call, &answer, NULL, 0, NULL) < 0) {
                close_quietly(fd);
                /* Without an answer; with one, it is the device that is gone. */
                if (errno == ENODEV && answer.result != -ENODEV)
                        errno = error_of_refusal();
                return -1;
        }
        if (flags & O_NONBLOCK)
                fcntl(fd, F_SETFL, O_NONBLOCK);
        return fd;
}
