/* SPDX-License-Identifier: BSD-2-Clause */

/* "oriel v4l2": shows a virtio-media back-end as a V4L2 node to a command and to all that it starts. In these
 * processes a preloaded library (cli/v4l2/preload) stands in for the kernel, and sends calls to this process.
 * Several processes open a node, again and again, and a back-end serves one front-end, so this process has the only
 * connection to it. It ends with the command. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/limits.h"
#include "cli/commands.h"
#include "cli/v4l2/protocol.h"
#include "cli/v4l2/server.h"
#include "program/options.h"
#include "program/report.h"
#include "program/signals.h"
#include "program/socket_file.h"
#include "program/spawn.h"

#include <errno.h>
#include <limits.h>
#include <oriel/socket.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIBRARY "liboriel-v4l2.so"

static struct {
        const char *connect, *device;
        bool verbose;
} wanted;

static const struct option_row rows[] = {
        {"connect", OPTION_STRING, &wanted.connect, "SOCKET",
         "the socket of a virtio-media back-end, such as oriel-media's"},
        {"device", OPTION_STRING, &wanted.device, "NAME",
         "/dev/videoN (default: the first that is free; V4L2_DEVICE tells COMMAND)"},
        {"verbose", OPTION_FLAG, &wanted.verbose, NULL, "say more"},
};

static const struct program program = {
        .name = "oriel v4l2",
        .operands = "COMMAND [ARGUMENT]...",
        .summary =
                "Run COMMAND, which sees a virtio-media back-end as a V4L2 device: no virtual machine and no kernel\n"
                "module is needed. What COMMAND starts sees it too. Ends with COMMAND, and with its exit status.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
        .min_operands = 1,
        .max_operands = INT_MAX,
};

struct v4l2_run {
        struct oriel_driver *driver;
        struct v4l2_server *server;
        char folder[96];
        struct sockaddr_un address;
        int listener, signals;
        sigset_t mask; /* of COMMAND */
        pid_t command;
};

/* ---- the environment of the command ---- */

static bool find_library(char *path, size_t size)
{
        if (find_beside(LIBRARY, R_OK, path, size))
                return true;
        snprintf(path, size, "%s/%s", ORIEL_LIBEXECDIR, LIBRARY);
        return access(path, R_OK) == 0;
}

static int choose_device(char *device, size_t size)
{
        unsigned number = 0;
        char rest;

        if (wanted.device && (sscanf(wanted.device, "/dev/video%3u%c", &number, &rest) != 1 || number > 255))
                return options_wrong_usage(&program, "--device=%s is not /dev/videoN", wanted.device);
        do
                snprintf(device, size, "/dev/video%u", number);
        while (!wanted.device && access(device, F_OK) == 0 && number++ < 255);
        if (!wanted.device && (number > 0 || wanted.verbose))
                report("the device is %s", device);
        return -1;
}

static int set_environment(const struct v4l2_run *run, const char *device)
{
        char path[PATH_MAX], *preload = NULL;
        const char *before = getenv("LD_PRELOAD");

        if (!find_library(path, sizeof(path)))
                return fail("there is no " LIBRARY ", neither beside oriel nor in " ORIEL_LIBEXECDIR);
        if (asprintf(&preload, "%s%s%s", path, before ? ":" : "", before ? before : "") < 0)
                return fail("%s", strerror(ENOMEM));
        setenv("LD_PRELOAD", preload, 1);
        free(preload);
        setenv(V4L2_SOCKET_VARIABLE, run->address.sun_path, 1);
        setenv(V4L2_DEVICE_VARIABLE, device, 1);
        return STATUS_SUCCESS;
}

/* The socket is in a new folder that only this user can enter. */
static int listen_for_files(struct v4l2_run *run)
{
        const char *parent = getenv("TMPDIR");

        if (!parent || strlen(parent) > sizeof(run->folder) - sizeof("/oriel-v4l2-XXXXXX"))
                parent = "/tmp";
        snprintf(run->folder, sizeof(run->folder), "%s/oriel-v4l2-XXXXXX", parent);
        if (!mkdtemp(run->folder)) {
                run->folder[0] = '\0';
                return fail("a folder in %s: %s", parent, strerror(errno));
        }
        run->address.sun_family = AF_UNIX;
        snprintf(run->address.sun_path, sizeof(run->address.sun_path), "%s/node", run->folder);
        run->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (run->listener < 0 || bind(run->listener, (struct sockaddr *)&run->address, sizeof(run->address)) < 0 ||
            listen(run->listener, SOMAXCONN) < 0)
                return fail("%s: %s", run->address.sun_path, strerror(errno));
        return STATUS_SUCCESS;
}

static int v4l2_connect_device(struct v4l2_run *run)
{
        const struct oriel_log log = stderr_log(wanted.verbose);
        const struct oriel_driver_options options = {.struct_size = sizeof(options),
                                                     .log = &log,
                                                     .queues = 2,
                                                     .memory_size = UINT64_C(512) << 20,
                                                     .keep_fds = 1024};
        int fd = oriel_socket_connect(wanted.connect);

        if (fd < 0)
                return fail("%s: %s", wanted.connect, socket_words(fd));

        int r = oriel_driver_new(&options, fd, &run->driver);

        if (r == 0)
                r = v4l2_server_new(run->driver, run->listener, &run->server);
        if (r == -ENODEV || r == -EOPNOTSUPP)
                return fail("%s: it is no media device", wanted.connect);
        return r < 0 ? fail("%s: %s", wanted.connect, strerror(-r)) : STATUS_SUCCESS;
}

static int start_command(struct v4l2_run *run, char **argv)
{
        /* Keeps orphans of COMMAND as descendants of this process: Yama lets it read the memory of descendants only. */
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        run->command = fork();
        if (run->command < 0)
                return fail("fork: %s", strerror(errno));
        if (run->command > 0) {
                limit_raise_fds();
                return STATUS_SUCCESS;
        }
        signal(SIGPIPE, SIG_DFL);
        signal(SIGXFSZ, SIG_DFL);
        sigprocmask(SIG_SETMASK, &run->mask, NULL);
        execvp(argv[0], argv);

        const int error = errno;

        report("%s: %s", argv[0], strerror(error));
        _exit(error == ENOENT ? 127 : 126);
}

/* ---- the loop ---- */

/* Returns the command's exit status as a shell reports it, or -1 while it runs. */
static int command_reap(const struct v4l2_run *run)
{
        int status, result = -1;
        pid_t pid;

        while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
                if (pid == run->command)
                        result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        return result;
}

/* Passes signals on to the command, except those of the terminal, which it has received itself. */
static int handle_signals(const struct v4l2_run *run)
{
        struct signalfd_siginfo info;
        int status = -1;

        while (read(run->signals, &info, sizeof(info)) == (ssize_t)sizeof(info))
                if (info.ssi_signo == SIGCHLD)
                        status = command_reap(run);
                else if (info.ssi_code != SI_KERNEL)
                        kill(run->command, (int)info.ssi_signo);
        return status;
}

static void close_device(struct v4l2_run *run)
{
        v4l2_server_free(run->server);
        oriel_driver_free(run->driver);
        run->server = NULL;
        run->driver = NULL;
        run->listener = fd_close(run->listener);
}

static int v4l2_run_loop(struct v4l2_run *run)
{
        int status = -1;

        while (status < 0) {
                int r = run->server ? v4l2_server_dispatch(run->server) : 0;

                if (r < 0) {
                        report("%s: the back-end is gone: %s", wanted.connect, strerror(-r));
                        close_device(run);
                }

                struct pollfd fds[] = {{.fd = run->signals, .events = POLLIN},
                                       {.fd = run->server ? v4l2_server_fd(run->server) : -1, .events = POLLIN}};

                if (poll(fds, ARRAY_SIZE(fds), -1) >= 0 && fds[0].revents)
                        status = handle_signals(run);
        }
        return status;
}

static int v4l2_run_command(struct v4l2_run *run, char **argv)
{
        const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGCHLD};
        char device[32];
        int status = choose_device(device, sizeof(device));

        if (status >= 0)
                return status;
        run->signals = signals_open_for(numbers, ARRAY_SIZE(numbers), &run->mask);
        if (run->signals < 0)
                return fail("signalfd: %s", strerror(-run->signals));
        status = listen_for_files(run);
        if (status == STATUS_SUCCESS)
                status = v4l2_connect_device(run);
        if (status == STATUS_SUCCESS)
                status = set_environment(run, device);
        if (status == STATUS_SUCCESS)
                status = start_command(run, argv);
        return status == STATUS_SUCCESS ? v4l2_run_loop(run) : status;
}

int command_v4l2(int argc, char **argv)
{
        struct v4l2_run run = {.listener = -1, .signals = -1};
        char **operands;
        int status = options_parse(&program, argc, argv, &operands);

        if (status >= 0)
                return status;
        if (!wanted.connect)
                return options_wrong_usage(&program, "--connect=SOCKET is needed");
        status = v4l2_run_command(&run, operands);
        close_device(&run);
        fd_close(run.signals);
        if (run.folder[0]) {
                unlink(run.address.sun_path);
                rmdir(run.folder);
        }
        return status;
}
