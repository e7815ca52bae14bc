/* SPDX-License-Identifier: BSD-2-Clause */

/* To be preloaded: whenever recvmsg(2) has to wait for a message of a SOCK_SEQPACKET socket, it ends as if the other
 * end had been closed before that, and leaves the message for the next call. Linux does so if message and close come
 * just after it has found no message, and before it looks whether the socket is shut down. */

#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) ssize_t recvmsg(int fd, struct msghdr *msg, int flags)
{
        struct pollfd come = {.fd = fd, .events = POLLIN};
        int type = 0;
        socklen_t size = sizeof(type);

        if (flags & MSG_DONTWAIT || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET)
                return syscall(SYS_recvmsg, fd, msg, flags);
        if (syscall(SYS_ppoll, &come, 1, NULL, NULL, 0) < 0)
                return -1;
        msg->msg_controllen = 0;
        return 0;
}
