/* SPDX-License-Identifier: BSD-2-Clause */
#include "program/accept.h"
#include "base/fd.h"
#include "base/syscalls.h"

#include <errno.h>
#include <oriel/socket.h>
#include <poll.h>

USES_SYSCALLS(SYSCALL(poll));

enum { PAUSE_MS = 100 };

int accept_or_refuse(int listener, int *spare)
{
        int fd = oriel_socket_accept(listener);

        if (fd != -EMFILE && fd != -ENFILE)
                return fd;
        *spare = fd_close(*spare);

        int refused = oriel_socket_accept(listener);

        /* Another thread may have taken the freed descriptor. */
        if (refused < 0)
                poll(NULL, 0, PAUSE_MS);
        fd_close(refused);
        *spare = fd_dup(listener);
        return fd;
}
