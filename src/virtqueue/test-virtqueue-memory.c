/* SPDX-License-Identifier: BSD-2-Clause */

/* Tests of a device's queue whose memory changes: addresses that wait for the IOTLB, entries that are removed while
 * buffers are in flight, and a table that no longer has the ring. */

#include "virtqueue/test-shapes.h"

#include <errno.h>

static void swap_memory(struct world *world, struct oriel_memory *memory)
{
        oriel_memory_unref(world->memory);
        world->memory = memory;
        assert_int_equal(oriel_device_queue_set_memory(world->device, memory), 0);
}

static void allow(struct world *world, uint64_t address, uint64_t size)
{
        struct oriel_memory *memory;

        assert_int_equal(oriel_memory_iotlb_update(world->memory, (struct oriel_range){address, size},
                                                   USER + (address - GUEST), ORIEL_ACCESS_READ_WRITE, &memory),
                         0);
        swap_memory(world, memory);
}

static void forbid(struct world *world, uint64_t address, uint64_t size)
{
        struct oriel_memory *memory;

        assert_int_equal(oriel_memory_iotlb_invalidate(world->memory, (struct oriel_range){address, size}, &memory), 0);
        swap_memory(world, memory);
}

static void use_iommu(struct world *world)
{
        struct oriel_memory_region low = {GUEST, REGION_SIZE, USER, 0};
        struct oriel_memory *empty, *memory;

        assert_int_equal(oriel_memory_new(8, 1, &empty), 0);
        assert_int_equal(oriel_memory_add_mapped(empty, &low, world_at(world, GUEST), ORIEL_ACCESS_READ_WRITE, &memory),
                         0);
        oriel_memory_unref(empty);
        oriel_memory_unref(world->memory);
        world->memory = memory;
}

static void expect_miss(struct world *world, uint64_t address)
{
        struct oriel_chain *chain;
        struct oriel_fault fault;

        assert_int_equal(oriel_device_queue_pop(world->device, &chain), -EAGAIN);
        oriel_device_queue_fault(world->device, &fault);
        assert_int_equal(fault.address, address);
        assert_int_equal(oriel_device_queue_error(world->device), 0);
}

static void test_iotlb(void **state)
{
        const struct oriel_buffer readable = {GUEST + 0x300000, 64}, writable = {GUEST + 0x310ff0, 32};
        const struct shape *shape = *state;
        struct oriel_chain *chain, *other;
        struct world world;
        unsigned misses = 0;

        world_init(&world, shape->features, shape->size);
        world_open_driver(&world);
        assert_int_equal(oriel_driver_queue_submit(world.driver, &readable, 1, &writable, 1, &world), 0);
        assert_int_equal(oriel_driver_queue_submit(world.driver, &readable, 1, NULL, 0, &world), 0);
        use_iommu(&world);
        world_open_device(&world);
        /* The ring, the indirect table, and two pieces, the second of which crosses a page. */
        while (oriel_device_queue_pop(world.device, &chain) != 1) {
                struct oriel_fault fault;

                oriel_device_queue_fault(world.device, &fault);
                expect_miss(&world, fault.address);
                allow(&world, fault.address & ~UINT64_C(4095), 4096);
                assert_true(++misses < 10);
        }
        assert_int_equal(misses, shape->features & INDIRECT ? 7 : 6);
        assert_int_equal(oriel_chain_readable_size(chain), 64);
        assert_int_equal(oriel_chain_writable_size(chain), 32);

        /* A ring whose IOTLB entry was removed waits; popped buffers can still be returned. */
        forbid(&world, RING_AT, 4096);
        expect_miss(&world, RING_AT);
        assert_false(oriel_device_queue_want_kick(world.device, true));
        assert_int_equal(oriel_device_queue_push(world.device, chain, 32), 0);
        collect_one(&world);
        allow(&world, RING_AT, 4096);
        assert_int_equal(oriel_device_queue_pop(world.device, &other), 1);
        oriel_chain_drop(other);
        world_close(&world);
}

static void test_in_flight_behind_iotlb(void **state)
{
        _Alignas(8) uint8_t region[4096] = {0};
        const struct shape *shape = *state;
        struct oriel_chain *chain;
        struct world world;

        world_open(&world, shape->features, shape->size);
        assert_int_equal(oriel_device_queue_set_inflight(world.device, region, sizeof(region)), 0);
        submit_one(&world);
        assert_int_equal(oriel_device_queue_pop(world.device, &chain), 1);
        oriel_device_queue_free(world.device);
        oriel_chain_drop(chain);

        use_iommu(&world);
        world_open_device(&world);
        assert_int_equal(oriel_device_queue_set_inflight(world.device, region, sizeof(region)), 0);
        expect_miss(&world, RING_AT);
        allow(&world, GUEST, REGION_SIZE);
        assert_true(oriel_device_queue_needs_call(world.device));
        assert_true(oriel_device_queue_want_kick(world.device, true));
        pop_and_push(&world);
        collect_one(&world);
        assert_false(oriel_device_queue_want_kick(world.device, true));
        world_close(&world);
}

static void test_memory_goes(void **state)
{
        const struct shape *shape = *state;
        struct oriel_chain *chain;
        struct oriel_memory *empty;
        struct world world;
        unsigned n;

        world_open(&world, shape->features, shape->size);
        submit_one(&world);
        assert_int_equal(oriel_device_queue_pop(world.device, &chain), 1);
        assert_int_equal(oriel_memory_new(8, 0, &empty), 0);
        assert_int_equal(oriel_device_queue_set_memory(world.device, empty), -EFAULT);
        assert_string_equal(oriel_device_queue_why(world.device), "the ring is not in memory");
        assert_int_equal(oriel_device_queue_set_memory(world.device, world.memory), -EFAULT);
        /* The chain outlives the table and the queue. */
        oriel_device_queue_free(world.device);
        world.device = NULL;
        oriel_memory_unref(empty);
        assert_int_equal(*(const char *)oriel_chain_writable(chain, &n)->iov_base, 0);
        assert_int_equal(n, 1);
        oriel_chain_drop(chain);
        world_close(&world);
}

int main(void)
{
        static const struct shape_test of_shapes[] = {
                {"iotlb", test_iotlb, 0, 4},
                {"in flight, behind iotlb", test_in_flight_behind_iotlb, 0, 1},
                {"memory goes", test_memory_goes, 0, 1},
        };
        static struct shape_names names[ARRAY_SIZE(of_shapes)];
        static struct CMUnitTest tests[ARRAY_SIZE(of_shapes) * SHAPES];
        size_t n = add_shape_tests(tests, of_shapes, names, ARRAY_SIZE(of_shapes));

        return _cmocka_run_group_tests("virtqueue-memory", tests, n, NULL, NULL);
}
