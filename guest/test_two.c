/* SPDX-License-Identifier: BSD-2-Clause */

/* Buffers that lie in windows: in the device's own, and in another's. Each request is sent as soon as the mapping that
 * it needs is said to be there. */

#include "share.h"
#include "tests.h"

#include <linux/errno.h>
#include <linux/fcntl.h>

enum { OF_A = 1, OF_B = 2, SIZE = 128 << 10, AT = 64 << 10 };

static uint8_t memory[SIZE];

struct file {
        struct share *share;
        uint64_t node, handle;
};

static struct file open(struct share *share, const char *name)
{
        struct file file = {.share = share, .node = share_lookup(share, name, NULL)};

        need(fuse_open(&share->fuse, file.node, O_RDWR, &file.handle) >= 0, "%s can be opened", name);
        return file;
}

static int read(const struct file *file, uint64_t offset, uint64_t to, uint32_t size)
{
        return fuse_read(&file->share->fuse, file->node, file->handle, offset, to, size);
}

static int write(const struct file *file, uint64_t offset, uint64_t from, uint32_t size)
{
        return fuse_write(&file->share->fuse, file->node, file->handle, offset, from, size);
}

/* With a new mapping each time, since it is at once after the answer that it may not be known everywhere yet. */
static void test_between(const struct file *a, const struct file *b, const char *what)
{
        struct share *to = b->share;
        uint64_t count = cmdline_number("count", 1), reads = 0, writes = 0;

        for (uint64_t i = 0; i < count; i++) {
                uint64_t place = i % (to->window.size / RANGE) * RANGE, at = to->window.address + place + AT;

                if (share_map(to, b->node, 0, place, RANGE, true) != 0)
                        break;
                reads += read(a, 0, at, SIZE) == SIZE && content_matches(at, OF_A, 0, SIZE) == SIZE;
                content_fill(at, OF_B, AT, SIZE);
                writes += write(a, SIZE, at, SIZE) == SIZE;
                share_unmap(to, place, RANGE);
        }
        check(reads == count, "%lu of %lu times a file is read into %s window", reads, count, what);
        check(writes == count, "%lu of %lu times a file is written from %s window", writes, count, what);
}

/* A buffer that begins in memory and ends in a window would be two; but one may span two mappings of one file. */
static void test_across(const struct file *a, const struct file *b)
{
        struct share *to = b->share;
        uint64_t at = to->window.address + RANGE - SIZE / 2;

        need(share_map(to, b->node, RANGE, 0, RANGE, true) == 0 && share_map(to, b->node, 0, RANGE, RANGE, true) == 0,
             "two ranges of a file can be mapped in the other order");
        check(read(a, 0, at, SIZE) == SIZE && content_matches(at, OF_A, 0, SIZE) == SIZE,
              "a file is read into a buffer that lies in both");
        share_unmap(to, 0, 2 * RANGE);
}

/* A request of which all is at @address: what is there now is no request at all. */
static int ask_from(struct share *share, uint64_t address)
{
        struct fuse_call *call = (struct fuse_call *)address;
        static struct fuse_call other;

        other = (struct fuse_call){.opcode = FUSE_GETATTR, .node = FUSE_ROOT_ID};
        other.args = &call->in;
        other.args_size = 64;
        other.answer = &call->out;
        other.answer_size = 128;
        return fuse_do(&share->fuse, &other);
}

/* A buffer that the host has taken away, as far as that is possible. */
static void test_truncated(const struct file *a, const struct file *b)
{
        struct share *to = b->share;
        uint64_t at = to->window.address + AT;
        int r;

        need(share_map(to, b->node, 0, 0, RANGE, true) == 0, "a file can be mapped");
        sync_host("truncate");
        r = read(a, 0, at, SIZE);
        check(r != -ETIMEDOUT, "reading into what was cut off is answered: %d", r);
        r = write(a, 0, at, SIZE);
        check(r != -ETIMEDOUT, "and so is writing from there: %d", r);
        r = ask_from(a->share, at);
        check(r != -ETIMEDOUT, "and so is a request that is there: %d", r);
        check(share_unmap(to, 0, RANGE) == 0 && read(a, 0, (uint64_t)memory, SIZE) == SIZE, "the device goes on");
}

void test_two(void)
{
        static struct share first, second;
        struct file a, b, own;

        share_start(&first, "a");
        share_start(&second, "b");
        a = open(&first, "file-a");
        own = open(&first, "own");
        b = open(&second, "file-b");
        test_between(&a, &b, "another device's");
        test_between(&a, &own, "its own");
        test_across(&a, &b);
        test_truncated(&a, &b);
}
