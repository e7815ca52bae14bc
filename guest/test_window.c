/* SPDX-License-Identifier: BSD-2-Clause */

/* A file that is read and written through the window, and what is there where nothing is mapped. */

#include "share.h"
#include "tests.h"

#include <linux/errno.h>
#include <linux/fcntl.h>

enum { SEED = 1, OTHER = 0x5eed };

/* Linux maps a file's ranges in any order; here the last comes first. */
static uint64_t place_of(const struct share *share, uint64_t file_offset)
{
        return share->window.size - RANGE - file_offset;
}

static uint64_t piece(uint64_t size, uint64_t at)
{
        return size - at < RANGE ? size - at : RANGE;
}

static void map_all(struct share *share, uint64_t node, uint64_t size)
{
        int r = 0;

        for (uint64_t at = 0; r >= 0 && at < size; at += RANGE)
                r = share_map(share, node, at, place_of(share, at), RANGE, true);
        need(r == 0, "every range of the file can be mapped");
}

static bool shows(const struct share *share, uint64_t size)
{
        for (uint64_t at = 0; at < size; at += RANGE)
                if (content_matches(share->window.address + place_of(share, at), SEED, at, piece(size, at)) !=
                    piece(size, at))
                        return false;
        return true;
}

/* Not one word of the file's is seen where it was. */
static bool hides(const struct share *share, uint64_t size)
{
        for (uint64_t at = 0; at < size; at += PAGE) {
                uint64_t where = share->window.address + place_of(share, at & ~(RANGE - 1)) + at % RANGE;

                if (content_matches(where, SEED, at, 4) == 4)
                        return false;
        }
        return true;
}

static void test_holes(const struct share *share)
{
        uint64_t sum = 0;

        for (uint64_t at = 0; at < share->window.size; at += 512)
                sum |= read64(share->window.address + at);
        check(sum == 0, "a window in which nothing is mapped reads as zeros");
        for (uint64_t at = 0; at < share->window.size; at += PAGE)
                write64(share->window.address + at, UINT64_MAX);
        check(true, "and takes stores");
}

static void test_read(const struct share *share, uint64_t size)
{
        uint64_t last = size & ~(RANGE - 1), end = share->window.address + place_of(share, last) + size % RANGE;
        uint64_t beyond = (end + PAGE - 1) & ~(PAGE - 1);

        check(shows(share, size), "all %lu bytes of the file are there", size);
        check(content_is_zero(end, beyond - end), "the rest of its last page is zeros");
        check(content_is_zero(beyond, PAGE) &&
                      content_is_zero(share->window.address + place_of(share, last) + RANGE - 8, 8),
              "so is the rest of the range");
}

static void test_same_file(struct share *share, uint64_t node)
{
        static uint8_t page[4096];
        uint64_t handle = 0, at = share->window.address + place_of(share, 0) + 3 * PAGE;
        int r = fuse_open(&share->fuse, node, O_RDWR, &handle);

        need(r >= 0, "the file can be opened");
        content_fill(at, OTHER, 0, PAGE);
        r = fuse_read(&share->fuse, node, handle, 3 * PAGE, (uint64_t)page, sizeof(page));
        check(r == sizeof(page) && content_matches((uint64_t)page, OTHER, 0, PAGE) == PAGE,
              "FUSE_READ finds what was stored");
        content_fill((uint64_t)page, SEED, 3 * PAGE, PAGE);
        r = fuse_write(&share->fuse, node, handle, 3 * PAGE, (uint64_t)page, sizeof(page));
        check(r == sizeof(page) && content_matches(at, SEED, 3 * PAGE, PAGE) == PAGE,
              "what FUSE_WRITE has written is there");
        check(fuse_release(&share->fuse, node, handle) == 0, "the file can be closed");
}

/* The host compares: bytes in each range, at its ends, and the file's last one. */
static void store(const struct share *share, uint64_t size)
{
        for (uint64_t at = 0; at < size; at += RANGE) {
                uint64_t where = share->window.address + place_of(share, at), length = piece(size, at);

                write8(where, 0x11);
                write8(where + length - 1, 0x22);
                write32(where + length / 2, 0x33445566);
        }
}

static void test_unmap(struct share *share, uint64_t size)
{
        int r = 0;

        for (uint64_t at = 0; r >= 0 && at < size; at += RANGE)
                r = share_unmap(share, place_of(share, at), RANGE);
        check(r == 0, "every range can be unmapped");
        check(hides(share, size), "and shows nothing of the file");
        for (uint64_t at = 0; at < share->window.size; at += PAGE)
                write64(share->window.address + at, UINT64_MAX);
        check(true, "stores there go on");
}

static void test_errors(struct share *share, uint64_t node)
{
        check(share_map(share, node, 0, share->window.size, RANGE, false) == -EINVAL, "behind the window: EINVAL");
        check(share_map(share, node, 0, PAGE / 2, RANGE, false) == -EINVAL, "half a page: EINVAL");
        check(share_map(share, node + 12345, 0, 0, RANGE, false) == -ESTALE, "no such file: ESTALE");
        check(share_map(share, FUSE_ROOT_ID, 0, 0, RANGE, false) == -EINVAL, "a directory: EINVAL");
}

void test_window(void)
{
        static struct share share;
        uint64_t size, node;

        share_start(&share, "share");
        check(share.window.size == cmdline_number("window", 0), "the window is as large as it was to be");
        check(share.init.flags & FUSE_MAP_ALIGNMENT && UINT64_C(1) << share.init.map_alignment == PAGE,
              "FUSE_INIT says how mappings are aligned");
        test_holes(&share);
        node = share_lookup(&share, "file", &size);
        map_all(&share, node, size);
        test_read(&share, size);
        test_same_file(&share, node);
        store(&share, size);
        test_unmap(&share, size);
        test_errors(&share, node);
        map_all(&share, node, size);
        check(share_unmap(&share, 0, UINT64_MAX) == 0 && hides(&share, size), "all can be unmapped at once");
        check(fuse_destroy(&share.fuse) == 0, "FUSE_DESTROY");
        check(virtio_reset(&share.device), "the device can be reset");
}
