/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for hostile split rings: each fills a started ring with entries that no driver may write, as its row says, and
 * kicks it. A second ring, where the peer has two queues, must be unchanged: of a network device the one that receives,
 * without which the other would not be looked at. The peer may close the connection or go on, but GET_VRING_BASE must
 * be answered if it goes on. SETTLE_MS is the time it has to look at the ring: more time can find more faults, and
 * never fails a correct peer.
 *
 * A case begins on a connection of its own with features negotiated (run() in cases.c), and has passed only if the
 * process lives afterwards. */

#include "base/fd.h"
#include "conform/backend/backend.h"

#include <unistd.h>

#define SETTLE_MS 30 /* for a back-end to have looked at a ring */

/* The contents of a ring. */
struct filling {
        struct vring_desc desc[3];
        uint16_t heads[3], idx; /* of the available ring */
};

#define OURS 1 /* stands for the address of the ring's own buffer */
#define GONE UINT64_C(0xdead00000000)

static void ring_fill(struct ring *ring, const struct filling *filling)
{
        for (size_t i = 0; i < ARRAY_SIZE(filling->desc); i++) {
                ring->desc[i] = filling->desc[i];
                if (ring->desc[i].addr == OURS)
                        ring->desc[i].addr = ring->guest;
                ring->avail->ring[i] = filling->heads[i];
        }
        ring->avail->idx = filling->idx;
}

static void make_noise(struct ring *ring)
{
        wire_make_noise(ring->desc, RING_SIZE * sizeof(ring->desc[0]));
        for (uint16_t i = 0; i < RING_SIZE; i++)
                ring->avail->ring[i] = i;
        ring->avail->idx = RING_SIZE;
}

static enum verdict ring_neighbour(struct trial *trial, unsigned index, bool there)
{
        uint32_t base;

        if (!there || trial->back_end->main.fd < 0)
                return PASSED;
        if (expect(trial, "GET_VRING_BASE of the other vring", back_stop_ring(trial->back_end, index, &base),
                   BIT(DONE)) != PASSED)
                return FAILED;
        return base == 0 ? PASSED : fails(trial, "the other vring is at %u", base);
}

static const struct backend_events no_events = {-1, -1, -1};

/* Fills and kicks a started ring; a second one must not change. */
static enum verdict ring_hostile(struct trial *trial)
{
        _cleanup_(events_close) struct backend_events events = events_open();
        struct back_end *b = trial->back_end;
        const unsigned index = back_taking_ring(b), other = !index;
        struct ring ring = back_ring(b, index);
        uint64_t queues = 1;
        uint32_t base;

        back_ring(b, other);
        if (expect(trial, "GET_QUEUE_NUM", back_get_queues(b, &queues), BIT(DONE)) != PASSED)
                return FAILED;

        bool both = queues > 1 || other < index;

        if (back_expect(trial, back_prepare(b), ACCEPTED) != PASSED)
                return FAILED;
        if (back_expect(trial, back_start_ring(b, index, 0, &events), ACCEPTED) != PASSED)
                return FAILED;
        if (both && back_expect(trial, back_start_ring(b, other, 0, &no_events), ACCEPTED) != PASSED)
                return FAILED;
        if (back_expect(trial, back_driver_ok(b), ACCEPTED) != PASSED)
                return FAILED;
        if (trial->row->with)
                ring_fill(&ring, trial->row->with);
        else
                make_noise(&ring);
        fd_event_signal(events.kick);
        usleep(SETTLE_MS * 1000);
        if (ring_neighbour(trial, other, both) != PASSED)
                return FAILED;
        return expect(trial, "GET_VRING_BASE", back_stop_ring(b, index, &base), BIT(DONE) | BIT(CLOSED));
}

#define HOSTILE(title, words, ...)                                                                                 \
        {                                                                                                          \
                "ring-" title, ROBUSTNESS, ring_hostile, NO_FEATURE, 0, words " in a started split vring",         \
                        "the process lives, the vring can be stopped, and the other one is as it was", __VA_ARGS__ \
        }
#define WRITE    VRING_DESC_F_WRITE
#define NEXT     VRING_DESC_F_NEXT
#define INDIRECT VRING_DESC_F_INDIRECT

static const struct conform_case rows[] = {
        HOSTILE("loop", "a chain of descriptors without end",
                WITH(struct filling, .desc = {{OURS, 64, NEXT, 1}, {OURS, 64, NEXT, 0}}, .idx = 1)),
        HOSTILE("address-outside", "descriptors that point into no region",
                WITH(struct filling, .desc = {{GONE, 4096}, {UINT64_MAX - 4, 4096, WRITE}}, .heads = {0, 1}, .idx = 2)),
        HOSTILE("long-buffer", "descriptors of 4 GiB",
                WITH(struct filling, .desc = {{OURS, UINT32_MAX}, {OURS, UINT32_MAX, WRITE}}, .heads = {0, 1},
                     .idx = 2)),
        HOSTILE("head-outside", "available entries past the descriptor table",
                WITH(struct filling, .heads = {RING_SIZE, UINT16_MAX}, .idx = 2)),
        HOSTILE("next-outside", "a next that lies past the descriptor table",
                WITH(struct filling, .desc = {{OURS, 64, NEXT, UINT16_MAX}}, .idx = 1)),
        HOSTILE("index-jump", "an available index that is 32768 ahead",
                WITH(struct filling, .desc = {{OURS, 64}}, .idx = 0x8000)),
        HOSTILE("indirect", "indirect tables that are no tables, not negotiated",
                WITH(struct filling,
                     .desc = {{OURS, 17, INDIRECT},
                              {GONE, 1 << 20, INDIRECT},
                              {OURS, UINT32_MAX & ~15u, INDIRECT | NEXT, 2}},
                     .heads = {0, 1, 2}, .idx = 3)),
        HOSTILE("empty-buffers", "descriptors of 0 bytes",
                WITH(struct filling, .desc = {{OURS, 0}, {OURS, 0, WRITE}}, .heads = {0, 1}, .idx = 2)),
        HOSTILE("noise", "a descriptor table of noise, all of it available", .with = NULL),
};

const struct conform_group backend_ring_cases = GROUP(rows);
