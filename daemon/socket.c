/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/socket.h"

#include "base/fd.h"
#include "base/syscalls.h"
#include "daemon/options.h"
#include "program/report.h"

#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(getsockopt));

bool daemon_is_listening(int fd)
{
        int listening = 0;
        socklen_t size = sizeof(listening);

        return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

static bool is_stream_socket(int fd)
{
        int type = 0;
        socklen_t size = sizeof(type);

        return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

/* Its mode and group are there when its name is: chmod(2) by the path would follow a link that somebody puts there. */
static int listen_for_group(struct socket_file *file, const char *path, const char *name)
{
        const struct group *group = getgrnam(name);

        if (!group) {
                report("--socket-group: there is no group '%s'", name);
                return -1;
        }

        mode_t mask = umask(0007);
        gid_t own = (gid_t)setfsgid(group->gr_gid);
        int fd = socket_file_listen(file, path);

        setfsgid(own);
        umask(mask);
        /* Who may not take any group may still give a file to one of its own. */
        if (fd >= 0 && lchown(path, (uid_t)-1, group->gr_gid) < 0) {
                report("--socket-group=%s: %s: %s", name, path, strerror(errno));
                fd = fd_close(fd);
        }
        return fd;
}

int daemon_open_socket(struct socket_file *file)
{
        if (daemon_options.socket_path && daemon_options.socket_group)
                return listen_for_group(file, daemon_options.socket_path, daemon_options.socket_group);
        if (daemon_options.socket_path)
                return socket_file_listen(file, daemon_options.socket_path);

        int fd = fd_dup((int)daemon_options.fd);

        if (fd >= 0 && !is_stream_socket(fd)) {
                fd_close(fd);
                fd = -ENOTSOCK;
        }
        if (fd < 0)
                report("--fd=%u: %s", daemon_options.fd, strerror(-fd));
        return fd;
}
