/* SPDX-License-Identifier: BSD-2-Clause */
#include "program/socket_file.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "channel/socket.h"
#include "program/report.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <oriel/socket.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

USES_SYSCALLS_AT_END(SYSCALL_AT(newfstatat, 0), SYSCALL_AT(unlinkat, 0));

/* A server that was told to end may still be running when its successor starts. Each try connects to a running one,
 * which may disturb it, so each waits twice as long as the last: 3.1 s in all. */
#define IN_USE_US    100000u
#define IN_USE_TRIES 5

/* Splits @path into its directory, which is opened, and @name. */
static int find_directory(const char *path, const char **name)
{
        _cleanup_(freep) char *copy = strdup(path);
        const char *slash = strrchr(path, '/');

        *name = slash ? slash + 1 : path;
        return copy ? open(dirname(copy), O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
}

int socket_file_listen(struct socket_file *file, const char *path)
{
        struct stat st;
        int fd = socket_listen(path, &st);

        for (unsigned tries = 0; fd == -EADDRINUSE && tries < IN_USE_TRIES; tries++) {
                usleep(IN_USE_US << tries);
                fd = socket_listen(path, &st);
        }
        *file = (struct socket_file){.name = NULL};
        if (fd < 0) {
                report("can't listen on %s: %s", path, strerror(-fd));
                return fd;
        }

        struct socket_file made = {.device = st.st_dev, .inode = st.st_ino};

        made.directory_fd = find_directory(path, &made.name);
        if (made.directory_fd >= 0)
                *file = made;
        return fd;
}

void socket_file_remove(struct socket_file *file)
{
        struct stat st;

        if (file->name && fstatat(file->directory_fd, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
            st.st_dev == file->device && st.st_ino == file->inode)
                unlinkat(file->directory_fd, file->name, 0);
        socket_file_forget(file);
}

void socket_file_forget(struct socket_file *file)
{
        if (file->name)
                fd_close(file->directory_fd);
        file->name = NULL;
}

const char *socket_words(int error)
{
        static const struct {
                int error;
                const char *words;
        } rows[] = {
                {-EAGAIN, "others are waiting to be served already"},
                {-ECONNREFUSED, "nobody listens there: start the back-end first"},
                {-ENOENT, "there is no such socket: start the back-end first"},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                if (rows[i].error == error)
                        return rows[i].words;
        return strerror(-error);
}
