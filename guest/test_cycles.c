/* SPDX-License-Identifier: BSD-2-Clause */

/* Map and unmap, again and again, several at a time, beside a mapping that stays. */

#include "share.h"
#include "tests.h"

enum { SEED = 1, OTHER = 2, KEPT_PIECES = 64, MOST_SLOTS = 16 };

/* One cycle: in its own place of the window. */
struct slot {
        struct fuse_call call;
        struct fuse_setupmapping_in setup;
        struct {
                struct fuse_removemapping_in in;
                struct fuse_removemapping_one one;
        } __attribute__((packed)) remove;
        uint64_t address; /* 0: not in use */
        bool mapped;
};

struct cycles {
        struct share share;
        uint64_t kept, other; /* nodes */
        uint64_t begun, done, count;
        struct slot slots[MOST_SLOTS];
        unsigned n_slots;
};

static bool shows_kept(const struct cycles *cycles)
{
        uint64_t at = cycles->done % KEPT_PIECES * (RANGE / KEPT_PIECES);

        return content_matches(cycles->share.window.address + at, SEED, at, 64) == 64;
}

/* The first and the last word are enough to see what is there. */
static bool shows(const struct slot *slot)
{
        uint64_t first = slot->setup.foffset / 4, last = (slot->setup.foffset + RANGE) / 4 - 1;

        return read32(slot->address) == content_word(OTHER, first) &&
               read32(slot->address + RANGE - 4) == content_word(OTHER, last);
}

static bool hides(const struct slot *slot)
{
        return read32(slot->address) == 0 && read32(slot->address + RANGE - 4) == 0;
}

static bool begin_cycle(struct cycles *cycles, struct slot *slot)
{
        uint64_t place = RANGE * (uint64_t)(1 + slot - cycles->slots);

        slot->setup = (struct fuse_setupmapping_in){
                .foffset = cycles->begun++ % 4 * RANGE,
                .len = RANGE,
                .flags = FUSE_SETUPMAPPING_FLAG_READ | FUSE_SETUPMAPPING_FLAG_WRITE,
                .moffset = place,
        };
        slot->call = (struct fuse_call){
                .opcode = FUSE_SETUPMAPPING,
                .node = cycles->other,
                .args = &slot->setup,
                .args_size = sizeof(slot->setup),
        };
        slot->address = cycles->share.window.address + place;
        slot->mapped = true;
        return hides(slot) && fuse_submit(&cycles->share.fuse, &slot->call);
}

static bool end_cycle(struct cycles *cycles, struct slot *slot)
{
        slot->remove.in.count = 1;
        slot->remove.one = (struct fuse_removemapping_one){slot->setup.moffset, RANGE};
        slot->call = (struct fuse_call){
                .opcode = FUSE_REMOVEMAPPING,
                .node = FUSE_ROOT_ID,
                .args = &slot->remove,
                .args_size = sizeof(slot->remove),
        };
        slot->mapped = false;
        return shows(slot) && fuse_submit(&cycles->share.fuse, &slot->call);
}

/* Go on with a slot whose request was answered. */
static bool step(struct cycles *cycles, struct slot *slot)
{
        bool good = slot->address == 0 || (fuse_result(&slot->call) == 0 && shows_kept(cycles));

        if (slot->address && slot->mapped)
                return good && end_cycle(cycles, slot);
        if (slot->address) {
                good &= hides(slot);
                slot->address = 0;
                cycles->done++;
        }
        return good && (cycles->begun == cycles->count || begin_cycle(cycles, slot));
}

static bool step_all(struct cycles *cycles)
{
        bool good = true;

        for (unsigned i = 0; good && i < cycles->n_slots; i++) {
                struct slot *slot = &cycles->slots[i];

                if (slot->address == 0 || slot->call.done)
                        good = step(cycles, slot);
        }
        return good;
}

static bool run(struct cycles *cycles)
{
        uint64_t deadline = deadline_in(LAST_RESORT_MS);

        while (cycles->done < cycles->count) {
                if (!step_all(cycles))
                        return false;
                if (fuse_poll(&cycles->share.fuse))
                        deadline = deadline_in(LAST_RESORT_MS);
                else if (deadline_past(deadline))
                        return false;
        }
        return true;
}

void test_cycles(void)
{
        static struct cycles cycles;

        share_start(&cycles.share, "share");
        cycles.kept = share_lookup(&cycles.share, "kept", NULL);
        cycles.other = share_lookup(&cycles.share, "other", NULL);
        cycles.count = cmdline_number("count", 1000);
        cycles.n_slots = (unsigned)cmdline_number("depth", 1);
        need(cycles.n_slots <= MOST_SLOTS && cycles.share.window.size / RANGE > cycles.n_slots, "the window has room");
        need(share_map(&cycles.share, cycles.kept, 0, 0, RANGE, true) == 0, "what is to stay can be mapped");
        tell_host("begin");
        run(&cycles);
        tell_host("end");
        check(cycles.done == cycles.count, "%lu of %lu cycles went well", cycles.done, cycles.count);
}
