/* SPDX-License-Identifier: BSD-2-Clause */
#include "channel/socket_file.h"
#include "base/options.h"
#include "base/syscalls.h"

#include <errno.h>
#include <oriel/socket.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(newfstatat), SYSCALL(unlink));

/* A server that was killed may still be going when the next one is started in its place. */
#define IN_USE_US 100000

int socket_file_listen(struct socket_file *file, const char *path)
{
        int fd = oriel_socket_listen(path);
        struct stat st;

        if (fd == -EADDRINUSE) {
                usleep(IN_USE_US);
                fd = oriel_socket_listen(path);
        }
        *file = (struct socket_file){.path = NULL};
        if (fd < 0)
                report("can't listen on %s: %s", path, strerror(-fd));
        else if (lstat(path, &st) == 0)
                *file = (struct socket_file){path, st.st_dev, st.st_ino};
        return fd;
}

void socket_file_remove(struct socket_file *file)
{
        struct stat st;

        if (file->path && lstat(file->path, &st) == 0 && st.st_dev == file->device && st.st_ino == file->inode)
                unlink(file->path);
        file->path = NULL;
}
