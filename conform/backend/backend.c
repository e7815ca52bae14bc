/* SPDX-License-Identifier: BSD-2-Clause */

/* The back-end under test, as the cases use it: the connection, its process if the suite has started it, requests and
 * their answers, and a check of it when a case is over. back_open() connects, and starts the process where it does not
 * run; a request is sent raw, and its answer classified as enum answer, by its row. A death of the process is noted and
 * fails the case. Nothing here depends on a case; cases.c has the tables. One thread. */

#include "conform/backend/backend.h"
#include "base/fd.h"
#include "program/signals.h"

#include <errno.h>
#include <oriel/socket.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MS 5

/* Each changes the rest of the session, so a case that needs one asks for it. */
#define NOT_BY_DEFAULT                                                                                     \
        (ORIEL_FEATURE(ORIEL_PROTOCOL_F_CROSS_ENDIAN) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_PAGEFAULT) |        \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_INBAND_NOTIFICATIONS) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_XEN_MMAP) | \
         ORIEL_FEATURE(ORIEL_PROTOCOL_F_GET_VRING_BASE_INFLIGHT) | ORIEL_FEATURE(ORIEL_PROTOCOL_F_GPA_ADDRESSES))
#define KNOWN (ORIEL_FEATURE(ORIEL_PROTOCOL_FEATURES) - 1)

/* ---- the connection ---- */

void back_close(struct back_end *b)
{
        message_close_fds(&b->reply);
        if (b->main.fd >= 0)
                channel_close(&b->main);
        b->back = fd_close(b->back);
        b->agreement = (struct agreement){0};
}

bool back_has(const struct back_end *b, unsigned protocol_feature)
{
        return agreed(&b->agreement, protocol_feature);
}

/* ---- requests and answers ---- */

static enum answer back_end_send_request(struct back_end *b, const struct message *request)
{
        int r = b->main.fd < 0 ? -EPIPE : wire_send(b->main.fd, request, b->timeout_ms);

        b->why.text[0] = '\0';
        return r == 0 ? DONE : r == -ETIMEDOUT ? SILENT : CLOSED;
}

static enum answer backend_receive(struct back_end *b, int timeout_ms)
{
        message_close_fds(&b->reply);
        b->why.text[0] = '\0';
        if (b->main.fd < 0)
                return CLOSED;

        enum answer answer = wire_receive(&b->main, timeout_ms, &b->why);

        if (answer == DONE) {
                b->reply = b->main.in;
                b->main.in.n_fds = 0;
                channel_done(&b->main);
        }
        if (answer == CLOSED)
                b->why.text[0] = '\0';
        if (answer == CLOSED || answer == BROKEN)
                channel_close(&b->main);
        return answer;
}

/* "Zero length of payload" can be read in two ways: an empty payload, or no bytes of the config space. */
static bool says_no(const struct oriel_message_row *row, const struct message *reply)
{
        if (row->reply_payload == ORIEL_PAYLOAD_CONFIG)
                return reply->header.size <= offsetof(struct oriel_wire_config, payload);
        return reply->header.size == 0 && row->reply_size.min != row->reply_size.max;
}

enum answer back_take(struct back_end *b, const struct oriel_message_row *row, uint32_t id, int timeout_ms)
{
        enum answer answer = backend_receive(b, timeout_ms);

        if (answer != DONE)
                return answer;
        if (row ? message_check_reply(row, &b->reply, &b->agreement, &b->why) != 0
                : !wire_is_acknowledgement(&b->reply, id, &b->why))
                return BROKEN;
        if (row && row_replies(row, &b->agreement))
                return says_no(row, &b->reply) ? REFUSED : DONE;
        return b->reply.payload.u64 == 0 ? DONE : REFUSED;
}

enum answer back_ask(struct back_end *b, struct message *request)
{
        uint32_t id = request->header.request;
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, id);
        bool replies = row && row_replies(row, &b->agreement), acks = back_has(b, ORIEL_PROTOCOL_F_REPLY_ACK);

        if (!replies && acks)
                request->header.flags |= ORIEL_FLAG_NEED_REPLY;

        enum answer answer = back_end_send_request(b, request);

        if (answer != DONE && answer != CLOSED)
                return answer;
        /* An answer that was sent before the end may still be readable. */
        if (replies || acks)
                return back_take(b, row, id, b->timeout_ms);
        answer = back_barrier(b, NULL);
        return answer == DONE ? UNTOLD : answer;
}

enum answer back_ask_fd(struct back_end *b, enum oriel_frontend_request id, const void *payload, uint32_t size, int fd)
{
        struct message request;

        wire_init(&request, id, payload, size);
        if (fd >= 0)
                wire_add_fd(&request, fd);
        return back_ask(b, &request);
}

enum answer back_ask_with(struct back_end *b, enum oriel_frontend_request id, const void *payload, uint32_t size)
{
        return back_ask_fd(b, id, payload, size, -1);
}

enum answer back_ask_u64(struct back_end *b, enum oriel_frontend_request id, uint64_t value)
{
        return back_ask_with(b, id, &value, sizeof(value));
}

enum answer back_get(struct back_end *b, enum oriel_frontend_request id, uint64_t *out)
{
        enum answer answer = back_ask_with(b, id, NULL, 0);

        *out = answer == DONE ? b->reply.payload.u64 : 0;
        return answer;
}

enum verdict back_try(struct trial *trial)
{
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, trial->row->argument);

        return expect(trial, row ? row->name : "the request",
                      back_ask_with(trial->back_end, trial->row->argument, NULL, 0), trial->row->allowed);
}

enum verdict back_try_count(struct trial *trial)
{
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, trial->row->argument);
        uint64_t n;

        if (expect(trial, row->name, back_get(trial->back_end, row->id, &n), BIT(DONE)) != PASSED)
                return FAILED;
        return n == 0 ? fails(trial, "0 %s", (const char *)trial->row->with) : PASSED;
}

enum answer back_get_queues(struct back_end *b, uint64_t *queues)
{
        return back_has(b, ORIEL_PROTOCOL_F_MQ) ? back_get(b, ORIEL_FRONTEND_GET_QUEUE_NUM, queues) : DONE;
}

bool back_may_send(const struct back_end *b, const struct oriel_message_row *row)
{
        if (row->gate == ORIEL_GATE_PROTOCOL_FEATURE)
                return back_has(b, row->feature);
        return row->gate == ORIEL_GATE_NONE ||
               (row->gate == ORIEL_GATE_PROTOCOL_FEATURES && b->agreement.offers_protocol_features);
}

enum answer back_barrier(struct back_end *b, unsigned *unasked)
{
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, ORIEL_FRONTEND_GET_FEATURES);
        struct message request;
        unsigned n = 0;

        wire_init(&request, row->id, NULL, 0);

        enum answer answer = back_end_send_request(b, &request);

        while (answer == DONE || answer == CLOSED) {
                answer = backend_receive(b, b->timeout_ms);
                if (answer != DONE || b->reply.header.request == row->id)
                        break;
                n++;
        }
        if (unasked)
                *unasked = n;
        if (answer == DONE && message_check_reply(row, &b->reply, &b->agreement, &b->why) != 0)
                return BROKEN;
        return answer;
}

/* The acknowledgement may come before the peer closes the descriptors of the request. */
int back_count_fds(struct back_end *b, int expected)
{
        back_barrier(b, NULL);

        int n = process_count_fds(b->process.pid);

        for (int i = 0; i < 20 && n > expected; i++) {
                usleep(10000);
                n = process_count_fds(b->process.pid);
        }
        return n;
}

/* ---- a new connection ---- */

/* A listener that has ended leaves its socket file, which not every program replaces. */
static void back_end_remove_stale(const char *path)
{
        struct stat st;

        if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && oriel_socket_connect(path) == -ECONNREFUSED)
                unlink(path);
}

/* The process may be restarted within a case; its death must not be forgotten then. */
static void note_death(struct back_end *b)
{
        char how[64];

        if (b->process.pid <= 0 || process_runs(&b->process))
                return;
        /* Together with the rest of its group; its end is checked at once. */
        process_stop(&b->process);
        if (b->death[0])
                return;
        if (b->one_shot && b->process.status == b->usual_status)
                return;
        process_describe(&b->process, how, sizeof(how));
        snprintf(b->death, sizeof(b->death), "the peer died (%s)", how);
}

static int make_sure_it_runs(struct back_end *b)
{
        if (!b->options->command)
                return 0;
        /* Otherwise the next connection could be made to a process that is about to end. */
        if (b->one_shot && b->served)
                process_ends(&b->process, now_ms() + b->timeout_ms);
        if (process_runs(&b->process))
                return 0;
        note_death(b);
        b->served = false;
        back_end_remove_stale(b->options->socket);
        return process_start(&b->process, b->options->command, b->options->log);
}

static int connect_to(struct back_end *b, int64_t deadline)
{
        int fd;

        while ((fd = oriel_socket_connect(b->options->socket)) < 0) {
                bool may_come = fd == -EAGAIN || (b->options->command && process_runs(&b->process));

                if (!may_come || now_ms() >= deadline || signals_noted())
                        return fd;
                usleep(LOOK_MS * 1000);
        }

        int r = channel_init(&b->main, fd);

        b->served = true;
        if (r < 0)
                channel_close(&b->main);
        return r;
}

/* A back-end that makes a new listener for each front-end drops connections to the old one: those are tried again. */
int back_open(struct back_end *b)
{
        int64_t start = now_ms() + (int64_t)b->options->start_timeout_s * 1000, deadline = now_ms() + b->timeout_ms;
        enum answer answer = CLOSED;
        int r;

        back_close(b);
        r = make_sure_it_runs(b);
        while (r == 0 && answer == CLOSED && !signals_noted()) {
                back_close(b);
                r = connect_to(b, start);
                if (r == 0)
                        answer = back_get(b, ORIEL_FRONTEND_GET_FEATURES, &b->features);
                if (answer == CLOSED && now_ms() >= deadline)
                        break;
                if (answer == CLOSED)
                        usleep(LOOK_MS * 1000);
        }
        if (r < 0)
                return r;
        return answer == DONE ? 0 : answer == CLOSED ? -ECONNRESET : answer == SILENT ? -ETIMEDOUT : -EPROTO;
}

/* ---- negotiation ---- */

static enum answer give_back_channel(struct back_end *b)
{
        int fds[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
                return BROKEN;
        b->back = fds[0];

        enum answer answer = back_ask_fd(b, ORIEL_FRONTEND_SET_BACKEND_REQ_FD, NULL, 0, fds[1]);

        fd_close(fds[1]);
        return answer;
}

static enum answer back_end_negotiate_protocol(struct back_end *b, uint64_t without)
{
        enum answer answer = back_get(b, ORIEL_FRONTEND_GET_PROTOCOL_FEATURES, &b->offered);
        uint64_t wanted = b->offered & KNOWN & ~NOT_BY_DEFAULT & ~without;

        if (answer != DONE)
                return answer;
        answer = back_ask_u64(b, ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, wanted);
        b->agreement.protocol_features = wanted;
        if (BIT(answer) & ACCEPTED && back_has(b, ORIEL_PROTOCOL_F_BACKEND_REQ))
                answer = give_back_channel(b);
        return answer;
}

enum answer back_negotiate(struct back_end *b, uint64_t without)
{
        enum answer answer = DONE;

        if (b->features & ORIEL_FEATURE(ORIEL_F_PROTOCOL_FEATURES)) {
                b->agreement.offers_protocol_features = true;
                answer = back_end_negotiate_protocol(b, without);
        }
        if (BIT(answer) & ACCEPTED)
                answer = b->owner = back_ask_with(b, ORIEL_FRONTEND_SET_OWNER, NULL, 0);
        return answer;
}

bool back_reopen(struct back_end *b, uint64_t without)
{
        return back_open(b) == 0 && BIT(back_negotiate(b, without)) & ACCEPTED;
}

/* ---- the peer's life ---- */

static bool peer_died(struct trial *trial)
{
        struct back_end *b = trial->back_end;

        note_death(b);
        if (b->death[0])
                fails(trial, "%s", b->death);
        return b->death[0];
}

/* If it has closed the connection itself, it may be about to end. */
static enum verdict look_at_process(struct trial *trial, enum verdict verdict, bool closed)
{
        struct back_end *b = trial->back_end;

        if (!b->options->command)
                return verdict;
        if (b->one_shot && !process_ends(&b->process, now_ms() + b->timeout_ms))
                return fails(trial, "the peer does not end with its connection");
        if (closed)
                process_ends(&b->process, now_ms() + LOOK_MS * 4);
        return peer_died(trial) ? FAILED : verdict;
}

static enum verdict look_at_listener(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        int r = back_open(b);

        if (r < 0)
                return fails(trial, "the peer takes no more connections: %s", strerror(-r));

        back_close(b);
        return PASSED;
}

enum verdict back_look_after(struct trial *trial, enum verdict verdict)
{
        struct back_end *b = trial->back_end;
        enum answer answer = back_barrier(b, NULL);
        bool closed = b->main.fd < 0;

        back_close(b);
        if (answer == SILENT && verdict != FAILED)
                verdict = fails(trial, "afterwards the peer does not answer any more");
        if (answer == BROKEN && verdict != FAILED)
                verdict = fails(trial, "afterwards: a wrong answer: %s", b->why.text);
        verdict = look_at_process(trial, verdict, closed);
        /* A process that hangs is stopped, so that the next cases can run. */
        if (answer == SILENT && b->options->command)
                process_stop(&b->process);
        if (verdict != FAILED && !b->one_shot) {
                enum verdict listens = look_at_listener(trial);

                verdict = listens == PASSED ? verdict : listens;
                if (peer_died(trial))
                        verdict = FAILED;
        }
        return verdict;
}
