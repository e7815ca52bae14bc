/* SPDX-License-Identifier: BSD-2-Clause */
/* connect PATH: what comes from standard input goes to a Unix socket, and what comes from there to standard output,
 * until the other end closes or the input has ended. Static, as share.c. */
#include "guest.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

static bool pass_on(int from, int to)
{
        char data[4096];
        ssize_t n = read(from, data, sizeof(data));

        return n > 0 && write(to, data, (size_t)n) == n;
}

int main(int argc, char **argv)
{
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);

        if (argc != 2)
                die("Usage: connect PATH");
        snprintf(address.sun_path, sizeof(address.sun_path), "%s", argv[1]);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                die("%s", argv[1]);

        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

        while (poll(fds, 2, -1) > 0)
                if ((fds[0].revents && !pass_on(STDIN_FILENO, fd)) || (fds[1].revents && !pass_on(fd, STDOUT_FILENO)))
                        break;
        return 0;
}
