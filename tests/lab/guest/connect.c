/* SPDX-License-Identifier: BSD-2-Clause */
/* A connection between standard input and output and a socket: "connect PATH" of a Unix socket, "connect CID PORT" of
 * one of AF_VSOCK; with "listen" before these, the first connection that comes there. It ends with the other end, or
 * when the input has ended. Static, as share.c. */
#include "guest.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/vm_sockets.h>

union address {
        struct sockaddr any;
        struct sockaddr_un path;
        struct sockaddr_vm vsock;
};

static bool pass_on(int from, int to)
{
        char data[4096];
        ssize_t n = read(from, data, sizeof(data));

        return n > 0 && write(to, data, (size_t)n) == n;
}

static socklen_t address_of(char **args, int n, union address *out)
{
        memset(out, 0, sizeof(*out));
        if (n == 1) {
                out->path.sun_family = AF_UNIX;
                snprintf(out->path.sun_path, sizeof(out->path.sun_path), "%s", args[0]);
                return sizeof(out->path);
        }
        out->vsock.svm_family = AF_VSOCK;
        out->vsock.svm_cid = (unsigned)strtoul(args[0], NULL, 10);
        out->vsock.svm_port = (unsigned)strtoul(args[1], NULL, 10);
        return sizeof(out->vsock);
}

static int wait_for_client(int listener, const union address *at, socklen_t size)
{
        if (bind(listener, &at->any, size) < 0 || listen(listener, 1) < 0)
                die("listen");
        fprintf(stderr, "listening\n");
        return accept(listener, NULL, NULL);
}

int main(int argc, char **argv)
{
        bool listens = argc > 1 && strcmp(argv[1], "listen") == 0;
        char **args = argv + 1 + listens;
        int n = argc - 1 - listens;
        union address at;

        if (n != 1 && n != 2)
                die("Usage: connect [listen] PATH | connect [listen] CID PORT");

        socklen_t size = address_of(args, n, &at);
        int fd = socket(at.any.sa_family, SOCK_STREAM, 0);

        if (fd < 0)
                die("socket");
        if (listens)
                fd = wait_for_client(fd, &at, size);
        else if (connect(fd, &at.any, size) < 0)
                die("connect %s", args[0]);

        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = fd, .events = POLLIN}};

        while (fd >= 0 && poll(fds, 2, -1) > 0)
                if ((fds[0].revents && !pass_on(STDIN_FILENO, fd)) || (fds[1].revents && !pass_on(fd, STDOUT_FILENO)))
                        break;
        return fd < 0;
}
