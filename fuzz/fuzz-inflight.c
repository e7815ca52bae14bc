/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is an in-flight region, as the front-end may have kept it for a back-end that starts anew: what an honest
 * run has left, with fields of the header and of entries written over. Where nothing was written over, a back-end that
 * takes the queue up again must get all that its predecessor had taken and not given back, oldest first, and nothing
 * else. */

#include "base/cleanup.h"
#include "fuzz/input.h"
#include "virtqueue/device_queue.h"
#include "virtqueue/inflight.h"

#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <oriel/virtqueue.h>

#define MEMORY UINT64_C(65536)
#define GUEST  UINT64_C(0x10000)

enum { MOST = 16 };

struct world {
        struct input *input;
        struct oriel_memory *memory;
        struct oriel_ring ring;
        bool packed, honest;
        uint8_t *guest, *region;
        size_t region_size;
        struct oriel_driver_queue *driver;
        struct oriel_device_queue *device;
        struct oriel_chain *out[MOST]; /* taken by the device, oldest first */
        uint16_t ids[MOST];
        unsigned n_out;
};

static void make_memory(struct world *world)
{
        const struct oriel_memory_region region = {GUEST, MEMORY, GUEST, 0};
        struct oriel_memory *empty;

        world->guest = aligned_alloc(4096, MEMORY);
        need(world->guest);
        memset(world->guest, 0, MEMORY);
        need(oriel_memory_new(1, false, &empty) == 0);
        need(oriel_memory_add_mapped(empty, &region, world->guest, ORIEL_ACCESS_READ_WRITE, &world->memory) == 0);
        oriel_memory_unref(empty);
}

static void make_ring(struct world *world)
{
        uint8_t bits = take_byte(world->input);
        const uint64_t features = (uint64_t)(bits & 1) << VIRTIO_F_RING_PACKED |
                                  (uint64_t)(bits >> 1 & 1) << VIRTIO_RING_F_INDIRECT_DESC |
                                  (uint64_t)(bits >> 2 & 1) << VIRTIO_F_IN_ORDER;

        world->packed = bits & 1;
        world->ring = (struct oriel_ring){
                .struct_size = sizeof(world->ring),
                .size = world->packed ? (uint16_t)(1 + take_choice(world->input, MOST))
                                      : (uint16_t)(1 << take_choice(world->input, 5)),
                .features = features,
                .descriptor = GUEST,
                .driver = GUEST + 4096,
                .device = GUEST + 8192,
        };
        world->region_size = oriel_inflight_region_size(world->ring.size, world->packed);
        world->region = aligned_alloc(64, world->region_size);
        need(world->region);
        memset(world->region, 0, world->region_size);
        need(oriel_driver_queue_new(&world->ring, world->memory, GUEST + 12288, bits & 2 ? 4 : 0, &world->driver) == 0);
}

static void device_stop(struct world *world)
{
        for (unsigned i = 0; i < world->n_out; i++)
                oriel_chain_drop(world->out[i]);
        oriel_device_queue_free(world->device);
        world->device = NULL;
}

static bool device_start(struct world *world)
{
        need(oriel_device_queue_new(&world->ring, world->memory, 0, &world->device) == 0);

        int r = oriel_device_queue_set_inflight(world->device, world->region, world->region_size);

        need(r == 0 || (r == -EPROTO && !world->honest && oriel_device_queue_why(world->device)[0]));
        need(r < 0 || !oriel_inflight_region_is_new(world->region));
        return r == 0;
}

static void pop(struct world *world)
{
        struct oriel_chain *chain;

        if (world->n_out == MOST || oriel_device_queue_pop(world->device, &chain) != 1)
                return;
        /* Nobody's bytes twice: no chain that is out has the name of another. */
        for (unsigned i = 0; i < world->n_out; i++)
                need(world->ids[i] != oriel_chain_id(chain));
        world->ids[world->n_out] = oriel_chain_id(chain);
        world->out[world->n_out++] = chain;
}

static void push(struct world *world, unsigned index)
{
        if (index >= world->n_out)
                return;
        oriel_device_queue_push(world->device, world->out[index], 1);
        world->n_out--;
        for (unsigned i = index; i < world->n_out; i++) {
                world->out[i] = world->out[i + 1];
                world->ids[i] = world->ids[i + 1];
        }
}

static void submit(struct world *world)
{
        static const struct oriel_buffer buffers[] = {{GUEST + 32768, 8}, {GUEST + 33000, 16}, {GUEST + 34000, 4}};

        oriel_driver_queue_submit(world->driver, buffers, take_choice(world->input, 3), buffers + 2, 1, world);
}

static void collect(struct world *world)
{
        uint32_t written;
        void *token;
        int r = oriel_driver_queue_collect(world->driver, &token, &written);

        need(!world->honest || r >= 0);
}

/* The predecessor ends; its successor finds the region as it is. */
static bool restart(struct world *world)
{
        uint16_t before[MOST];
        unsigned n = world->n_out;
        /* With IN_ORDER what was given back early may be held until those before it are; it is in flight still. */
        bool held = world->ring.features & UINT64_C(1) << VIRTIO_F_IN_ORDER;

        memcpy(before, world->ids, sizeof(before));
        device_stop(world);
        world->n_out = 0;
        if (!device_start(world))
                return false;
        for (unsigned i = 0; i < n; i++)
                pop(world);
        if (world->honest && !held)
                need(world->n_out == n && memcmp(before, world->ids, n * sizeof(before[0])) == 0);
        return true;
}

/* A field of the header or of an entry, of both layouts; what the device has written stays elsewhere. */
static void write_over(struct world *world)
{
        static const uint8_t split_header[] = {0, 8, 10, 12, 14}, split_entry[] = {0, 1, 6, 8};
        static const uint8_t packed_header[] = {0, 8, 10, 12, 14, 16, 18, 20, 21};
        static const uint8_t packed_entry[] = {0, 2, 4, 6, 8, 16, 18, 20, 24};
        struct input *input = world->input;
        const size_t header =
                world->packed ? sizeof(struct inflight_packed_region) : sizeof(struct inflight_split_region);
        const size_t entry = world->packed ? sizeof(struct inflight_packed_entry) : sizeof(struct inflight_split_entry);
        const uint64_t value = take_number(input);
        unsigned where = take_choice(input, world->ring.size + 1u), field = take_byte(input);
        size_t at, size = 1u << take_choice(input, 4);

        if (where == world->ring.size)
                at = world->packed ? packed_header[field % sizeof(packed_header)]
                                   : split_header[field % sizeof(split_header)];
        else
                at = header + where * entry +
                     (world->packed ? packed_entry[field % sizeof(packed_entry)]
                                    : split_entry[field % sizeof(split_entry)]);
        if (at + size <= world->region_size)
                memcpy(world->region + at, &value, size);
        world->honest = false;
}

/* The state that a back-end leaves which ended between two of its stores: a ring that is further than the region, or
 * the other way round. */
static void mix(struct world *world)
{
        uint8_t *before = malloc(world->region_size);

        need(before);
        memcpy(before, world->region, world->region_size);
        push(world, take_choice(world->input, MOST));
        memcpy(world->region, before, world->region_size);
        free(before);
        world->honest = false;
}

static bool step(struct world *world)
{
        switch (take_choice(world->input, 10)) {
        case 0:
        case 1:
        case 2:
                submit(world);
                return true;
        case 3:
        case 4:
                pop(world);
                return true;
        case 5:
                push(world, take_choice(world->input, MOST));
                return true;
        case 6:
                collect(world);
                return true;
        case 7:
                return restart(world);
        case 8:
                mix(world);
                return true;
        default:
                write_over(world);
                return true;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input input = {data, size};
        struct world world = {.input = &input, .honest = true};

        make_memory(&world);
        make_ring(&world);
        if (device_start(&world)) {
                for (unsigned i = 0; i < 300 && input.size > 0 && step(&world); i++)
                        ;
                if (world.device && !oriel_device_queue_error(world.device))
                        restart(&world);
        }
        device_stop(&world);
        while (oriel_driver_queue_forget(world.driver))
                ;
        oriel_driver_queue_free(world.driver);
        oriel_memory_unref(world.memory);
        free(world.region);
        free(world.guest);
        return 0;
}
