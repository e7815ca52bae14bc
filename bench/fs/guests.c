/* SPDX-License-Identifier: BSD-2-Clause */

/* How much memory GUESTS processes take that read the same file by DAX. Each is a child with a driver and a back-end
 * of its own; once it has read the file it sends its process IDs over a socket and sleeps until that is closed, so all
 * are alive when memory is summed. The sum is PSS, which counts a shared page once. A child closes the sockets of
 * earlier ones, else they would not see theirs end. All children are waited for, also after a failure. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "bench/fs/fs.h"
#include "program/report.h"
#include "program/spawn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUESTS 8

/* The message of a guest that has read the file. */
struct guest_ready {
        unsigned n_pids;
        pid_t pids[1 + MAX_PROCESSES];
};

struct guest {
        pid_t pid;
        int socket;
};

static void run_guest(const struct bench_place *place, int socket, pid_t parent)
{
        struct bench_session session;
        struct guest_ready ready = {.n_pids = 1, .pids = {getpid()}};
        char byte;

        spawn_follow(parent, SIGKILL);

        int r = dax_read_whole(&session, place, GUEST_SIZE / place->scale);

        for (unsigned i = 0; i < session.n_pids; i++)
                ready.pids[ready.n_pids++] = session.pids[i];
        /* Then it waits until the other end is closed. */
        if (r == 0 && write(socket, &ready, sizeof(ready)) == (ssize_t)sizeof(ready))
                r = (int)read(socket, &byte, 1);
        session_close(&session);
        _exit(r == 0 ? 0 : 1);
}

static int start_guest(const struct bench_place *place, struct guest *guest, const struct guest *others)
{
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return -errno;

        const pid_t self = getpid();

        guest->pid = fork();
        if (guest->pid == 0) {
                for (const struct guest *other = others; other < guest; other++)
                        fd_close(other->socket);
                fd_close(fds[0]);
                run_guest(place, fds[1], self);
        }
        fd_close(fds[1]);
        guest->socket = fds[0];
        return guest->pid < 0 ? -errno : 0;
}

/* -1: the guest has reported an error, or the user has asked for the end. */
static int wait_guest(const struct bench_place *place, const struct guest *guest, struct guest_ready *ready)
{
        struct pollfd fds[] = {{.fd = guest->socket, .events = POLLIN}, {.fd = place->interrupt_fd, .events = POLLIN}};

        poll(fds, ARRAY_SIZE(fds), -1);
        if (interrupted(place))
                return -1;
        return read(guest->socket, ready, sizeof(*ready)) == (ssize_t)sizeof(*ready) ? 0 : -1;
}

static int add_memory(const struct guest_ready *ready, uint64_t *rss, uint64_t *pss)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < ready->n_pids; i++)
                r = process_memory(ready->pids[i], rss, pss);
        return r;
}

static int measure_guests(const struct bench_place *place, struct figures *figures, struct guest *guests)
{
        struct guest_ready ready[GUESTS];
        uint64_t rss = 0, pss = 0;
        int r = 0;

        for (int i = 0; r == 0 && i < GUESTS; i++)
                r = start_guest(place, &guests[i], guests);
        for (int i = 0; r == 0 && i < GUESTS; i++)
                r = wait_guest(place, &guests[i], &ready[i]);
        for (int i = 0; r == 0 && i < GUESTS; i++)
                r = add_memory(&ready[i], &rss, &pss);
        if (r == 0) {
                figure_sample(figures_find(figures, DAX_GUESTS, "dax-guests"), 0, (double)(pss >> 10) / 1024);
                figure_sample(figures_find(figures, DAX_GUESTS, "dax-guests"), 1,
                              (double)(GUEST_SIZE >> 20) / place->scale);
        }
        return r;
}

void guests_add(struct figures *figures)
{
        static const struct figure guests = {DAX_GUESTS, "dax-guests", "", .bar = 1.1, .at_most = true};

        figures_add(figures, &guests, 1);
}

int guests_run(const struct bench_place *place, struct figures *figures)
{
        struct guest guests[GUESTS] = {0};

        if (!figures_have(figures, DAX_GUESTS))
                return 0;
        for (int i = 0; i < GUESTS; i++)
                guests[i].socket = -1;

        int r = measure_guests(place, figures, guests);

        if (r < -1)
                report("dax-guests: %s", strerror(-r));
        for (int i = 0; i < GUESTS; i++)
                fd_close(guests[i].socket);
        for (int i = 0; i < GUESTS; i++)
                if (guests[i].pid > 0)
                        waitpid(guests[i].pid, NULL, 0);
        return r < 0 ? -1 : 0;
}
