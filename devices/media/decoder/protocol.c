/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/media/decoder/protocol.h"

#include "base/fd.h"
#include "base/syscalls.h"
#include "channel/rights.h"

#include <errno.h>

USES_SYSCALLS(SYSCALL(sendmsg), SYSCALL(recvmsg));

union one_fd {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
};

bool codec_send(int socket, const void *message, size_t size, int fd)
{
        struct iovec iov = {(void *)message, size};
        union one_fd control;
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

        if (fd >= 0)
                rights_attach(&msg, &control, &fd, 1);
        return sendmsg(socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)size;
}

bool codec_receive(int socket, void *message, size_t size, int *fd)
{
        struct iovec iov = {message, size};
        union one_fd control;
        struct msghdr msg = {
                .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CMSG_LEN(sizeof(int))};
        ssize_t n;

        *fd = -1;
        do
                n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);
        while (n < 0 && errno == EINTR);

        const struct cmsghdr *rights = n < 0 ? NULL : CMSG_FIRSTHDR(&msg);

        if (rights && rights->cmsg_type == SCM_RIGHTS && rights->cmsg_len == CMSG_LEN(sizeof(int)))
                memcpy(fd, CMSG_DATA(rights), sizeof(*fd));
        if (n == (ssize_t)size && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
                return true;
        *fd = fd_close(*fd);
        return false;
}
