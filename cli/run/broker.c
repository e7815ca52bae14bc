/* SPDX-License-Identifier: BSD-2-Clause */

/* The process that the user starts as "oriel run"; the virtual machine is its child. It does what the machine's process
 * may not do in its sandbox: connect to back-ends, and start those that are ours, again if they end. And it ends
 * whatever happens to the machine: a descriptor that a back-end passes can make the machine's process wait for a file's
 * server past every signal (close() of a FUSE file), so this process never receives such a descriptor.
 *
 * Signals that ask for an end are passed on. The machine tells its exit status before it exits, since the exit may
 * not complete; if a signal ends it, this process ends by the same one. In either case the programs that were
 * started are ended first, and the files of sockets removed. If this process is killed, the kernel kills the
 * machine, and asks the programs to end (PR_SET_PDEATHSIG). Both stay in the process group that they were started
 * in, so that a shell stops and continues both. */

#include "cli/run/broker.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "channel/channel.h"
#include "program/report.h"
#include "program/signals.h"
#include "program/spawn.h"

#include <errno.h>
#include <oriel/socket.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum {
        TIMEOUT_MS = 10000, /* for an answer of the broker */
        /* After a signal that asks for an end, until the machine tells its status: before it is ready, and after. */
        START_MS = 2000,
        READY_MS = 30000,
        /* For all processes together: after SIGTERM, and then after SIGKILL. */
        ASKED_MS = 2000,
        KILLED_MS = 8000,
        LISTENS_MS = 4000, /* for a program to listen, after its start: less than a machine that ends waits for its
                              devices */
        LISTENS_LOOK_MS = 2,
};

/* From the machine. Nothing else is accepted from it, and no descriptor. */
struct broker_request {
        enum { REQUEST_CONNECT, REQUEST_READY, REQUEST_END } kind;
        uint32_t number, value; /* the item; whether the terminal's mode is changed; the exit status */
};

struct broker {
        pthread_mutex_t lock; /* one request at a time */
        uint32_t requests;
        struct channel channel;
};

/* ---- the broker's own process ---- */

struct helper {
        const struct broker_item *items;
        unsigned n_items;
        pid_t *pids; /* of the programs; 0: not running */

        pid_t machine; /* 0: it has ended, with @wait_status */
        int wait_status;
        bool ready, said, killed;
        bool raw;         /* the machine has changed the terminal's mode */
        int status;       /* if @said */
        int signal;       /* that asked for an end; 0: none */
        int64_t asked_ms; /* when it did */

        struct channel channel;
        int signals, pid_fd;
        bool has_terminal;
        struct termios terminal; /* its mode at the start */
};

/* Signals that would end this process, and SIGCONT, which has to continue the machine too if it was stopped with us. */
static const int forwarded[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT};

static bool has_ended(pid_t *pid, int *status)
{
        if (*pid > 0 && waitpid(*pid, status, WNOHANG) != 0)
                *pid = 0;
        return *pid <= 0;
}

static bool have_programs_ended(struct helper *helper)
{
        bool ended = true;
        int status;

        for (unsigned i = 0; i < helper->n_items; i++)
                ended &= has_ended(&helper->pids[i], &status);
        return ended;
}

static void signal_programs(struct helper *helper, int number)
{
        for (unsigned i = 0; i < helper->n_items; i++)
                if (helper->pids[i] > 0)
                        kill(helper->pids[i], number);
}

/* A program that listens takes its time to begin with that. */
static int connect_to_program(struct helper *helper, unsigned item)
{
        const int64_t deadline = now_ms() + LISTENS_MS;
        int status;

        for (;;) {
                int fd = oriel_socket_connect(helper->items[item].socket);

                if (fd != -ENOENT && fd != -ECONNREFUSED)
                        return fd;
                /* The end of the machine does not wait for it. */
                struct pollfd fds[] = {{.fd = helper->signals, .events = POLLIN},
                                       {.fd = helper->pid_fd, .events = POLLIN}};

                if (has_ended(&helper->pids[item], &status))
                        return -ECHILD;
                if (now_ms() >= deadline || poll(fds, ARRAY_SIZE(fds), LISTENS_LOOK_MS) > 0)
                        return -ETIME;
        }
}

/* Ends the item's previous program first: it may hang, and two must not serve one guest. */
static int start_program(struct helper *helper, unsigned item)
{
        int socket = -1;

        if (helper->pids[item] > 0) {
                kill(helper->pids[item], SIGTERM);
                if (!spawn_wait(helper->pids[item]))
                        return -EBUSY;
                helper->pids[item] = 0;
        }

        const struct broker_item *from = &helper->items[item];

        /* Else it would be connected to before the new one listens. */
        if (from->socket)
                unlink(from->socket);

        pid_t pid = from->socket ? spawn_program(from->program, from->arguments)
                                 : spawn_with_socket(from->program, from->arguments, &socket);

        if (pid < 0)
                return (int)pid;
        helper->pids[item] = pid;
        return from->socket ? connect_to_program(helper, item) : socket;
}

static int make_connection(struct helper *helper, uint32_t item)
{
        if (item >= helper->n_items)
                return -EINVAL;
        return helper->items[item].program ? start_program(helper, item)
                                           : oriel_socket_connect(helper->items[item].socket);
}

static bool connect_for(struct helper *helper, const struct broker_request *request)
{
        _cleanup_(fd_closep) int fd = make_connection(helper, request->value);
        struct message reply;

        message_init(&reply, request->number, ORIEL_PROTOCOL_VERSION);
        message_set_u64(&reply, fd < 0 ? (uint64_t)-fd : 0);
        if (fd >= 0)
                reply.fds[reply.n_fds++] = fd;
        return channel_send(&helper->channel, &reply, 0) == 0;
}

/* False: no more requests will come. recv() has no room for control data, so the kernel drops any descriptors. */
static bool serve_one(struct helper *helper)
{
        struct broker_request request;
        ssize_t n = recv(helper->channel.fd, &request, sizeof(request), MSG_DONTWAIT);

        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return true;
        if (n != sizeof(request))
                return false;
        if (request.kind == REQUEST_CONNECT)
                return connect_for(helper, &request);
        if (request.kind == REQUEST_READY) {
                helper->ready = true;
                helper->raw = request.value;
                return true;
        }
        helper->said = true;
        helper->status = (int)request.value;
        return false;
}

/* Whether the signal makes the machine end. Once ready, the machine handles SIGINT, SIGTERM and SIGHUP
 * (signals_open()); otherwise its disposition is that of this process, and it may ignore the signal. */
static bool asks_for_end(const struct helper *helper, int number)
{
        struct sigaction action;

        if (helper->ready && (number == SIGINT || number == SIGTERM || number == SIGHUP))
                return true;
        return number != SIGCONT && sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_IGN;
}

static void hand_on_signal(struct helper *helper)
{
        struct signalfd_siginfo info;

        if (read(helper->signals, &info, sizeof(info)) != sizeof(info))
                return;
        kill(helper->machine, (int)info.ssi_signo);
        if (helper->signal == 0 && asks_for_end(helper, (int)info.ssi_signo)) {
                helper->signal = (int)info.ssi_signo;
                helper->asked_ms = now_ms();
        }
}

/* Without a pidfd the machine's end would not be noticed: don't wait for it. */
static int64_t expiry_of(const struct helper *helper)
{
        if (helper->signal == 0)
                return helper->pid_fd < 0 ? now_ms() : -1;
        return helper->asked_ms + (helper->ready ? READY_MS : START_MS);
}

/* Serves requests until the machine ends, tells its status, or has not done so in time after a signal. */
static void broker_serve(struct helper *helper)
{
        for (;;) {
                struct pollfd fds[] = {
                        {.fd = helper->channel.fd, .events = POLLIN},
                        {.fd = helper->signals, .events = POLLIN},
                        {.fd = helper->pid_fd, .events = POLLIN},
                };
                int n = poll(fds, ARRAY_SIZE(fds), poll_timeout(expiry_of(helper)));

                if (n == 0)
                        return;
                if (n < 0)
                        continue;
                /* Reads first what the machine has sent before it ended. */
                if (fds[0].revents && !serve_one(helper))
                        channel_close(&helper->channel);
                if (fds[1].revents)
                        hand_on_signal(helper);
                if (helper->said || (fds[2].revents && !fds[0].revents))
                        return;
        }
}

/* ---- its end ---- */

static bool wait_for_end(struct helper *helper, int64_t expiry, bool machine)
{
        for (;;) {
                bool programs = have_programs_ended(helper);

                if ((has_ended(&helper->machine, &helper->wait_status) || !machine) && programs)
                        return true;
                if (now_ms() >= expiry)
                        return false;
                usleep(1000);
        }
}

static void kill_machine(struct helper *helper)
{
        if (helper->machine <= 0)
                return;
        helper->killed = true;
        kill(helper->machine, SIGKILL);
}

/* Asks all programs to end at once, so that the slowest is waited for and not the sum. The wait has a limit, because
 * a program may be waiting for a disk or a file's server. */
static void end_all(struct helper *helper)
{
        if (!helper->said)
                kill_machine(helper);
        signal_programs(helper, SIGTERM);
        if (wait_for_end(helper, now_ms() + ASKED_MS, true))
                return;
        kill_machine(helper);
        signal_programs(helper, SIGKILL);
        wait_for_end(helper, now_ms() + KILLED_MS, false);
}

/* Ends by the machine's signal, for the parent of this process. Without a core: the machine has dumped its own. */
static int end_by_signal(int number)
{
        sigset_t none;

        setrlimit(RLIMIT_CORE, &(const struct rlimit){0, 0});
        prctl(PR_SET_DUMPABLE, 0);
        signal(number, SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        kill(getpid(), number);
        return 128 + number;
}

static int end_as_machine(const struct helper *helper)
{
        bool by_signal = helper->machine == 0 && WIFSIGNALED(helper->wait_status);
        bool ours = helper->killed && by_signal && WTERMSIG(helper->wait_status) == SIGKILL;

        if (helper->machine == 0 && !ours)
                return by_signal ? end_by_signal(WTERMSIG(helper->wait_status)) : WEXITSTATUS(helper->wait_status);
        if (helper->said)
                return helper->status;
        if (!helper->ready && helper->signal > 0)
                return end_by_signal(helper->signal);
        return fail("the machine's process did not end within %d s after the signal, and was killed", READY_MS / 1000);
}

/* Restores the terminal's mode if the machine's process may not have done so. */
static void restore_terminal(const struct helper *helper)
{
        sigset_t set;

        if (!helper->has_terminal || !helper->raw || helper->said)
                return;
        /* With SIGTTOU blocked, this works in a background process group too. */
        sigemptyset(&set);
        sigaddset(&set, SIGTTOU);
        sigprocmask(SIG_BLOCK, &set, NULL);
        tcsetattr(STDIN_FILENO, TCSANOW, &helper->terminal);
}

static void remove_files(const struct helper *helper, struct broker_files *files)
{
        for (unsigned i = 0; files->folder && i < helper->n_items; i++)
                if (helper->items[i].program && helper->items[i].socket)
                        unlink(helper->items[i].socket);
        if (files->folder)
                rmdir(files->folder);
        socket_file_remove(&files->control.file);
        socket_file_remove(&files->console.file);
}

static int broker_help(struct helper *helper, struct broker_files *files)
{
        helper->pid_fd = (int)syscall(SYS_pidfd_open, helper->machine, 0);
        broker_serve(helper);
        has_ended(&helper->machine, &helper->wait_status);
        end_all(helper);
        restore_terminal(helper);
        remove_files(helper, files);
        channel_close(&helper->channel);
        fd_close(helper->pid_fd);
        fd_close(helper->signals);
        return end_as_machine(helper);
}

/* ---- the machine's process ---- */

/* A client controls the machine, or is at its console. False: it was reported. */
static bool listen_privately(struct broker_listener *listener)
{
        mode_t mask = umask(0177);

        listener->fd = listener->path ? socket_file_listen(&listener->file, listener->path) : -1;
        umask(mask);
        return !listener->path || listener->fd >= 0;
}

static bool make_files(struct broker_files *files)
{
        if (files->folder && mkdir(files->folder, 0700) < 0) {
                report("%s: %s", files->folder, strerror(errno));
                return false;
        }
        if (listen_privately(&files->control) && listen_privately(&files->console))
                return true;
        socket_file_remove(&files->control.file);
        if (files->folder)
                rmdir(files->folder);
        return false;
}

/* Prepares what both processes need. */
static int broker_prepare(struct helper *helper, struct broker *broker, sigset_t *before)
{
        int fds[2], r;

        /* If SIGCHLD were ignored, waitpid() would return no status. */
        signal(SIGCHLD, SIG_DFL);
        helper->has_terminal = tcgetattr(STDIN_FILENO, &helper->terminal) == 0;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;
        r = channel_init(&helper->channel, fds[0]);
        if (r == 0)
                r = channel_init(&broker->channel, fds[1]);
        if (r < 0)
                return r;
        /* Blocks the signals, so that none is lost until the machine opens its own descriptor for them. */
        helper->signals = signals_open_for(forwarded, ARRAY_SIZE(forwarded), before);
        return helper->signals < 0 ? helper->signals : 0;
}

int broker_new(const struct broker_item *items, unsigned n_items, struct broker_files *files, struct broker **out)
{
        _cleanup_(freep) struct broker *broker = calloc(1, sizeof(*broker));
        _cleanup_(freep) pid_t *pids = calloc(n_items + 1, sizeof(*pids));
        struct helper helper = {.items = items, .n_items = n_items, .pids = pids};
        const pid_t self = getpid();
        sigset_t before;

        *out = NULL;

        int r = broker && pids ? broker_prepare(&helper, broker, &before) : -ENOMEM;

        if (r < 0)
                return fail("%s", strerror(-r));
        if (!make_files(files))
                return STATUS_FAILURE;
        helper.machine = fork();
        if (helper.machine < 0) {
                r = fail("fork: %s", strerror(errno));
                remove_files(&helper, files);
                return r;
        }
        if (helper.machine == 0) {
                spawn_follow(self, SIGKILL);
                sigprocmask(SIG_SETMASK, &before, NULL);
                fd_close(helper.signals);
                channel_close(&helper.channel);
                pthread_mutex_init(&broker->lock, NULL);
                socket_file_forget(&files->control.file);
                socket_file_forget(&files->console.file);
                *out = steal(broker);
                return STATUS_SUCCESS;
        }
        channel_close(&broker->channel);
        return broker_help(&helper, files);
}

/* Receives the answer to request @number, and drops those of earlier requests, which have timed out. */
static int broker_receive_answer(struct channel *channel, uint32_t number, int64_t deadline)
{
        struct complaint complaint;

        for (;;) {
                int r = channel_receive(channel, UINT32_MAX, &complaint);

                if (r < 0)
                        return r;
                if (r == 1 && channel->in.header.request == number)
                        return 0;
                if (r == 1)
                        channel_done(channel);
                else if (channel_wait(channel, deadline) < 0)
                        return -ETIMEDOUT;
        }
}

static int broker_report(struct broker *broker, const struct broker_request *request)
{
        ssize_t n = send(broker->channel.fd, request, sizeof(*request), MSG_DONTWAIT | MSG_NOSIGNAL);

        return n == sizeof(*request) ? 0 : -EPIPE;
}

static int broker_ask(struct broker *broker, unsigned item)
{
        struct channel *channel = &broker->channel;
        int r = broker_report(broker, &(struct broker_request){REQUEST_CONNECT, ++broker->requests, item});

        if (r == 0)
                r = broker_receive_answer(channel, broker->requests, now_ms() + TIMEOUT_MS);
        if (r < 0)
                return r == -ETIMEDOUT ? r : -EPIPE;

        int fd = message_take_fd(&channel->in, 0);
        uint64_t error = channel->in.payload.u64;

        channel_done(channel);
        return error ? -(int)error : fd < 0 ? -EPROTO : fd;
}

int broker_connect(struct broker *broker, unsigned item)
{
        pthread_mutex_lock(&broker->lock);

        int fd = broker_ask(broker, item);

        pthread_mutex_unlock(&broker->lock);
        return fd;
}

void broker_say_ready(struct broker *broker, bool raw)
{
        broker_report(broker, &(struct broker_request){.kind = REQUEST_READY, .value = raw});
}

void broker_say_end(struct broker *broker, int status)
{
        broker_report(broker, &(struct broker_request){.kind = REQUEST_END, .value = (uint32_t)status});
}

void broker_free(struct broker *broker)
{
        if (!broker)
                return;
        channel_close(&broker->channel);
        pthread_mutex_destroy(&broker->lock);
        free(broker);
}
