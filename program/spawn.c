/* SPDX-License-Identifier: BSD-2-Clause */

/* Starting programs: a back-end with one end of a socket pair, or any program with its output in a file; and waiting
 * for their end. A name without a slash is looked for beside this program first, then in PATH. The child leaves the
 * terminal's process group, gets an empty signal mask, and SIGTERM when its parent ends. spawn_wait() polls waitpid(),
 * for three seconds at most. */

#include "program/spawn.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_ARGUMENTS 64
#define ASK_MS        3000

bool find_beside(const char *name, int mode, char *path, size_t size)
{
        char self[PATH_MAX];
        ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

        if (n <= 0)
                return false;
        self[n] = '\0';
        return (size_t)snprintf(path, size, "%s/%s", dirname(self), name) < size && access(path, mode) == 0;
}

/* In a build tree, programs must start those of the same build, whatever PATH has. */
static void find_program(const char *program, char *path, size_t size)
{
        if (strchr(program, '/') || !find_beside(program, X_OK, path, size))
                snprintf(path, size, "%s", program);
}

void spawn_follow(pid_t parent, int number)
{
        prctl(PR_SET_PDEATHSIG, number);
        /* The end of a parent that has ended before is no signal. */
        if (getppid() != parent)
                _exit(127);
}

static void spawn_run_child(const char *path, char *const *argv, pid_t parent)
{
        sigset_t none;

        spawn_follow(parent, SIGTERM);
        /* A Ctrl-C at the terminal is for the parent, which ends the child. */
        setpgid(0, 0);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        execvp(path, argv);
        _exit(127);
}

pid_t spawn_with_socket(const char *program, const char *const *arguments, int *socket)
{
        char path[PATH_MAX], option[32], *argv[MAX_ARGUMENTS + 3] = {path, option};
        int fds[2], n = 2;

        for (; arguments[n - 2] && n < MAX_ARGUMENTS; n++)
                argv[n] = (char *)arguments[n - 2];
        find_program(program, path, sizeof(path));
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;

        _cleanup_(fd_closep) int ours = fds[0], theirs = fds[1];

        snprintf(option, sizeof(option), "--fd=%d", theirs);

        const pid_t self = getpid();
        pid_t pid = fork();

        if (pid < 0)
                return -errno;
        if (pid == 0) {
                fcntl(theirs, F_SETFD, 0);
                spawn_run_child(path, argv, self);
        }
        *socket = fd_take(&ours);
        return pid;
}

static bool is_program(const char *path)
{
        struct stat st;

        return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

bool program_is_there(const char *program)
{
        const char *path = getenv("PATH");
        char at[PATH_MAX];

        if (strchr(program, '/') || find_beside(program, X_OK, at, sizeof(at)))
                return is_program(strchr(program, '/') ? program : at);
        /* As execvp(3) looks: an empty part is the current directory. */
        for (path = path ? path : "/bin:/usr/bin";; path++) {
                size_t n = strcspn(path, ":");
                const char *slash = n > 0 ? "/" : "";

                if ((size_t)snprintf(at, sizeof(at), "%.*s%s%s", (int)n, path, slash, program) < sizeof(at) &&
                    is_program(at))
                        return true;
                path += n;
                if (!*path)
                        return false;
        }
}

pid_t spawn_program(const char *program, const char *const *arguments)
{
        char path[PATH_MAX], *argv[MAX_ARGUMENTS + 2] = {path};

        for (int n = 0; n < MAX_ARGUMENTS && arguments[n]; n++)
                argv[n + 1] = (char *)arguments[n];
        find_program(program, path, sizeof(path));

        const pid_t self = getpid();
        pid_t pid = fork();

        if (pid == 0)
                spawn_run_child(path, argv, self);
        return pid < 0 ? -errno : pid;
}

pid_t spawn_logged(char *const *argv, int log)
{
        char path[PATH_MAX];

        find_program(argv[0], path, sizeof(path));

        const pid_t self = getpid();
        pid_t pid = fork();

        if (pid == 0) {
                dup2(log, STDOUT_FILENO);
                dup2(log, STDERR_FILENO);
                spawn_run_child(path, argv, self);
        }
        return pid < 0 ? -errno : pid;
}

/* Until the end, all of the room, or @until. */
static bool read_answer(int fd, const char *until, char *said, size_t size)
{
        const int64_t deadline = now_ms() + ASK_MS;
        struct pollfd from = {.fd = fd, .events = POLLIN};
        size_t used = 0;

        while (used < size - 1 && !(until && strstr(said, until))) {
                ssize_t n = poll(&from, 1, poll_timeout(deadline)) > 0 ? read(fd, said + used, size - 1 - used) : -1;

                if (n <= 0)
                        return n == 0;
                used += (size_t)n;
                said[used] = '\0';
        }
        return true;
}

bool spawn_ask(const char *program, const char *option, const char *until, char *said, size_t size)
{
        int pipes[2], status;

        said[0] = '\0';
        if (pipe2(pipes, O_CLOEXEC) < 0)
                return false;

        pid_t pid = spawn_logged((char *const[]){(char *)program, (char *)option, NULL}, pipes[1]);

        close(pipes[1]);

        bool all = pid > 0 && read_answer(pipes[0], until, said, size);

        close(pipes[0]);
        if (pid > 0)
                kill(pid, SIGKILL);
        if (pid > 0)
                waitpid(pid, &status, 0);
        return all;
}

bool program_lacks(const char *program, const char *option)
{
        enum { HELP_SIZE = 1 << 16 };
        _cleanup_(freep) char *said = malloc(HELP_SIZE);

        return said && spawn_ask(program, "--help", option, said, HELP_SIZE) && !strstr(said, option);
}

static bool wait_ms(pid_t pid, int ms)
{
        for (int i = 0; i < ms / 10; i++) {
                if (waitpid(pid, NULL, WNOHANG) != 0)
                        return true;
                usleep(10000);
        }
        return false;
}

bool spawn_wait(pid_t pid)
{
        if (wait_ms(pid, 2000))
                return true;
        kill(pid, SIGKILL);
        return wait_ms(pid, 1000);
}
