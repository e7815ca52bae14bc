/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VIRTQUEUE_TEST_RING_H
#define VIRTQUEUE_TEST_RING_H

/* Guest memory with a ring in it, and both sides of that ring. Two regions, adjacent for the guest and in reverse order
 * on the host, so that buffers across the border have two spans. */

#include "base/cleanup.h"
#include "base/test.h"

#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/virtqueue.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define GUEST        UINT64_C(0x100000)
#define REGION_SIZE  UINT64_C(0x400000)
#define BORDER       (GUEST + REGION_SIZE)
#define USER         UINT64_C(0x7f0000000000)
#define RING_AT      GUEST
#define INDIRECT_AT  (GUEST + 0x200000)
#define BIT(feature) (UINT64_C(1) << (feature))
#define PACKED       BIT(VIRTIO_F_RING_PACKED)
#define INDIRECT     BIT(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX    BIT(VIRTIO_RING_F_EVENT_IDX)
#define IN_ORDER     BIT(VIRTIO_F_IN_ORDER)
#define TABLE        8 /* entries of the driver's indirect tables */

struct world {
        uint8_t *host;
        struct oriel_memory *memory;
        struct oriel_ring ring;
        uint32_t base;
        struct oriel_device_queue *device;
        struct oriel_driver_queue *driver;
};

/* The test's own access to guest memory. */
static inline void *world_at(const struct world *world, uint64_t address)
{
        uint64_t offset = address - GUEST;

        return world->host + (offset < REGION_SIZE ? offset + REGION_SIZE : offset - REGION_SIZE);
}

static inline void world_copy(const struct world *world, uint64_t address, void *data, size_t size, bool out)
{
        for (size_t i = 0; i < size; i++) {
                uint8_t *at = world_at(world, address + i);

                *(out ? (uint8_t *)data + i : at) = *(out ? at : (uint8_t *)data + i);
        }
}

static inline void world_map(struct world *world)
{
        struct oriel_memory_region low = {GUEST, REGION_SIZE, USER, 0};
        struct oriel_memory_region high = {BORDER, REGION_SIZE, USER + REGION_SIZE, 0};
        struct oriel_memory *empty, *one;

        world->host = mmap(NULL, 2 * REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(world->host, MAP_FAILED);
        assert_int_equal(oriel_memory_new(8, 0, &empty), 0);
        assert_int_equal(oriel_memory_add_mapped(empty, &low, world->host + REGION_SIZE, ORIEL_ACCESS_READ_WRITE, &one),
                         0);
        assert_int_equal(oriel_memory_add_mapped(one, &high, world->host, ORIEL_ACCESS_READ_WRITE, &world->memory), 0);
        oriel_memory_unref(empty);
        oriel_memory_unref(one);
}

static inline uint64_t round_page(uint64_t value)
{
        return (value + 4095) & ~UINT64_C(4095);
}

/* Memory and ring addresses, no queues. */
static inline void world_init(struct world *world, uint64_t features, uint16_t size)
{
        bool packed = features & PACKED;
        size_t sizes[3];

        *world = (struct world){.base = packed ? 0x80008000 : 0};
        world_map(world);
        oriel_ring_sizes(size, packed, sizes);
        world->ring = (struct oriel_ring){
                .struct_size = sizeof(world->ring),
                .size = size,
                .features = features,
                .descriptor = RING_AT,
                .driver = RING_AT + round_page(sizes[0]),
                .device = RING_AT + round_page(sizes[0]) + round_page(sizes[1]),
        };
}

static inline void world_open_driver(struct world *world)
{
        assert_int_equal(oriel_driver_queue_new(&world->ring, world->memory, INDIRECT_AT, TABLE, &world->driver), 0);
}

static inline void world_open_device(struct world *world)
{
        assert_int_equal(oriel_device_queue_new(&world->ring, world->memory, world->base, &world->device), 0);
}

static inline void world_open(struct world *world, uint64_t features, uint16_t size)
{
        world_init(world, features, size);
        world_open_driver(world);
        world_open_device(world);
}

static inline void world_close(struct world *world)
{
        oriel_device_queue_free(world->device);
        oriel_driver_queue_free(world->driver);
        oriel_memory_unref(world->memory);
        munmap(world->host, 2 * REGION_SIZE);
}

static inline void submit_one(struct world *world)
{
        struct oriel_buffer buffer = {GUEST + 0x300000, 64};

        assert_int_equal(oriel_driver_queue_submit(world->driver, NULL, 0, &buffer, 1, world), 0);
}

static inline void pop_and_push(struct world *world)
{
        struct oriel_chain *chain;

        assert_int_equal(oriel_device_queue_pop(world->device, &chain), 1);
        assert_int_equal(oriel_device_queue_push(world->device, chain, 1), 0);
}

static inline void collect_one(struct world *world)
{
        uint32_t written;
        void *token;

        assert_int_equal(oriel_driver_queue_collect(world->driver, &token, &written), 1);
}

static inline uint32_t random_next(uint32_t *state)
{
        *state ^= *state << 13;
        *state ^= *state >> 17;
        *state ^= *state << 5;
        return *state;
}

#endif
