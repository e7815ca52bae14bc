/* SPDX-License-Identifier: BSD-2-Clause */

/* The guest's half of "oriel demo": every file of the share "tree" that the file "list" of the share "demo" names is
 * read through the window, and its checksum stored, through the other window, in the file "sums". */

#include "guest/shared.h"
#include "share.h"
#include "tests.h"

#include <linux/errno.h>

/* A checksum of what the window shows, once over, as a program of the guest would read it. */
static uint64_t sum_range(uint64_t sum, uint64_t address, uint64_t size)
{
        uint64_t at = 0;

        for (; at + 8 <= size; at += 8)
                sum = demo_add(sum, read64(address + at));
        for (; at < size; at++)
                sum = demo_add(sum, read8(address + at));
        return sum;
}

static void map_whole(struct share *share, const char *name, uint64_t offset, bool writable)
{
        uint64_t size, node = share_lookup(share, name, &size);
        int r = share_map(share, node, 0, offset, (size + RANGE - 1) & ~(RANGE - 1), writable);

        if (r < 0)
                need(false, "%s is mapped: error %d", name, -r);
}

static int look_up(struct share *share, const char *path, struct fuse_entry_out *entry)
{
        static char name[DEMO_NAME_MAX + 1];
        uint64_t node = FUSE_ROOT_ID;
        int r = -ENOENT;

        while (*path) {
                size_t n = 0;

                for (; path[n] && path[n] != '/' && n < DEMO_NAME_MAX; n++)
                        name[n] = path[n];
                name[n] = '\0';
                r = fuse_lookup_in(&share->fuse, node, name, entry);
                if (node != FUSE_ROOT_ID)
                        fuse_forget(&share->fuse, node);
                if (r < 0)
                        return r;
                node = entry->nodeid;
                path += n + (path[n] == '/');
        }
        return r;
}

/* The next range of the window, free of what it showed before. */
static uint64_t take_slot(struct share *share)
{
        static uint64_t next;
        uint64_t n_slots = share->window.size / RANGE, offset = next % n_slots * RANGE;

        if (next++ >= n_slots)
                share_unmap(share, offset, RANGE);
        return offset;
}

static struct demo_sum sum_file(struct share *share, const char *path)
{
        struct demo_sum result = {.error = DEMO_NOT_FOUND};
        struct fuse_entry_out entry;

        if (look_up(share, path, &entry) < 0)
                return result;
        result = (struct demo_sum){.sum = DEMO_SUM_START, .size = entry.attr.size};
        for (uint64_t at = 0; at < result.size && !result.error; at += RANGE) {
                uint64_t left = result.size - at, slot = take_slot(share);

                if (share_map(share, entry.nodeid, at, slot, RANGE, false) < 0)
                        result.error = DEMO_NOT_MAPPED;
                else
                        result.sum = sum_range(result.sum, share->window.address + slot, left < RANGE ? left : RANGE);
                result.mappings++;
        }
        fuse_forget(&share->fuse, entry.nodeid);
        return result;
}

void test_demo(void)
{
        static struct share tree, demo;

        share_start(&tree, "tree");
        share_start(&demo, "demo");
        map_whole(&demo, "list", 0, false);
        map_whole(&demo, "sums", DEMO_SUMS_OFFSET, true);

        const struct demo_list *list = (const void *)demo.window.address;
        struct demo_sum *sums = (void *)(demo.window.address + DEMO_SUMS_OFFSET);
        const char *path = list->paths;

        for (uint64_t i = 0; i < list->n; i++) {
                sums[i] = sum_file(&tree, path);
                path += strlen(path) + 1;
        }
        sums[list->n].size = list->n;
        fuse_destroy(&tree.fuse);
        check(true, "the list is done");
}
