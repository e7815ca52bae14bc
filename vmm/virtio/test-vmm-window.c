/* SPDX-License-Identifier: BSD-2-Clause */

/* The window's policy by itself, with this process in the guest's place. What a vcpu sees is guest's. */

#include "base/fd.h"
#include "base/test.h"
#include "vmm/virtio/guest_window.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define SIZE (UINT64_C(4) << 20)

static const struct oriel_log silent;

struct world {
        struct dma *dma;
        struct guest_window *window;
        int file;
};

static int make_file(size_t pages)
{
        int fd = memfd_create("the file", MFD_CLOEXEC);
        char data[PAGE];

        for (size_t i = 0; i < pages; i++) {
                memset(data, 'a' + (int)i, sizeof(data));
                assert_int_equal(pwrite(fd, data, sizeof(data), (off_t)(i * PAGE)), sizeof(data));
        }
        return fd;
}

static void begin(struct world *world)
{
        struct guest_window_options options = {.shmid = 3, .size = SIZE, .shares = 1, .log = &silent};

        assert_int_equal(dma_new(&world->dma), 0);
        options.dma = world->dma;
        assert_int_equal(guest_window_new(&options, &world->window), 0);
        world->file = make_file(8);
}

static void end(struct world *world)
{
        guest_window_free(world->window);
        dma_free(world->dma);
        fd_close(world->file);
}

static void map(struct world *world, uint64_t offset, uint64_t size, uint64_t fd_offset, enum oriel_access access)
{
        assert_int_equal(oriel_region_map(guest_window_region(world->window), (struct oriel_range){offset, size},
                                          world->file, fd_offset, access),
                         0);
}

static char shown(struct world *world, uint64_t offset)
{
        char byte = '?';

        guest_window_access(world->window, offset, &byte, 1, false);
        return byte;
}

static void test_looks(void **state)
{
        struct guest_window_view view;
        struct world world;
        uint32_t word = 7;

        begin(&world);
        map(&world, 16 * PAGE, 4 * PAGE, 2 * PAGE, ORIEL_ACCESS_READ);
        assert_int_equal(shown(&world, 16 * PAGE), 'c');
        assert_int_equal(shown(&world, 15 * PAGE), 0);
        /* Reads by guest_window_access() see the mapping, and writes are dropped. */
        guest_window_access(world.window, 16 * PAGE, &word, 4, true);
        assert_int_equal(shown(&world, 16 * PAGE), 'c');
        guest_window_access(world.window, SIZE - 2, &word, 4, false);
        guest_window_access(world.window, UINT64_MAX, &word, 4, false);
        assert_int_equal(word, 7);
        assert_true(guest_window_look(world.window, 19 * PAGE + 5, &view));
        assert_int_equal(view.range.start, 16 * PAGE);
        assert_int_equal(view.fd_offset, 2 * PAGE);
        assert_int_equal(view.access, ORIEL_ACCESS_READ);
        assert_non_null(strstr(view.name, "the file"));
        assert_false(guest_window_look(world.window, 20 * PAGE, &view));
        assert_int_equal(
                oriel_region_unmap(guest_window_region(world.window), (struct oriel_range){16 * PAGE, 4 * PAGE}), 0);
        assert_false(guest_window_look(world.window, 16 * PAGE, &view));
        end(&world);
}

/* As an instruction is read: all of it or nothing, and no page is put anywhere. */
static void test_reads(void **state)
{
        struct world world;
        char bytes[8] = "";

        begin(&world);
        assert_false(guest_window_is_limited(world.window));
        map(&world, 4 * PAGE, 2 * PAGE, 2 * PAGE, ORIEL_ACCESS_READ_WRITE);
        assert_false(guest_window_is_limited(world.window));
        assert_true(guest_window_read(world.window, 5 * PAGE - 1, bytes, 2));
        assert_int_equal(bytes[1], 'd');
        assert_true(guest_window_read(world.window, SIZE - 8, bytes, 8));
        assert_false(guest_window_read(world.window, SIZE - 7, bytes, 8));
        assert_false(guest_window_read(world.window, UINT64_MAX, bytes, 8));
        assert_int_equal(ftruncate(world.file, 3 * PAGE), 0);
        assert_true(guest_window_is_limited(world.window));
        assert_true(guest_window_read(world.window, 4 * PAGE, bytes, 1));
        assert_int_equal(bytes[0], 'c');
        assert_false(guest_window_read(world.window, 5 * PAGE, bytes, 1));
        assert_false(guest_window_read(world.window, 5 * PAGE - 1, bytes, 2));
        assert_true(guest_window_zero_fill(world.window));
        assert_true(guest_window_read(world.window, 5 * PAGE - 1, bytes, 2));
        assert_true(guest_window_is_limited(world.window));
        assert_int_equal(oriel_region_unmap_all(guest_window_region(world.window)), 1);
        assert_false(guest_window_is_limited(world.window));
        map(&world, 0, PAGE, 0, ORIEL_ACCESS_READ);
        assert_true(guest_window_is_limited(world.window));
        end(&world);
}

/* A file becomes shorter, shorter still, and longer again; all at once and in steps. */
static void test_shrinks_and_grows(void **state)
{
        struct guest_window_view view;
        struct world world;

        begin(&world);
        map(&world, 0, 8 * PAGE, 0, ORIEL_ACCESS_READ_WRITE);
        map(&world, 32 * PAGE, 2 * PAGE, 6 * PAGE, ORIEL_ACCESS_READ);
        assert_false(guest_window_zero_fill(world.window));
        assert_false(guest_window_restore(world.window));
        assert_int_equal(ftruncate(world.file, 5 * PAGE + 100), 0);
        assert_true(guest_window_zero_fill(world.window));
        assert_false(guest_window_zero_fill(world.window));
        assert_int_equal(shown(&world, 5 * PAGE), 'f');
        assert_int_equal(shown(&world, 5 * PAGE + 100), 0);
        assert_int_equal(shown(&world, 6 * PAGE), 0);
        assert_int_equal(shown(&world, 32 * PAGE), 0);
        assert_true(guest_window_look(world.window, 0, &view));
        assert_int_equal(view.lost, 2 * PAGE);
        assert_int_equal(ftruncate(world.file, 0), 0);
        assert_true(guest_window_zero_fill(world.window));
        assert_int_equal(shown(&world, 0), 0);
        assert_true(guest_window_restore(world.window));

        /* It comes back with other bytes, a part at a time. */
        assert_int_equal(pwrite(world.file, "new", 3, 3 * PAGE), 3);
        assert_true(guest_window_restore(world.window));
        assert_int_equal(shown(&world, 3 * PAGE), 'n');
        assert_int_equal(shown(&world, 4 * PAGE), 0);
        assert_int_equal(ftruncate(world.file, 8 * PAGE), 0);
        assert_false(guest_window_restore(world.window));
        assert_int_equal(pwrite(world.file, "end", 3, 7 * PAGE), 3);
        assert_int_equal(shown(&world, 7 * PAGE), 'e');
        assert_int_equal(shown(&world, 33 * PAGE), 'e');
        assert_true(guest_window_look(world.window, 0, &view));
        assert_int_equal(view.lost, 0);

        /* At one place alone: what is before it shows the file as soon as that has grown. */
        assert_false(guest_window_zero_fill_at(world.window, 7 * PAGE));
        assert_int_equal(ftruncate(world.file, PAGE + 1), 0);
        assert_true(guest_window_zero_fill_at(world.window, 5 * PAGE + 7));
        assert_false(guest_window_zero_fill_at(world.window, 5 * PAGE));
        assert_false(guest_window_zero_fill_at(world.window, PAGE));
        assert_false(guest_window_zero_fill_at(world.window, 100 * PAGE));
        assert_true(guest_window_look(world.window, 0, &view));
        assert_int_equal(view.lost, 3 * PAGE);
        assert_int_equal(pwrite(world.file, "grown", 5, 4 * PAGE), 5);
        assert_int_equal(shown(&world, 4 * PAGE), 'g');
        /* And unmapped like anything else. */
        assert_int_equal(ftruncate(world.file, 0), 0);
        assert_true(guest_window_zero_fill(world.window));
        assert_int_equal(oriel_region_unmap_all(guest_window_region(world.window)), 2);
        assert_false(guest_window_restore(world.window));
        end(&world);
}

static void test_orphans_and_their_files(void **state)
{
        struct world world;

        begin(&world);
        map(&world, 0, 2 * PAGE, 0, ORIEL_ACCESS_READ);
        oriel_region_orphan_all(guest_window_region(world.window));
        assert_int_equal(shown(&world, 0), 'a');
        map(&world, 0, 2 * PAGE, 4 * PAGE, ORIEL_ACCESS_READ);
        assert_int_equal(shown(&world, 0), 'e');
        assert_int_equal(shown(&world, PAGE), 'f');
        end(&world);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_looks),
                counted_test(test_reads),
                counted_test(test_shrinks_and_grows),
                counted_test(test_orphans_and_their_files),
        };

        return run_counted("vmm-window", tests);
}
