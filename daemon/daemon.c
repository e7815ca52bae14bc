/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel-fs: from the command line to the loop that serves front-ends. The order matters, since each step gives up
 * rights that the steps before it need: limits and the log, the socket and the pid file, the sandbox, capabilities and
 * groups, the share, and at last the filter of system calls. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "daemon/pid_file.h"
#include "daemon/sandbox.h"
#include "daemon/syscalls.h"
#include "daemon/system_log.h"
#include "devices/fs/device.h"
#include "devices/fs/options.h"
#include "program/footprint.h"
#include "program/kernel_check.h"
#include "program/report.h"
#include "program/signals.h"
#include "program/socket_file.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <oriel/socket.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/param.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(poll), SYSCALL(getsockopt), SYSCALL(shutdown));

static bool is_listening(int fd)
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

/* Serve whoever connects to @listener, the first one only if @once; or, if @listener is -1, the front-end attached
 * already. Returns the exit status. */
static int serve(struct device *device, int listener, int signals, bool once)
{
        struct oriel_backend *backend = device_backend(device);

        for (;;) {
                int connection = oriel_backend_get_fd(backend);
                struct pollfd fds[] = {
                        {.fd = signals, .events = POLLIN},
                        {.fd = connection < 0 ? listener : connection, .events = POLLIN},
                };

                if (connection < 0 && listener < 0)
                        return STATUS_SUCCESS;
                if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
                        continue;
                if (fds[0].revents)
                        return STATUS_SUCCESS;
                if (connection >= 0) {
                        oriel_backend_dispatch(backend);
                        continue;
                }

                int accepted = oriel_socket_accept(listener);

                if (accepted >= 0)
                        device_attach(device, accepted);
                if (accepted >= 0 && once)
                        listener = -1;
        }
}

/* ---- what it is started with ---- */

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

/* The socket to begin with: listening or connected. */
static int open_socket(const struct command_line *line, struct socket_file *file)
{
        if (line->socket_path && line->socket_group)
                return listen_for_group(file, line->socket_path, line->socket_group);
        if (line->socket_path)
                return socket_file_listen(file, line->socket_path);

        int fd = fd_dup((int)line->fd);

        if (fd >= 0 && !is_stream_socket(fd)) {
                fd_close(fd);
                fd = -ENOTSOCK;
        }
        if (fd < 0)
                report("--fd=%u: %s", line->fd, strerror(-fd));
        return fd;
}

/* Every file that the guest has looked up may be held open. The limit is the system's, or root's to raise. */
static int set_fd_limit(const struct command_line *line)
{
        struct rlimit limit;
        rlim_t wanted = line->rlimit_nofile;

        if (wanted == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return STATUS_SUCCESS;
        if (line->rlimit_nofile == UINT32_MAX)
                wanted = 1000000;

        struct rlimit raised = {wanted, wanted > limit.rlim_max ? wanted : limit.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
                return STATUS_SUCCESS;
        if (line->rlimit_nofile != UINT32_MAX)
                return fail("--rlimit-nofile=%u: %s; as this user, at most %ju", line->rlimit_nofile, strerror(errno),
                            (uintmax_t)limit.rlim_max);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        return STATUS_SUCCESS;
}

/* ---- the process that serves ---- */

static struct oriel_log make_log(const struct command_line *line)
{
        static const enum oriel_log_level levels[] = {
                [LEVEL_ERROR] = ORIEL_LOG_ERROR, [LEVEL_WARN] = ORIEL_LOG_WARNING, [LEVEL_INFO] = ORIEL_LOG_INFO,
                [LEVEL_DEBUG] = ORIEL_LOG_DEBUG, [LEVEL_TRACE] = ORIEL_LOG_DEBUG,  [LEVEL_OFF] = ORIEL_LOG_ERROR,
        };
        struct oriel_log log = stderr_log(false);

        log.level = line->debug ? ORIEL_LOG_DEBUG : levels[line->log_level];
        if (line->to_syslog)
                log.write = system_log_write;
        if (line->log_level == LEVEL_OFF)
                log.write = NULL;
        return log;
}

/* Drops groups and capabilities. Do privileged work before. */
static int give_up_rights(const struct command_line *line)
{
        if (geteuid() == 0)
                setgroups(0, NULL);

        int r = sandbox_drop_capabilities(&line->sandbox);

        return r < 0 ? fail("the capabilities can't be dropped: %s", strerror(-r)) : STATUS_SUCCESS;
}

/* For scripts that start a front-end then. */
static void say_waiting(const struct command_line *line)
{
        if (line->log_level == LEVEL_OFF)
                return;
        if (line->socket_path)
                printf("waiting for a front-end on %s\n", line->socket_path);
        else
                printf("waiting for a front-end\n");
        fflush(stdout);
}

/* A device has opened the shared directory, so that nothing is opened by a path from then on: the filter comes after
 * it, and before anything that a front-end has sent is read. */
static int serve_device(struct device *device, const struct command_line *line, int *socket, int signals)
{
        bool listening = is_listening(*socket);
        int r = syscalls_limit(line->seccomp);

        if (r < 0)
                return fail("the filter of system calls: %s", strerror(-r));
        if (listening)
                say_waiting(line);
        footprint_trim();
        if (!listening)
                r = device_attach(device, fd_take(socket));
        return r < 0 ? fail("--fd=%u: %s", line->fd, strerror(-r))
                     : serve(device, listening ? *socket : -1, signals, line->once);
}

/* 0, or what is wrong has been said. */
static int make_device(struct command_line *line, int proc_fd, struct device **device)
{
        const struct device_options options = {
                .fs = &line->fs,
                .proc_fd = proc_fd,
                .tag = line->tag,
                .request_queues = line->request_queues,
                .poll_us = line->poll_us,
                .threads = MIN(MAX(line->thread_pool_size, 1u), 64u),
                .log = make_log(line),
                .dialect = line->dialect ? oriel_dialect_find(line->dialect) : NULL,
        };
        const char *dir = line->fs.shared_dir;

        if (line->sandbox.mode != SANDBOX_NONE)
                line->fs.shared_dir = "/";

        int r = device_new(&options, device);

        return r < 0 ? fail("can't share %s: %s", dir, strerror(-r)) : STATUS_SUCCESS;
}

static int serve_directory(struct command_line *line, int socket, int signals, int proc_fd)
{
        struct device *device = NULL;
        int status = make_device(line, proc_fd, &device);

        if (status == STATUS_SUCCESS)
                status = serve_device(device, line, &socket, signals);
        device_free(device);
        fd_close(socket);
        return status;
}

/* The files that say that this process, the one that was started, is there: they have it as their owner to the end. The
 * one in the sandbox leaves them to it; their directories are outside. */
struct own_files {
        struct socket_file socket;
        struct pid_file pid;
        struct inherited_locks locks;
};

static void own_files_remove(struct own_files *files)
{
        pid_file_remove(&files->pid);
        socket_file_remove(&files->socket);
}

static void own_files_forget(struct own_files *files)
{
        inherited_locks_forget(&files->locks);
        pid_file_forget(&files->pid);
        socket_file_forget(&files->socket);
}

static int try_to_share(struct command_line *line, struct own_files *files, int signals)
{
        struct device *device = NULL;
        int proc_fd;
        pid_t pid = sandbox_enter(&line->sandbox, &proc_fd);

        if (pid > 0)
                return sandbox_supervise(pid, signals);
        own_files_forget(files);
        if (pid < 0 || give_up_rights(line) != STATUS_SUCCESS)
                return STATUS_FAILURE;
        return make_device(line, proc_fd, &device);
}

/* Whether files can be opened by handle depends on what is left in the sandbox, which can't be left again: so that is
 * tried in a process of its own, before anybody could wait for the socket. */
static int rehearse(struct command_line *line, struct own_files *files, int signals)
{
        int status;

        if (line->fs.file_handles != FS_HANDLES_MANDATORY)
                return STATUS_SUCCESS;

        pid_t pid = fork();

        if (pid == 0)
                _exit(try_to_share(line, files, signals));
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
                return fail("a process: %s", strerror(errno));
        return WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_FAILURE;
}

/* What is wrong with it is better said before the sandbox makes something else of it. */
static int look_at_directory(const char *path)
{
        _cleanup_(fd_closep) int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

        return fd < 0 ? fail("can't share %s: %s", path, strerror(errno)) : STATUS_SUCCESS;
}

/* Before there is anything to be cleaned up. */
static void ignore_signals(void)
{
        signal(SIGPIPE, SIG_IGN);
        /* With a limit on the size of files (RLIMIT_FSIZE), the guest gets EFBIG. */
        signal(SIGXFSZ, SIG_IGN);
}

static int run(struct command_line *line)
{
        _cleanup_(fd_closep) int socket = -1;
        _cleanup_(own_files_remove) struct own_files files = {.socket.name = NULL};
        int proc_fd;

        if (inherited_locks_keep(&files.locks, line->fd) != STATUS_SUCCESS)
                return STATUS_FAILURE;
        ignore_signals();

        _cleanup_(fd_closep) int signals = signals_open();

        if (signals < 0)
                return fail("signalfd: %s", strerror(-signals));
        if (line->to_syslog) {
                int r = system_log_open();

                if (r < 0)
                        return fail("--syslog: %s", strerror(-r));
        }
        if (set_fd_limit(line) != STATUS_SUCCESS || look_at_directory(line->fs.shared_dir) != STATUS_SUCCESS ||
            rehearse(line, &files, signals) != STATUS_SUCCESS)
                return STATUS_FAILURE;
        socket = open_socket(line, &files.socket);
        if (socket < 0)
                return STATUS_FAILURE;
        /* Who waits for the file may connect then, and a second daemon has found the socket in use. */
        if (line->socket_path && pid_file_make(&files.pid, line->socket_path) != STATUS_SUCCESS)
                return STATUS_FAILURE;

        pid_t pid = sandbox_enter(&line->sandbox, &proc_fd);

        if (pid > 0) {
                socket = fd_close(socket);
                footprint_trim();
                return sandbox_supervise(pid, signals);
        }
        if (pid == 0 && line->sandbox.mode != SANDBOX_NONE)
                own_files_forget(&files);
        if (pid < 0 || give_up_rights(line) != STATUS_SUCCESS)
                return STATUS_FAILURE;
        return serve_directory(line, fd_take(&socket), signals, proc_fd);
}

/* "Backend program conventions": whatever else is there is ignored, however wrong. */
static bool asks_capabilities(int argc, char **argv)
{
        for (int i = 1; i < argc; i++)
                if (strcmp(argv[i], "--print-capabilities") == 0)
                        return true;
        return false;
}

int main(int argc, char **argv)
{
        if (asks_capabilities(argc, argv)) {
                printf("{\n  \"type\": \"fs\",\n  \"features\": [\n    \"posix-acl-negotiation-mode\",\n"
                       "    \"security-label-negotiation-mode\",\n    \"separate-options\"\n  ]\n}\n");
                return finish_output(STATUS_SUCCESS);
        }

        struct command_line *line;
        int status = command_line_read(argc, argv, &line);

        if (status >= 0)
                return finish_output(status);
        if (kernel_check() < 0)
                return STATUS_FAILURE;
        oriel_memory_survive_sigbus();
        return run(line);
}
