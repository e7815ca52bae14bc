/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_ARCH_X86_TEST_IMAGE_H
#define VMM_ARCH_X86_TEST_IMAGE_H

/* Kernels of a few bytes, and memory without a virtual machine. */

#include "base/test.h"
#include "vmm/arch/x86/load.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/arch-x86/hvm/start_info.h>
#include <xen/elfnote.h>

#define MIB (UINT64_C(1) << 20)

struct machine {
        struct loader loader;
        struct boot_image image;
        struct x86_entry entry;
        char why[200];
};

static inline void machine_begin(struct machine *machine, uint64_t low, uint64_t high)
{
        const uint64_t sizes[] = {low, high}, at[] = {0, LAYOUT_HIGH_MEMORY};

        memset(machine, 0, sizeof(*machine));
        machine->image = (struct boot_image){
                .kernel_fd = -1,
                .initrd_fd = -1,
                .cmdline = "console=ttyS0",
                .cpus = 2,
                .mmio64 = {UINT64_C(1) << 38, UINT64_C(1) << 37},
        };
        machine->loader.image = &machine->image;
        machine->loader.memory_fd = -1;
        machine->loader.why = machine->why;
        machine->loader.why_size = sizeof(machine->why);
        for (unsigned i = 0; i < 2 && sizes[i] > 0; i++) {
                void *memory = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                                    -1, 0);

                assert_ptr_not_equal(memory, MAP_FAILED);
                machine->loader.memory[i] = (struct oriel_memory_region){at[i], sizes[i], (uintptr_t)memory, 0};
                machine->loader.parts = i + 1;
        }
}

static inline void machine_end(struct machine *machine)
{
        for (unsigned i = 0; i < machine->loader.parts; i++)
                munmap((void *)(uintptr_t)machine->loader.memory[i].user_address, machine->loader.memory[i].size);
        if (machine->image.kernel_fd >= 0)
                close(machine->image.kernel_fd);
        if (machine->image.initrd_fd >= 0)
                close(machine->image.initrd_fd);
}

static inline void *machine_at(struct machine *machine, uint64_t address, uint64_t size)
{
        void *at = loader_memory_at(&machine->loader, address, size);

        assert_non_null(at);
        return at;
}

static inline int file_of(const void *data, size_t size)
{
        int fd = memfd_create("oriel-test", MFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, data, size, 0), (ssize_t)size);
        return fd;
}

/* Load @data as a kernel, and return the result. */
static inline int machine_load(struct machine *machine, const void *data, size_t size)
{
        if (machine->image.kernel_fd >= 0)
                close(machine->image.kernel_fd);
        machine->image.kernel_fd = file_of(data, size);
        machine->why[0] = 0;
        return x86_load(&machine->loader, &machine->entry);
}

static inline void expect_why(const struct machine *machine, const char *part)
{
        if (!strstr(machine->why, part))
                fail_msg("\"%s\" is not in \"%s\"", part, machine->why);
}

struct test_note {
        Elf64_Nhdr header;
        char name[8];
        uint64_t value;
} __attribute__((packed));

/* Two segments with code and a note. What is loaded ends the file. */
struct test_elf {
        Elf64_Ehdr header;
        Elf64_Phdr segments[3];
        struct test_note other, note;
        uint8_t code[64];
};

enum { ELF_CODE = 0x200000, ELF_HIGH = 0x400000 };

static inline struct test_elf elf_with(const char *name, uint32_t type, uint64_t value)
{
        struct test_elf elf = {
                .header =
                        {
                                .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                                .e_type = ET_EXEC,
                                .e_machine = EM_X86_64,
                                .e_phoff = offsetof(struct test_elf, segments),
                                .e_phentsize = sizeof(Elf64_Phdr),
                                .e_phnum = 3,
                        },
                .segments =
                        {
                                {.p_type = PT_LOAD,
                                 .p_offset = offsetof(struct test_elf, code),
                                 .p_paddr = ELF_CODE,
                                 .p_filesz = 64,
                                 .p_memsz = 8192},
                                {.p_type = PT_LOAD,
                                 .p_offset = offsetof(struct test_elf, code) + 32,
                                 .p_paddr = ELF_HIGH,
                                 .p_filesz = 32,
                                 .p_memsz = 32},
                                {.p_type = PT_NOTE,
                                 .p_offset = offsetof(struct test_elf, other),
                                 .p_filesz = 2 * sizeof(struct test_note),
                                 .p_align = 4},
                        },
                .other = {{4, 8, 3}, "GNU", 0},
                .note = {{(uint32_t)strlen(name) + 1, 8, type}, "", value},
        };

        /* The first note's name is padded to 4, and its descriptor is a little longer for it. */
        elf.other.header.n_descsz = 12;
        memcpy(elf.note.name, name, strlen(name));
        for (unsigned i = 0; i < sizeof(elf.code); i++)
                elf.code[i] = (uint8_t)(i + 1);
        return elf;
}

/* PVH's name fills 4 bytes, and its value follows at once. */
static inline struct test_elf elf_with_pvh(uint64_t value)
{
        struct test_elf elf = elf_with("Xen", XEN_ELFNOTE_PHYS32_ENTRY, 0);

        memcpy(elf.note.name + 4, &value, sizeof(value));
        return elf;
}

/* The same in 32 bits, with the one note of PVH, whose value has 4 bytes. */
struct test_elf32 {
        Elf32_Ehdr header;
        Elf32_Phdr segments[2];
        struct {
                Elf32_Nhdr header;
                char name[4];
                uint32_t value;
        } note;
        uint8_t code[64];
};

static inline struct test_elf32 elf32_with_pvh(uint32_t value)
{
        struct test_elf32 elf = {
                .header =
                        {
                                .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT},
                                .e_type = ET_EXEC,
                                .e_machine = EM_386,
                                .e_phoff = offsetof(struct test_elf32, segments),
                                .e_phentsize = sizeof(Elf32_Phdr),
                                .e_phnum = 2,
                        },
                .segments =
                        {
                                {.p_type = PT_NOTE,
                                 .p_offset = offsetof(struct test_elf32, note),
                                 .p_filesz = sizeof(elf.note),
                                 .p_align = 4},
                                {.p_type = PT_LOAD,
                                 .p_offset = offsetof(struct test_elf32, code),
                                 .p_paddr = ELF_HIGH,
                                 .p_filesz = 64,
                                 .p_memsz = 8192},
                        },
                .note = {{4, 4, XEN_ELFNOTE_PHYS32_ENTRY}, "Xen", value},
        };

        for (unsigned i = 0; i < sizeof(elf.code); i++)
                elf.code[i] = (uint8_t)(i + 1);
        return elf;
}

/* A setup part of two sectors, and a payload of 4 KiB which ends the file. */
struct test_bzimage {
        uint8_t boot[0x1f1];
        struct setup_header header;
        uint8_t setup[1024 - 0x1f1 - sizeof(struct setup_header)];
        uint8_t payload[4096];
} __attribute__((packed));

static inline struct test_bzimage *bzimage_new(void)
{
        struct test_bzimage *image = calloc(1, sizeof(*image));

        assert_non_null(image);
        memset(image->boot, 0xee, sizeof(image->boot));
        image->header = (struct setup_header){
                .setup_sects = 1,
                .syssize = 4096 / 16,
                .boot_flag = 0xaa55,
                .jump = 0x6aeb,
                .header = 0x53726448,
                .version = 0x20f,
                .loadflags = LOADED_HIGH | CAN_USE_HEAP,
                .code32_start = 0x100000,
                .initrd_addr_max = 0x7fffffff,
                .relocatable_kernel = 1,
                .xloadflags = XLF_KERNEL_64,
                .cmdline_size = 2047,
                .pref_address = 0x1000000,
                .init_size = 0x800000,
        };
        for (unsigned i = 0; i < sizeof(image->payload); i++)
                image->payload[i] = (uint8_t)(i * 7);
        return image;
}

#endif
