/* SPDX-License-Identifier: BSD-2-Clause */

/* Rings that a driver must not make, used rings that a device must not make, and in-flight regions that no back-end
 * leaves: tables of each, and the error that the other side must find. Nothing of them is read outside of memory. */

#include "virtqueue/inflight.h"
#include "virtqueue/test-ring.h"

#include <endian.h>
#include <errno.h>

#define SIZE      4 /* entries of the rings here */
#define TABLE_AT  (GUEST + 0x100000)
#define HIGH      (BORDER + REGION_SIZE) /* the first address above memory */
#define HUGE      UINT64_C(0x1000000000) /* more than 4 GiB of memory that must not be touched */
#define HUGE_SIZE UINT64_C(0x180000000)

#define NEXT   VRING_DESC_F_NEXT
#define WRITE  VRING_DESC_F_WRITE
#define TABLED VRING_DESC_F_INDIRECT

struct entry {
        uint64_t address;
        uint32_t size;
        uint16_t flags;
        uint16_t id; /* split: next */
};

/* ---- rings that a driver must not make ---- */

struct hostile_ring {
        const char *name;
        uint64_t features;
        struct entry ring[SIZE];
        struct entry table[SIZE];
        uint16_t heads[SIZE + 1];
        uint16_t index;  /* split: of the available ring. packed: descriptors made available */
        unsigned good;   /* valid buffers before the wrong one */
        const char *why; /* NULL: nothing is wrong */
};

static const struct hostile_ring hostile_rings[] = {
        {"split: index ahead", 0, .index = 5, .why = "the available index 5 is 5 ahead in a ring of 4"},
        {"split: index behind", 0, .index = 0xffff, .why = "the available index 65535"},
        {"split: head", 0, .heads = {4}, .index = 1, .why = "names descriptor 4 in a table of 4"},
        {"split: head 65535", 0, .heads = {0xffff}, .index = 1, .why = "names descriptor 65535"},
        {"split: head in flight",
         0,
         {{GUEST, 1, 0, 0}},
         .heads = {0, 0},
         .index = 2,
         .good = 1,
         .why = "descriptor 0, which is in flight"},
        {"split: loop of one", 0, {{GUEST, 1, NEXT, 0}}, .index = 1, .why = "from 0 on loops"},
        {"split: loop of two",
         0,
         {{GUEST, 1, NEXT, 2}, {0}, {GUEST, 1, NEXT, 0}},
         .index = 1,
         .why = "from 0 on loops"},
        {"split: next", 0, {{GUEST, 1, NEXT, 4}}, .index = 1, .why = "descriptor 0 has next 4 in a table of 4"},
        {"split: next 65535", 0, {{GUEST, 1, NEXT, 0xffff}}, .index = 1, .why = "has next 65535"},
        {"split: order",
         0,
         {{GUEST, 1, NEXT | WRITE, 1}, {GUEST, 1, 0, 0}},
         .index = 1,
         .why = "a readable descriptor behind a writable one"},
        {"split: outside", 0, {{HIGH, 1, 0, 0}}, .index = 1, .why = "a readable descriptor at 0x900000, 1 bytes"},
        {"split: into the outside",
         0,
         {{HIGH - 1, 2, WRITE, 0}},
         .index = 1,
         .why = "a writable descriptor at 0x8fffff"},
        {"split: below", 0, {{GUEST - 1, 2, 0, 0}}, .index = 1, .why = "is not in memory"},
        {"split: overflow", 0, {{UINT64_MAX, 2, 0, 0}}, .index = 1, .why = "overflow"},
        {"split: last address", 0, {{UINT64_MAX, 1, 0, 0}}, .index = 1, .why = "is not in memory"},
        {"split: not writable", 0, {{HUGE, 1, WRITE, 0}}, .index = 1, .why = "a writable descriptor at 0x1000000000"},
        /* Refused where 4 GiB does not fit a size. */
        {"split: 4 GiB",
         0,
         {{HUGE, UINT32_MAX, NEXT, 1}, {HUGE, 1, 0, 0}},
         .index = 1,
         .good = SIZE_MAX > UINT32_MAX,
         .why = SIZE_MAX > UINT32_MAX ? NULL : "more bytes than there are addresses"},
        {"split: more than 4 GiB",
         0,
         {{HUGE, UINT32_MAX, NEXT, 1}, {HUGE, 2, 0, 0}},
         .index = 1,
         .why = "more than 4 GiB"},
        {"split: empty pieces", 0, {{0, 0, NEXT, 1}, {UINT64_MAX, 0, WRITE, 0}}, .index = 1, .good = 1},
        {"split: indirect, not negotiated", 0, {{TABLE_AT, 16, TABLED, 0}}, .index = 1, .why = "was not negotiated"},
        {"split: indirect with next",
         INDIRECT,
         {{TABLE_AT, 16, TABLED | NEXT, 1}},
         .index = 1,
         .why = "descriptor 0 is indirect and has a next"},
        {"split: indirect, empty", INDIRECT, {{TABLE_AT, 0, TABLED, 0}}, .index = 1, .why = "table of 0 bytes"},
        {"split: indirect, odd", INDIRECT, {{TABLE_AT, 31, TABLED, 0}}, .index = 1, .why = "table of 31 bytes"},
        {"split: indirect, long",
         INDIRECT,
         {{TABLE_AT, 1025 * 16, TABLED, 0}},
         .index = 1,
         .why = "table of 1025 descriptors, more than 1024"},
        {"split: indirect, longest",
         INDIRECT,
         {{TABLE_AT, 0xfffffff0, TABLED, 0}},
         .index = 1,
         .why = "more than 1024"},
        {"split: indirect, outside",
         INDIRECT,
         {{HIGH - 16, 32, TABLED, 0}},
         .index = 1,
         .why = "an indirect table at 0x8ffff0, 32 bytes, is not in memory"},
        {"split: indirect, overflow", INDIRECT, {{UINT64_MAX, 32, TABLED, 0}}, .index = 1, .why = "is not in memory"},
        {"split: indirect in indirect",
         INDIRECT,
         {{TABLE_AT, 16, TABLED, 0}},
         {{TABLE_AT, 16, TABLED, 0}},
         .index = 1,
         .why = "an indirect descriptor in an indirect table"},
        {"split: indirect, next",
         INDIRECT,
         {{TABLE_AT, 32, TABLED, 0}},
         {{GUEST, 1, NEXT, 2}},
         .index = 1,
         .why = "descriptor 0 has next 2 in a table of 2"},
        {"split: indirect, loop",
         INDIRECT,
         {{TABLE_AT, 32, TABLED, 0}},
         {{GUEST, 1, NEXT, 1}, {GUEST, 1, NEXT, 0}},
         .index = 1,
         .why = "loops"},
        {"split: indirect, order across",
         INDIRECT,
         {{GUEST, 1, NEXT | WRITE, 1}, {TABLE_AT, 16, TABLED, 0}},
         {{GUEST, 1, 0, 0}},
         .index = 1,
         .why = "a readable descriptor behind a writable one"},
        /* VIRTIO 1.2, 2.7.5.3.2: descriptors before an indirect one, and WRITE on it, must be accepted. */
        {"split: chain, then indirect",
         INDIRECT,
         {{GUEST, 1, NEXT, 1}, {TABLE_AT, 32, TABLED | WRITE, 0}},
         {{GUEST, 1, NEXT, 1}, {GUEST, 1, WRITE, 0}},
         .index = 1,
         .good = 1},
        {"split: indirect, unaligned", INDIRECT, {{TABLE_AT + 16 - 8, 16, TABLED, 0}}, .index = 1, .good = 1},

        {"packed: id", PACKED, {{GUEST, 1, 0, 4}}, .index = 1, .why = "buffer id 4 in a ring of 4"},
        {"packed: id 65535", PACKED, {{GUEST, 1, 0, 0xffff}}, .index = 1, .why = "buffer id 65535"},
        {"packed: id in flight",
         PACKED,
         {{GUEST, 1, 0, 2}, {GUEST, 1, 0, 2}},
         .index = 2,
         .good = 1,
         .why = "buffer id 2 is in flight"},
        {"packed: no end",
         PACKED,
         {{GUEST, 1, NEXT, 0}, {GUEST, 1, NEXT, 0}, {GUEST, 1, NEXT, 0}, {GUEST, 1, NEXT, 0}},
         .index = 4,
         .why = "a chain at 0 of more than the 4 free descriptors"},
        {"packed: into what is out",
         PACKED,
         {{GUEST, 1, 0, 0}, {GUEST, 1, NEXT, 1}, {GUEST, 1, NEXT, 1}, {GUEST, 1, NEXT, 1}},
         .index = 4,
         .good = 1,
         .why = "a chain at 1 of more than the 3 free descriptors"},
        {"packed: order",
         PACKED,
         {{GUEST, 1, NEXT | WRITE, 0}, {GUEST, 1, 0, 0}},
         .index = 2,
         .why = "a readable descriptor behind a writable one"},
        {"packed: outside", PACKED, {{HIGH, 1, 0, 0}}, .index = 1, .why = "a readable descriptor at 0x900000, 1 bytes"},
        {"packed: overflow", PACKED, {{UINT64_MAX, 2, 0, 0}}, .index = 1, .why = "overflow"},
        {"packed: not writable", PACKED, {{HUGE, 1, WRITE, 0}}, .index = 1, .why = "is not in memory"},
        {"packed: more than 4 GiB",
         PACKED,
         {{HUGE, UINT32_MAX, NEXT, 0}, {HUGE, 2, 0, 0}},
         .index = 2,
         .why = "more than 4 GiB"},
        {"packed: empty pieces", PACKED, {{0, 0, NEXT, 1}, {UINT64_MAX, 0, WRITE, 0}}, .index = 2, .good = 1},
        {"packed: indirect, not negotiated",
         PACKED,
         {{TABLE_AT, 16, TABLED, 0}},
         .index = 1,
         .why = "was not negotiated"},
        {"packed: indirect with next",
         PACKED | INDIRECT,
         {{TABLE_AT, 16, TABLED | NEXT, 0}},
         .index = 1,
         .why = "descriptor 0 is indirect and has a next"},
        {"packed: indirect, empty", PACKED | INDIRECT, {{TABLE_AT, 0, TABLED, 0}}, .index = 1, .why = "of 0 bytes"},
        {"packed: indirect, odd", PACKED | INDIRECT, {{TABLE_AT, 17, TABLED, 0}}, .index = 1, .why = "of 17 bytes"},
        {"packed: indirect, long",
         PACKED | INDIRECT,
         {{TABLE_AT, 1025 * 16, TABLED, 0}},
         .index = 1,
         .why = "more than 1024"},
        {"packed: indirect, outside",
         PACKED | INDIRECT,
         {{HIGH, 16, TABLED, 0}},
         .index = 1,
         .why = "an indirect table at 0x900000"},
        {"packed: indirect in indirect",
         PACKED | INDIRECT,
         {{TABLE_AT, 16, TABLED, 0}},
         {{TABLE_AT, 16, TABLED, 0}},
         .index = 1,
         .why = "an indirect descriptor in an indirect table"},
        {"packed: indirect",
         PACKED | INDIRECT,
         {{TABLE_AT, 32, TABLED | WRITE, 3}},
         {{GUEST, 1, NEXT, 0}, {GUEST, 1, WRITE, 0}},
         .index = 1,
         .good = 1},
};

/* A descriptor of either format: they differ in the order of their last two fields. */
static void write_entry(struct world *world, uint64_t at, const struct entry *entry, bool packed, bool available)
{
        struct vring_desc split = {htole64(entry->address), htole32(entry->size), htole16(entry->flags),
                                   htole16(entry->id)};
        struct vring_packed_desc one = {htole64(entry->address), htole32(entry->size), htole16(entry->id),
                                        htole16((uint16_t)(entry->flags | available << VRING_PACKED_DESC_F_AVAIL))};

        memcpy(world_at(world, at), packed ? (void *)&one : (void *)&split, sizeof(split));
}

static void write_ring(struct world *world, const struct hostile_ring *hostile)
{
        bool packed = hostile->features & PACKED;
        struct vring_avail *available = world_at(world, world->ring.driver);

        for (unsigned i = 0; i < SIZE; i++) {
                write_entry(world, world->ring.descriptor + i * 16UL, &hostile->ring[i], packed, i < hostile->index);
                write_entry(world, TABLE_AT + i * 16UL, &hostile->table[i], packed, false);
        }
        if (packed)
                return;
        for (unsigned i = 0; i < SIZE; i++)
                available->ring[i] = htole16(hostile->heads[i]);
        available->idx = htole16(hostile->index);
}

/* Adds memory that the table has as readable, at addresses where nothing is mapped. */
static void add_huge(struct world *world, void *host)
{
        struct oriel_memory_region region = {HUGE, HUGE_SIZE, HUGE, 0};
        struct oriel_memory *memory;

        assert_int_equal(oriel_memory_add_mapped(world->memory, &region, host, ORIEL_ACCESS_READ, &memory), 0);
        oriel_memory_unref(world->memory);
        world->memory = memory;
}

static void test_hostile_ring(void **state)
{
        const struct hostile_ring *hostile = *state;
        struct oriel_chain *chain = NULL, *good[SIZE];
        struct world world;
        unsigned n = 0;
        int r;

        world_init(&world, hostile->features, SIZE);
        add_huge(&world, world.host);
        write_ring(&world, hostile);
        world_open_device(&world);
        while ((r = oriel_device_queue_pop(world.device, &chain)) == 1)
                good[n++] = chain;
        assert_int_equal(n, hostile->good);
        assert_int_equal(r, hostile->why ? -EPROTO : 0);
        assert_int_equal(oriel_device_queue_error(world.device), r);
        if (hostile->why && !strstr(oriel_device_queue_why(world.device), hostile->why))
                fail_msg("why: %s", oriel_device_queue_why(world.device));
        assert_int_equal(oriel_device_queue_pop(world.device, &chain), r);
        for (unsigned i = 0; i < n; i++)
                assert_int_equal(oriel_device_queue_push(world.device, good[i], 0), r);
        assert_int_equal(oriel_device_queue_in_use(world.device), 0);
        world_close(&world);
}

/* ---- used rings that a device must not make ---- */

struct hostile_used {
        const char *name;
        uint64_t features;
        struct vring_used_elem used[2];
        unsigned n, good;
        uint16_t index; /* split; 0: n */
        const char *why;
};

/* Three buffers are out, ids 0 to 2, each of 100 writable bytes. */
static const struct hostile_used hostile_useds[] = {
        {"split used: index ahead", 0, .index = 4, .why = "the used index 4 is 4 ahead of 3 buffers out"},
        {"split used: index behind", 0, .index = 0xffff, .why = "the used index 65535"},
        {"split used: id", 0, {{4, 0}}, 1, .why = "used id 4, which is not out"},
        {"split used: huge id", 0, {{0x80000000, 0}}, 1, .why = "used id 2147483648"},
        {"split used: not submitted", 0, {{3, 0}}, 1, .why = "used id 3, which is not out"},
        {"split used: twice", 0, {{1, 0}, {1, 0}}, 2, 1, .why = "used id 1, which is not out"},
        {"split used: written", 0, {{0, 101}}, 1, .why = "used id 0: 101 bytes written to 100"},
        {"split used: in order, batch", IN_ORDER, {{1, 7}}, 2, 2, .why = NULL},
        {"split used: in order, batch too long", IN_ORDER, {{1, 0}}, 1, .why = "a batch longer than what is used"},
        {"packed used: id", PACKED, {{4, 0}}, 1, .why = "used id 4, which is not out"},
        {"packed used: huge id", PACKED, {{0xffff, 0}}, 1, .why = "used id 65535"},
        {"packed used: twice", PACKED, {{1, 0}, {1, 0}}, 2, 1, .why = "used id 1, which is not out"},
        {"packed used: written", PACKED, {{0, UINT32_MAX}}, 1, .why = "4294967295 bytes written to 100"},
        {"packed used: in order, batch", PACKED | IN_ORDER, {{1, 7}}, 1, 2, .why = NULL},
        {"packed used: in order, all", PACKED | IN_ORDER, {{2, 7}}, 1, 3, .why = NULL},
};

static void write_used(struct world *world, const struct hostile_used *hostile)
{
        struct vring_used *used = world_at(world, world->ring.device);
        struct vring_packed_desc *ring = world_at(world, world->ring.descriptor);

        for (unsigned i = 0; i < hostile->n; i++) {
                if (hostile->features & PACKED) {
                        ring[i].id = htole16((uint16_t)hostile->used[i].id);
                        ring[i].len = htole32(hostile->used[i].len);
                        ring[i].flags = htole16(1 << VRING_PACKED_DESC_F_AVAIL | 1 << VRING_PACKED_DESC_F_USED);
                } else {
                        used->ring[i].id = htole32(hostile->used[i].id);
                        used->ring[i].len = htole32(hostile->used[i].len);
                }
        }
        if (!(hostile->features & PACKED))
                used->idx = htole16(hostile->index ? hostile->index : (uint16_t)hostile->n);
}

static void test_hostile_used(void **state)
{
        const struct hostile_used *hostile = *state;
        struct oriel_buffer buffer = {GUEST, 100};
        struct world world;
        uint32_t written;
        unsigned n = 0;
        void *token;
        int r;

        world_init(&world, hostile->features, SIZE);
        world_open_driver(&world);
        for (unsigned i = 0; i < 3; i++)
                assert_int_equal(oriel_driver_queue_submit(world.driver, NULL, 0, &buffer, 1, &world), 0);
        write_used(&world, hostile);
        while ((r = oriel_driver_queue_collect(world.driver, &token, &written)) == 1)
                n++;
        assert_int_equal(n, hostile->good);
        assert_int_equal(r, hostile->why ? -EPROTO : 0);
        if (hostile->why && !strstr(oriel_driver_queue_why(world.driver), hostile->why))
                fail_msg("why: %s", oriel_driver_queue_why(world.driver));
        if (hostile->why)
                assert_int_equal(oriel_driver_queue_submit(world.driver, NULL, 0, &buffer, 1, &world), r);
        for (; n < 3; n++)
                assert_ptr_equal(oriel_driver_queue_forget(world.driver), &world);
        assert_null(oriel_driver_queue_forget(world.driver));
        world_close(&world);
}

/* ---- in-flight regions that no back-end leaves ---- */

struct hostile_inflight {
        const char *name;
        uint64_t features;
        /* A 16-bit word of the region, and what is put there. Two of them. */
        struct {
                size_t at;
                uint16_t value;
        } words[2];
        const char *why; /* NULL: nothing is wrong */
};

#define SPLIT_AT(field) offsetof(struct inflight_split_region, field)
#define SPLIT_ENTRY(i, field) \
        (SPLIT_AT(desc) + (i) * sizeof(struct inflight_split_entry) + offsetof(struct inflight_split_entry, field))
#define PACKED_AT(field) offsetof(struct inflight_packed_region, field)
#define PACKED_ENTRY(i, field) \
        (PACKED_AT(desc) + (i) * sizeof(struct inflight_packed_entry) + offsetof(struct inflight_packed_entry, field))

/* Two buffers are in flight (0 and 1, packed ones of two descriptors each: entries 0-1 and 2-3 of 4). */
static const struct hostile_inflight hostile_inflights[] = {
        {"split in flight: as it was", 0, {{SPLIT_AT(version), 1}, {SPLIT_AT(version), 1}}, NULL},
        {"split in flight: version", 0, {{SPLIT_AT(version), 2}, {SPLIT_AT(version), 2}}, "a version or feature"},
        {"split in flight: feature", 0, {{SPLIT_AT(features), 1}, {SPLIT_AT(features), 1}}, "a version or feature"},
        {"split in flight: size", 0, {{SPLIT_AT(desc_num), 8}, {SPLIT_AT(desc_num), 8}}, "another queue size"},
        {"split in flight: used_idx", 0, {{SPLIT_AT(used_idx), 5}, {SPLIT_AT(used_idx), 5}}, "used_idx is further"},
        {"split in flight: flag", 0, {{SPLIT_ENTRY(0, inflight), 0x0707}, {SPLIT_AT(version), 1}}, "neither 0 nor 1"},
        {"split in flight: batch",
         0,
         {{SPLIT_AT(used_idx), 0xffff}, {SPLIT_AT(last_batch_head), 4}},
         "an entry of the last batch is outside"},
        {"split in flight: batch loop",
         0,
         {{SPLIT_AT(used_idx), 0xfffe}, {SPLIT_ENTRY(0, next), 0}},
         "the list of the last batch loops"},
        {"packed in flight: as it was", PACKED, {{PACKED_AT(version), 1}, {PACKED_AT(version), 1}}, NULL},
        {"packed in flight: version",
         PACKED,
         {{PACKED_AT(version), 9}, {PACKED_AT(version), 9}},
         "a version or feature"},
        {"packed in flight: size", PACKED, {{PACKED_AT(desc_num), 3}, {PACKED_AT(desc_num), 3}}, "another queue size"},
        {"packed in flight: used index", PACKED, {{PACKED_AT(used), 4}, {PACKED_AT(used), 4}}, "a used index or wrap"},
        {"packed in flight: wrap",
         PACKED,
         {{PACKED_AT(used) + 4, 0x0201}, {PACKED_AT(version), 1}},
         "a used index or wrap"},
        {"packed in flight: old used index",
         PACKED,
         {{PACKED_AT(used) + 2, 4}, {PACKED_AT(version), 1}},
         "a used index or wrap"},
        {"packed in flight: free list outside",
         PACKED,
         {{PACKED_AT(old_free_head), 5}, {PACKED_AT(version), 1}},
         "the list of free entries leads outside"},
        {"packed in flight: free list loop",
         PACKED,
         {{PACKED_AT(old_free_head), 3}, {PACKED_ENTRY(3, next), 3}},
         "the list of free entries loops"},
        {"packed in flight: free and not",
         PACKED,
         {{PACKED_AT(old_free_head), 3}, {PACKED_ENTRY(3, next), 4}},
         "free or in two requests"},
        {"packed in flight: no descriptors",
         PACKED,
         {{PACKED_ENTRY(0, num), 0}, {PACKED_AT(version), 1}},
         "number of descriptors"},
        {"packed in flight: too many descriptors",
         PACKED,
         {{PACKED_ENTRY(0, num), 5}, {PACKED_AT(version), 1}},
         "number of descriptors"},
        {"packed in flight: shared descriptor",
         PACKED,
         {{PACKED_ENTRY(0, num), 3}, {PACKED_ENTRY(0, last), 2}},
         "in two requests"},
        {"packed in flight: next",
         PACKED,
         {{PACKED_ENTRY(0, next), 4}, {PACKED_AT(version), 1}},
         "descriptors lead outside"},
        {"packed in flight: last",
         PACKED,
         {{PACKED_ENTRY(0, last), 0}, {PACKED_AT(version), 1}},
         "last descriptor is not the last"},
        {"packed in flight: id", PACKED, {{PACKED_ENTRY(1, id), 4}, {PACKED_AT(version), 1}}, "a buffer id is outside"},
        {"packed in flight: id twice", PACKED, {{PACKED_ENTRY(1, id), 1}, {PACKED_AT(version), 1}}, "in two requests"},
        {"packed in flight: lost",
         PACKED,
         {{PACKED_ENTRY(0, inflight), 0}, {PACKED_AT(version), 1}},
         "neither free nor in flight"},
};

static void test_hostile_inflight(void **state)
{
        const struct hostile_inflight *hostile = *state;
        struct oriel_buffer pieces[2] = {{GUEST, 10}, {GUEST + 10, 10}};
        _Alignas(8) uint8_t region[256] = {0}, before[256];
        struct oriel_chain *chain;
        struct world world;
        int r;

        world_open(&world, hostile->features, SIZE);
        assert_int_equal(oriel_device_queue_set_inflight(world.device, region, 64), -EINVAL);
        assert_int_equal(oriel_device_queue_set_inflight(world.device, region + 4, sizeof(region) - 4), -EINVAL);
        assert_int_equal(oriel_device_queue_set_inflight(world.device, region, sizeof(region)), 0);
        for (unsigned i = 0; i < 2; i++) {
                assert_int_equal(oriel_driver_queue_submit(world.driver, pieces, 1, pieces + 1, 1, &world), 0);
                assert_int_equal(oriel_device_queue_pop(world.device, &chain), 1);
                oriel_chain_drop(chain);
        }
        oriel_device_queue_free(world.device);

        for (unsigned i = 0; i < 2; i++)
                memcpy(region + hostile->words[i].at, &hostile->words[i].value, sizeof(uint16_t));
        memcpy(before, region, sizeof(before));
        world_open_device(&world);
        r = oriel_device_queue_set_inflight(world.device, region, sizeof(region));
        assert_int_equal(r, hostile->why ? -EPROTO : 0);
        assert_memory_equal(region, before, sizeof(before));
        if (hostile->why && !strstr(oriel_device_queue_why(world.device), hostile->why))
                fail_msg("why: %s", oriel_device_queue_why(world.device));
        world_close(&world);
}

/* ---- */

static void add_test(struct CMUnitTest *tests, unsigned *n, const char *name, CMUnitTestFunction function,
                     const void *what)
{
        tests[(*n)++] = (struct CMUnitTest){
                .name = name,
                .test_func = function,
                .setup_func = test_setup,
                .teardown_func = test_teardown,
                .initial_state = (void *)(uintptr_t)what,
        };
}

int main(void)
{
        static struct CMUnitTest
                tests[ARRAY_SIZE(hostile_rings) + ARRAY_SIZE(hostile_useds) + ARRAY_SIZE(hostile_inflights)];
        unsigned n = 0;

        for (unsigned i = 0; i < ARRAY_SIZE(hostile_rings); i++)
                add_test(tests, &n, hostile_rings[i].name, test_hostile_ring, &hostile_rings[i]);
        for (unsigned i = 0; i < ARRAY_SIZE(hostile_useds); i++)
                add_test(tests, &n, hostile_useds[i].name, test_hostile_used, &hostile_useds[i]);
        for (unsigned i = 0; i < ARRAY_SIZE(hostile_inflights); i++)
                add_test(tests, &n, hostile_inflights[i].name, test_hostile_inflight, &hostile_inflights[i]);
        return _cmocka_run_group_tests("virtqueue-hostile", tests, n, NULL, NULL);
}
