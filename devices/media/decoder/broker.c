/* SPDX-License-Identifier: BSD-2-Clause */

/* Starts a process for each stream that is decoded. The daemon can't do so itself: its filter of system calls forbids
 * programs and processes. A request is one byte, with the new process's end of a socket.
 *
 * For each process that decodes there is a second one, which waits until that one ends or the daemon closes its end
 * of the socket, and then kills it. So a process that a bitstream has taken over can't outlive its stream, whatever
 * it does. */

#include "devices/media/decoder/broker.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/syscalls.h"
#include "daemon/helper.h"
#include "devices/media/decoder/protocol.h"
#include "program/sanitized.h"
#include "program/spawn.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROGRAM "oriel-media-codec"
/* Of addresses: the buffers of 32 pictures of the largest size, twice, and what a codec itself needs. */
#define MEMORY_MAX (UINT64_C(4) << 30)

/* Datagram sockets are excluded: by one, a process can send to any name. */
USES_SYSCALLS(SYSCALL_WITH_BOTH(socketpair, 0, UINT32_MAX, AF_UNIX, 1, SOCK_NONBLOCK - 1, SOCK_SEQPACKET));

struct codec_broker {
        char program[PATH_MAX];
        unsigned action;
};

/* The codec has no descriptors but its socket, as standard input, and standard error. */
static void run_codec(const struct codec_broker *broker, int socket)
{
        const struct rlimit memory = {MEMORY_MAX, MEMORY_MAX}, none = {0, 0};
        char action[16];
        sigset_t signals;

        sigemptyset(&signals);
        sigprocmask(SIG_SETMASK, &signals, NULL);
        setrlimit(RLIMIT_CORE, &none);
        if (!SANITIZED)
                setrlimit(RLIMIT_AS, &memory);
        snprintf(action, sizeof(action), "%u", broker->action);
        if (dup2(socket, STDIN_FILENO) == STDIN_FILENO && close_range(STDERR_FILENO + 1, ~0U, 0) == 0)
                execl(broker->program, PROGRAM, action, (char *)NULL);
        _exit(127);
}

/* Only this process can reap the codec, so its pid is not used again before it is killed. */
static void run_codec_and_wait(const struct codec_broker *broker, int socket)
{
        signal(SIGCHLD, SIG_DFL);

        const pid_t pid = fork();

        if (pid == 0)
                run_codec(broker, socket);

        struct pollfd fds[] = {{.fd = socket}, {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN}};

        if (pid > 0 && fds[1].fd >= 0)
                while (poll(fds, ARRAY_SIZE(fds), -1) < 0)
                        ;
        if (pid > 0) {
                kill(pid, SIGKILL);
                waitpid(pid, NULL, 0);
        }
        _exit(0);
}

static void codec_broker_run(const void *what, int fd)
{
        const struct codec_broker *broker = what;
        char byte;
        int socket;

        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        if (dup2(fd, STDIN_FILENO) != STDIN_FILENO || close_range(STDERR_FILENO + 1, ~0U, 0) < 0)
                _exit(1);
        close(STDOUT_FILENO);
        signal(SIGCHLD, SIG_IGN);
        while (codec_receive(STDIN_FILENO, &byte, sizeof(byte), &socket)) {
                if (socket >= 0 && fork() == 0)
                        run_codec_and_wait(broker, socket);
                fd_close(socket);
        }
        _exit(0);
}

int codec_broker_spawn(int broker)
{
        const char byte = 0;
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;

        const bool sent = codec_send(broker, &byte, sizeof(byte), fds[1]);

        fd_close(fds[1]);
        if (!sent)
                fds[0] = fd_close(fds[0]);
        return sent ? fds[0] : -EPIPE;
}

int codec_broker_start(unsigned action, unsigned *codecs)
{
        struct codec_broker own = {.action = action};
        struct codec_answer hello = {.type = 0};
        int fd;

        if (!find_beside(PROGRAM, X_OK, own.program, sizeof(own.program))) {
                snprintf(own.program, sizeof(own.program), "%s/%s", ORIEL_LIBEXECDIR, PROGRAM);
                if (access(own.program, X_OK) < 0)
                        return -ENOENT;
        }

        _cleanup_(fd_closep) int broker = helper_start(codec_broker_run, &own);
        _cleanup_(fd_closep) int first = broker < 0 ? -1 : codec_broker_spawn(broker);

        if (broker < 0)
                return broker;
        if (first < 0 || !codec_receive(first, &hello, sizeof(hello), &fd))
                return -EPIPE;
        fd_close(fd);
        *codecs = hello.index;
        return fd_take(&broker);
}
