/* SPDX-License-Identifier: BSD-2-Clause */

/* Cases for hostile split rings: a function for each fills a started ring with what no driver should write, then the
 * ring is kicked. A second ring beside it, where the peer has two queues, must be untouched. The peer may close the
 * connection or go on, but GET_VRING_BASE must be answered if it goes on. SETTLE_MS is how long it has to look at the
 * ring: more time can find more, and never fails a peer that is right.
 *
 * A case begins on a connection of its own with features negotiated (run() in cases.c), and has passed only if the
 * process lives afterwards. */

#include "base/fd.h"
#include "conform/backend/backend.h"

#include <unistd.h>

#define SETTLE_MS 30 /* for a back-end to have looked at a ring */

static void loop(struct ring *ring)
{
        ring->desc[0] = (struct vring_desc){ring->guest, 64, VRING_DESC_F_NEXT, 1};
        ring->desc[1] = (struct vring_desc){ring->guest, 64, VRING_DESC_F_NEXT, 0};
        ring->avail->idx = 1;
}

static void outside(struct ring *ring)
{
        ring->desc[0] = (struct vring_desc){UINT64_C(0xdead00000000), 4096, 0, 0};
        ring->desc[1] = (struct vring_desc){UINT64_MAX - 4, 4096, VRING_DESC_F_WRITE, 0};
        ring->avail->ring[1] = 1;
        ring->avail->idx = 2;
}

static void long_buffer(struct ring *ring)
{
        ring->desc[0] = (struct vring_desc){ring->guest, UINT32_MAX, 0, 0};
        ring->desc[1] = (struct vring_desc){ring->guest, UINT32_MAX, VRING_DESC_F_WRITE, 0};
        ring->avail->ring[1] = 1;
        ring->avail->idx = 2;
}

static void head_outside(struct ring *ring)
{
        ring->avail->ring[0] = RING_SIZE;
        ring->avail->ring[1] = UINT16_MAX;
        ring->avail->idx = 2;
}

static void next_outside(struct ring *ring)
{
        ring->desc[0] = (struct vring_desc){ring->guest, 64, VRING_DESC_F_NEXT, UINT16_MAX};
        ring->avail->idx = 1;
}

static void index_jump(struct ring *ring)
{
        ring->desc[0] = (struct vring_desc){ring->guest, 64, 0, 0};
        ring->avail->idx = 0x8000;
}

static void indirect(struct ring *ring)
{
        ring->desc[0] = (struct vring_desc){ring->guest, 17, VRING_DESC_F_INDIRECT, 0};
        ring->desc[1] = (struct vring_desc){UINT64_C(0xdead00000000), 1 << 20, VRING_DESC_F_INDIRECT, 0};
        ring->desc[2] =
                (struct vring_desc){ring->guest, UINT32_MAX & ~15u, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 2};
        ring->avail->ring[1] = 1;
        ring->avail->ring[2] = 2;
        ring->avail->idx = 3;
}

static void empty_buffers(struct ring *ring)
{
        ring->desc[0] = (struct vring_desc){ring->guest, 0, 0, 0};
        ring->desc[1] = (struct vring_desc){ring->guest, 0, VRING_DESC_F_WRITE, 0};
        ring->avail->ring[1] = 1;
        ring->avail->idx = 2;
}

static void noise(struct ring *ring)
{
        wire_make_noise(ring->desc, RING_SIZE * sizeof(ring->desc[0]));
        for (uint16_t i = 0; i < RING_SIZE; i++)
                ring->avail->ring[i] = i;
        ring->avail->idx = RING_SIZE;
}

static void (*const fillers[])(struct ring *ring) = {
        loop, outside, long_buffer, head_outside, next_outside, index_jump, indirect, empty_buffers, noise,
};

static enum verdict neighbour(struct trial *trial, bool there)
{
        uint32_t base;

        if (!there || trial->back_end->main.fd < 0)
                return PASSED;
        MUST(trial, "GET_VRING_BASE of the other vring", back_stop_ring(trial->back_end, 1, &base), BIT(DONE));
        return base == 0 ? PASSED : fails(trial, "the other vring is at %u", base);
}

/* A started ring is filled and kicked; another one beside it is to be as it was. */
static enum verdict hostile(struct trial *trial)
{
        _cleanup_(events_close) struct events events = events_open();
        struct back_end *b = trial->back_end;
        struct ring ring = back_ring(b, 0);
        uint64_t queues = 1;
        uint32_t base;

        MUST(trial, "GET_QUEUE_NUM", back_get_queues(b, &queues), BIT(DONE));
        MUST(trial, b->at, back_bring_up(b, 0, &events), ACCEPTED);
        back_ring(b, 1);
        if (queues > 1)
                MUST(trial, b->at, back_start_ring(b, 1, 0, &(struct events){-1, -1, -1}), ACCEPTED);
        fillers[trial->row->argument](&ring);
        fd_event_signal(events.kick);
        usleep(SETTLE_MS * 1000);
        if (neighbour(trial, queues > 1) != PASSED)
                return FAILED;
        return expect(trial, "GET_VRING_BASE", back_stop_ring(b, 0, &base), BIT(DONE) | BIT(CLOSED));
}

#define HOSTILE(title, index, words)                                                                      \
        {                                                                                                 \
                "ring-" title, ROBUSTNESS, hostile, NO_FEATURE, index, words " in a started split vring", \
                        "the process lives, the vring can be stopped, and the other one is as it was"     \
        }

static const struct conform_case rows[] = {
        HOSTILE("loop", 0, "a chain of descriptors without end"),
        HOSTILE("address-outside", 1, "descriptors that point into no region"),
        HOSTILE("long-buffer", 2, "descriptors of 4 GiB"),
        HOSTILE("head-outside", 3, "available entries past the descriptor table"),
        HOSTILE("next-outside", 4, "a next that lies past the descriptor table"),
        HOSTILE("index-jump", 5, "an available index that is 32768 ahead"),
        HOSTILE("indirect", 6, "indirect tables that are no tables, not negotiated"),
        HOSTILE("empty-buffers", 7, "descriptors of 0 bytes"),
        HOSTILE("noise", 8, "a descriptor table of noise, all of it available"),
};

const struct conform_group backend_ring_cases = GROUP(rows);
