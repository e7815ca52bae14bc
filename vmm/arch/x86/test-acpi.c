/* SPDX-License-Identifier: BSD-2-Clause */

/* Tests of ACPI tables: their fields and checksums, what has no room, and what iasl says of them. */

#include "base/cleanup.h"
#include "base/test.h"
#include "vmm/arch/x86/acpi.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ADDRESS = 0xe0000, SIZE = 0x20000, HEADER = 36 };

static uint8_t memory[SIZE];

static const struct acpi_machine small = {.cpus = 1};
static const struct acpi_machine large = {.cpus = 64, .mmio64 = {UINT64_C(1) << 40, UINT64_C(1) << 38}};

static void build(const struct acpi_machine *machine)
{
        uint64_t rsdp = 0;

        memset(memory, 0x5a, sizeof(memory));
        assert_int_equal(acpi_build(machine, memory, sizeof(memory), ADDRESS, &rsdp), 0);
        assert_int_equal(rsdp, ADDRESS);
}

static uint64_t number(const uint8_t *at, size_t size)
{
        uint64_t value = 0;

        memcpy(&value, at, size);
        return value;
}

static void check_sum(const uint8_t *data, size_t size)
{
        uint8_t sum = 0;

        for (size_t i = 0; i < size; i++)
                sum = (uint8_t)(sum + data[i]);
        assert_int_equal(sum, 0);
}

/* The table at guest address @at, which is whole. */
static const uint8_t *table_at(uint64_t at, const char *signature, size_t *size)
{
        assert_between(at, ADDRESS, ADDRESS + SIZE - HEADER);

        const uint8_t *table = memory + (at - ADDRESS);

        *size = number(table + 4, 4);
        assert_between(*size, HEADER, SIZE - (at - ADDRESS));
        assert_memory_equal(table, signature, 4);
        check_sum(table, *size);
        return table;
}

static const uint8_t *find(const char *signature, size_t *size)
{
        size_t xsdt_size;
        const uint8_t *xsdt = table_at(number(memory + 24, 8), "XSDT", &xsdt_size);

        for (size_t at = HEADER; at < xsdt_size; at += 8) {
                uint64_t address = number(xsdt + at, 8);

                if (memcmp(memory + (address - ADDRESS), signature, 4) == 0)
                        return table_at(address, signature, size);
                /* The DSDT is found through another table. */
                if (strcmp(signature, "DSDT") == 0 && memcmp(memory + (address - ADDRESS), "FACP", 4) == 0)
                        return table_at(number(memory + (address - ADDRESS) + 140, 8), signature, size);
        }
        fail_msg("no %s", signature);
        return NULL;
}

static void check_fadt(void)
{
        size_t size;
        const uint8_t *fadt = find("FACP", &size);
        uint64_t facs = number(fadt + 36, 4);

        assert_int_equal(size, 276);
        assert_int_equal(facs % 64, 0);
        assert_memory_equal(memory + (facs - ADDRESS), "FACS", 4);
        assert_int_equal(number(fadt + 40, 4), number(fadt + 140, 8));
        assert_int_equal(number(fadt + 46, 2), LAYOUT_SCI_PIN);
        assert_int_equal(number(fadt + 48, 8), 0);
        assert_int_equal(number(fadt + 56, 4), LAYOUT_PM_PORT);
        assert_int_equal(number(fadt + 64, 4), LAYOUT_PM_PORT + LAYOUT_PM1_CONTROL);
        assert_int_equal(number(fadt + 76, 4), 0);
        assert_int_equal(number(fadt + 88, 2), 0x0204);
        assert_int_equal(fadt[108], LAYOUT_RTC_CENTURY);
        assert_int_equal(number(fadt + 109, 2), 0x04);
        assert_int_equal(number(fadt + 112, 4) & (1 << 4 | 1 << 10), 1 << 10);
        assert_int_equal(number(fadt + 116, 4), 0x01000801);
        assert_int_equal(number(fadt + 120, 8), LAYOUT_PM_PORT + LAYOUT_PM_RESET);
        assert_int_equal(fadt[128], LAYOUT_RESET_VALUE);
        assert_int_equal(number(fadt + 152, 8), LAYOUT_PM_PORT);
        assert_int_equal(number(fadt + 176, 8), LAYOUT_PM_PORT + LAYOUT_PM1_CONTROL);
        assert_memory_equal(fadt + 268, "ORIELVMM", 8);
}

static void check_madt(unsigned cpus)
{
        size_t size, at = HEADER + 8;
        const uint8_t *madt = find("APIC", &size);
        unsigned seen[5] = {0};

        assert_int_equal(number(madt + HEADER, 4), LAYOUT_LAPIC);
        for (; at < size; at += madt[at + 1]) {
                assert_between(madt[at], 0, 4);
                assert_true(madt[at + 1] >= 6);
                if (madt[at] == 0)
                        assert_int_equal(madt[at + 3], seen[0]);
                if (madt[at] == 1) {
                        assert_int_equal(madt[at + 2], cpus);
                        assert_int_equal(number(madt + at + 4, 4), LAYOUT_IOAPIC);
                }
                seen[madt[at]]++;
        }
        assert_int_equal(at, size);
        assert_int_equal(seen[0], cpus);
        assert_int_equal(seen[1], 1);
        assert_int_equal(seen[2], 2);
        assert_int_equal(seen[4], 1);
}

static void check_mcfg(void)
{
        size_t size;
        const uint8_t *mcfg = find("MCFG", &size);

        assert_int_equal(size, 60);
        assert_int_equal(number(mcfg + 44, 8), LAYOUT_ECAM);
        assert_int_equal(number(mcfg + 52, 8), 0);
}

static void test_tables(void **state)
{
        static const struct acpi_machine *machines[] = {&small, &large};

        for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
                build(machines[i]);
                assert_memory_equal(memory, "RSD PTR ", 8);
                check_sum(memory, 20);
                check_sum(memory, 36);
                check_fadt();
                check_madt(machines[i]->cpus);
                check_mcfg();
        }
}

static void test_refuses(void **state)
{
        const struct acpi_machine none = {.cpus = 0}, many = {.cpus = 256};
        const struct acpi_machine wrong = {.cpus = 1, .mmio64 = {UINT64_MAX, 2}};
        uint64_t rsdp;

        assert_int_equal(acpi_build(&none, memory, SIZE, ADDRESS, &rsdp), -EINVAL);
        assert_int_equal(acpi_build(&many, memory, SIZE, ADDRESS, &rsdp), -EINVAL);
        assert_int_equal(acpi_build(&wrong, memory, SIZE, ADDRESS, &rsdp), -EINVAL);
        assert_int_equal(acpi_build(&small, memory, SIZE, ADDRESS + 8, &rsdp), -EINVAL);
        assert_int_equal(acpi_build(&small, memory, SIZE, UINT64_C(1) << 32, &rsdp), -EINVAL);

        /* Nothing is written behind the room, however small it is. */
        size_t room = 0;

        for (; room < 4096; room++) {
                memset(memory, 0x5a, 4200);

                int r = acpi_build(&small, memory, room, ADDRESS, &rsdp);

                assert_int_equal(memory[room], 0x5a);
                if (r == 0)
                        break;
                assert_int_equal(r, -ENOSPC);
        }
        assert_between(room, 700, 2000);
}

/* ACPICA's disassembler, quietly. What it says is in the file "log". */
static void run_iasl(const char *folder, const char *arguments)
{
        char command[300];

        snprintf(command, sizeof(command), "cd %s && iasl %s >log 2>&1", folder, arguments);

        /* The test's own folder, and nobody's input. */
        int status = system(command); /* NOLINT(bugprone-command-processor) */

        if (status != 0)
                fail_msg("%s: status %d; it is from package acpica-tools", command, status);
}

static char *read_text(const char *folder, const char *name)
{
        char path[100], *text = calloc(1, 100000);
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        file = fopen(path, "r");
        assert_non_null(file);
        assert_non_null(text);
        assert_true(fread(text, 1, 99999, file) > 0);
        fclose(file);
        return text;
}

static void write_table(const char *folder, const char *signature, const char *name)
{
        size_t size;
        const uint8_t *table = find(signature, &size);
        char path[100];
        FILE *file;

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        file = fopen(path, "w");
        assert_non_null(file);
        assert_int_equal(fwrite(table, 1, size, file), size);
        fclose(file);
}

static void expect_quiet(const char *folder)
{
        _cleanup_(freep) char *log = read_text(folder, "log");

        if (strcasestr(log, "warning (") || strcasestr(log, "error") || strcasestr(log, "invalid") ||
            strcasestr(log, "warning:"))
                fail_msg("iasl says:\n%s", log);
}

static void remove_folder(const char *folder)
{
        static const char *names[] = {"log",      "dsdt.aml", "dsdt.dsl", "facp.aml", "facp.dsl",
                                      "apic.aml", "apic.dsl", "mcfg.aml", "mcfg.dsl", "again.aml"};
        char path[100];

        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
                unlink(path);
        }
        assert_int_equal(rmdir(folder), 0);
}

/* Disassembles the same machine's tables, and compiles the DSDT again. The text is the caller's to free. */
static char *disassemble(const struct acpi_machine *machine)
{
        char folder[] = "/tmp/oriel-acpi-XXXXXX";

        build(machine);
        assert_non_null(mkdtemp(folder));
        write_table(folder, "DSDT", "dsdt.aml");
        write_table(folder, "FACP", "facp.aml");
        write_table(folder, "APIC", "apic.aml");
        write_table(folder, "MCFG", "mcfg.aml");
        run_iasl(folder, "-d dsdt.aml");
        expect_quiet(folder);
        run_iasl(folder, "-d facp.aml apic.aml mcfg.aml");
        expect_quiet(folder);
        run_iasl(folder, "-we -p again dsdt.dsl");

        char *text = read_text(folder, "dsdt.dsl");

        remove_folder(folder);
        return text;
}

static void expect(const char *text, const char *what)
{
        if (!strstr(text, what))
                fail_msg("no \"%s\" in\n%s", what, text);
}

static void test_iasl(void **state)
{
        static const char *both[] = {
                "Name (_S5, Package (0x04)",
                "Device (PCI0)",
                "EisaId (\"PNP0A08\")",
                "EisaId (\"PNP0A03\")",
                "WordBusNumber (ResourceProducer",
                "DWordMemory (ResourceProducer",
                "0xC0000000",
                "0xDFFFFFFF",
                "EisaId (\"PNP0C02\")",
                "Memory32Fixed (ReadWrite",
                "0xE0000000",
                "EisaId (\"PNP0501\")",
                "0x03F8",
                "IRQNoFlags ()",
                "{4}",
        };
        _cleanup_(freep) char *first = disassemble(&small), *second = disassemble(&large);

        for (size_t i = 0; i < ARRAY_SIZE(both); i++) {
                expect(first, both[i]);
                expect(second, both[i]);
        }
        assert_null(strstr(first, "QWordMemory"));
        expect(second, "QWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, Cacheable, ReadWrite,");
        expect(second, "0x0000010000000000");
        expect(second, "0x0000013FFFFFFFFF");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_tables),
                counted_test(test_refuses),
                counted_test(test_iasl),
        };

        return run_counted("acpi", tests);
}
