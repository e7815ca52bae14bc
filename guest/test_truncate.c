/* SPDX-License-Identifier: BSD-2-Clause */

/* The host makes a file shorter, and longer, while the guest reads it through the window. */

#include "share.h"
#include "tests.h"

enum { FIRST = 1, SECOND = 2, THIRD = 3, WINDOW_BAR = 2 };

/* Whether all is what @seed says up to @end, and zeros from there to @size. */
static bool shows(const struct share *share, uint32_t seed, uint64_t end, uint64_t size)
{
        uint64_t at = share->window.address;

        return content_matches(at, seed, 0, end) == end && content_is_zero(at + end, size - end);
}

/* Each byte is of one content or the other, or zero: a word may be in the middle of being written, or cut off. */
static bool shows_any(const struct share *share, uint64_t size)
{
        for (uint64_t at = 0; at < size; at++) {
                uint8_t byte = read8(share->window.address + at);

                if (byte != 0 && byte != content_byte(SECOND, at) && byte != content_byte(THIRD, at)) {
                        print("# 0x%x at 0x%lx\n", byte, at);
                        return false;
                }
        }
        return true;
}

static bool shows_soon(const struct share *share, uint32_t seed, uint64_t size)
{
        uint64_t deadline = deadline_in(LAST_RESORT_MS);

        while (!shows(share, seed, size, size))
                if (deadline_past(deadline))
                        return false;
        return true;
}

/* The host goes on until it has been heard of, so what is read changes all the time. */
static void test_storm(const struct share *share, uint64_t size)
{
        uint64_t deadline = deadline_in(LAST_RESORT_MS), rounds = 0;
        bool good = true;

        tell_host("storm");
        while (!host_has_answered() && !deadline_past(deadline)) {
                good &= shows_any(share, size);
                rounds++;
        }
        check(good && rounds > 0, "what changes all the time is read as it was, as it is, or as zeros");
        print("# %lu rounds\n", rounds);
}

void test_truncate(void)
{
        static struct share share;
        uint64_t size, node, left = cmdline_number("left", 0);

        share_start(&share, "share");
        node = share_lookup(&share, "file", &size);
        need(share_map(&share, node, 0, 0, RANGE, true) == 0, "it can be mapped");
        check(shows(&share, FIRST, size, size), "its content is there");
        check(virtio_read_bar(&share.device, WINDOW_BAR, PAGE) == content_word(FIRST, PAGE / 4),
              "by way of the configuration space, too");
        sync_host("peek");
        check(virtio_read_bar(&share.device, WINDOW_BAR, (uint32_t)(size - PAGE)) == 0,
              "what was cut off is zeros that way");
        sync_host("restore");
        check(shows_soon(&share, FIRST, size), "and is seen again when it is there again");
        sync_host("shrink");
        check(shows(&share, FIRST, left, size), "what was cut off is zeros");
        content_fill(share.window.address + size - PAGE, FIRST, 0, PAGE);
        check(true, "stores there go on");
        sync_host("empty");
        /* But for what was stored where nothing is: that is nobody's, and may be found there as long. */
        check(content_is_zero(share.window.address, size - PAGE), "all of an empty file is zeros");
        sync_host("grow");
        check(shows_soon(&share, SECOND, size), "what the host has written since is there");
        tell_host("grown");
        content_fill(share.window.address + 64, THIRD, 64, 64);
        sync_host("look");
        test_storm(&share, size);
        check(shows_soon(&share, THIRD, size), "what the host has written at last is there");
        check(share_unmap(&share, 0, RANGE) == 0, "it can be unmapped");
}
