/* SPDX-License-Identifier: BSD-2-Clause */

/* The back-end is killed and another takes its place, while the guest has a file mapped and sends requests. */

#include "share.h"
#include "tests.h"

#include <linux/errno.h>
#include <linux/fcntl.h>

enum { SEED = 1, OTHER = 2, IN_FLIGHT = 8 };

struct outage {
        struct share share;
        uint64_t size, node, handle;
};

static bool shows(const struct outage *outage, uint64_t size)
{
        return content_matches(outage->share.window.address, SEED, 0, size) == size;
}

/* Requests that are on their way at once; the last of them changes the window. */
struct flight {
        struct fuse_call calls[IN_FLIGHT];
        struct fuse_getattr_in getattr;
        struct fuse_attr_out attr[IN_FLIGHT];
        struct fuse_setupmapping_in setup;
        unsigned answers, refused, stale;
};

static bool send(struct outage *outage, struct flight *flight)
{
        bool good = true;

        for (unsigned i = 0; i < IN_FLIGHT; i++) {
                flight->calls[i] = (struct fuse_call){
                        .opcode = FUSE_GETATTR,
                        .node = FUSE_ROOT_ID,
                        .args = &flight->getattr,
                        .args_size = sizeof(flight->getattr),
                        .answer = &flight->attr[i],
                        .answer_size = sizeof(flight->attr[i]),
                };
                if (i + 1 == IN_FLIGHT) {
                        flight->setup.foffset = flight->setup.foffset ? 0 : PAGE;
                        flight->setup.len = RANGE - PAGE;
                        flight->setup.flags = FUSE_SETUPMAPPING_FLAG_READ;
                        flight->setup.moffset = 2 * RANGE;
                        flight->calls[i] = (struct fuse_call){
                                .opcode = FUSE_SETUPMAPPING,
                                .node = outage->node,
                                .args = &flight->setup,
                                .args_size = sizeof(flight->setup),
                        };
                }
                good &= fuse_submit(&outage->share.fuse, &flight->calls[i]);
        }
        return good;
}

/* The root's attributes can be told by every back-end; the file's node is not known any more to the second. */
static bool receive(struct outage *outage, struct flight *flight)
{
        bool good = true;

        for (unsigned i = 0; i < IN_FLIGHT; i++) {
                int r = fuse_wait(&outage->share.fuse, &flight->calls[i]);

                good &= r != -ETIMEDOUT && shows(outage, 64);
                if (i + 1 == IN_FLIGHT)
                        flight->stale += r == -ESTALE;
                flight->refused += r < 0 && (i + 1 < IN_FLIGHT || r != -ESTALE);
                flight->answers++;
        }
        return good;
}

/* Without a break, until the host has said that the old back-end is dead, and once more. */
static void test_requests(struct outage *outage, unsigned round)
{
        static struct flight flight;
        bool killed = false, good = true;

        flight = (struct flight){0};
        tell_host("kill");
        while (good && !killed) {
                killed = host_has_answered();
                good = send(outage, &flight) && receive(outage, &flight);
        }
        check(good && flight.refused == 0, "outage %u: %u requests were answered, of which %u with an error", round,
              flight.answers, flight.refused);
        check(flight.stale == 1 || flight.stale == 2, "%u with ESTALE", flight.stale);
}

static void test_after(struct outage *outage)
{
        static uint8_t page[4096];
        struct share *share = &outage->share;
        struct fuse_attr attr;
        uint64_t old = outage->node, size;
        int r;

        check(shows(outage, outage->size), "what was mapped is still there");
        r = fuse_getattr(&share->fuse, old, &attr);
        check(r >= 0 || r == -ESTALE, "the file's old node is known, or said not to be: %d", r);
        outage->node = share_lookup(share, "file", &size);
        check(size == outage->size, "it is looked up anew");
        need(fuse_open(&share->fuse, outage->node, O_RDWR, &outage->handle) >= 0, "and opened");
        r = fuse_read(&share->fuse, outage->node, outage->handle, 0, (uint64_t)page, sizeof(page));
        check(r == sizeof(page) && content_matches((uint64_t)page, SEED, 0, sizeof(page)) == sizeof(page), "and read");
}

/* Mappings of an earlier back-end are in the way of nothing. */
static void test_mappings(struct outage *outage)
{
        struct share *share = &outage->share;
        uint64_t other = share_lookup(share, "other", NULL), at = share->window.address;
        int r = share_map(share, other, 0, RANGE, RANGE, true);

        check(r == 0 && content_matches(at + RANGE, OTHER, 0, RANGE) == RANGE, "a file can be mapped beside it: %d", r);
        r = share_map(share, other, 0, 0, RANGE, true);
        check(r == 0 && content_matches(at, OTHER, 0, RANGE) == RANGE, "and in its place: %d", r);
        r = share_unmap(share, 0, RANGE);
        check(r == 0 && content_matches(at, OTHER, 0, 64) < 4, "and unmapped: %d", r);
        r = share_map(share, outage->node, 0, 0, RANGE, true);
        check(r == 0 && shows(outage, outage->size), "and the first one mapped again: %d", r);
        share_unmap(share, RANGE, RANGE);
}

/* Mappings of an earlier back-end may be unmapped. */
static void test_unmap(struct outage *outage)
{
        int r = share_unmap(&outage->share, 0, RANGE);

        check(r == 0, "what the back-end did not map itself may be unmapped: %d", r);
        check(!shows(outage, 4), "and is gone then");
        r = share_map(&outage->share, outage->node, 0, 0, RANGE, true);
        need(r == 0 && shows(outage, outage->size), "and mapped again: %d", r);
}

void test_restart(void)
{
        static struct outage outage;
        struct share *share = &outage.share;
        unsigned count = (unsigned)cmdline_number("count", 1);

        share_start(share, "share");
        outage.node = share_lookup(share, "file", &outage.size);
        need(share_map(share, outage.node, 0, 0, RANGE, true) == 0, "a file can be mapped");
        for (unsigned round = 1; round <= count; round++) {
                test_requests(&outage, round);
                test_after(&outage);
                if (round % 2)
                        test_mappings(&outage);
                else
                        test_unmap(&outage);
        }
        check(fuse_destroy(&share->fuse) == 0, "FUSE_DESTROY");
}
