/* SPDX-License-Identifier: BSD-2-Clause */

/* The least that a map over a socket can cost, for comparison: request and reply are the protocol's in size and
 * descriptors, the peer calls mmap() and answers, and nothing is checked or recorded. Sockets block, and a request is
 * one sendmsg() and one recvmsg(). The peer maps at one fixed place, so an unmap (a request without a descriptor) puts
 * zeros back there. The peer is always a child of this program. */

#include "bench/common/floor.h"
#include "base/clock.h"
#include "base/fd.h"
#include "channel/rights.h"
#include "program/spawn.h"

#include <errno.h>
#include <oriel/protocol.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE (UINT64_C(2) << 20)

struct floor_request {
        struct oriel_wire_header header;
        struct oriel_wire_mmap map;
} __attribute__((packed));

union control {
        struct cmsghdr align;
        char room[CMSG_SPACE(sizeof(int))];
};

void bind_cpu(bool other)
{
        cpu_set_t allowed, chosen;
        size_t cpu = CPU_SETSIZE;

        if (sched_getaffinity(0, sizeof(allowed), &allowed) < 0)
                return;
        for (size_t i = 0; i < CPU_SETSIZE; i++)
                if (CPU_ISSET(i, &allowed) && (cpu == CPU_SETSIZE || other))
                        cpu = i;
        CPU_ZERO(&chosen);
        CPU_SET(cpu, &chosen);
        sched_setaffinity(0, sizeof(chosen), &chosen);
}

bool send_with_fd(int socket, const void *message, size_t size, int fd)
{
        struct iovec iov = {(void *)(uintptr_t)message, size};
        union control control;
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

        if (fd >= 0)
                rights_attach(&msg, &control, &fd, 1);
        return sendmsg(socket, &msg, MSG_NOSIGNAL) == (ssize_t)size;
}

int receive_with_fd(int socket, void *message, size_t size)
{
        union control control;
        struct iovec iov = {message, size};
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)};
        int fd = -1;

        if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC | MSG_WAITALL) != (ssize_t)size)
                return -2;
        if (CMSG_FIRSTHDR(&msg))
                memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
        return fd;
}

void floor_serve(int socket)
{
        uint8_t *window = mmap(NULL, SIZE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        struct floor_request request;
        struct reply reply = {{ORIEL_BACKEND_SHMEM_MAP, ORIEL_PROTOCOL_VERSION | ORIEL_FLAG_REPLY, sizeof(reply.u64)},
                              0};
        struct stat st;
        int fd;

        while (window != MAP_FAILED && (fd = receive_with_fd(socket, &request, sizeof(request))) > -2) {
                if (fd >= 0) {
                        reply.u64 = fstat(fd, &st) < 0 || mmap(window, SIZE, PROT_READ | PROT_WRITE,
                                                               MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED;
                        fd_close(fd);
                } else {
                        reply.u64 = mmap(window, SIZE, PROT_READ,
                                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED;
                }
                if (send(socket, &reply, sizeof(reply), MSG_NOSIGNAL) != (ssize_t)sizeof(reply))
                        break;
        }
}

pid_t start_server(void (*serve)(int socket), int *socket, bool other_cpu)
{
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;

        const pid_t self = getpid();
        pid_t pid = fork();

        if (pid == 0) {
                spawn_follow(self, SIGTERM);
                fd_close(fds[0]);
                bind_cpu(other_cpu);
                serve(fds[1]);
                _exit(0);
        }
        fd_close(fds[1]);
        if (pid < 0)
                fd_close(fds[0]);
        *socket = fds[0];
        return pid < 0 ? -errno : pid;
}

int64_t floor_map(int socket, int fd)
{
        struct floor_request request = {
                {ORIEL_BACKEND_SHMEM_MAP, ORIEL_PROTOCOL_VERSION | ORIEL_FLAG_NEED_REPLY, sizeof(request.map)},
                {.len = SIZE, .flags = ORIEL_MMAP_READ_WRITE}};
        struct reply reply;
        int64_t begin = now_ns();

        if (!send_with_fd(socket, &request, sizeof(request), fd) ||
            recv(socket, &reply, sizeof(reply), MSG_WAITALL) != (ssize_t)sizeof(reply) || reply.u64)
                return -1;
        return now_ns() - begin;
}
