/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CHANNEL_RIGHTS_H
#define CHANNEL_RIGHTS_H

#include <string.h>
#include <sys/socket.h>

/* Adds @n @fds, at least one, to @msg. @room is aligned as a struct cmsghdr, and has CMSG_SPACE() of them. */
static inline void rights_attach(struct msghdr *msg, void *room, const int *fds, size_t n)
{
        const size_t size = n * sizeof(fds[0]);

        memset(room, 0, CMSG_SPACE(size));
        msg->msg_control = room;
        msg->msg_controllen = (__typeof__(msg->msg_controllen))CMSG_SPACE(size);

        struct cmsghdr *c = CMSG_FIRSTHDR(msg);

        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = (__typeof__(c->cmsg_len))CMSG_LEN(size);
        memcpy(CMSG_DATA(c), fds, size);
}

#endif
