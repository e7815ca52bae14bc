/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/broker.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "channel/channel.h"
#include "cli/spawn.h"

#include <errno.h>
#include <oriel/socket.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS 10000

struct broker {
        pthread_mutex_t lock; /* one request at a time */
        uint32_t requests;
        struct channel channel;
        pid_t pid;
};

/* ---- the process ---- */

struct helper {
        const struct broker_item *items;
        unsigned n_items;
        pid_t *pids; /* of the programs, 0: none */
        struct channel channel;
};

static void end_program(struct helper *helper, unsigned item)
{
        if (helper->pids[item] <= 0)
                return;
        kill(helper->pids[item], SIGTERM);
        spawn_wait(helper->pids[item]);
        helper->pids[item] = 0;
}

/* The one before is ended first: it may hang, and two must not serve one guest. */
static int start_program(struct helper *helper, unsigned item)
{
        int socket = -1;

        end_program(helper, item);

        pid_t pid = spawn_with_socket(helper->items[item].program, helper->items[item].arguments, &socket);

        if (pid < 0)
                return (int)pid;
        helper->pids[item] = pid;
        return socket;
}

static int make_connection(struct helper *helper, uint64_t item)
{
        if (item >= helper->n_items)
                return -EINVAL;
        return helper->items[item].socket ? oriel_socket_connect(helper->items[item].socket)
                                          : start_program(helper, (unsigned)item);
}

static bool serve_one(struct helper *helper)
{
        struct complaint complaint;
        struct message reply;
        int r = channel_wait(&helper->channel, -1);

        if (r == 0)
                r = channel_receive(&helper->channel, UINT32_MAX, &complaint);
        if (r <= 0)
                return r == 0;

        uint32_t number = helper->channel.in.header.request;
        _cleanup_(fd_closep) int fd = make_connection(helper, helper->channel.in.payload.u64);

        channel_done(&helper->channel);
        message_init(&reply, number, ORIEL_VERSION);
        message_set_u64(&reply, fd < 0 ? (uint64_t)-fd : 0);
        if (fd >= 0)
                reply.fds[reply.n_fds++] = fd;
        return channel_send(&helper->channel, &reply, now_ms() + TIMEOUT_MS) == 0;
}

/* Programs are asked to end all at once, so that the slowest is waited for, and not the sum. */
static void end_all(struct helper *helper)
{
        for (unsigned i = 0; i < helper->n_items; i++)
                if (helper->pids[i] > 0)
                        kill(helper->pids[i], SIGTERM);
        for (unsigned i = 0; i < helper->n_items; i++)
                if (helper->pids[i] > 0)
                        spawn_wait(helper->pids[i]);
}

/* Signals at the terminal are the virtual machine's to act on. */
static _Noreturn void help(struct helper *helper, const struct socket_file *file)
{
        setpgid(0, 0);
        signal(SIGINT, SIG_IGN);
        signal(SIGTERM, SIG_IGN);
        signal(SIGHUP, SIG_IGN);
        while (serve_one(helper))
                ;
        end_all(helper);
        if (file) {
                struct socket_file made = *file;

                socket_file_remove(&made);
        }
        _exit(0);
}

/* ---- its owner ---- */

int broker_new(const struct broker_item *items, unsigned n_items, const struct socket_file *file, struct broker **out)
{
        _cleanup_(freep) struct broker *broker = calloc(1, sizeof(*broker));
        _cleanup_(freep) pid_t *pids = calloc(n_items + 1, sizeof(*pids));
        struct helper helper = {.items = items, .n_items = n_items, .pids = pids};
        int fds[2];

        if (!broker || !pids)
                return -ENOMEM;
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;

        _cleanup_(fd_closep) int ours = fds[0], theirs = fds[1];

        broker->pid = fork();
        if (broker->pid < 0)
                return -errno;
        if (broker->pid == 0) {
                ours = fd_close(ours);
                if (channel_init(&helper.channel, fd_take(&theirs)) < 0)
                        _exit(1);
                help(&helper, file);
        }
        pthread_mutex_init(&broker->lock, NULL);

        int r = channel_init(&broker->channel, fd_take(&ours));

        if (r < 0)
                return r;
        *out = steal(broker);
        return 0;
}

/* The answer to request @number; those before it came too late for who had asked. */
static int receive_answer(struct channel *channel, uint32_t number, int64_t deadline)
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

static int ask(struct broker *broker, unsigned item)
{
        const int64_t deadline = now_ms() + TIMEOUT_MS;
        struct channel *channel = &broker->channel;
        struct message request;

        message_init(&request, ++broker->requests, ORIEL_VERSION);
        message_set_u64(&request, item);

        int r = channel_send(channel, &request, deadline);

        if (r == 0)
                r = receive_answer(channel, broker->requests, deadline);
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

        int fd = ask(broker, item);

        pthread_mutex_unlock(&broker->lock);
        return fd;
}

void broker_free(struct broker *broker)
{
        if (!broker)
                return;
        channel_close(&broker->channel);
        /* Not for ever: what it has to end may be waiting for a disk. */
        for (int64_t deadline = now_ms() + TIMEOUT_MS; waitpid(broker->pid, NULL, WNOHANG) == 0 && now_ms() < deadline;)
                nanosleep(&(const struct timespec){0, 1000 * 1000}, NULL);
        pthread_mutex_destroy(&broker->lock);
        free(broker);
}
