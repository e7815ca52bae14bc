/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/test.h"
#include "vmm/bus/pci.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#define ECAM   UINT64_C(0xe0000000)
#define MMIO32 UINT64_C(0xc0000000)
#define MMIO64 UINT64_C(0x200000000)

static const struct pci_space space = {
        .ecam = {ECAM, 0x100000},
        .mmio32 = {MMIO32, 0x100000},
        .mmio64 = {MMIO64, UINT64_C(1) << 32},
};

/* A function that remembers what was done to it. */
struct probe {
        struct pci_function function;
        uint64_t offset, address;
        unsigned accesses, moves;
        bool decoded;
};

static void take_access(void *userdata, uint64_t offset, void *data, unsigned size, bool write)
{
        struct probe *probe = userdata;

        probe->offset = offset;
        probe->accesses++;
        if (!write)
                memset(data, 0x11, size);
}

static void take_move(void *userdata, uint64_t address, bool decoded)
{
        struct probe *probe = userdata;

        probe->address = address;
        probe->decoded = decoded;
        probe->moves++;
}

static void make_probe(struct probe *probe, uint64_t small, uint64_t large)
{
        memset(probe, 0, sizeof(*probe));
        pci_init(&probe->function, 0x1af4, 0x105a, 0x01800001, 0x1af4, 0x1100);
        probe->function.userdata = probe;
        probe->function.bars[0] = (struct pci_bar){.size = small, .access = take_access};
        probe->function.bars[2] =
                (struct pci_bar){.size = large, .is_64 = true, .access = take_access, .moved = take_move};
}

struct world {
        struct bus *bus;
        struct pci *pci;
};

static void begin(struct world *world)
{
        assert_int_equal(bus_new(&world->bus), 0);
        assert_int_equal(pci_new(world->bus, &space, &world->pci), 0);
}

static void end(struct world *world)
{
        pci_free(world->pci);
        bus_free(world->bus);
}

static uint32_t read32(const struct world *world, uint64_t address)
{
        uint32_t value = 0;

        bus_access(world->bus, address, &value, sizeof(value), false);
        return value;
}

static void write32(const struct world *world, uint64_t address, uint32_t value)
{
        bus_access(world->bus, address, &value, sizeof(value), true);
}

static uint64_t config_of(const struct probe *probe, unsigned offset)
{
        return ECAM + ((uint64_t)probe->function.number << 12) + offset;
}

static void set_command(const struct world *world, const struct probe *probe, uint32_t command)
{
        write32(world, config_of(probe, PCI_COMMAND), command);
}

static void test_configuration_space(void **state)
{
        struct world world;
        struct probe probe;

        begin(&world);
        make_probe(&probe, 0x8000, 1 << 26);
        assert_int_equal(pci_add(world.pci, &probe.function), 0);
        assert_int_equal(probe.function.number, 1 << 3);
        assert_int_equal(read32(&world, ECAM + PCI_CLASS_REVISION), 0x06000000);
        assert_int_equal(read32(&world, config_of(&probe, PCI_VENDOR_ID)), 0x105a1af4);
        /* Nobody is at the next. Extended configuration space is empty. */
        assert_int_equal(read32(&world, config_of(&probe, 8 << 12)), UINT32_MAX);
        assert_int_equal(read32(&world, config_of(&probe, 0x100)), 0);
        assert_int_equal(read32(&world, config_of(&probe, 0xfe)), 0);
        /* Read-only registers stay. */
        write32(&world, config_of(&probe, PCI_VENDOR_ID), 0);
        write32(&world, config_of(&probe, PCI_CLASS_REVISION), 0);
        assert_int_equal(read32(&world, config_of(&probe, PCI_VENDOR_ID)), 0x105a1af4);
        assert_int_equal(read32(&world, config_of(&probe, PCI_CLASS_REVISION)), 0x01800001);
        set_command(&world, &probe, UINT32_MAX);
        assert_int_equal(read32(&world, config_of(&probe, PCI_COMMAND)) & 0xffff,
                         PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
        pci_remove(&probe.function);
        assert_int_equal(read32(&world, config_of(&probe, PCI_VENDOR_ID)), UINT32_MAX);
        end(&world);
}

static void test_capabilities(void **state)
{
        struct pci_function function;
        unsigned first, second;

        memset(&function, 0, sizeof(function));
        pci_init(&function, 1, 2, 3, 4, 5);
        first = pci_add_capability(&function, PCI_CAP_ID_VNDR, 17);
        second = pci_add_capability(&function, PCI_CAP_ID_MSIX, 12);
        assert_int_equal(first, 0x40);
        assert_int_equal(second, 0x54);
        assert_int_equal(function.config[PCI_CAPABILITY_LIST], second);
        assert_int_equal(function.config[second + 1], first);
        assert_int_equal(function.config[first + 1], 0);
        assert_true(pci_get16(&function, PCI_STATUS) & PCI_STATUS_CAP_LIST);
        assert_int_equal(pci_add_capability(&function, PCI_CAP_ID_VNDR, 161), 0);
        assert_int_not_equal(pci_add_capability(&function, PCI_CAP_ID_VNDR, 160), 0);
        assert_int_equal(pci_add_capability(&function, PCI_CAP_ID_VNDR, 4), 0);
}

static void test_bars(void **state)
{
        struct world world;
        struct probe a, b;

        begin(&world);
        make_probe(&a, 0x8000, 1 << 26);
        make_probe(&b, 0x4000, 1 << 28);
        assert_int_equal(pci_add(world.pci, &a.function), 0);
        assert_int_equal(pci_add(world.pci, &b.function), 0);
        assert_int_equal(b.function.bars[2].initial % (1 << 28), 0);
        /* Nothing is decoded before memory is enabled. */
        assert_int_equal(read32(&world, a.function.bars[0].initial), UINT32_MAX);
        set_command(&world, &a, PCI_COMMAND_MEMORY);
        set_command(&world, &b, PCI_COMMAND_MEMORY);
        assert_true(a.decoded && a.address == a.function.bars[2].initial);
        assert_int_equal(read32(&world, a.function.bars[0].initial + 0x10), 0x11111111);
        assert_int_equal(a.offset, 0x10);
        assert_int_equal(read32(&world, a.address + (1 << 26) - 4), 0x11111111);
        assert_int_equal(a.offset, (1 << 26) - 4);

        /* As a guest looks for its size. */
        uint64_t bar = config_of(&a, PCI_BASE_ADDRESS_2);
        uint32_t before = read32(&world, bar);

        write32(&world, bar, UINT32_MAX);
        assert_int_equal(read32(&world, bar), (uint32_t) ~((1 << 26) - 1) | 0xc);
        write32(&world, bar, before);
        assert_true(a.decoded && a.address == a.function.bars[2].initial);

        /* Elsewhere, and over another's: that one keeps it, and this one shows nowhere. */
        write32(&world, bar + 4, (uint32_t)((MMIO64 + (UINT64_C(3) << 30)) >> 32));
        write32(&world, bar, (uint32_t)(MMIO64 + (UINT64_C(3) << 30)));
        assert_true(a.decoded && a.address == MMIO64 + (UINT64_C(3) << 30));
        write32(&world, bar + 4, (uint32_t)(b.address >> 32));
        write32(&world, bar, (uint32_t)b.address);
        assert_false(a.decoded);
        assert_int_equal(read32(&world, b.address), 0x11111111);
        assert_int_equal(b.accesses, 1);
        /* Over memory. */
        write32(&world, bar + 4, 0);
        write32(&world, bar, 0);
        assert_false(a.decoded);
        pci_reset(&a.function);
        assert_int_equal(read32(&world, bar), before);
        assert_int_equal(pci_get16(&a.function, PCI_COMMAND), 0);
        set_command(&world, &a, PCI_COMMAND_MEMORY);
        assert_true(a.decoded && a.address == a.function.bars[2].initial);
        pci_remove(&a.function);
        assert_false(a.decoded);
        pci_remove(&b.function);
        end(&world);
}

static void test_many(void **state)
{
        static struct probe probes[PCI_MAX_FUNCTIONS + 1];
        struct world world;
        unsigned n = 0;

        begin(&world);
        for (; n < ARRAY_SIZE(probes); n++) {
                make_probe(&probes[n], 0, 0);
                if (pci_add(world.pci, &probes[n].function) < 0)
                        break;
        }
        assert_int_equal(n, PCI_MAX_FUNCTIONS);
        /* With 32 devices there is one that has two functions, and says so. */
        assert_int_equal(probes[31].function.number, 1 << 3 | 1);
        assert_int_equal(probes[0].function.config[PCI_HEADER_TYPE], 0x80);
        for (unsigned i = 0; i < n; i++)
                pci_remove(&probes[i].function);
        /* No address is left. */
        make_probe(&probes[0], 0x200000, 0);
        assert_int_equal(pci_add(world.pci, &probes[0].function), -ENOSPC);
        make_probe(&probes[0], 0, UINT64_C(1) << 33);
        assert_int_equal(pci_add(world.pci, &probes[0].function), -ENOSPC);
        end(&world);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_configuration_space),
                counted_test(test_capabilities),
                counted_test(test_bars),
                counted_test(test_many),
        };

        return run_counted("pci", tests);
}
