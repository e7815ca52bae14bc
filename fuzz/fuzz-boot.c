/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is a kernel, an initrd's size, and the memory that both go into. The kernel is an ELF file with program
 * headers and notes, or a bzImage, each with fields written over, or the input's bytes. What was loaded must lie in
 * memory, which ends at a page that can't be touched. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/range.h"
#include "fuzz/input.h"
#include "vmm/arch/x86/load.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xen/elfnote.h>

#define MIB (UINT64_C(1) << 20)

enum { PARTS = 2, PART_MOST = 8 << 20, FILE_MOST = 16384 };

static struct {
        uint8_t *memory[PARTS];
        int memory_fd, kernel_fd, initrd_fd, folder_fd;
} world;

static void begin(void)
{
        if (world.memory[0])
                return;
        world.memory_fd = memfd_create("memory", MFD_CLOEXEC);
        world.kernel_fd = memfd_create("kernel", MFD_CLOEXEC);
        world.initrd_fd = memfd_create("initrd", MFD_CLOEXEC);
        world.folder_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        need(ftruncate(world.memory_fd, PARTS * PART_MOST) == 0);
        for (unsigned i = 0; i < PARTS; i++) {
                world.memory[i] = mmap(NULL, PART_MOST + 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                need(world.memory[i] != MAP_FAILED);
        }
}

/* Each part ends where its mapping does. */
static void make_memory(struct input *input, struct loader *loader)
{
        static const uint64_t low[] = {4 << 20, 2 << 20, 1 << 20, 64 << 10, 8 << 20, (1 << 20) + 4096};
        const uint64_t sizes[PARTS] = {low[take_choice(input, ARRAY_SIZE(low))], take_byte(input) & 1 ? MIB : 0};
        const uint64_t addresses[PARTS] = {0, LAYOUT_HIGH_MEMORY};

        need(fallocate(world.memory_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PARTS * PART_MOST) == 0);
        loader->memory_fd = take_byte(input) & 1 ? world.memory_fd : -1;
        for (unsigned i = 0; i < PARTS && sizes[i] > 0; i++) {
                uint8_t *at = world.memory[i] + PART_MOST - sizes[i];

                need(mmap(world.memory[i], PART_MOST, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
                     MAP_FAILED);
                need(mmap(at, sizes[i], PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, world.memory_fd,
                          i * PART_MOST) != MAP_FAILED);
                loader->memory[i] = (struct oriel_memory_region){addresses[i], sizes[i], (uintptr_t)at, i * PART_MOST};
                loader->parts = i + 1;
        }
}

/* ---- kernels ---- */

/* Numbers over fields: @offsets has where each begins, and its size. */
struct field {
        uint16_t offset, size;
};

static void write_over(struct input *input, uint8_t *file, const struct field *fields, unsigned n, unsigned most)
{
        for (unsigned times = take_choice(input, most); times > 0; times--) {
                const struct field *field = &fields[take_choice(input, n)];
                uint64_t value = take_number(input);

                memcpy(file + field->offset, &value, field->size);
        }
}

struct note {
        Elf64_Nhdr header;
        char name[8];
        uint64_t value;
} __attribute__((packed));

struct elf_file {
        Elf64_Ehdr header;
        Elf64_Phdr segments[4];
        struct note notes[3];
        uint8_t code[256];
};

#define OF(type, member)                                               \
        {                                                              \
                offsetof(type, member), sizeof(((type *)NULL)->member) \
        }

static size_t make_elf(struct input *input, uint8_t *to)
{
        static const struct field header[] = {OF(Elf64_Ehdr, e_ident[EI_CLASS]),
                                              OF(Elf64_Ehdr, e_ident[EI_DATA]),
                                              OF(Elf64_Ehdr, e_type),
                                              OF(Elf64_Ehdr, e_machine),
                                              OF(Elf64_Ehdr, e_phoff),
                                              OF(Elf64_Ehdr, e_phentsize),
                                              OF(Elf64_Ehdr, e_phnum)};
        static const struct field segment[] = {OF(Elf64_Phdr, p_type),  OF(Elf64_Phdr, p_offset),
                                               OF(Elf64_Phdr, p_paddr), OF(Elf64_Phdr, p_filesz),
                                               OF(Elf64_Phdr, p_memsz), OF(Elf64_Phdr, p_align)};
        static const struct field note[] = {OF(struct note, header.n_namesz), OF(struct note, header.n_descsz),
                                            OF(struct note, header.n_type), OF(struct note, name),
                                            OF(struct note, value)};
        struct elf_file file = {
                .header = {.e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
                           .e_type = ET_EXEC,
                           .e_machine = EM_X86_64,
                           .e_phoff = offsetof(struct elf_file, segments),
                           .e_phentsize = sizeof(Elf64_Phdr),
                           .e_phnum = ARRAY_SIZE(file.segments)},
        };

        for (unsigned i = 0; i < ARRAY_SIZE(file.segments); i++)
                file.segments[i] = (Elf64_Phdr){.p_type = PT_LOAD,
                                                .p_offset = offsetof(struct elf_file, code) + 64 * i,
                                                .p_paddr = BOOT_KERNEL + i * 0x1000,
                                                .p_filesz = 64,
                                                .p_memsz = 128};
        file.segments[3] = (Elf64_Phdr){.p_type = PT_NOTE,
                                        .p_offset = offsetof(struct elf_file, notes),
                                        .p_filesz = sizeof(file.notes),
                                        .p_align = 4};
        file.notes[0] = (struct note){{4, 8, XEN_ELFNOTE_PHYS32_ENTRY}, "Xen", 0};
        file.notes[1] = (struct note){{6, 8, BOOT_NOTE_USER_ENTRY}, "Oriel", BOOT_KERNEL};
        file.notes[2] = (struct note){{4, 12, 3}, "GNU", 0};
        /* Three letters and a zero are a whole name. */
        memcpy(file.notes[0].name + 4, &(uint64_t){BOOT_KERNEL}, sizeof(uint64_t));
        file.notes[take_choice(input, 3)].header.n_type ^= take_choice(input, 2);
        write_over(input, (uint8_t *)&file.header, header, ARRAY_SIZE(header), 3);
        for (unsigned i = 0; i < ARRAY_SIZE(file.segments); i++)
                write_over(input, (uint8_t *)&file.segments[i], segment, ARRAY_SIZE(segment), 3);
        for (unsigned i = 0; i < ARRAY_SIZE(file.notes); i++)
                write_over(input, (uint8_t *)&file.notes[i], note, ARRAY_SIZE(note), 2);
        memcpy(to, &file, sizeof(file));
        return sizeof(file);
}

static size_t make_bzimage(struct input *input, uint8_t *to)
{
        static const struct field fields[] = {
                OF(struct setup_header, setup_sects),  OF(struct setup_header, syssize),
                OF(struct setup_header, boot_flag),    OF(struct setup_header, jump),
                OF(struct setup_header, header),       OF(struct setup_header, version),
                OF(struct setup_header, code32_start), OF(struct setup_header, initrd_addr_max),
                OF(struct setup_header, xloadflags),   OF(struct setup_header, cmdline_size),
                OF(struct setup_header, pref_address), OF(struct setup_header, init_size)};
        struct setup_header header = {
                .setup_sects = 1,
                .syssize = 4096 / 16,
                .boot_flag = 0xaa55,
                .jump = 0x6aeb,
                .header = 0x53726448,
                .version = 0x20f,
                .code32_start = 0x100000,
                .initrd_addr_max = 0x7fffffff,
                .xloadflags = XLF_KERNEL_64,
                .cmdline_size = 2047,
                .pref_address = 0x100000,
                .init_size = 0x8000,
        };

        write_over(input, (uint8_t *)&header, fields, ARRAY_SIZE(fields), 5);
        memset(to, 0xee, 1024 + 4096);
        memcpy(to + 0x1f1, &header, sizeof(header));
        return 1024 + 4096;
}

static size_t make_raw(struct input *input, uint8_t *to)
{
        static const char *const magic[] = {"\x1f\x8b", "\x28\xb5\x2f\xfd", "BZh", "ELF\2\1", ""};
        size_t at = strlen(strcpy((char *)to, magic[take_choice(input, ARRAY_SIZE(magic))]));

        return at + take(input, to + at, FILE_MOST - at);
}

static void put_file(int fd, const uint8_t *data, size_t size)
{
        need(ftruncate(fd, 0) == 0);
        need(pwrite(fd, data, size, 0) == (ssize_t)size);
}

static void check(const struct loader *loader, int r, const struct x86_entry *entry)
{
        if (r < 0) {
                need(loader->why[0] != '\0' && !strchr(loader->why, '\n'));
                return;
        }
        need(loader_memory_at(loader, entry->rip, 1) && loader_memory_at(loader, entry->rsp - 1, 1));
        need(entry->mode == X86_ENTRY_PROTECTED || entry->cr3 == BOOT_TABLES);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        static size_t (*const kinds[])(struct input * input, uint8_t * to) = {make_elf, make_bzimage, make_raw};
        static uint8_t file[FILE_MOST];
        struct input input = {data, size};
        char why[256] = "", *cmdline;
        struct x86_entry entry;
        uint64_t initrd;

        begin();
        cmdline = calloc(1, 1 << 17);
        need(cmdline);

        struct boot_image image = {.kernel_fd = world.kernel_fd, .initrd_fd = -1, .cmdline = cmdline};
        struct loader loader = {.image = &image, .why = why, .why_size = sizeof(why)};

        make_memory(&input, &loader);
        image.cpus = (unsigned)take_number(&input) % 70;
        image.mmio64 = (struct oriel_range){take_number(&input), take_number(&input)};
        memset(cmdline, 'x', take_number(&input) % (1 << 17));
        initrd = take_number(&input) % (9 << 20);
        if (initrd > 0) {
                image.initrd_fd = take_byte(&input) % 16 == 1 ? world.folder_fd : world.initrd_fd;
                need(ftruncate(world.initrd_fd, (off_t)initrd) == 0);
        }
        size = kinds[take_choice(&input, ARRAY_SIZE(kinds))](&input, file);
        /* A file may end anywhere. */
        if (take_byte(&input) & 1)
                size -= take_number(&input) % (size + 1);
        put_file(world.kernel_fd, file, size);
        if (take_byte(&input) % 32 == 1)
                image.kernel_fd = take_byte(&input) & 1 ? world.folder_fd : -1;
        check(&loader, x86_load(&loader, &entry), &entry);
        free(cmdline);
        return 0;
}
