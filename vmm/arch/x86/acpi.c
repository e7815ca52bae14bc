/* SPDX-License-Identifier: BSD-2-Clause */

/* The ACPI tables of the machine (ACPI 6.5, chapter 5.2): RSDP, XSDT, FADT, FACS, MADT, MCFG and a DSDT, by which a
 * guest finds its processors, interrupt controllers, PCI and the power button. acpi_build() writes them once, into
 * guest memory before the vcpus run. Each table is begun, filled by a writer that never leaves its room, and ended with
 * its length and checksum. */

#include "vmm/arch/x86/acpi.h"
#include "vmm/arch/x86/layout.h"

#include "base/range.h"

#include <errno.h>
#include <stddef.h>

enum {
        HEADER_LENGTH = 4, /* where a table's header has its length, and its checksum */
        HEADER_CHECKSUM = 9,
        RSDP_SIZE = 36,
        RSDP_OLD_SIZE = 20, /* of what has the first checksum */
        RSDP_CHECKSUM = 8,
        RSDP_EXTENDED_CHECKSUM = 32,
        FACS_SIZE = 64,
        SPACE_IO = 1,
        MOST_CPUS = 255,
};

enum { FADT_REVISION = 6, FADT_MINOR = 5, MADT_REVISION = 5 };
enum { PROFILE_ENTERPRISE_SERVER = 4 };
/* Latencies that say that C2 and C3 are not there. */
enum { NO_C2 = 0xfff, NO_C3 = 0xfff };
/* IAPC_BOOT_ARCH; that there are no legacy devices and no 8042 are bits that are 0. */
enum { BOOT_NO_VGA = 1 << 2 };
/* The fixed features. The power button is one that is there where its bit is 0. */
enum {
        FEATURE_WBINVD = 1 << 0,
        FEATURE_C1 = 1 << 2,
        FEATURE_NO_SLEEP_BUTTON = 1 << 5,
        FEATURE_NO_RTC_WAKE = 1 << 6,
        FEATURE_RESET = 1 << 10,
};

enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4 };
enum { MADT_HAS_OLD_PICS = 1, LAPIC_ENABLED = 1, ALL_CPUS = 0xff, NMI_LINT = 1 };
enum { PIN_AS_BUS = 0, PIN_HIGH_LEVEL = 0xd };
enum { TIMER_IRQ = 0, TIMER_PIN = 2 };

struct acpi_tables {
        struct writer writer;
        uint64_t address; /* of what the writer begins with */
};

static uint8_t acpi_checksum(const uint8_t *data, size_t size)
{
        unsigned sum = 0;

        while (size-- > 0)
                sum += *data++;
        return (uint8_t)-sum;
}

static void align_to(struct acpi_tables *tables, size_t align)
{
        while (!tables->writer.full && tables->writer.used % align != 0)
                put8(&tables->writer, 0);
}

/* Where in the writer the table begins. */
static size_t begin_table(struct acpi_tables *tables, const char signature[static 4], unsigned revision)
{
        struct writer *writer = &tables->writer;

        align_to(tables, 16);

        size_t at = writer->used;

        put_bytes(writer, signature, 4);
        PUT_FIELDS(writer, {4, 0} /* length */, {1, revision}, {1, 0} /* checksum */);
        put_bytes(writer, "ORIEL ", 6);
        put_bytes(writer, "ORIELVMM", 8);
        PUT_FIELDS(writer, {4, 1});
        put_bytes(writer, "ORL ", 4);
        PUT_FIELDS(writer, {4, 1});
        return at;
}

static uint64_t end_table(struct acpi_tables *tables, size_t at)
{
        const struct writer *writer = &tables->writer;

        if (writer->full)
                return 0;

        uint32_t length = (uint32_t)(writer->used - at);

        memcpy(writer->data + at + HEADER_LENGTH, &length, sizeof(length));
        writer->data[at + HEADER_CHECKSUM] = acpi_checksum(writer->data + at, length);
        return tables->address + at;
}

/* A generic address: of a register of @size bytes in I/O space, or none. */
static void put_io_register(struct writer *writer, unsigned port, unsigned size)
{
        PUT_FIELDS(writer, {1, size > 0 ? SPACE_IO : 0}, {1, size * 8}, {1, 0} /* bit offset */,
                   {1, size > 2 ? 2 : size} /* accessed as a byte or a word */, {8, port});
}

static uint64_t put_facs(struct acpi_tables *tables)
{
        struct writer *writer = &tables->writer;

        align_to(tables, FACS_SIZE);

        size_t at = writer->used;

        put_bytes(writer, "FACS", 4);
        PUT_FIELDS(writer, {4, FACS_SIZE});
        put_zeros(writer, 24);
        put8(writer, 2); /* version */
        put_zeros(writer, FACS_SIZE - 33);
        return tables->address + at;
}

/* The fields up to ACPI 1.0's end. A machine without SMI_CMD is always in ACPI mode. */
static void put_fadt_begin(struct writer *writer, uint64_t facs, uint64_t dsdt)
{
        PUT_FIELDS(writer, {4, facs}, {4, dsdt}, {1, 0}, {1, PROFILE_ENTERPRISE_SERVER}, {2, LAYOUT_SCI_PIN});
        put_zeros(writer, 4 + 4); /* SMI_CMD, and what is written there */
        PUT_FIELDS(writer, {4, LAYOUT_PM_PORT + LAYOUT_PM1_EVENT}, {4, 0}, {4, LAYOUT_PM_PORT + LAYOUT_PM1_CONTROL});
        put_zeros(writer, 5 * 4);           /* PM1b control, PM2, timer, GPE0, GPE1 */
        PUT_FIELDS(writer, {1, 4}, {1, 2}); /* sizes: of PM1 event, of PM1 control */
        put_zeros(writer, 6);               /* of what is not there */
        PUT_FIELDS(writer, {2, NO_C2}, {2, NO_C3});
        put_zeros(writer, 2 + 2 + 1 + 1 + 2); /* flush, duty, the day and the month of the clock's alarm */
        PUT_FIELDS(writer, {1, LAYOUT_RTC_CENTURY}, {2, BOOT_NO_VGA}, {1, 0},
                   {4, FEATURE_WBINVD | FEATURE_C1 | FEATURE_NO_SLEEP_BUTTON | FEATURE_NO_RTC_WAKE | FEATURE_RESET});
}

static uint64_t put_fadt(struct acpi_tables *tables, uint64_t facs, uint64_t dsdt)
{
        struct writer *writer = &tables->writer;
        size_t at = begin_table(tables, "FACP", FADT_REVISION);

        put_fadt_begin(writer, facs, dsdt);
        put_io_register(writer, LAYOUT_PM_PORT + LAYOUT_PM_RESET, 1);
        PUT_FIELDS(writer, {1, LAYOUT_RESET_VALUE}, {2, 0} /* of ARM */, {1, FADT_MINOR},
                   {8, 0} /* the FACS has its 32-bit address */, {8, dsdt});
        put_io_register(writer, LAYOUT_PM_PORT + LAYOUT_PM1_EVENT, 4);
        put_io_register(writer, 0, 0);
        put_io_register(writer, LAYOUT_PM_PORT + LAYOUT_PM1_CONTROL, 2);
        for (unsigned i = 0; i < 7; i++) /* PM1b control, PM2, timer, GPE0, GPE1, sleep control and status */
                put_io_register(writer, 0, 0);
        put_bytes(writer, "ORIELVMM", 8); /* the hypervisor */
        return end_table(tables, at);
}

static void put_override(struct writer *writer, unsigned irq, unsigned pin, unsigned flags)
{
        PUT_FIELDS(writer, {1, MADT_OVERRIDE}, {1, 10}, {1, 0} /* ISA */, {1, irq}, {4, pin}, {2, flags});
}

static uint64_t put_madt(struct acpi_tables *tables, unsigned cpus)
{
        struct writer *writer = &tables->writer;
        size_t at = begin_table(tables, "APIC", MADT_REVISION);

        PUT_FIELDS(writer, {4, LAYOUT_LAPIC}, {4, MADT_HAS_OLD_PICS});
        for (unsigned i = 0; i < cpus; i++)
                PUT_FIELDS(writer, {1, MADT_LAPIC}, {1, 8}, {1, i}, {1, i}, {4, LAPIC_ENABLED});
        PUT_FIELDS(writer, {1, MADT_IOAPIC}, {1, 12}, {1, cpus} /* an id that no CPU has */, {1, 0}, {4, LAYOUT_IOAPIC},
                   {4, 0} /* its first pin */);
        put_override(writer, TIMER_IRQ, TIMER_PIN, PIN_AS_BUS);
        put_override(writer, LAYOUT_SCI_PIN, LAYOUT_SCI_PIN, PIN_HIGH_LEVEL);
        PUT_FIELDS(writer, {1, MADT_LAPIC_NMI}, {1, 6}, {1, ALL_CPUS}, {2, PIN_AS_BUS}, {1, NMI_LINT});
        return end_table(tables, at);
}

static uint64_t put_mcfg(struct acpi_tables *tables)
{
        size_t at = begin_table(tables, "MCFG", 1);

        PUT_FIELDS(&tables->writer, {8, 0}, {8, LAYOUT_ECAM});
        put_zeros(&tables->writer, 2 + 1 + 1 + 4); /* segment, first and last bus */
        return end_table(tables, at);
}

static uint64_t put_dsdt(struct acpi_tables *tables, const struct acpi_machine *machine)
{
        size_t at = begin_table(tables, "DSDT", 2);

        dsdt_put(&tables->writer, machine);
        return end_table(tables, at);
}

static uint64_t put_xsdt(struct acpi_tables *tables, const uint64_t *entries, size_t count)
{
        size_t at = begin_table(tables, "XSDT", 1);

        for (size_t i = 0; i < count; i++)
                PUT_FIELDS(&tables->writer, {8, entries[i]});
        return end_table(tables, at);
}

/* In the room that was left for it at the beginning. */
static void put_rsdp(struct acpi_tables *tables, uint64_t xsdt)
{
        struct writer root = {.data = tables->writer.data, .size = RSDP_SIZE};

        put_bytes(&root, "RSD PTR ", 8);
        put8(&root, 0);
        put_bytes(&root, "ORIEL ", 6);
        PUT_FIELDS(&root, {1, 2} /* revision */, {4, 0} /* no RSDT */, {4, RSDP_SIZE}, {8, xsdt},
                   {4, 0} /* the second checksum */);
        root.data[RSDP_CHECKSUM] = acpi_checksum(root.data, RSDP_OLD_SIZE);
        root.data[RSDP_EXTENDED_CHECKSUM] = acpi_checksum(root.data, RSDP_SIZE);
}

int acpi_build(const struct acpi_machine *machine, void *memory, size_t size, uint64_t address, uint64_t *rsdp)
{
        struct acpi_tables tables = {.writer = {.data = memory, .size = size}, .address = address};
        uint64_t entries[3], facs, dsdt;

        if (machine->cpus == 0 || machine->cpus > MOST_CPUS || !is_aligned(address, FACS_SIZE) ||
            address > UINT32_MAX - size)
                return -EINVAL;
        if (machine->mmio64.size > 0 && !range_valid(machine->mmio64))
                return -EINVAL;
        put_zeros(&tables.writer, RSDP_SIZE);
        facs = put_facs(&tables);
        dsdt = put_dsdt(&tables, machine);
        entries[0] = put_fadt(&tables, facs, dsdt);
        entries[1] = put_madt(&tables, machine->cpus);
        entries[2] = put_mcfg(&tables);

        uint64_t xsdt = put_xsdt(&tables, entries, sizeof(entries) / sizeof(entries[0]));

        if (tables.writer.full)
                return -ENOSPC;
        put_rsdp(&tables, xsdt);
        *rsdp = address;
        return 0;
}
