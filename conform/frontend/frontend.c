/* SPDX-License-Identifier: BSD-2-Clause */

/* The front-end under test, as the cases use it: its process and its connection, the service of its requests while a
 * case waits, requests of the suite on the back-end channel, and the mappings that it has made. front_step() is the
 * loop of everything: it serves the main channel until an answer has come. Answers are matched in order; one that is
 * late is still owed, and one that is invalid makes the connection unusable for later cases. Nothing here depends on a
 * case. One thread. */

#include "conform/frontend/frontend.h"
#include "program/signals.h"

#include <errno.h>
#include <oriel/socket.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOK_MS      20
#define SETTLE_MS    300  /* time without a message after which a started device counts as started completely */
#define RECONNECT_MS 5000 /* for a front-end to reconnect by itself */
#define FORGET_MS    2000 /* for an unmapping that is delayed */
#define AREA         (UINT64_C(1) << 20)

/* ---- the connection ---- */

void front_drop(struct front_end *f)
{
        message_close_fds(&f->reply);
        if (f->main.fd >= 0)
                channel_close(&f->main);
        if (f->back.fd >= 0)
                channel_close(&f->back);
        front_forget_memory(f);
        f->agreement = (struct agreement){.offers_protocol_features = true};
        memset(f->vrings, 0, sizeof(f->vrings));
        f->status = 0;
        f->at_start = NULL;
        f->settled = f->deaf = f->replied = f->spoiled = false;
        f->pause_at = f->n_placed = f->n_live = f->n_order = f->owed = 0;
        memset(f->seen, 0, sizeof(f->seen));
        f->violation.text[0] = '\0';
}

int front_accept(struct front_end *f, int64_t deadline_ms)
{
        struct pollfd p = {.fd = f->listener, .events = POLLIN};
        struct ucred peer = {0};

        /* In short intervals, to notice its end. */
        while (poll(&p, 1, 50) <= 0)
                if (now_ms() >= deadline_ms || signals_noted() || !process_runs(&f->process))
                        return -ETIMEDOUT;
        front_drop(f);

        int fd = oriel_socket_accept(f->listener);

        if (fd < 0)
                return fd;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &(socklen_t){sizeof(peer)}) == 0)
                f->pid = peer.pid;
        f->heard_ms = now_ms();
        return channel_init(&f->main, fd);
}

/* ---- serving ---- */

/* 1: return to the caller. */
static int serve_main(struct front_end *f)
{
        struct complaint complaint = {""};
        int r;

        while ((r = channel_receive(&f->main, UINT32_MAX, &complaint)) == 1) {
                f->heard_ms = now_ms();
                uint32_t id = f->main.in.header.request;

                front_handle(f, &f->main.in);
                channel_done(&f->main);
                if (id == f->pause_at)
                        return 1;
        }
        if (r == 0)
                return 0;
        front_drop(f);
        f->why = complaint;
        return -ENOTCONN;
}

/* 1: a message. The end of this channel does not end the connection. */
static int serve_back(struct front_end *f)
{
        int r = channel_receive(&f->back, UINT32_MAX, &f->why);

        if (r < 0)
                channel_close(&f->back);
        if (r != 1)
                return 0;
        message_close_fds(&f->reply);
        f->reply = f->back.in;
        f->back.in.n_fds = 0;
        channel_done(&f->back);
        f->replied = true;
        f->owed -= f->owed > 0;
        return 1;
}

int front_step(struct front_end *f, int64_t deadline_ms)
{
        for (;;) {
                struct pollfd fds[] = {{.fd = f->deaf ? -1 : f->main.fd, .events = POLLIN},
                                       {.fd = f->back.fd, .events = POLLIN}};

                if (f->main.fd < 0)
                        return -ENOTCONN;

                int n = poll(fds, ARRAY_SIZE(fds), poll_timeout(deadline_ms));

                if (n == 0 || signals_noted())
                        return 0;
                if (fds[1].revents && serve_back(f) == 1)
                        return 1;

                int r = fds[0].revents ? serve_main(f) : 0;

                if (r != 0)
                        return r < 0 ? r : 0;
                if (fds[1].revents && f->back.fd < 0)
                        return 0;
        }
}

int front_serve_for(struct front_end *f, int ms)
{
        int64_t deadline = now_ms() + ms;
        int r = 0;

        while (r >= 0 && now_ms() < deadline && !signals_noted())
                r = front_step(f, deadline);
        return r < 0 ? r : 0;
}

int front_serve_quiet(struct front_end *f, int ms)
{
        int r = 0;

        while (r == 0 && now_ms() < f->heard_ms + ms && !signals_noted())
                r = front_step(f, f->heard_ms + ms);
        return r < 0 ? r : 0;
}

/* ---- a running peer ---- */

static int front_end_wait_started(struct front_end *f)
{
        int64_t deadline = now_ms() + (int64_t)f->options->start_timeout_s * 1000;

        while (!f->settled) {
                bool started = front_is_started(f);
                int64_t quiet = f->heard_ms + SETTLE_MS;

                if (started && now_ms() >= quiet)
                        f->settled = true;
                else if (now_ms() >= deadline || signals_noted())
                        return -ETIMEDOUT;
                else if (front_step(f, started ? quiet : now_ms() + LOOK_MS) < 0)
                        return -ENOTCONN;
        }
        return 0;
}

/* The front-end reconnects by itself, or is restarted. */
static int get_connection(struct front_end *f)
{
        int64_t deadline = now_ms() + (int64_t)f->options->start_timeout_s * 1000;
        int r;

        if (f->main.fd >= 0 && (f->back.fd >= 0 || !f->settled))
                return 0;
        front_drop(f);
        if (process_runs(&f->process) && front_accept(f, now_ms() + RECONNECT_MS) == 0)
                return 0;
        process_stop(&f->process);
        r = process_start(&f->process, f->options->command, f->options->log);
        return r < 0 ? r : front_accept(f, deadline);
}

int front_connect(struct front_end *f, bool started)
{
        int r = get_connection(f);

        if (r < 0 || !started)
                return r;
        r = front_end_wait_started(f);
        if (r == -ENOTCONN && (r = get_connection(f)) == 0)
                r = front_end_wait_started(f);
        return r;
}

/* ---- requests ---- */

enum answer front_send(struct front_end *f, struct message *request, bool need_reply)
{
        f->why.text[0] = '\0';
        f->replied = false;
        if (need_reply)
                request->header.flags |= ORIEL_FLAG_NEED_REPLY;
        if (f->back.fd < 0 || wire_send(f->back.fd, request, f->timeout_ms) < 0)
                return CLOSED;
        f->owed += need_reply;
        return DONE;
}

enum answer front_take(struct front_end *f, uint32_t id, int timeout_ms)
{
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_BACKEND, id);
        int r = front_step(f, now_ms() + timeout_ms);

        if (r == 0)
                return f->back.fd < 0 ? CLOSED : SILENT;
        if (r < 0)
                return CLOSED;
        f->spoiled |= row ? message_check_reply(row, &f->reply, &f->agreement, &f->why) != 0
                          : !wire_is_acknowledgement(&f->reply, id, &f->why);
        if (f->spoiled)
                return BROKEN;
        return f->reply.payload.u64 == 0 ? DONE : REFUSED;
}

enum answer front_ask(struct front_end *f, struct message *request)
{
        bool acks = agreed(&f->agreement, ORIEL_PROTOCOL_F_REPLY_ACK);
        enum answer answer = front_send(f, request, acks);

        if (acks)
                return front_take(f, request->header.request, f->timeout_ms);
        return answer == DONE && front_serve_for(f, SETTLE_MS) == 0 ? UNTOLD : CLOSED;
}

static bool same_place(const struct oriel_wire_mmap *a, const struct oriel_wire_mmap *b)
{
        return a->shmid == b->shmid && a->shm_offset == b->shm_offset && a->len == b->len;
}

void front_init_map(struct message *request, const struct oriel_wire_mmap *map, int fd)
{
        wire_init(request, ORIEL_BACKEND_SHMEM_MAP, map, sizeof(*map));
        if (fd >= 0)
                wire_add_fd(request, fd);
}

enum answer front_map(struct front_end *f, const struct oriel_wire_mmap *map, int fd)
{
        struct message request;

        front_init_map(&request, map, fd);

        enum answer answer = front_ask(f, &request);

        if (BIT(answer) & ACCEPTED && f->n_placed < ARRAY_SIZE(f->placed))
                f->placed[f->n_placed++] = *map;
        return answer;
}

enum answer front_unmap(struct front_end *f, const struct oriel_wire_mmap *map)
{
        struct message request;

        wire_init(&request, ORIEL_BACKEND_SHMEM_UNMAP, map, sizeof(*map));

        enum answer answer = front_ask(f, &request);

        for (unsigned i = 0; BIT(answer) & ACCEPTED && i < f->n_placed; i++)
                if (same_place(&f->placed[i], map)) {
                        f->placed[i] = f->placed[--f->n_placed];
                        break;
                }
        return answer;
}

uint64_t front_area(const struct trial *trial)
{
        uint64_t areas = trial->front_end->options->region / 2 / AREA;

        return areas > 0 ? trial->index % areas * AREA : 0;
}

struct oriel_wire_mmap front_place(const struct trial *trial, unsigned page, uint64_t len)
{
        return (struct oriel_wire_mmap){
                .shm_offset = front_area(trial) + page * PAGE,
                .len = len,
                .flags = ORIEL_MMAP_READ_WRITE,
        };
}

struct oriel_wire_mmap front_row_place(const struct trial *trial)
{
        const uint64_t bases[] = {[FROM_AREA] = front_area(trial), [FROM_END] = trial->front_end->options->region};
        struct oriel_wire_mmap place = *(const struct oriel_wire_mmap *)trial->row->with;

        place.shm_offset += bases[trial->row->argument];
        return place;
}

bool front_sees(const struct front_end *f, int fd, struct mapped *out)
{
        return process_find_mapped(f->pid, f->process.pid, fd, out) == 0;
}

bool front_forgets(struct front_end *f, int fd)
{
        int64_t deadline = now_ms() + FORGET_MS;
        struct mapped mapped;

        while (front_sees(f, fd, &mapped) && mapped.count > 0) {
                if (now_ms() >= deadline || signals_noted())
                        return false;
                if (front_serve_for(f, 10) < 0)
                        usleep(10000);
        }
        return true;
}
