/* SPDX-License-Identifier: BSD-2-Clause */

/* The start of the render server. It has one descriptor, its socket, and ends with that. The Vulkan drivers that it
 * loads choose the GPU, and look for render nodes by themselves: for --render-node the server is started in a mount
 * namespace that has this node alone. That takes the rights of root, or a user namespace with only this user. The
 * child reports a failure by a pipe, which exec() closes. */

#include "devices/gpu/renderers/venus.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "daemon/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#define SERVER "/usr/libexec/virgl_render_server"

struct render_server {
        const char *path, *node;
        int failed_fd; /* for a failure; exec() closes it */
};

struct render_failure {
        int error; /* a negative errno */
        bool of_node;
};

static int render_server_write_file(const char *path, const char *text)
{
        _cleanup_(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);

        return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -errno;
}

/* Makes a mount namespace, in a user namespace if need be. User, group and supplementary groups stay as they are, as
 * the user may need one to open the node. */
static int unshare_mounts(void)
{
        const unsigned uid = geteuid(), gid = getegid();
        char users[64], groups[64];

        if (unshare(CLONE_NEWNS) == 0)
                return 0;
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
                return -errno;
        snprintf(users, sizeof(users), "%u %u 1", uid, uid);
        snprintf(groups, sizeof(groups), "%u %u 1", gid, gid);

        int r = render_server_write_file("/proc/self/setgroups", "deny");

        if (r == 0)
                r = render_server_write_file("/proc/self/uid_map", users);
        return r < 0 ? r : render_server_write_file("/proc/self/gid_map", groups);
}

/* Mounts a directory with the node alone over the node's directory. */
static int hide_other_nodes(const char *node)
{
        char directory[4096], from[32];
        int r = unshare_mounts();

        if (r < 0)
                return r;

        /* Opened in the new namespace: files of another one's mounts can't be bound. */
        _cleanup_(fd_closep) int fd = open(node, O_PATH | O_CLOEXEC);

        if (fd < 0)
                return -errno;
        snprintf(from, sizeof(from), "/proc/self/fd/%d", fd);
        snprintf(directory, sizeof(directory), "%.*s", (int)(strrchr(node, '/') - node), node);
        if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mount("oriel-gpu", directory, "tmpfs", MS_NOSUID | MS_NOEXEC, "mode=755,size=64k") < 0)
                return -errno;
        /* The file that the node is mounted on. */
        fd_close(open(node, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        return mount(from, node, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
}

/* In the child: never returns. */
static void run_server(const void *what, int fd)
{
        const struct render_server *server = what;
        struct render_failure failure = {server->node ? hide_other_nodes(server->node) : 0, true};
        char number[16];

        snprintf(number, sizeof(number), "%d", fd);
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        signal(SIGPIPE, SIG_DFL);
        if (failure.error == 0) {
                if (fcntl(fd, F_SETFD, 0) == 0)
                        execl(server->path, server->path, "--socket-fd", number, (char *)NULL);
                /* The program was found before: its interpreter is missing. */
                failure = (struct render_failure){errno == ENOENT ? -ENOEXEC : -errno, false};
        }
        (void)!write(server->failed_fd, &failure, sizeof(failure));
        _exit(127);
}

/* 0: the program runs. Otherwise the child's error. */
static int read_failure(int fd, bool *of_node)
{
        struct render_failure failure;
        ssize_t n;

        do
                n = read(fd, &failure, sizeof(failure));
        while (n < 0 && errno == EINTR);
        if (n == 0)
                return 0;
        *of_node = n == sizeof(failure) && failure.of_node;
        return n == sizeof(failure) ? failure.error : -EIO;
}

int venus_start_server(const char *path, const char *node, bool *of_node)
{
        struct render_server server = {path ? path : SERVER, node, -1};
        int ends[2];

        *of_node = false;
        if (access(server.path, X_OK) < 0 || pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        server.failed_fd = ends[1];

        int fd = helper_start(run_server, &server);

        fd_close(ends[1]);

        int r = fd < 0 ? fd : read_failure(ends[0], of_node);

        fd_close(ends[0]);
        if (r < 0)
                fd_close(fd);
        return r < 0 ? r : fd;
}
