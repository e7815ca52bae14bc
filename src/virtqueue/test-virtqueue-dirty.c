/* SPDX-License-Identifier: BSD-2-Clause */
/* Tests of the dirty log: which pages a device's end marks, of what it writes for the driver and of the ring itself. */
#include "virtqueue/test-ring.h"

#define LOG_ADDRESS (HIGH_PAGE * UINT64_C(4096) + 4096 - 8)
#define HIGH_PAGE   0x2000 /* behind all memory, which is allowed */

static void expect_dirty(int fd, const uint64_t *pages, unsigned n)
{
        uint8_t bits[HIGH_PAGE / 8 + 8], expected[sizeof(bits)] = {0};

        for (unsigned i = 0; i < n; i++)
                expected[pages[i] / 8] |= (uint8_t)(1 << pages[i] % 8);
        assert_int_equal(pread(fd, bits, sizeof(bits), 0), sizeof(bits));
        assert_memory_equal(bits, expected, sizeof(bits));
        memset(bits, 0, sizeof(bits));
        assert_int_equal(pwrite(fd, bits, sizeof(bits), 0), sizeof(bits));
}

static void dirty_round(struct world *world, size_t written)
{
        const struct oriel_buffer readable = {GUEST + 0x300000, 64};
        const struct oriel_buffer writable[] = {{GUEST + 0x310ff0, 32}, {BORDER - 16, 32}, {BORDER + 0x20000, 0x5000}};
        struct oriel_chain *chain;

        assert_int_equal(oriel_driver_queue_submit(world->driver, &readable, 1, writable, 3, world), 0);
        assert_int_equal(oriel_device_queue_pop(world->device, &chain), 1);
        assert_int_equal(oriel_device_queue_push(world->device, chain, written), 0);
        collect_one(world);
}

static void test_dirty(void **state)
{
        bool packed = *state;
        const uint64_t ring = packed ? RING_AT / 4096 : HIGH_PAGE, all[] = {0x410, 0x411, 0x4ff, 0x500, ring};
        int fd = memfd_create("log", MFD_CLOEXEC);
        struct oriel_dirty_log *log;
        struct world world;

        assert_int_equal(ftruncate(fd, 4096), 0);
        assert_int_equal(oriel_dirty_log_new(fd, 0, HIGH_PAGE / 8 + 8, &log), 0);
        world_init(&world, packed ? PACKED : 0, 4);
        world.ring.log_used = true;
        world.ring.log_address = LOG_ADDRESS;
        world_open_driver(&world);
        world_open_device(&world);
        dirty_round(&world, 64);
        expect_dirty(fd, NULL, 0);
        oriel_device_queue_set_dirty_log(world.device, log, true);
        oriel_dirty_log_unref(log);

        /* Used entry 1 begins 4 + 8 bytes into the used ring, the index is at 2: one page each. */
        dirty_round(&world, 64);
        expect_dirty(fd, packed ? all : (const uint64_t[]){0x410, 0x411, 0x4ff, 0x500, HIGH_PAGE, HIGH_PAGE + 1},
                     packed ? 5 : 6);
        dirty_round(&world, 10);
        expect_dirty(fd, packed ? (const uint64_t[]){0x410, ring} : (const uint64_t[]){0x410, ring, ring + 1},
                     packed ? 2 : 3);
        dirty_round(&world, SIZE_MAX);
        expect_dirty(fd,
                     (const uint64_t[]){0x410, 0x411, 0x4ff, 0x500, 0x520, 0x521, 0x522, 0x523, 0x524, ring,
                                        packed ? ring : ring + 1},
                     11);
        oriel_device_queue_want_kick(world.device, true);
        expect_dirty(fd, (const uint64_t[]){HIGH_PAGE}, 1);
        /* The used ring alone, then nothing. */
        oriel_device_queue_set_dirty_log(world.device, log, false);
        dirty_round(&world, 64);
        expect_dirty(fd, (const uint64_t[]){ring, ring + 1}, packed ? 1 : 2);
        oriel_device_queue_set_dirty_log(world.device, NULL, false);
        dirty_round(&world, 64);
        expect_dirty(fd, NULL, 0);
        world_close(&world);
        close(fd);
}

int main(void)
{
        static bool packed = true;
        struct CMUnitTest tests[] = {counted_test(test_dirty), counted_test(test_dirty)};

        tests[0].name = "dirty: split";
        tests[1].name = "dirty: packed";
        tests[1].initial_state = &packed;
        return run_counted("virtqueue-dirty", tests);
}
