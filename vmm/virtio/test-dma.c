/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fd.h"
#include "base/test.h"
#include "vmm/virtio/dma.h"

#include <fcntl.h>
#include <oriel/shmem.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#define PAGE UINT64_C(4096)

static struct oriel_window *window;
static struct oriel_region *region;

/* Mappings, to be told of. */
static void make_region(void)
{
        struct oriel_region_options options = {.struct_size = sizeof(options),
                                               .size = 16 * PAGE,
                                               .placement = oriel_window_placement(),
                                               .keep_fds = 16};

        assert_int_equal(oriel_window_new(options.size, ORIEL_HOLE_ZERO, &window), 0);
        options.userdata = window;
        assert_int_equal(oriel_region_new(&options, &region), 0);
}

static struct dma_piece *add(struct dma *dma, uint64_t address)
{
        const struct oriel_memory_region memory = {.guest_address = address, .size = PAGE};
        int fd = memfd_create("t", MFD_CLOEXEC);

        assert_int_equal(oriel_region_map(region, (struct oriel_range){address, PAGE}, fd, 0, ORIEL_ACCESS_READ), 0);
        fd_close(fd);

        struct oriel_mapping *mapping = oriel_region_find(region, address);
        struct dma_piece *piece = dma_add(dma, &memory, mapping, NULL, 1);

        assert_non_null(piece);
        assert_true(oriel_mapping_fd(mapping) >= 0);
        /* From here on the piece alone keeps it. */
        oriel_mapping_unref(mapping);
        assert_int_equal(oriel_region_unmap(region, (struct oriel_range){address, PAGE}), 0);
        return piece;
}

/* The next change is that one. */
static void expect(struct dma *dma, struct dma_listener *listener, enum dma_change_kind wanted, uint64_t address)
{
        enum dma_change_kind kind;
        struct dma_piece *piece;

        assert_true(dma_next(dma, listener, &kind, &piece));
        assert_int_equal(kind, wanted);
        assert_int_equal(piece->region.guest_address, address);
        assert_true(fcntl(oriel_mapping_fd(piece->mapping), F_GETFD) >= 0);
        dma_piece_release(dma, piece);
}

static void expect_nothing(struct dma *dma, struct dma_listener *listener)
{
        enum dma_change_kind kind;
        struct dma_piece *piece;

        assert_false(dma_next(dma, listener, &kind, &piece));
}

static void test_listeners(void **state)
{
        struct dma_listener early = {.wake_fd = -1}, late = {.wake_fd = -1};
        int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        struct dma_piece *piece;
        struct dma *dma;

        make_region();
        assert_int_equal(dma_new(&dma), 0);
        dma_listen(dma, &early, wake);
        add(dma, 0x1000);
        piece = add(dma, 0x3000);
        assert_int_equal(fd_event_clear(wake), 1);
        expect(dma, &early, DMA_ADD, 0x1000);
        expect(dma, &early, DMA_ADD, 0x3000);
        expect_nothing(dma, &early);

        /* A listener that comes later is told of all pieces. */
        dma_listen(dma, &late, wake);
        expect(dma, &late, DMA_ADD, 0x1000);
        /* It is not told that a piece is gone of which it was not told before. */
        dma_remove(dma, piece);
        expect_nothing(dma, &late);
        expect(dma, &early, DMA_REMOVE, 0x3000);
        dma_remove(dma, NULL);
        expect_nothing(dma, &early);

        dma_stop_listening(dma, &early);
        dma_stop_listening(dma, &early);
        add(dma, 0x5000);
        expect_nothing(dma, &early);
        dma_stop_listening(dma, &late);
        dma_free(dma);
        dma_free(NULL);
        oriel_region_free(region);
        oriel_window_free(window);
        fd_close(wake);
}

int main(void)
{
        const struct CMUnitTest tests[] = {counted_test(test_listeners)};

        return run_counted("dma", tests);
}
