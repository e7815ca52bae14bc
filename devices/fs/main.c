/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/options.h"
#include "channel/socket_file.h"
#include "devices/fs/device.h"

#include <errno.h>
#include <oriel/socket.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

/* What the command line says; the defaults are here. */
static const char *socket_path;
static const char *shared_dir;
static const char *tag = "oriel";
static const char *dialect;
static uint64_t dax_window;
static unsigned fd_number = UINT32_MAX;
static unsigned request_queues = 1;
static unsigned thread_pool_size = 1;
static bool readonly;
static bool allow_writable_dax;
static bool print_capabilities;
static bool verbose;

static const struct option_row rows[] = {
        {"socket-path", OPTION_STRING, &socket_path, "PATH", "listen on this Unix socket"},
        {"fd", OPTION_NUMBER, &fd_number, "FD", "use this inherited socket, listening or connected"},
        {"shared-dir", OPTION_STRING, &shared_dir, "DIR", "the directory to share"},
        {"tag", OPTION_STRING, &tag, "TAG", "the name the guest mounts it by (default: oriel)"},
        {"dax-window", OPTION_SIZE, &dax_window, "SIZE", "offer a DAX window of this size, such as 1G (default: none)"},
        {"readonly", OPTION_FLAG, &readonly, NULL, "let the guest change nothing"},
        {"allow-writable-dax", OPTION_FLAG, &allow_writable_dax, NULL,
         "with --readonly: DAX even where the front-end lets the guest write"},
        {"request-queues", OPTION_NUMBER, &request_queues, "N", "request queues, 1 to 64 (default: 1)"},
        {"thread-pool-size", OPTION_NUMBER, &thread_pool_size, "N", "threads for each, 1 to 64 (default: 1)"},
        {"dialect", OPTION_STRING, &dialect, "NAME", "the front-end's number for SHMEM: standard, shmem-21, shmem-20"},
        {"print-capabilities", OPTION_FLAG, &print_capabilities, NULL, "print the back-end's capabilities as JSON"},
        {"verbose", OPTION_FLAG, &verbose, NULL, "log every request"},
};

static const struct program program = {
        .name = "oriel-fs",
        .operands = "",
        .summary = "Share a directory with a virtual machine: a vhost-user back-end for virtio-fs, with DAX.\n"
                   "Serves one front-end after the other until SIGINT, SIGTERM or SIGHUP; with a connected --fd, that "
                   "one.",
        .rows = rows,
        .n_rows = ARRAY_SIZE(rows),
};

/* Every file that the guest has looked up is held open. */
static void raise_fd_limit(void)
{
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
                limit.rlim_cur = limit.rlim_max;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
}

static sigset_t ending_signals(void)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGINT);
        sigaddset(&set, SIGTERM);
        sigaddset(&set, SIGHUP);
        return set;
}

/* Before there is anything to be cleaned up. */
static void block_signals(void)
{
        const sigset_t set = ending_signals();

        signal(SIGPIPE, SIG_IGN);
        sigprocmask(SIG_BLOCK, &set, NULL);
}

static int open_signals(void)
{
        const sigset_t set = ending_signals();
        int fd = signalfd(-1, &set, SFD_CLOEXEC);

        return fd < 0 ? -errno : fd;
}

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

/* Serve whoever connects to @listener, or, if that is -1, the front-end attached already. Returns the exit status. */
static int serve(struct oriel_backend *backend, int listener, int signals)
{
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
                        oriel_backend_attach(backend, accepted);
        }
}

/* The socket to begin with: listening or connected. */
static int open_socket(struct socket_file *file)
{
        if (socket_path)
                return socket_file_listen(file, socket_path);

        int fd = fd_dup((int)fd_number);

        if (fd >= 0 && !is_stream_socket(fd)) {
                fd_close(fd);
                fd = -ENOTSOCK;
        }
        if (fd < 0)
                report("--fd=%u: %s", fd_number, strerror(-fd));
        return fd;
}

static int run(const struct device_options *options)
{
        _cleanup_(fd_closep) int socket = -1;
        _cleanup_(socket_file_remove) struct socket_file file = {.path = NULL};

        block_signals();
        socket = open_socket(&file);
        if (socket < 0)
                return STATUS_FAILURE;

        _cleanup_(fd_closep) int signals = open_signals();
        struct device *device = NULL;
        int r = signals < 0 ? signals : device_new(options, &device);

        if (r < 0)
                return fail("can't share %s: %s", options->shared_dir, strerror(-r));

        bool listening = is_listening(socket);

        if (!listening)
                r = oriel_backend_attach(device_backend(device), fd_take(&socket));

        int status = r < 0 ? fail("--fd=%u: %s", fd_number, strerror(-r))
                           : serve(device_backend(device), listening ? socket : -1, signals);

        device_free(device);
        return status;
}

static int check_usage(void)
{
        const char *wrong = NULL;

        if (!shared_dir)
                wrong = "--shared-dir is missing";
        else if (!socket_path == (fd_number == UINT32_MAX))
                wrong = "either --socket-path or --fd is needed";
        else if (strlen(tag) == 0 || strlen(tag) > 36)
                wrong = "--tag: 1 to 36 bytes are needed";
        else if (dax_window && (dax_window < 2 << 20 || dax_window & (dax_window - 1)))
                wrong = "--dax-window: a power of two is needed, at least 2M, because VMMs show it as a PCI BAR";
        else if (request_queues < 1 || request_queues > 64)
                wrong = "--request-queues: 1 to 64";
        else if (thread_pool_size < 1 || thread_pool_size > 64)
                wrong = "--thread-pool-size: 1 to 64";
        else if (dialect && !oriel_dialect_find(dialect))
                wrong = "--dialect: standard, shmem-21 or shmem-20";
        if (!wrong)
                return -1;
        report("%s (see oriel-fs --help)", wrong);
        return STATUS_USAGE;
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
                printf("{\n  \"type\": \"fs\",\n  \"features\": []\n}\n");
                return finish_output(STATUS_SUCCESS);
        }

        int status = options_parse(&program, argc, argv, NULL);

        if (status < 0)
                status = check_usage();
        if (status >= 0)
                return finish_output(status);
        raise_fd_limit();
        oriel_memory_survive_sigbus();

        const struct device_options options = {
                .shared_dir = shared_dir,
                .tag = tag,
                .window_size = dax_window,
                .readonly = readonly,
                .insist = allow_writable_dax,
                .request_queues = request_queues,
                .threads = thread_pool_size,
                .log = stderr_log(verbose),
                .dialect = dialect ? oriel_dialect_find(dialect) : NULL,
        };

        return run(&options);
}
