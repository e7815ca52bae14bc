/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fd.h"
#include "base/test.h"
#include "vmm/virtio/dma.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

static int make_file(void)
{
        return memfd_create("t", MFD_CLOEXEC);
}

static struct oriel_memory_region at(uint64_t address)
{
        return (struct oriel_memory_region){.guest_address = address, .size = 4096};
}

static void add(struct dma *dma, uint64_t address)
{
        struct oriel_memory_region region = at(address);

        assert_int_equal(dma_add(dma, &region, make_file(), NULL, 1), 0);
}

/* The next change is that one. */
static void expect(struct dma *dma, struct dma_listener *listener, enum dma_change_kind wanted, uint64_t address)
{
        enum dma_change_kind kind;
        struct dma_piece *piece;

        assert_true(dma_next(dma, listener, &kind, &piece));
        assert_int_equal(kind, wanted);
        assert_int_equal(piece->region.guest_address, address);
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
        struct oriel_memory_region again = at(0x1000);
        struct dma *dma;

        (void)state;
        assert_int_equal(dma_new(&dma), 0);
        dma_listen(dma, &early, wake);
        add(dma, 0x1000);
        add(dma, 0x3000);
        assert_int_equal(dma_add(dma, &again, make_file(), NULL, 1), -EEXIST);
        assert_int_equal(fd_event_clear(wake), 1);
        expect(dma, &early, DMA_ADD, 0x1000);
        expect(dma, &early, DMA_ADD, 0x3000);
        expect_nothing(dma, &early);

        /* Who comes later is told of all there is. */
        dma_listen(dma, &late, wake);
        expect(dma, &late, DMA_ADD, 0x1000);
        /* What it was not told of yet, it need not be told of. */
        dma_remove(dma, 0x3000);
        expect_nothing(dma, &late);
        expect(dma, &early, DMA_REMOVE, 0x3000);
        dma_remove(dma, 0x9000);
        expect_nothing(dma, &early);

        dma_stop_listening(dma, &early);
        dma_stop_listening(dma, &early);
        add(dma, 0x5000);
        expect_nothing(dma, &early);
        dma_stop_listening(dma, &late);
        dma_free(dma);
        dma_free(NULL);
        fd_close(wake);
}

int main(void)
{
        const struct CMUnitTest tests[] = {counted_test(test_listeners)};

        return run_counted("dma", tests);
}
