/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/hostile/hostile.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "channel/rights.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define HEADER sizeof(struct oriel_wire_header)

union control {
        struct cmsghdr align;
        char room[CMSG_SPACE(RAW_FDS * sizeof(int))];
};

static void add_fds(struct raw *raw, unsigned n, int fd)
{
        raw->n_fds = n;
        for (unsigned i = 0; i < RAW_FDS; i++)
                raw->fds[i] = fd;
}

void raw_init(struct raw *raw, const struct oriel_message_row *row, int fd)
{
        *raw = (struct raw){.header = {row->id, ORIEL_PROTOCOL_VERSION, row->size.min}};
        add_fds(raw, row->fds.min, fd);
        if (row->payload == ORIEL_PAYLOAD_VRING_FD || row->payload == ORIEL_PAYLOAD_VRING_AREA)
                raw->payload[1] = 1;
}

void raw_init_u64s(struct raw *raw, uint32_t request, const uint64_t *words, uint32_t size)
{
        *raw = (struct raw){.header = {request, ORIEL_PROTOCOL_VERSION, size}};
        if (size > 0)
                memcpy(raw->payload, words, size);
}

/* ---- sockets ---- */

bool raw_send_part(int socket, const struct raw *raw, size_t n)
{
        uint8_t bytes[HEADER + sizeof(raw->payload)];
        struct iovec iov = {bytes, n};
        struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
        union control control;

        memcpy(bytes, &raw->header, HEADER);
        memcpy(bytes + HEADER, raw->payload, sizeof(raw->payload));
        if (n == 0)
                return true;
        if (raw->n_fds > 0)
                rights_attach(&msg, &control, raw->fds, raw->n_fds);
        return sendmsg(socket, &msg, MSG_NOSIGNAL) == (ssize_t)n;
}

bool raw_send(int socket, const struct raw *raw)
{
        size_t size = raw->header.size < sizeof(raw->payload) ? raw->header.size : sizeof(raw->payload);

        return raw_send_part(socket, raw, HEADER + size);
}

static void take_fds(struct msghdr *msg, struct raw *raw)
{
        for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
                size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

                memcpy(raw->fds + raw->n_fds, CMSG_DATA(c), n * sizeof(int));
                raw->n_fds += (unsigned)n;
        }
}

/* Exactly @n bytes. 1, 0: the end, -1: nothing for too long. */
static int receive_bytes(int socket, void *data, size_t n, struct raw *raw, int timeout_ms)
{
        for (size_t have = 0; have < n;) {
                struct iovec iov = {(uint8_t *)data + have, n - have};
                union control control;
                struct msghdr msg = {.msg_iov = &iov,
                                     .msg_iovlen = 1,
                                     .msg_control = control.room,
                                     .msg_controllen = sizeof(control.room)};
                struct pollfd p = {.fd = socket, .events = POLLIN};

                if (poll(&p, 1, timeout_ms) == 0)
                        return -1;

                ssize_t got = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);

                if (got <= 0)
                        return 0;
                take_fds(&msg, raw);
                have += (size_t)got;
        }
        return 1;
}

enum outcome raw_receive_keep(int socket, struct raw *raw, int timeout_ms)
{
        uint64_t value = 0;

        raw->n_fds = 0;

        int r = receive_bytes(socket, &raw->header, HEADER, raw, timeout_ms);

        if (r == 1 && raw->header.size <= sizeof(raw->payload))
                r = receive_bytes(socket, raw->payload, raw->header.size, raw, timeout_ms);
        if (r <= 0)
                return r == 0 ? OUTCOME_CLOSED : OUTCOME_SILENCE;
        memcpy(&value, raw->payload, sizeof(value));
        return raw->header.size == sizeof(value) && value != 0 ? OUTCOME_REFUSED : OUTCOME_ACCEPTED;
}

enum outcome raw_receive(int socket, struct raw *raw, int timeout_ms)
{
        enum outcome outcome = raw_receive_keep(socket, raw, timeout_ms);

        fd_close_all(raw->fds, raw->n_fds);
        return outcome;
}

/* ---- what can be wrong with any row ---- */

static bool too_short(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.size = row->size.min - 1;
        return row->size.min > 0;
}

static bool empty(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.size = 0;
        return row->size.min > 1;
}

static bool too_long(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.size = row->size.max + 1;
        return row->size.max < ORIEL_MAX_PAYLOAD;
}

static bool longest(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.size = ORIEL_MAX_PAYLOAD;
        return row->size.max < ORIEL_MAX_PAYLOAD;
}

static bool one_fd_more(const struct oriel_message_row *row, struct raw *raw)
{
        raw->n_fds = row->fds.max + 1;
        return row->fds.max < ORIEL_MAX_FDS;
}

static bool eight_fds(const struct oriel_message_row *row, struct raw *raw)
{
        raw->n_fds = ORIEL_MAX_FDS;
        return row->fds.max < ORIEL_MAX_FDS;
}

static bool no_fds(const struct oriel_message_row *row, struct raw *raw)
{
        raw->n_fds = 0;
        return row->fds.min > 0;
}

static bool nine_fds(const struct oriel_message_row *row, struct raw *raw)
{
        raw->n_fds = ORIEL_MAX_FDS + 1;
        return true;
}

static bool sixteen_fds(const struct oriel_message_row *row, struct raw *raw)
{
        raw->n_fds = RAW_FDS;
        return true;
}

static bool reply_flag(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.flags |= ORIEL_FLAG_REPLY;
        return true;
}

static bool version_0(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.flags &= ~ORIEL_FLAG_VERSION;
        return true;
}

static bool version_2(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.flags ^= ORIEL_FLAG_VERSION;
        return true;
}

static bool oversize(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.size = ORIEL_MAX_PAYLOAD + 1;
        return true;
}

static bool size_of_4_gib(const struct oriel_message_row *row, struct raw *raw)
{
        raw->header.size = UINT32_MAX;
        return true;
}

static const struct spoiler spoilers[] = {
        {"too short", too_short, "payload size", false},
        {"empty", empty, "payload size", false},
        {"too long", too_long, "payload size", false},
        {"longest", longest, "payload size", false},
        {"one fd more", one_fd_more, "number of fds", false},
        {"eight fds", eight_fds, "number of fds", false},
        {"no fds", no_fds, "number of fds", false},
        {"nine fds", nine_fds, "more than 8 fds", true},
        {"sixteen fds", sixteen_fds, "more than 8 fds", true},
        {"reply flag", reply_flag, "reply flag", true},
        {"version 0", version_0, "version", true},
        {"version 2", version_2, "version", true},
        {"oversize", oversize, "payload size", true},
        {"a size of 4 GiB", size_of_4_gib, "payload size", true},
};

const struct spoiler *spoiler_get(unsigned index)
{
        return index < ARRAY_SIZE(spoilers) ? &spoilers[index] : NULL;
}

/* ---- chance ---- */

uint32_t random_next(uint32_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        return *state;
}

void random_fill(uint32_t *state, void *data, size_t size)
{
        for (size_t i = 0; i < size; i++)
                ((uint8_t *)data)[i] = (uint8_t)(random_next(state) >> 11);
}

/* Small numbers are more telling than large ones. */
static void fill_payload(uint32_t *state, struct raw *raw)
{
        for (size_t i = 0; i + 8 <= raw->header.size; i += 8) {
                uint64_t word = random_next(state) % 4;

                switch (random_next(state) % 4) {
                case 0:
                        word = (uint64_t)(random_next(state) % 64) << 12;
                        break;
                case 1:
                        random_fill(state, &word, sizeof(word));
                        break;
                case 2:
                        word |= (uint64_t)(random_next(state) % 260) << 32;
                        break;
                default:
                        break;
                }
                memcpy(raw->payload + i, &word, sizeof(word));
        }
}

void random_raw(uint32_t *state, enum oriel_direction direction, struct raw *raw, int fd)
{
        uint32_t id = random_next(state) % (oriel_message_count(direction) + 2);
        const struct oriel_message_row *row = oriel_message_find(direction, id);

        *raw = (struct raw){.header = {id, ORIEL_PROTOCOL_VERSION, 0}};
        if (row) {
                uint32_t spread = row->size.max - row->size.min + 1, fds = row->fds.max - row->fds.min + 1;

                raw->header.size = row->size.min + random_next(state) % (spread < 64 ? spread : 64);
                add_fds(raw, row->fds.min + random_next(state) % fds, fd);
        }
        if (random_next(state) % 32 == 0)
                raw->header.size = random_next(state) % 300;
        if (random_next(state) % 32 == 0)
                raw->n_fds = random_next(state) % 10;
        if (random_next(state) % 64 == 0)
                raw->header.flags ^= 1u << random_next(state) % 5;
        if (random_next(state) % 4 != 0)
                raw->header.flags |= ORIEL_FLAG_NEED_REPLY;
        add_fds(raw, raw->n_fds, fd);
        fill_payload(state, raw);
}

/* ---- this end's own limit ---- */

void descriptors_run_out(struct rlimit *before)
{
        /* The least that is free, and so the next that would be given out. */
        int next = fd_dup(0);

        fd_close(next);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, before), 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){(rlim_t)next, before->rlim_max}), 0);
}

void descriptors_come_back(const struct rlimit *before)
{
        assert_int_equal(setrlimit(RLIMIT_NOFILE, before), 0);
}
