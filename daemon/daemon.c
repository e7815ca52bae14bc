/* SPDX-License-Identifier: BSD-2-Clause */

/* The frame of every device daemon: from the command line to the loop that serves front-ends. Each stage gives up what
 * the stages behind it do without, so their order matters:
 *
 *  stage                    what the process may still do when it has ended
 *  1 options                all that its user may
 *  2 inherited descriptors  the same, with those that it was given for a purpose alone
 *  3 signals, log, limits   the same; SIGINT, SIGTERM and SIGHUP come by a descriptor, SIGUSR1 too if the device has
 *                           a use for it
 *  4 rehearsal, if asked    the same: a process of its own has tried stages 6 and 7
 *  5 socket, pid file       the same; from here on others know that it is there
 *  6 sandbox                see the device's root directory and nothing else of the host, no processes, no network
 *                           but the socket; the process that was started stays outside, waits, and cleans up
 *  7 rights                 only the device's capabilities; no groups
 *  8 device                 the same, with what the device has opened: nothing is opened by a path from here on
 *  9 filter                 only the system calls that the program's files name
 * 10 loop                   the same: what a front-end sends is read here for the first time */

#include "daemon/daemon.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "daemon/options.h"
#include "daemon/pid_file.h"
#include "daemon/sandbox.h"
#include "daemon/system_log.h"
#include "program/accept.h"
#include "program/footprint.h"
#include "program/kernel_check.h"
#include "program/report.h"
#include "program/signals.h"
#include "program/socket_file.h"
#include "seccomp/filter.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <oriel/socket.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The last rows are calls that the C library makes by itself and needs. */
USES_SYSCALLS(SYSCALL(poll), SYSCALL(getsockopt),

              SYSCALL_WITH(mmap, 2, PROT_EXEC, 0), SYSCALL_WITH(mprotect, 2, PROT_EXEC, 0), SYSCALL(munmap),
              SYSCALL(mremap), SYSCALL(madvise), SYSCALL(brk), SYSCALL(futex), SYSCALL(set_robust_list), SYSCALL(rseq),
              SYSCALL(exit), SYSCALL(exit_group), SYSCALL(gettid), SYSCALL(getpid), SYSCALL(sched_yield),
              SYSCALL(sched_getaffinity), SYSCALL(rt_sigaction), SYSCALL(rt_sigprocmask), SYSCALL(rt_sigreturn),
              SYSCALL(sigaltstack), SYSCALL(restart_syscall), SYSCALL(clock_gettime), SYSCALL(gettimeofday),
              SYSCALL(nanosleep), SYSCALL(clock_nanosleep), SYSCALL(getrandom), SYSCALL(close), SYSCALL(read),
              SYSCALL(write), SYSCALL(writev), SYSCALL(lseek), SYSCALL(fstat), SYSCALL_AT(newfstatat, 0),
              SYSCALL_WITH(prlimit64, 0, UINT32_MAX, 0));

/* Newer forms of calls, which a C library may make where the code names the older. */
SYSCALL_ROWS newer_forms[] = {SYSCALL(ppoll), SYSCALL(epoll_pwait), SYSCALL(preadv), SYSCALL(pwritev),
                              SYSCALL_AT(statx, 0)};

/* ---- 1 ---- */

/* "Backend program conventions": other options are ignored, even invalid ones. */
static struct log_budget lines; /* of the present front-end */

static bool asks_capabilities(int argc, char **argv)
{
        for (int i = 1; i < argc; i++)
                if (strcmp(argv[i], "--print-capabilities") == 0)
                        return true;
        return false;
}

static int print_capabilities(const struct daemon_device *device)
{
        printf("{\n  \"type\": \"%s\"", device->type);
        if (device->features)
                printf(",\n  \"features\": [");
        for (size_t i = 0; device->features && device->features[i]; i++)
                printf("%s\n    \"%s\"", i == 0 ? "" : ",", device->features[i]);
        printf("%s\n}\n", device->features ? "\n  ]" : "");
        return finish_output(STATUS_SUCCESS);
}

/* ---- 3 ---- */

/* At this point nothing needs cleaning up. */
static void ignore_signals(void)
{
        signal(SIGPIPE, SIG_IGN);
        /* With a limit on the size of files (RLIMIT_FSIZE), the write then fails with EFBIG. */
        signal(SIGXFSZ, SIG_IGN);
}

/* A device may hold a descriptor for whatever its guest opens. The hard limit is the system's; root may raise it. */
static int set_fd_limit(void)
{
        const bool named = daemon_options.rlimit_nofile != UINT32_MAX;
        const rlim_t wanted = named ? daemon_options.rlimit_nofile : 1000000;
        struct rlimit limit;

        if (wanted == 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return STATUS_SUCCESS;

        struct rlimit raised = {wanted, wanted > limit.rlim_max ? wanted : limit.rlim_max};

        if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
                return STATUS_SUCCESS;
        if (named)
                return fail("--rlimit-nofile=%u: %s; as this user, at most %ju", daemon_options.rlimit_nofile,
                            strerror(errno), (uintmax_t)limit.rlim_max);
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        return STATUS_SUCCESS;
}

static int open_log(const struct daemon_device *device)
{
        int r = daemon_options.to_syslog ? system_log_open(device->name) : 0;

        return r < 0 ? fail("--syslog: %s", strerror(-r)) : STATUS_SUCCESS;
}

/* ---- 5 ---- */

/* The option's value, or -1 if @fd is no socket. */
static int socket_option(int fd, int option)
{
        int value = -1;
        socklen_t size = sizeof(value);

        return getsockopt(fd, SOL_SOCKET, option, &value, &size) < 0 ? -1 : value;
}

/* The file has its mode and group before its name is visible: chmod(2) by path would follow a link that another process
 * puts there. */
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
        /* A process without CAP_CHOWN may still use a group of its own. */
        if (fd >= 0 && lchown(path, (uid_t)-1, group->gr_gid) < 0) {
                report("--socket-group=%s: %s: %s", name, path, strerror(errno));
                fd = fd_close(fd);
        }
        return fd;
}

/* Opens the first socket, listening or connected, as the options say. An fd, or a negative errno after a report. */
static int open_socket(struct socket_file *file)
{
        if (daemon_options.socket_path && daemon_options.socket_group)
                return listen_for_group(file, daemon_options.socket_path, daemon_options.socket_group);
        if (daemon_options.socket_path)
                return socket_file_listen(file, daemon_options.socket_path);

        int fd = fd_dup((int)daemon_options.fd);

        if (fd >= 0 && socket_option(fd, SO_TYPE) != SOCK_STREAM) {
                fd_close(fd);
                fd = -ENOTSOCK;
        }
        if (fd < 0)
                report("--fd=%u: %s", daemon_options.fd, strerror(-fd));
        return fd;
}

/* ---- the files that show that this process runs ---- */

/* The files of the process that was started, which keeps them until its end. The one in the sandbox forgets them; it
 * can't reach their directories. */
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

/* ---- 7 and 8 ---- */

static int give_up_rights(void)
{
        if (geteuid() == 0)
                setgroups(0, NULL);

        int r = sandbox_drop_capabilities(&daemon_options.sandbox);

        return r < 0 ? fail("the capabilities can't be dropped: %s", strerror(-r)) : STATUS_SUCCESS;
}

/* Takes @proc_fd. */
static int make_device(const struct daemon_device *device, int proc_fd, void **out)
{
        _cleanup_(fd_closep) int owned = proc_fd;
        const bool moved = daemon_options.sandbox.root && daemon_options.sandbox.mode != SANDBOX_NONE;
        const struct daemon_start start = {
                .root = moved ? "/" : daemon_options.sandbox.root,
                .proc_fd = &owned,
                .log = daemon_log(),
                .lines = &lines,
                .dialect = daemon_options.dialect ? oriel_dialect_find(daemon_options.dialect) : NULL,
        };

        return device->new_device(&start, out);
}

/* ---- 4 ---- */

static int try_device(const struct daemon_device *device, struct own_files *files, int signals)
{
        void *object = NULL;
        int proc_fd;
        pid_t pid = sandbox_enter(&daemon_options.sandbox, &proc_fd);

        if (pid > 0)
                return sandbox_supervise(pid, signals);
        own_files_forget(files);
        if (pid < 0 || give_up_rights() != STATUS_SUCCESS)
                return STATUS_FAILURE;
        return make_device(device, proc_fd, &object);
}

static int daemon_rehearse(const struct daemon_device *device, struct own_files *files, int signals)
{
        int status;

        if (!daemon_options.rehearse)
                return STATUS_SUCCESS;

        pid_t pid = fork();

        if (pid == 0)
                _exit(try_device(device, files, signals));
        if (pid < 0 || waitpid(pid, &status, 0) < 0)
                return fail("a process: %s", strerror(errno));
        return WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_FAILURE;
}

/* ---- 9 and 10 ---- */

static struct oriel_backend *backend_of(const struct daemon_device *device, void *object)
{
        return device->backend ? device->backend(object) : object;
}

static int daemon_attach(const struct daemon_device *device, void *object, int fd)
{
        atomic_store(&lines.used, 0);
        return device->attach ? device->attach(object, fd) : oriel_backend_attach(backend_of(device, object), fd);
}

/* Reads a signal from @signals. True: it asks for the end. */
static bool daemon_take_signal(const struct daemon_device *device, void *object, int signals)
{
        struct signalfd_siginfo info;

        if (read(signals, &info, sizeof(info)) != sizeof(info))
                return false;
        if (signal_asks_end(info.ssi_signo))
                return true;
        device->signalled(object);
        return false;
}

/* Serves each front-end that connects to @listener, only the first one with --once; or, if @listener is -1, the one
 * that is attached already. */
static int daemon_loop(const struct daemon_device *device, void *object, int listener, int signals)
{
        struct oriel_backend *backend = backend_of(device, object);
        _cleanup_(fd_closep) int spare = listener < 0 ? -1 : fd_dup(listener);

        for (;;) {
                int connection = oriel_backend_get_fd(backend);
                struct pollfd fds[] = {
                        {.fd = signals, .events = POLLIN},
                        {.fd = connection < 0 ? listener : connection, .events = POLLIN},
                        {.fd = oriel_backend_get_answer_fd(backend), .events = POLLIN},
                };

                if (connection < 0 && listener < 0)
                        return STATUS_SUCCESS;
                if (poll(fds, ARRAY_SIZE(fds), -1) < 0)
                        continue;
                if (fds[0].revents && daemon_take_signal(device, object, signals))
                        return STATUS_SUCCESS;
                if (fds[0].revents)
                        continue;
                if (connection >= 0 || fds[2].revents) {
                        oriel_backend_dispatch(backend);
                        continue;
                }

                int accepted = accept_or_refuse(listener, &spare);

                if (accepted >= 0)
                        daemon_attach(device, object, accepted);
                if (accepted >= 0 && daemon_options.once)
                        listener = -1;
        }
}

/* For scripts that start a front-end when they read this line. */
static void daemon_say_waiting(void)
{
        const char *path = daemon_options.socket_path;

        if (daemon_options.log_level == DAEMON_LOG_OFF)
                return;
        printf("waiting for a front-end%s%s\n", path ? " on " : "", path ? path : "");
        fflush(stdout);
}

/* Only who has files may remove any: with an inherited socket there are none. */
static int enter_filter(const struct daemon_device *device)
{
        /* For the linker the rows are one array each. */
        // cppcheck-suppress comparePointers
        const size_t n = (size_t)(__stop_oriel_syscalls - __start_oriel_syscalls);
        // cppcheck-suppress comparePointers
        const size_t at_end = (size_t)(__stop_oriel_syscalls_at_end - __start_oriel_syscalls_at_end);
        const bool has_files = daemon_options.socket_path || (device->has_files && device->has_files());
        _cleanup_(freep) struct syscall_row *rows = calloc(n + at_end, sizeof(*rows));

        if (!rows)
                return -ENOMEM;
        memcpy(rows, __start_oriel_syscalls, n * sizeof(*rows));
        if (has_files)
                memcpy(rows + n, __start_oriel_syscalls_at_end, at_end * sizeof(*rows));
        return filter_enter(daemon_options.seccomp, rows, has_files ? n + at_end : n);
}

static int daemon_serve(const struct daemon_device *device, void *object, int *socket, int signals)
{
        bool listening = socket_option(*socket, SO_ACCEPTCONN) > 0;
        int r = enter_filter(device);

        if (r < 0)
                return fail("the filter of system calls: %s", strerror(-r));
        if (listening)
                daemon_say_waiting();
        footprint_trim();
        if (!listening)
                r = daemon_attach(device, object, fd_take(socket));
        return r < 0 ? fail("--fd=%u: %s", daemon_options.fd, strerror(-r))
                     : daemon_loop(device, object, listening ? *socket : -1, signals);
}

static int make_and_serve(const struct daemon_device *device, int socket, int signals, int proc_fd)
{
        void *object = NULL;
        int status = make_device(device, proc_fd, &object);

        if (status == STATUS_SUCCESS)
                status = daemon_serve(device, object, &socket, signals);
        device->free_device(object);
        fd_close(socket);
        return status;
}

static int daemon_run(const struct daemon_device *device)
{
        _cleanup_(fd_closep) int socket = -1, signals = -1;
        _cleanup_(own_files_remove) struct own_files files = {.socket.name = NULL};
        int proc_fd;

        if (inherited_locks_keep(&files.locks, daemon_options.fd) != STATUS_SUCCESS)
                return STATUS_FAILURE;
        ignore_signals();
        signals = device->signalled ? signals_open_and(SIGUSR1) : signals_open();
        if (signals < 0)
                return fail("signalfd: %s", strerror(-signals));
        if (open_log(device) != STATUS_SUCCESS || set_fd_limit() != STATUS_SUCCESS ||
            (device->check_files && device->check_files() != STATUS_SUCCESS) ||
            daemon_rehearse(device, &files, signals) != STATUS_SUCCESS)
                return STATUS_FAILURE;
        socket = open_socket(&files.socket);
        if (socket < 0)
                return STATUS_FAILURE;
        /* A process that waits for this file may connect from here on, and a second daemon has found the socket in
         * use. */
        if (daemon_options.socket_path && pid_file_make(&files.pid, daemon_options.socket_path) != STATUS_SUCCESS)
                return STATUS_FAILURE;

        pid_t pid = sandbox_enter(&daemon_options.sandbox, &proc_fd);

        if (pid > 0) {
                socket = fd_close(socket);
                footprint_trim();
                return sandbox_supervise(pid, signals);
        }
        if (pid == 0 && daemon_options.sandbox.mode != SANDBOX_NONE)
                own_files_forget(&files);
        if (pid < 0 || give_up_rights() != STATUS_SUCCESS)
                return STATUS_FAILURE;
        return make_and_serve(device, fd_take(&socket), signals, proc_fd);
}

int daemon_main(const struct daemon_device *device, int argc, char **argv)
{
        if (asks_capabilities(argc, argv))
                return print_capabilities(device);

        int status = daemon_options_read(device, argc, argv);

        if (status >= 0)
                return finish_output(status);
        if (kernel_check() < 0)
                return STATUS_FAILURE;
        oriel_memory_survive_sigbus();
        return daemon_run(device);
}
