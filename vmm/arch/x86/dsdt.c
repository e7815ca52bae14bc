/* SPDX-License-Identifier: BSD-2-Clause */

/* The DSDT: the machine's devices in AML (ACPI 6.5, chapter 20, and 6.4 for the resources), with only the few terms
 * that are needed. These are the host bridge with its windows, the reserved ranges, the serial port, the clock and the
 * S5 state. Packages and devices are begun and ended, so that their lengths can be filled in; names have four letters.
 */

#include "vmm/arch/x86/acpi.h"
#include "vmm/arch/x86/layout.h"

#include "base/range.h"

enum {
        OP_NAME = 0x08,
        OP_BYTE = 0x0a,
        OP_WORD = 0x0b,
        OP_DWORD = 0x0c,
        OP_SCOPE = 0x10,
        OP_BUFFER = 0x11,
        OP_PACKAGE = 0x12,
        OP_EXTENDED = 0x5b,
        OP_DEVICE = 0x82, /* extended */
};

enum {
        RESOURCE_IRQ = 0x22,
        RESOURCE_IO = 0x47,
        RESOURCE_END = 0x79,
        RESOURCE_MEMORY32_FIXED = 0x86,
        RESOURCE_DWORD = 0x87,
        RESOURCE_WORD = 0x88,
        RESOURCE_QWORD = 0x8a,
};

/* Of an address space resource: what it is, that both its ends are fixed, and for memory that it may be written. The
 * 64-bit window is "cacheable" and not "prefetchable": so BARs of both kinds may be in it. */
enum {
        SPACE_MEMORY = 0,
        SPACE_BUS = 2,
        SPACE_FIXED = 0x0c,
        MEMORY_WRITABLE = 1,
        MEMORY_CACHEABLE = 1 << 1,
};

/* A package's length counts itself; it is always written in three bytes, to be filled in at the end. */
static size_t begin_package(struct writer *aml)
{
        size_t at = aml->used;

        put_zeros(aml, 3);
        return at;
}

static void end_package(struct writer *aml, size_t at)
{
        if (aml->full)
                return;

        size_t length = aml->used - at;

        aml->data[at] = (uint8_t)(0x80 | (length & 0xf));
        aml->data[at + 1] = (uint8_t)(length >> 4);
        aml->data[at + 2] = (uint8_t)(length >> 12);
}

static void put_name(struct writer *aml, const char name[static 4])
{
        put8(aml, OP_NAME);
        put_bytes(aml, name, 4);
}

static void put_byte_name(struct writer *aml, const char name[static 4], unsigned value)
{
        put_name(aml, name);
        PUT_FIELDS(aml, {1, OP_BYTE}, {1, value});
}

/* An identifier of the PNP family: three letters in five bits each, and a number, big-endian. */
static void put_id(struct writer *aml, const char name[static 4], unsigned number)
{
        put_name(aml, name);
        PUT_FIELDS(aml, {1, OP_DWORD}, {1, 0x41}, {1, 0xd0}, {1, number >> 8}, {1, number & 0xff});
}

/* A device whose resources are being written: _CRS is the last of its names, a buffer, which is a package that begins
 * with the size of its bytes, here a word. */
struct dsdt_device {
        size_t package, buffer, bytes;
};

/* @compatible: another identifier, or 0. */
static struct dsdt_device begin_device(struct writer *aml, const char name[static 4], unsigned id, unsigned compatible)
{
        struct dsdt_device device;

        PUT_FIELDS(aml, {1, OP_EXTENDED}, {1, OP_DEVICE});
        device.package = begin_package(aml);
        put_bytes(aml, name, 4);
        put_id(aml, "_HID", id);
        if (compatible)
                put_id(aml, "_CID", compatible);
        put_byte_name(aml, "_UID", 0);
        return device;
}

static void begin_resources(struct writer *aml, struct dsdt_device *device)
{
        put_name(aml, "_CRS");
        put8(aml, OP_BUFFER);
        device->buffer = begin_package(aml);
        PUT_FIELDS(aml, {1, OP_WORD}, {2, 0});
        device->bytes = aml->used;
}

static void end_device(struct writer *aml, const struct dsdt_device *device)
{
        PUT_FIELDS(aml, {1, RESOURCE_END}, {1, 0} /* no checksum */);
        end_package(aml, device->buffer);
        if (!aml->full) {
                size_t size = aml->used - device->bytes;

                aml->data[device->bytes - 2] = (uint8_t)size;
                aml->data[device->bytes - 1] = (uint8_t)(size >> 8);
        }
        end_package(aml, device->package);
}

static void put_io(struct writer *aml, unsigned port, unsigned size)
{
        PUT_FIELDS(aml, {1, RESOURCE_IO}, {1, 1} /* 16 bits are decoded */, {2, port}, {2, port}, {1, 1}, {1, size});
}

static void put_fixed_memory(struct writer *aml, uint64_t address, uint64_t size)
{
        PUT_FIELDS(aml, {1, RESOURCE_MEMORY32_FIXED}, {2, 9}, {1, MEMORY_WRITABLE}, {4, address}, {4, size});
}

/* A range that the host bridge decodes and passes on, in numbers of @bytes. */
static void put_window(struct writer *aml, unsigned type, size_t bytes, unsigned space, unsigned flags,
                       struct oriel_range range)
{
        const uint64_t values[] = {0, range.start, range_last(range), 0, range.size};

        PUT_FIELDS(aml, {1, type}, {2, 3 + 5 * bytes}, {1, space}, {1, SPACE_FIXED}, {1, flags});
        for (unsigned i = 0; i < 5; i++)
                put_bytes(aml, &values[i], bytes); /* little-endian: the low ones */
}

/* No _PRT: the devices have messages only. */
static void put_host_bridge(struct writer *aml, const struct acpi_machine *machine)
{
        static const struct oriel_range bus = {0, 1}, mmio32 = {LAYOUT_MMIO32, LAYOUT_MMIO32_SIZE};
        struct dsdt_device device = begin_device(aml, "PCI0", 0x0a08, 0x0a03);

        put_byte_name(aml, "_SEG", 0);
        put_byte_name(aml, "_BBN", 0);
        begin_resources(aml, &device);
        put_window(aml, RESOURCE_WORD, 2, SPACE_BUS, 0, bus);
        put_window(aml, RESOURCE_DWORD, 4, SPACE_MEMORY, MEMORY_WRITABLE, mmio32);
        if (range_valid(machine->mmio64))
                put_window(aml, RESOURCE_QWORD, 8, SPACE_MEMORY, MEMORY_WRITABLE | MEMORY_CACHEABLE, machine->mmio64);
        end_device(aml, &device);
}

/* Reserved ranges, so that the guest puts nothing there: Linux believes in MCFG only if this confirms it. */
static void put_reserved(struct writer *aml)
{
        struct dsdt_device device = begin_device(aml, "RES0", 0x0c02, 0);

        begin_resources(aml, &device);
        put_fixed_memory(aml, LAYOUT_ECAM, LAYOUT_ECAM_SIZE);
        put_fixed_memory(aml, LAYOUT_PLATFORM, LAYOUT_PLATFORM_SIZE);
        put_io(aml, LAYOUT_PM_PORT, LAYOUT_PM_SIZE);
        end_device(aml, &device);
}

/* One with ports and a pin. */
static void put_ports(struct writer *aml, const char name[static 4], unsigned id, struct oriel_range ports,
                      unsigned pin)
{
        struct dsdt_device device = begin_device(aml, name, id, 0);

        begin_resources(aml, &device);
        put_io(aml, (unsigned)ports.start, (unsigned)ports.size);
        PUT_FIELDS(aml, {1, RESOURCE_IRQ}, {2, 1 << pin});
        end_device(aml, &device);
}

/* \_S5: what is written to the sleep type of PM1a and PM1b to turn the machine off. */
static void dsdt_put_off(struct writer *aml)
{
        put_name(aml, "_S5_");
        put8(aml, OP_PACKAGE);

        size_t package = begin_package(aml);

        put8(aml, 4);
        for (unsigned i = 0; i < 4; i++)
                PUT_FIELDS(aml, {1, OP_BYTE}, {1, i < 2 ? LAYOUT_SLEEP_TYPE_OFF : 0});
        end_package(aml, package);
}

void dsdt_put(struct writer *writer, const struct acpi_machine *machine)
{
        dsdt_put_off(writer);
        put8(writer, OP_SCOPE);

        size_t scope = begin_package(writer);

        put_bytes(writer, "_SB_", 4);
        put_host_bridge(writer, machine);
        put_reserved(writer);
        put_ports(writer, "COM1", 0x0501, (struct oriel_range){LAYOUT_SERIAL_PORT, 8}, LAYOUT_SERIAL_PIN);
        put_ports(writer, "RTC0", 0x0b00, (struct oriel_range){LAYOUT_RTC_PORT, LAYOUT_RTC_SIZE}, LAYOUT_RTC_PIN);
        end_package(writer, scope);
}
