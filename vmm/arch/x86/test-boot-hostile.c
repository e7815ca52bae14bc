/* SPDX-License-Identifier: BSD-2-Clause */

/* Kernels that lie. Under the sanitizers that make check has, that none of this crashes means something. */

#include "vmm/arch/x86/test-image.h"

#include "base/cleanup.h"

#include <errno.h>

static void refuse(const void *data, size_t size, int error, const char *why)
{
        struct machine machine;

        machine_begin(&machine, 16 * MIB, 0);

        int r = machine_load(&machine, data, size);

        if (r != error)
                fail_msg("%d instead of %d (%s): %s", r, error, why, machine.why);
        expect_why(&machine, why);
        assert_true(strlen(machine.why) > 0);
        assert_null(strchr(machine.why, '\n'));
        machine_end(&machine);
}

#define REFUSE_ELF(change, error, why)                        \
        do {                                                  \
                struct test_elf elf = elf_with_pvh(ELF_CODE); \
                change;                                       \
                refuse(&elf, sizeof(elf), error, why);        \
        } while (0)

#define REFUSE_ELF32(change, error, why)                          \
        do {                                                      \
                struct test_elf32 elf = elf32_with_pvh(ELF_HIGH); \
                change;                                           \
                refuse(&elf, sizeof(elf), error, why);            \
        } while (0)

static void test_not_kernels(void **state)
{
        static const uint8_t zeros[2048];
        uint8_t other[2048] = {0};

        refuse("", 0, -ENOEXEC, "is not a kernel");
        refuse("#!/bin/sh\n", 10, -ENOEXEC, "is not a kernel");
        refuse(zeros, sizeof(zeros), -ENOEXEC, "is not a kernel");
        refuse("\x1f\x8b\x08", 3, -ENOEXEC, "compressed with gzip");
        refuse("\xfd\x37zXZ\0", 6, -ENOEXEC, "compressed with xz");
        refuse("\x28\xb5\x2f\xfd", 4, -ENOEXEC, "compressed with zstd");
        memcpy(other + 0x38, "ARM\x64", 4);
        refuse(other, sizeof(other), -ENOEXEC, "another architecture (arm64)");
        refuse(other, 0x3b, -ENOEXEC, "is not a kernel");
}

static void test_elf_headers(void **state)
{
        REFUSE_ELF(elf.header.e_machine = EM_386, -ENOEXEC, "another architecture (ELF machine 3)");
        REFUSE_ELF(elf.header.e_ident[EI_CLASS] = 3, -ENOEXEC, "another architecture");
        REFUSE_ELF(elf.header.e_machine = EM_AARCH64, -ENOEXEC, "another architecture (ELF machine 183)");
        REFUSE_ELF(elf.header.e_ident[EI_DATA] = ELFDATA2MSB, -ENOEXEC, "another architecture");
        REFUSE_ELF(elf.header.e_type = ET_REL, -ENOEXEC, "not an executable");
        REFUSE_ELF(elf.header.e_phnum = 0, -ENOEXEC, "not an executable");
        REFUSE_ELF(elf.header.e_phnum = PN_XNUM, -ENOEXEC, "65535 program headers");
        REFUSE_ELF(elf.header.e_phentsize = 57, -ENOEXEC, "of 57 bytes");
        REFUSE_ELF(elf.header.e_phoff = UINT64_MAX, -ENOEXEC, "truncated");
        REFUSE_ELF(elf.header.e_phoff = UINT64_MAX - 167, -ENOEXEC, "truncated");
        REFUSE_ELF(elf.header.e_phoff = INT64_MAX, -ENOEXEC, "truncated");
}

static void test_elf32_headers(void **state)
{
        REFUSE_ELF32(elf.header.e_machine = EM_ARM, -ENOEXEC, "another architecture (ELF machine 40)");
        REFUSE_ELF32(elf.header.e_type = ET_REL, -ENOEXEC, "not an executable");
        REFUSE_ELF32(elf.header.e_phentsize = sizeof(Elf64_Phdr), -ENOEXEC, "of 56 bytes");
        REFUSE_ELF32(elf.header.e_phnum = 65, -ENOEXEC, "65 program headers");
        REFUSE_ELF32(elf.header.e_phoff = UINT32_MAX, -ENOEXEC, "truncated");
        REFUSE_ELF32(elf.segments[1].p_paddr = UINT32_MAX, -ENOEXEC, "entry");
        REFUSE_ELF32(elf.segments[1].p_offset = UINT32_MAX, -ENOEXEC, "truncated");
        REFUSE_ELF32(elf.segments[1].p_filesz = UINT32_MAX, -ENOEXEC, "more in the file");
        REFUSE_ELF32(elf.note.value = ELF_CODE, -ENOEXEC, "nothing is loaded");
        REFUSE_ELF32(elf.note.header.n_type = 17, -ENOEXEC, "no PVH entry");

        /* A file that ends in its header. */
        const struct test_elf32 elf = elf32_with_pvh(ELF_HIGH);

        refuse(&elf, sizeof(elf.header) - 1, -ENOEXEC, "truncated");
}

static void test_elf_segments(void **state)
{
        static const uint64_t lies[] = {UINT64_MAX, UINT64_MAX - 31, INT64_MAX, UINT64_C(1) << 63, UINT32_MAX};

        for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
                struct test_elf elf = elf_with_pvh(ELF_CODE);

                elf.segments[1].p_offset = lies[i];
                refuse(&elf, sizeof(elf), -ENOEXEC, "truncated");
                elf = elf_with_pvh(ELF_CODE);
                elf.segments[1].p_paddr = lies[i];
                refuse(&elf, sizeof(elf), -ENOEXEC, "wants to be at");
                elf = elf_with_pvh(ELF_CODE);
                elf.segments[1].p_memsz = lies[i];
                refuse(&elf, sizeof(elf), -ENOEXEC, "wants to be at");
                elf.segments[1].p_filesz = lies[i];
                refuse(&elf, sizeof(elf), -ENOEXEC, "wants to be at");
                elf.segments[1].p_memsz = 4096;
                refuse(&elf, sizeof(elf), -ENOEXEC, "more in the file");
                elf.segments[2].p_offset = lies[i];
                refuse(&elf, sizeof(elf), -ENOEXEC, "truncated");
        }
        REFUSE_ELF(elf.segments[1].p_memsz = 12 * MIB + 1, -ENOMEM, "needs at least 17 MiB");
        REFUSE_ELF(elf.segments[1].p_paddr = LAYOUT_LOW_MEMORY_END, -ENOEXEC, "has no memory");
        REFUSE_ELF(elf.segments[1].p_paddr = LAYOUT_HIGH_MEMORY, -ENOEXEC, "has no memory");
        REFUSE_ELF(elf.segments[1].p_paddr = BOOT_INFO, -ENOEXEC, "between 1 MiB and");
        REFUSE_ELF(elf.segments[1].p_paddr = ELF_CODE + 8191, -ENOEXEC, "two segments in one place");
        REFUSE_ELF(elf.segments[2].p_filesz = UINT64_MAX, -ENOEXEC, "bytes of notes");
}

static void test_elf_notes(void **state)
{
        static const uint32_t lies[] = {UINT32_MAX, UINT32_MAX - 3, INT32_MAX, 1 << 20, 41, 40};

        REFUSE_ELF(elf.segments[2].p_type = PT_NULL, -ENOEXEC,
                   "has no PVH entry: a vmlinux built with CONFIG_PVH or a bzImage is needed");
        REFUSE_ELF(elf.note.header.n_type = XEN_ELFNOTE_ENTRY, -ENOEXEC, "has no PVH entry");
        REFUSE_ELF(elf.note.name[3] = 'x', -ENOEXEC, "has no PVH entry");
        REFUSE_ELF(elf.note.header.n_descsz = 3, -ENOEXEC, "has no PVH entry");
        for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
                REFUSE_ELF(elf.other.header.n_namesz = lies[i], -ENOEXEC, "has no PVH entry");
                REFUSE_ELF(elf.other.header.n_descsz = lies[i], -ENOEXEC, "has no PVH entry");
                REFUSE_ELF(elf.note.header.n_namesz = lies[i], -ENOEXEC, "has no PVH entry");
                REFUSE_ELF(elf.note.header.n_descsz = lies[i], -ENOEXEC, "has no PVH entry");
        }
        REFUSE_ELF(elf = elf_with_pvh(UINT64_MAX), -ENOEXEC, "has its entry at 0xffffffffffffffff, where nothing");
        REFUSE_ELF(elf = elf_with_pvh(0), -ENOEXEC, "where nothing is loaded");
        REFUSE_ELF(elf = elf_with_pvh(ELF_CODE + 8192), -ENOEXEC, "where nothing is loaded");
}

static void test_elf_truncated(void **state)
{
        const struct test_elf elf = elf_with_pvh(ELF_CODE);

        for (size_t size = 0; size < sizeof(elf); size++)
                refuse(&elf, size, -ENOEXEC, size < SELFMAG ? "is not a kernel" : "truncated");
}

/* Every byte of the headers and notes, turned over. Whatever comes of it, it is one of the answers there are. */
static void test_elf_flipped(void **state)
{
        struct machine machine;

        machine_begin(&machine, 16 * MIB, 0);
        for (size_t i = 0; i < offsetof(struct test_elf, code); i++) {
                struct test_elf elf = elf_with_pvh(ELF_CODE);

                ((uint8_t *)&elf)[i] ^= 0xff;

                int r = machine_load(&machine, &elf, sizeof(elf));

                assert_true(r == 0 || r == -ENOEXEC || r == -ENOMEM);
                assert_int_equal(r == 0, machine.why[0] == 0);
        }
        machine_end(&machine);
}

#define REFUSE_BZIMAGE(change, error, why)                                   \
        do {                                                                 \
                _cleanup_(freep) struct test_bzimage *image = bzimage_new(); \
                struct setup_header *header = &image->header;                \
                change;                                                      \
                refuse(image, sizeof(*image), error, why);                   \
        } while (0)

static void test_bzimage_headers(void **state)
{
        REFUSE_BZIMAGE((void)header, -ENOMEM, "needs at least 24 MiB of memory, and the guest has 16 MiB");
        REFUSE_BZIMAGE(header->version = 0x20b, -ENOEXEC, "boot protocol 2.11: 2.12");
        REFUSE_BZIMAGE(header->xloadflags = 0, -ENOEXEC, "a 32-bit kernel");
        REFUSE_BZIMAGE(header->jump = 0x10eb, -ENOEXEC, "a 32-bit kernel");
        REFUSE_BZIMAGE(header->boot_flag = 0, -ENOEXEC, "is not a kernel");
        REFUSE_BZIMAGE(header->header = 0, -ENOEXEC, "is not a kernel");
        REFUSE_BZIMAGE(header->syssize++, -ENOEXEC, "should have 5136");
        REFUSE_BZIMAGE(header->syssize = UINT32_MAX, -ENOEXEC, "truncated");
        REFUSE_BZIMAGE(header->syssize = 0, -ENOEXEC, "without anything in it");
        REFUSE_BZIMAGE(header->setup_sects = 0, -ENOEXEC, "truncated");
        REFUSE_BZIMAGE(header->setup_sects = 255, -ENOEXEC, "truncated");
        REFUSE_BZIMAGE(header->pref_address = UINT64_MAX, -ENOEXEC, "wants to be at 0xffffffffffffffff");
        REFUSE_BZIMAGE(header->pref_address = UINT64_MAX - 0x7fffff, -ENOEXEC, "has no memory");
        REFUSE_BZIMAGE(header->pref_address = BOOT_INFO, -ENOEXEC, "between 1 MiB and");
        REFUSE_BZIMAGE(header->init_size = UINT32_MAX, -ENOEXEC, "has no memory");
        REFUSE_BZIMAGE(header->pref_address = 0; header->code32_start = 0, -ENOEXEC, "between 1 MiB and");
}

static void test_bzimage_high(void **state)
{
        _cleanup_(freep) struct test_bzimage *image = bzimage_new();
        struct machine machine;

        machine_begin(&machine, 16 * MIB, 16 * MIB);
        image->header.pref_address = LAYOUT_HIGH_MEMORY;
        assert_int_equal(machine_load(&machine, image, sizeof(*image)), -ENOEXEC);
        expect_why(&machine, "above 4 GiB");
        machine_end(&machine);
}

static void test_bzimage_truncated(void **state)
{
        _cleanup_(freep) struct test_bzimage *image = bzimage_new();

        for (size_t size = 0; size < sizeof(*image); size++)
                refuse(image, size, -ENOEXEC, size < 0x26c ? "is not a kernel" : "truncated");
}

static void test_bzimage_flipped(void **state)
{
        struct machine machine;

        machine_begin(&machine, 64 * MIB, 0);
        for (size_t i = 0; i < sizeof(struct setup_header); i++) {
                _cleanup_(freep) struct test_bzimage *image = bzimage_new();

                ((uint8_t *)&image->header)[i] ^= 0xff;

                int r = machine_load(&machine, image, sizeof(*image));

                assert_true(r == 0 || r == -ENOEXEC || r == -ENOMEM || r == -E2BIG);
                assert_int_equal(r == 0, machine.why[0] == 0);
        }
        machine_end(&machine);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_not_kernels),     counted_test(test_elf_headers),
                counted_test(test_elf32_headers),   counted_test(test_elf_segments),
                counted_test(test_elf_notes),       counted_test(test_elf_truncated),
                counted_test(test_elf_flipped),     counted_test(test_bzimage_headers),
                counted_test(test_bzimage_high),    counted_test(test_bzimage_truncated),
                counted_test(test_bzimage_flipped),
        };

        return run_counted("boot-hostile", tests);
}
