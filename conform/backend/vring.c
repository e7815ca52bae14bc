/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases of "oriel conform backend" about vrings: setting up, starting, stopping and enabling them, and messages about
 * vrings, addresses or sizes that do not exist. Buffers that are offered here are no valid requests of any device type:
 * a device may use or ignore them, so cases that need used buffers first find out by a kick whether the peer uses any,
 * and skip otherwise. Each case starts the rings that it needs by back_start_ring(). */

#include "base/fd.h"
#include "conform/backend/backend.h"
#include "program/signals.h"

#include <sys/param.h>
#include <unistd.h>

#define KICK   "VHOST_USER_SET_VRING_KICK"
#define CALL   "VHOST_USER_SET_VRING_CALL"
#define BASE   "VHOST_USER_GET_VRING_BASE"
#define STATES "Ring states"

#define POLLED    4 /* buffers that have to be found without a kick */
#define REST_MS   20
#define USES_PART 5 /* part of the timeout for a device to use a buffer after a kick; a late one is not judged */

static enum verdict check_base(struct trial *trial, uint32_t due)
{
        uint32_t base;

        if (expect(trial, "GET_VRING_BASE", back_stop_ring(trial->back_end, 0, &base), BIT(DONE)) != PASSED)
                return FAILED;
        return base == due ? PASSED : fails(trial, "base %u instead of %u", base, due);
}

static enum verdict up_and_down(struct trial *trial)
{
        _cleanup_(events_close) struct backend_events events = events_open();
        struct back_end *b = trial->back_end;

        if (back_expect(trial, back_bring_up(b, trial->row->argument, &events), ACCEPTED) != PASSED)
                return FAILED;
        return check_base(trial, trial->row->argument);
}

static enum verdict vring_restart(struct trial *trial)
{
        _cleanup_(events_close) struct backend_events events = events_open();
        struct back_end *b = trial->back_end;

        if (back_expect(trial, back_bring_up(b, 7, &events), ACCEPTED) != PASSED)
                return FAILED;
        if (check_base(trial, 7) != PASSED)
                return FAILED;
        if (expect(trial, "SET_VRING_KICK again", back_set_fd(b, ORIEL_FRONTEND_SET_VRING_KICK, 0, events.kick),
                   ACCEPTED) != PASSED)
                return FAILED;
        return check_base(trial, 7);
}

#define MOST_RINGS 16

/* Each has descriptors of its own: a back-end with one epoll for all could not add the same one twice. */
static enum verdict start_rings(struct trial *trial, const struct backend_events *events, unsigned n)
{
        struct back_end *b = trial->back_end;
        uint32_t base;

        for (unsigned i = 0; i < n; i++) {
                back_ring(b, i);
                if (back_expect(trial, back_start_ring(b, i, 0, &events[i]), ACCEPTED) != PASSED)
                        return FAILED;
        }
        for (unsigned i = 0; i < n; i++)
                if (expect(trial, "GET_VRING_BASE", back_stop_ring(b, i, &base), BIT(DONE)) != PASSED)
                        return FAILED;
        return PASSED;
}

static enum verdict all_rings(struct trial *trial)
{
        struct backend_events events[MOST_RINGS];
        struct back_end *b = trial->back_end;
        uint64_t n;

        if (expect(trial, "GET_QUEUE_NUM", back_get(b, ORIEL_FRONTEND_GET_QUEUE_NUM, &n), BIT(DONE)) != PASSED)
                return FAILED;
        n = n < MOST_RINGS ? n : MOST_RINGS;
        if (back_expect(trial, back_prepare(b), ACCEPTED) != PASSED)
                return FAILED;
        for (unsigned i = 0; i < n; i++)
                events[i] = events_open();

        enum verdict verdict = start_rings(trial, events, (unsigned)n);

        for (unsigned i = 0; i < n; i++)
                events_close(&events[i]);
        return verdict;
}

static enum verdict never_started(struct trial *trial)
{
        struct back_end *b = trial->back_end;

        if (back_expect(trial, back_prepare(b), ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "SET_VRING_BASE", back_set_state(b, ORIEL_FRONTEND_SET_VRING_BASE, 0, 3), ACCEPTED) != PASSED)
                return FAILED;
        return check_base(trial, 3);
}

/* Whether the peer uses @n buffers of the ring in time. */
static bool is_used(const struct ring *ring, uint16_t n, int timeout_ms)
{
        int64_t deadline = now_ms() + timeout_ms;

        while (__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE) != n) {
                if (now_ms() >= deadline || signals_noted())
                        return false;
                usleep(1000);
        }
        return true;
}

/* Offers another buffer, with zeros to read and room to write: a request of no device type. A network device may only
 * read what it takes. */
static void vring_offer(const struct back_end *b, struct ring *ring)
{
        uint16_t n = ring->avail->idx, next = back_taking_ring(b) == 0 ? VRING_DESC_F_NEXT : 0;

        ring->desc[0] = (struct vring_desc){ring->guest, 64, next, 1};
        ring->desc[1] = (struct vring_desc){ring->guest + 64, 64, VRING_DESC_F_WRITE, 0};
        ring->avail->ring[n % RING_SIZE] = 0;
        __atomic_store_n(&ring->avail->idx, (uint16_t)(n + 1), __ATOMIC_RELEASE);
}

/* Fills vring @index with a kick, and then, if the peer uses the buffer, without. UNTOLD: it does not use it. A peer
 * looks once when it starts a vring, however late, and perhaps until it is empty; so only later buffers, and more than
 * one, show that it polls. */
static enum answer poll_ring(struct back_end *b, unsigned index, const struct backend_events *events, bool *looked)
{
        struct ring ring = back_ring(b, index);
        enum answer answer = back_start_ring(b, index, 0, events);
        uint32_t base;

        if (BIT(answer) & ACCEPTED)
                answer = back_driver_ok(b);
        if (!(BIT(answer) & ACCEPTED))
                return answer;
        vring_offer(b, &ring);
        fd_event_signal(events->kick);

        bool uses = is_used(&ring, 1, b->timeout_ms / USES_PART);

        b->at = "GET_VRING_BASE";
        answer = back_stop_ring(b, index, &base);
        if (answer != DONE || !uses)
                return answer == DONE ? UNTOLD : answer;
        answer = back_start_ring(b, index, 1, &(struct backend_events){-1, -1, -1});
        if (!(BIT(answer) & ACCEPTED))
                return answer;
        *looked = true;
        for (unsigned i = 0; *looked && i < POLLED; i++) {
                usleep(REST_MS * 1000);
                vring_offer(b, &ring);
                *looked = is_used(&ring, (uint16_t)(2 + i), b->timeout_ms);
        }
        b->at = "GET_VRING_BASE";
        return back_stop_ring(b, index, &base);
}

/* It is not enough that the ring is accepted: buffers must be found without a kick. Whether the device uses such
 * buffers at all is up to it, so this is tried with a kick first. */
static enum verdict vring_polled(struct trial *trial)
{
        _cleanup_(events_close) struct backend_events events = events_open();
        struct back_end *b = trial->back_end;
        const unsigned first = back_taking_ring(b);
        enum answer answer = UNTOLD;
        uint64_t n = 1;
        bool looked = false;

        if (expect(trial, "GET_QUEUE_NUM", back_get_queues(b, &n), BIT(DONE)) != PASSED)
                return FAILED;
        if (back_expect(trial, back_prepare(b), ACCEPTED) != PASSED)
                return FAILED;
        if (first > 0) {
                back_ring(b, 0);
                if (back_expect(trial, back_start_ring(b, 0, 0, &(struct backend_events){-1, -1, -1}), ACCEPTED) !=
                    PASSED)
                        return FAILED;
        }
        /* Of a network one pair is started, and only its second ring sends. */
        const uint64_t last = first > 0 ? first + 1 : MAX(MIN(n, 16), 1);

        for (unsigned i = first; i < last && answer == UNTOLD; i++)
                answer = poll_ring(b, i, &events, &looked);
        if (back_expect(trial, answer, ACCEPTED) != PASSED)
                return FAILED;
        if (answer == UNTOLD)
                return passes(trial, "whether it looks can't be told: with a kick it does not use the buffer either");
        return looked ? PASSED : fails(trial, "a buffer that it uses when kicked was not used in %d ms", b->timeout_ms);
}

static enum verdict call_replaced(struct trial *trial)
{
        _cleanup_(events_close) struct backend_events events = events_open(), others = events_open();
        struct back_end *b = trial->back_end;

        if (back_expect(trial, back_bring_up(b, 0, &events), ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "another call fd", back_set_fd(b, ORIEL_FRONTEND_SET_VRING_CALL, 0, others.call), ACCEPTED) !=
            PASSED)
                return FAILED;
        if (expect(trial, "no call fd", back_set_fd(b, ORIEL_FRONTEND_SET_VRING_CALL, 0, -1), ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "the first again", back_set_fd(b, ORIEL_FRONTEND_SET_VRING_CALL, 0, events.call), ACCEPTED) !=
            PASSED)
                return FAILED;
        if (expect(trial, "another err fd", back_set_fd(b, ORIEL_FRONTEND_SET_VRING_ERR, 0, others.err), ACCEPTED) !=
            PASSED)
                return FAILED;
        return check_base(trial, 0);
}

static enum verdict enable_and_disable(struct trial *trial)
{
        _cleanup_(events_close) struct backend_events events = events_open();
        struct back_end *b = trial->back_end;

        if (back_expect(trial, back_bring_up(b, 0, &events), ACCEPTED) != PASSED)
                return FAILED;
        for (uint32_t i = 0; i < 4; i++)
                if (expect(trial, "SET_VRING_ENABLE", back_set_state(b, ORIEL_FRONTEND_SET_VRING_ENABLE, 0, i % 2),
                           ACCEPTED) != PASSED)
                        return FAILED;
        return check_base(trial, 0);
}

static enum verdict vring_reset(struct trial *trial)
{
        _cleanup_(events_close) struct backend_events events = events_open();
        struct back_end *b = trial->back_end;

        if (back_expect(trial, back_bring_up(b, 0, &events), ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "RESET_DEVICE", back_ask_with(b, ORIEL_FRONTEND_RESET_DEVICE, NULL, 0), ACCEPTED) != PASSED)
                return FAILED;
        if (back_expect(trial, back_bring_up(b, 0, &events), ACCEPTED) != PASSED)
                return FAILED;
        return check_base(trial, 0);
}

static enum verdict guest_addresses(struct trial *trial)
{
        _cleanup_(events_close) struct backend_events events = events_open();
        struct back_end *b = trial->back_end;
        uint64_t features = b->agreement.protocol_features | ORIEL_FEATURE(ORIEL_PROTOCOL_F_GPA_ADDRESSES);

        if (expect(trial, "SET_PROTOCOL_FEATURES", back_ask_u64(b, ORIEL_FRONTEND_SET_PROTOCOL_FEATURES, features),
                   ACCEPTED) != PASSED)
                return FAILED;
        b->agreement.protocol_features = features;
        if (back_expect(trial, back_bring_up(b, 0, &events), ACCEPTED) != PASSED)
                return FAILED;
        return check_base(trial, 0);
}

/* ---- invalid messages ---- */

static enum verdict odd_num(struct trial *trial)
{
        enum answer answer = back_set_state(trial->back_end, ORIEL_FRONTEND_SET_VRING_NUM, 0, trial->row->argument);

        return expect(trial, "SET_VRING_NUM", answer, trial->row->allowed);
}

/* Sends the request of the argument for a vring behind the last that any back-end may have. */
static enum verdict no_such_vring(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        const struct oriel_message_row *row = oriel_message_find(ORIEL_FROM_FRONTEND, trial->row->argument);
        uint64_t queues = 255;
        struct message message;

        if (expect(trial, "GET_QUEUE_NUM", back_get_queues(b, &queues), BIT(DONE)) != PASSED)
                return FAILED;
        if (queues > 255)
                return skips(trial, "there is a vring 255");
        wire_init(&message, row->id, NULL, 0);
        message.header.size = row->size.min;
        if (row->payload == ORIEL_PAYLOAD_VRING_FD)
                message.payload.u64 = 255 | ORIEL_VRING_FD_NONE;
        else
                message.payload.vring_state.index = UINT32_MAX;
        return expect(trial, row->name, back_ask(b, &message), TURNED_DOWN);
}

/* The row has an address, which is relative to our memory where the argument is not 0. */
static enum verdict odd_addresses(struct trial *trial)
{
        _cleanup_(events_close) struct backend_events events = events_open();
        struct back_end *b = trial->back_end;
        uint64_t at = *(const uint64_t *)trial->row->with + (trial->row->argument ? (uintptr_t)b->memory : 0);
        const struct vhost_vring_addr addr = {
                .index = 0, .desc_user_addr = at, .avail_user_addr = at, .used_user_addr = at};
        enum answer answer;
        uint32_t base;

        if (back_expect(trial, back_bring_up(b, 0, &events), ACCEPTED) != PASSED)
                return FAILED;
        if (expect(trial, "GET_VRING_BASE", back_stop_ring(b, 0, &base), BIT(DONE)) != PASSED)
                return FAILED;
        answer = back_ask_with(b, ORIEL_FRONTEND_SET_VRING_ADDR, &addr, sizeof(addr));
        if (BIT(answer) & ACCEPTED) {
                fd_event_signal(events.kick);
                answer = back_set_fd(b, ORIEL_FRONTEND_SET_VRING_KICK, 0, events.kick);
        }
        if (BIT(answer) & ACCEPTED)
                answer = back_set_state(b, ORIEL_FRONTEND_SET_VRING_ENABLE, 0, 1);
        return expect(trial, "a ring there", answer, EITHER);
}

static enum verdict fd_missing(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        uint64_t payload = 0;

        return expect(trial, "the request",
                      back_ask_with(b, (enum oriel_frontend_request)trial->row->argument, &payload, sizeof(payload)),
                      TURNED_DOWN);
}

static enum verdict kick_first(struct trial *trial)
{
        _cleanup_(events_close) struct backend_events events = events_open();
        struct back_end *b = trial->back_end;

        fd_event_signal(events.kick);
        return expect(trial, "SET_VRING_KICK", back_set_fd(b, ORIEL_FRONTEND_SET_VRING_KICK, 0, events.kick), EITHER);
}

static enum verdict kick_is_a_file(struct trial *trial)
{
        struct back_end *b = trial->back_end;
        const struct backend_events events = {b->memory_fd, b->memory_fd, b->memory_fd};

        return expect(trial, "a memfd as kick, call and err fd", back_bring_up(b, 0, &events), EITHER);
}

static enum verdict enable_odd(struct trial *trial)
{
        struct back_end *b = trial->back_end;

        return expect(trial, "SET_VRING_ENABLE", back_set_state(b, ORIEL_FRONTEND_SET_VRING_ENABLE, 0, 77), EITHER);
}

#define NO_SUCH(title, request)                                                                          \
        {                                                                                                \
                "no-such-vring-" title, ROBUSTNESS, no_such_vring, NO_FEATURE, ORIEL_FRONTEND_##request, \
                        #request " about vring 2^32 - 1 (255 where it has 8 bits)",                      \
                        "refused, or closed; the process lives"                                          \
        }
#define ODD_PLACE(title, words, in_memory, address)                                                    \
        {                                                                                              \
                "vring-addr-" title, ROBUSTNESS, odd_addresses, NO_FEATURE, in_memory, words,          \
                        "refused, closed or not processed; the process lives", WITH(uint64_t, address) \
        }

static const struct conform_case rows[] = {
        {"vring", BASE, up_and_down, NO_FEATURE, 0, "all that starts a vring, and GET_VRING_BASE",
         "accepted; GET_VRING_BASE stops it and tells base 0"},
        {"vring-base", "VHOST_USER_SET_VRING_BASE", up_and_down, NO_FEATURE, 5,
         "the same with SET_VRING_BASE 5 and rings that are at 5", "GET_VRING_BASE tells 5"},
        {"vring-restart", STATES, vring_restart, NO_FEATURE, 0, "SET_VRING_KICK after GET_VRING_BASE, and that again",
         "started and stopped again, the base is kept"},
        {"vrings", "Multiple queue support", all_rings, ORIEL_PROTOCOL_F_MQ, 0,
         "the same for each queue of GET_QUEUE_NUM, at most 16", "all started and stopped"},
        {"vring-never-started", BASE, never_started, NO_FEATURE, 0,
         "SET_VRING_BASE 3 and GET_VRING_BASE, no SET_VRING_KICK", "base 3"},
        {"vring-polled", KICK, vring_polled, NO_FEATURE, 0,
         "buffers, one by one, in a vring without kick, call and err fd (bit 8)", "used, if it is with a kick"},
        {"vring-call-replaced", CALL, call_replaced, NO_FEATURE, 0,
         "another call fd, none, the first again, another err fd, while the vring is started", "accepted"},
        {"vring-enable", STATES, enable_and_disable, NO_FEATURE, 0,
         "SET_VRING_ENABLE 0 and 1 of a started vring, twice", "accepted"},
        {"vring-reset", "VHOST_USER_RESET_DEVICE", vring_reset, ORIEL_PROTOCOL_F_RESET_DEVICE, 0,
         "RESET_DEVICE with a started vring, and all that starts it again", "accepted; base 0"},
        {"vring-gpa", "A vring address description", guest_addresses, ORIEL_PROTOCOL_F_GPA_ADDRESSES, 0,
         "GPA_ADDRESSES, and a vring at guest addresses", "accepted"},
        {"vring-num-0", ROBUSTNESS, odd_num, NO_FEATURE, 0, "SET_VRING_NUM 0",
         "accepted, refused or closed; the process lives", EITHER},
        {"vring-num-100", ROBUSTNESS, odd_num, NO_FEATURE, 100, "SET_VRING_NUM 100, no power of two",
         "accepted, refused or closed; the process lives", EITHER},
        {"vring-num-65536", ROBUSTNESS, odd_num, NO_FEATURE, 65536, "SET_VRING_NUM 65536, twice the most",
         "refused, or closed; the process lives", TURNED_DOWN},
        {"vring-num-max", ROBUSTNESS, odd_num, NO_FEATURE, UINT32_MAX, "SET_VRING_NUM 2^32 - 1",
         "refused, or closed; the process lives", TURNED_DOWN},
        NO_SUCH("num", SET_VRING_NUM),
        NO_SUCH("addr", SET_VRING_ADDR),
        NO_SUCH("base", SET_VRING_BASE),
        NO_SUCH("get-base", GET_VRING_BASE),
        NO_SUCH("kick", SET_VRING_KICK),
        NO_SUCH("call", SET_VRING_CALL),
        NO_SUCH("err", SET_VRING_ERR),
        NO_SUCH("enable", SET_VRING_ENABLE),
        ODD_PLACE("nowhere", "a vring at addresses in no region, kicked", false, UINT64_C(0x123456789000)),
        ODD_PLACE("past-the-end", "a vring that reaches past its region's end, kicked", true, GUEST_SIZE - 16),
        ODD_PLACE("not-aligned", "a vring at odd addresses, kicked", true, 1),
        ODD_PLACE("wrapping", "a vring whose end does not fit 64 bits, kicked", false, UINT64_MAX - 15),
        {"vring-kick-fd-missing", KICK, fd_missing, NO_FEATURE, ORIEL_FRONTEND_SET_VRING_KICK,
         "SET_VRING_KICK without descriptor, bit 8 not set", "refused, or closed; the process lives"},
        {"vring-call-fd-missing", CALL, fd_missing, NO_FEATURE, ORIEL_FRONTEND_SET_VRING_CALL,
         "SET_VRING_CALL without descriptor, bit 8 not set", "refused, or closed; the process lives"},
        {"vring-kick-first", ROBUSTNESS, kick_first, NO_FEATURE, 0,
         "SET_VRING_KICK of a vring of which nothing else is known", "accepted, refused or closed; the process lives"},
        {"vring-kick-file", ROBUSTNESS, kick_is_a_file, NO_FEATURE, 0, "a memfd as kick, call and err fd",
         "accepted, refused or closed; the process lives"},
        {"vring-enable-77", ROBUSTNESS, enable_odd, NO_FEATURE, 0, "SET_VRING_ENABLE 77",
         "accepted, refused or closed; the process lives"},
};

const struct conform_group backend_vring_cases = GROUP(rows);
