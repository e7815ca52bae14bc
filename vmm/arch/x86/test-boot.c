/* SPDX-License-Identifier: BSD-2-Clause */

/* Tests of kernels of each kind that are loaded as they should be, and what they find in memory. */

#include "vmm/arch/x86/test-image.h"

#include "base/cleanup.h"

#include <errno.h>

static void check_start_info(struct machine *machine, uint64_t initrd_size)
{
        const struct hvm_start_info *info = machine_at(machine, BOOT_INFO, sizeof(*info));
        const struct hvm_memmap_table_entry *map;

        assert_int_equal(info->magic, XEN_HVM_START_MAGIC_VALUE);
        assert_int_equal(info->version, 1);
        assert_string_equal(machine_at(machine, info->cmdline_paddr, 64), "console=ttyS0");
        assert_memory_equal(machine_at(machine, info->rsdp_paddr, 36), "RSD PTR ", 8);
        assert_int_equal(info->nr_modules, initrd_size > 0);
        if (initrd_size > 0) {
                const struct hvm_modlist_entry *module = machine_at(machine, info->modlist_paddr, sizeof(*module));

                assert_int_equal(module->size, initrd_size);
                assert_int_equal(module->paddr % 4096, 0);
                assert_string_equal(machine_at(machine, module->paddr, module->size), "an initrd");
        }
        assert_int_equal(info->memmap_entries, machine->loader.parts > 1 ? 5 : 4);
        map = machine_at(machine, info->memmap_paddr, info->memmap_entries * sizeof(*map));
        assert_int_equal(map[0].addr, 0);
        assert_int_equal(map[0].size, BOOT_LOW_END);
        assert_int_equal(map[0].type, XEN_HVM_MEMMAP_TYPE_RAM);
        assert_int_equal(map[1].addr, BOOT_ACPI);
        assert_int_equal(map[1].type, XEN_HVM_MEMMAP_TYPE_RESERVED);
        assert_int_equal(map[2].addr, MIB);
        assert_int_equal(map[2].addr + map[2].size, loader_low_end(&machine->loader));
        assert_int_equal(map[3].type, XEN_HVM_MEMMAP_TYPE_RESERVED);
        if (machine->loader.parts > 1) {
                assert_int_equal(map[4].addr, LAYOUT_HIGH_MEMORY);
                assert_int_equal(map[4].size, machine->loader.memory[1].size);
        }
}

static void test_pvh(void **state)
{
        const struct test_elf elf = elf_with_pvh(ELF_CODE + 16);
        struct machine machine;

        machine_begin(&machine, 16 * MIB, 64 * MIB);
        assert_int_equal(machine_load(&machine, &elf, sizeof(elf)), 0);
        assert_string_equal(machine.why, "");
        assert_int_equal(machine.entry.mode, X86_ENTRY_PROTECTED);
        assert_int_equal(machine.entry.rip, ELF_CODE + 16);
        assert_int_equal(machine.entry.rbx, BOOT_INFO);
        assert_memory_equal(machine_at(&machine, ELF_CODE, 64), elf.code, 64);
        assert_memory_equal(machine_at(&machine, ELF_HIGH, 32), elf.code + 32, 32);
        for (unsigned i = 64; i < 8192; i++)
                assert_int_equal(*(uint8_t *)machine_at(&machine, ELF_CODE + i, 1), 0);
        check_start_info(&machine, 0);

        /* Again with an initrd, as a reset would. */
        machine.image.initrd_fd = file_of("an initrd", 10);
        assert_int_equal(machine_load(&machine, &elf, sizeof(elf)), 0);
        check_start_info(&machine, 10);
        machine_end(&machine);
}

static void test_pvh_32(void **state)
{
        struct test_elf32 elf = elf32_with_pvh(ELF_HIGH + 16);
        struct machine machine;

        machine_begin(&machine, 16 * MIB, 0);
        for (unsigned i = 0; i < 2; i++) {
                elf.header.e_machine = i ? EM_X86_64 : EM_386;
                assert_int_equal(machine_load(&machine, &elf, sizeof(elf)), 0);
                assert_int_equal(machine.entry.mode, X86_ENTRY_PROTECTED);
                assert_int_equal(machine.entry.rip, ELF_HIGH + 16);
                assert_int_equal(machine.entry.rbx, BOOT_INFO);
                assert_memory_equal(machine_at(&machine, ELF_HIGH, 64), elf.code, 64);
                check_start_info(&machine, 0);
        }
        machine_end(&machine);
}

/* Where the tables say that @address is; 0: nowhere. */
static uint64_t walk(struct machine *machine, uint64_t address, unsigned rights)
{
        uint64_t at = machine->entry.cr3;

        for (unsigned shift = 39; shift >= 21; shift -= 9) {
                const uint64_t *page = machine_at(machine, at, 4096);
                uint64_t entry = page[address >> shift & 511];

                if ((entry & rights) != rights)
                        return 0;
                at = entry & ~UINT64_C(0xfff);
                if (shift == 21) {
                        assert_true(entry & 0x80);
                        return at | (address & 0x1fffff);
                }
                assert_false(entry & 0x80);
        }
        return 0;
}

static void test_user(void **state)
{
        const struct test_elf elf = elf_with(BOOT_NOTE_NAME, BOOT_NOTE_USER_ENTRY, ELF_HIGH + 1);
        struct machine machine;

        machine_begin(&machine, 16 * MIB, 0);
        assert_int_equal(machine_load(&machine, &elf, sizeof(elf)), 0);
        assert_int_equal(machine.entry.mode, X86_ENTRY_USER);
        assert_int_equal(machine.entry.rip, ELF_HIGH + 1);
        assert_int_equal(machine.entry.rsi, BOOT_INFO);
        assert_int_equal(machine.entry.rsp % 16, 0);
        check_start_info(&machine, 0);

        uint64_t start = machine.image.mmio64.start;
        const uint64_t seen[] = {0x1000, 0xfee00000, 0xffffffff, start, start + 0x123456789, start + (64ull << 30) - 1};

        for (size_t i = 0; i < ARRAY_SIZE(seen); i++)
                assert_int_equal(walk(&machine, seen[i], 7), seen[i]);
        assert_int_equal(walk(&machine, UINT64_C(1) << 32, 1), 0);
        assert_int_equal(walk(&machine, start - 1, 1), 0);
        assert_int_equal(walk(&machine, start + (64ull << 30), 1), 0);
        machine_end(&machine);
}

/* Windows at odd places: what can't be shown is not, and nothing is written elsewhere. */
static void test_user_windows(void **state)
{
        const struct test_elf elf = elf_with(BOOT_NOTE_NAME, BOOT_NOTE_USER_ENTRY, ELF_CODE);
        const struct oriel_range windows[] = {
                {0, 0},
                {UINT64_C(1) << 32, 4096},
                {(UINT64_C(1) << 47) - (UINT64_C(1) << 30), UINT64_C(1) << 40},
                {UINT64_C(1) << 52, UINT64_C(1) << 40},
                {UINT64_MAX - 4095, 4096},
                {(UINT64_C(1) << 39) - (UINT64_C(1) << 30), UINT64_C(1) << 40},
        };
        struct machine machine;

        for (size_t i = 0; i < ARRAY_SIZE(windows); i++) {
                machine_begin(&machine, 16 * MIB, 0);
                machine.image.mmio64 = windows[i];
                assert_int_equal(machine_load(&machine, &elf, sizeof(elf)), 0);
                assert_int_equal(walk(&machine, 0xfee00000, 7), 0xfee00000);
                if (windows[i].size > 0 && windows[i].start < UINT64_C(1) << 47)
                        assert_int_equal(walk(&machine, windows[i].start, 7), windows[i].start);
                if (i == 5)
                        assert_int_equal(walk(&machine, UINT64_C(1) << 39, 7), UINT64_C(1) << 39);
                machine_end(&machine);
        }
}

static void test_bzimage(void **state)
{
        _cleanup_(freep) struct test_bzimage *image = bzimage_new();
        struct machine machine;

        machine_begin(&machine, 64 * MIB, 16 * MIB);
        machine.image.initrd_fd = file_of("an initrd", 10);
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), 0);
        assert_int_equal(machine.entry.mode, X86_ENTRY_LONG);
        assert_int_equal(machine.entry.rip, 0x1000200);
        assert_int_equal(machine.entry.rsi, BOOT_INFO);
        assert_memory_equal(machine_at(&machine, 0x1000000, 4096), image->payload, 4096);
        assert_int_equal(walk(&machine, 0xfee00000, 3), 0xfee00000);
        assert_int_equal(walk(&machine, 0xfee00000, 4), 0);

        const struct boot_params *params = machine_at(&machine, BOOT_INFO, sizeof(*params));

        assert_int_equal(params->sentinel, 0);
        assert_int_equal(params->hdr.header, 0x53726448);
        assert_int_equal(params->hdr.type_of_loader, 0xff);
        assert_int_equal(params->hdr.loadflags, LOADED_HIGH);
        assert_int_equal(params->hdr.init_size, 0x800000);
        assert_string_equal(machine_at(&machine, params->hdr.cmd_line_ptr, 64), "console=ttyS0");
        assert_int_equal(params->hdr.ramdisk_image, 64 * MIB - 4096);
        assert_int_equal(params->hdr.ramdisk_size, 10);
        assert_string_equal(machine_at(&machine, params->hdr.ramdisk_image, 10), "an initrd");
        assert_memory_equal(machine_at(&machine, params->acpi_rsdp_addr, 8), "RSD PTR ", 8);
        assert_int_equal(params->e820_entries, 5);
        assert_int_equal(params->e820_table[2].addr, MIB);
        assert_int_equal(params->e820_table[2].size, 63 * MIB);
        assert_int_equal(params->e820_table[4].addr, LAYOUT_HIGH_MEMORY);

        /* A kernel that wants its initrd low. */
        image->header.initrd_addr_max = 0x2ffffff;
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), 0);
        assert_int_equal(params->hdr.ramdisk_image, 0x2fff000);
        machine_end(&machine);
}

static void test_cmdline(void **state)
{
        _cleanup_(freep) struct test_bzimage *image = bzimage_new();
        const struct test_elf elf = elf_with_pvh(ELF_CODE);
        const struct test_elf ours = elf_with(BOOT_NOTE_NAME, BOOT_NOTE_USER_ENTRY, ELF_HIGH + 1);
        struct machine machine;
        static char line[70000];

        machine_begin(&machine, 64 * MIB, 0);
        machine.image.cmdline = line;
        memset(line, 'x', 2047);
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), 0);
        assert_string_equal(machine_at(&machine, BOOT_CMDLINE, 2048), line);
        line[2047] = 'x';
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), -E2BIG);
        expect_why(&machine, "it has 2048 bytes, and this kernel takes 2047");
        assert_int_equal(machine_load(&machine, &elf, sizeof(elf)), -E2BIG);
        expect_why(&machine, "it has 2048 bytes, and this kernel takes 2047");
        assert_int_equal(machine_load(&machine, &ours, sizeof(ours)), 0);
        memset(line, 'x', 65536);
        assert_int_equal(machine_load(&machine, &ours, sizeof(ours)), -E2BIG);
        image->header.cmdline_size = UINT32_MAX;
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), -E2BIG);
        machine_end(&machine);
}

static void test_initrd_size(void **state)
{
        _cleanup_(freep) struct test_bzimage *image = bzimage_new();
        const struct test_elf elf = elf_with_pvh(ELF_CODE);
        struct machine machine;

        machine_begin(&machine, 32 * MIB, 0);
        machine.image.initrd_fd = file_of("", 0);
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), 0);
        assert_int_equal(ftruncate(machine.image.initrd_fd, 8 * MIB), 0);
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), 0);
        assert_int_equal(ftruncate(machine.image.initrd_fd, 8 * MIB + 1), 0);
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), -ENOMEM);
        expect_why(&machine, "with this initrd it needs at least 34 MiB of memory, the guest has 32 MiB");
        assert_int_equal(ftruncate(machine.image.initrd_fd, INT64_C(1) << 40), 0);
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), -E2BIG);
        expect_why(&machine, "too large");
        assert_int_equal(machine_load(&machine, &elf, sizeof(elf)), -E2BIG);
        image->header.initrd_addr_max = 0xffff;
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), -E2BIG);
        machine_end(&machine);
}

static void test_wrong_files(void **state)
{
        struct machine machine;
        int pipes[2];

        machine_begin(&machine, 16 * MIB, 0);
        machine.image.kernel_fd = open("/", O_RDONLY | O_CLOEXEC);
        assert_int_equal(x86_load(&machine.loader, &machine.entry), -ENOEXEC);
        expect_why(&machine, "the kernel is not a regular file");
        close(machine.image.kernel_fd);
        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        machine.image.kernel_fd = pipes[0];
        close(pipes[1]);
        assert_int_equal(x86_load(&machine.loader, &machine.entry), -ENOEXEC);
        close(machine.image.kernel_fd);
        machine.image.kernel_fd = -1;
        assert_int_equal(x86_load(&machine.loader, &machine.entry), -EBADF);
        machine_end(&machine);

        /* Less memory than anything needs. */
        const struct test_elf elf = elf_with_pvh(ELF_CODE);

        machine_begin(&machine, MIB / 2, 0);
        assert_int_equal(machine_load(&machine, &elf, sizeof(elf)), -ENOMEM);
        machine_end(&machine);
        machine_begin(&machine, MIB, 0);
        assert_int_equal(machine_load(&machine, &elf, sizeof(elf)), -ENOMEM);
        expect_why(&machine, "needs at least 3 MiB of memory, and the guest has 1 MiB");
        machine_end(&machine);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_pvh),          counted_test(test_pvh_32),      counted_test(test_user),
                counted_test(test_user_windows), counted_test(test_bzimage),     counted_test(test_cmdline),
                counted_test(test_initrd_size),  counted_test(test_wrong_files),
        };

        return run_counted("boot", tests);
}
