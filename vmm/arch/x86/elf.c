/* SPDX-License-Identifier: BSD-2-Clause */

/* Loads an ELF kernel of 64 or 32 bits: by its PVH note into protected mode, or by this project's own note straight
 * into user mode (the guest/ program). The headers of 32 bits are widened when they are read. The file is untrusted:
 * every offset is checked against the file, every segment against guest memory and against the others, before a byte is
 * placed. Order of elf_load(): headers, notes, entry, check of all segments, loading, start information, entry
 * registers. Each error is one line for the user by loader_fail(). */

#include "vmm/arch/x86/load.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include <xen/arch-x86/hvm/start_info.h>
#include <xen/elfnote.h>

enum {
        MOST_SEGMENTS = 64,
        MOST_NOTES = 1 << 20, /* bytes */
        NOTE_NAME_SIZE = 8,   /* no name that is looked for is longer */
};

/* Linux takes so much of a command line (COMMAND_LINE_SIZE, less one): PVH has no field that says so, and Linux cuts
 * off the rest without a word. */
#define LINUX_CMDLINE 2047

/* Where PVH's initrd ends: Linux wants it where its first page tables reach. */
#define INITRD_CEILING (UINT64_C(1) << 31)

struct elf {
        struct loader *loader;
        uint64_t file_size;
        Elf64_Ehdr header;
        Elf64_Phdr segments[MOST_SEGMENTS];
        bool has_pvh, has_user;
        uint64_t pvh, user; /* entries */
        uint64_t end;       /* of what is loaded below 4 GiB */
};

/* An empty range passes wherever it says that it is. */
static int check_in_file(struct elf *elf, struct oriel_range range)
{
        if (range.size == 0 || range_within(range, elf->file_size))
                return 0;
        return loader_fail(elf->loader, -ENOEXEC, "the kernel is truncated: its file has %llu bytes",
                           (unsigned long long)elf->file_size);
}

static int read_kernel(struct elf *elf, struct oriel_range range, void *out)
{
        int r = check_in_file(elf, range);

        return r < 0 || range.size == 0 ? r
                                        : loader_read(elf->loader, elf->loader->image->kernel_fd, "kernel", range, out);
}

/* Behind what is in the file, memory is zero already. */
static int place_kernel(struct elf *elf, struct oriel_range range, uint64_t address)
{
        int r = check_in_file(elf, range);

        return r < 0 || range.size == 0
                       ? r
                       : loader_place(elf->loader, elf->loader->image->kernel_fd, "kernel", range, address);
}

static bool is_narrow(const struct elf *elf)
{
        return elf->header.e_ident[EI_CLASS] == ELFCLASS32;
}

static size_t segment_size(const struct elf *elf)
{
        return is_narrow(elf) ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr);
}

static int check_header(struct elf *elf)
{
        const unsigned char *ident = elf->header.e_ident;

        if ((ident[EI_CLASS] != ELFCLASS64 && ident[EI_CLASS] != ELFCLASS32) || ident[EI_DATA] != ELFDATA2LSB ||
            (elf->header.e_machine != EM_X86_64 && (ident[EI_CLASS] != ELFCLASS32 || elf->header.e_machine != EM_386)))
                return loader_fail(elf->loader, -ENOEXEC,
                                   "is for another architecture (ELF machine %u): an x86 kernel is needed",
                                   elf->header.e_machine);
        if ((elf->header.e_type != ET_EXEC && elf->header.e_type != ET_DYN) || elf->header.e_phnum == 0)
                return loader_fail(elf->loader, -ENOEXEC, "is an ELF file, but not an executable one");
        if (elf->header.e_phentsize != segment_size(elf) || elf->header.e_phnum > MOST_SEGMENTS)
                return loader_fail(elf->loader, -ENOEXEC,
                                   "is an ELF file with %u program headers of %u bytes: up to %u of %zu are known",
                                   elf->header.e_phnum, elf->header.e_phentsize, MOST_SEGMENTS, segment_size(elf));
        return 0;
}

static int read_header(struct elf *elf)
{
        Elf32_Ehdr narrow;
        int r = read_kernel(elf, (struct oriel_range){0, sizeof(narrow)}, &narrow);

        if (r < 0)
                return r;
        if (narrow.e_ident[EI_CLASS] != ELFCLASS32)
                return read_kernel(elf, (struct oriel_range){0, sizeof(elf->header)}, &elf->header);
        elf->header = (Elf64_Ehdr){
                .e_type = narrow.e_type,
                .e_machine = narrow.e_machine,
                .e_phoff = narrow.e_phoff,
                .e_phentsize = narrow.e_phentsize,
                .e_phnum = narrow.e_phnum,
        };
        memcpy(elf->header.e_ident, narrow.e_ident, sizeof(narrow.e_ident));
        return 0;
}

static int read_segments(struct elf *elf)
{
        const struct oriel_range range = {elf->header.e_phoff, elf->header.e_phnum * segment_size(elf)};
        Elf32_Phdr narrow[MOST_SEGMENTS];

        if (!is_narrow(elf))
                return read_kernel(elf, range, elf->segments);

        int r = read_kernel(elf, range, narrow);

        for (unsigned i = 0; r == 0 && i < elf->header.e_phnum; i++)
                elf->segments[i] = (Elf64_Phdr){
                        .p_type = narrow[i].p_type,
                        .p_offset = narrow[i].p_offset,
                        .p_paddr = narrow[i].p_paddr,
                        .p_filesz = narrow[i].p_filesz,
                        .p_memsz = narrow[i].p_memsz,
                        .p_align = narrow[i].p_align,
                };
        return r;
}

static int read_headers(struct elf *elf)
{
        int r = read_header(elf);

        if (r == 0)
                r = check_header(elf);
        return r == 0 ? read_segments(elf) : r;
}

static bool is_loaded(const Elf64_Phdr *segment)
{
        return segment->p_type == PT_LOAD && segment->p_memsz > 0;
}

static struct oriel_range place_of(const Elf64_Phdr *segment)
{
        return (struct oriel_range){segment->p_paddr, segment->p_memsz};
}

/* Every segment is in memory and in the file, and no two are in one place: so all of them together take no longer than
 * memory is large. */
static int check_segments(struct elf *elf)
{
        for (unsigned i = 0; i < elf->header.e_phnum; i++) {
                const Elf64_Phdr *segment = &elf->segments[i];

                if (!is_loaded(segment))
                        continue;
                if (segment->p_filesz > segment->p_memsz)
                        return loader_fail(elf->loader, -ENOEXEC, "has a segment with more in the file than in memory");

                int r = x86_check_range(elf->loader, place_of(segment));

                if (r < 0)
                        return r;
                for (unsigned j = 0; j < i; j++)
                        if (is_loaded(&elf->segments[j]) &&
                            range_overlaps(place_of(segment), place_of(&elf->segments[j])))
                                return loader_fail(elf->loader, -ENOEXEC, "has two segments in one place");
                if (segment->p_paddr < LAYOUT_LOW_MEMORY_END && range_last(place_of(segment)) >= elf->end)
                        elf->end = range_last(place_of(segment)) + 1;
        }
        return 0;
}

static int load_segments(struct elf *elf)
{
        for (unsigned i = 0; i < elf->header.e_phnum; i++) {
                const Elf64_Phdr *segment = &elf->segments[i];

                if (!is_loaded(segment))
                        continue;

                struct oriel_range range = {segment->p_offset, segment->p_filesz};
                int r = place_kernel(elf, range, segment->p_paddr);

                if (r < 0)
                        return r;
        }
        return 0;
}

static void elf_take_note(struct elf *elf, const Elf64_Nhdr *note, const uint8_t *name, const uint8_t *descriptor)
{
        static const char ours[] = BOOT_NOTE_NAME, xen[] = "Xen";
        uint64_t value = 0;

        if (note->n_descsz != 4 && note->n_descsz != 8)
                return;
        memcpy(&value, descriptor, note->n_descsz);
        if (note->n_namesz == sizeof(ours) && memcmp(name, ours, sizeof(ours)) == 0 &&
            note->n_type == BOOT_NOTE_USER_ENTRY) {
                elf->has_user = true;
                elf->user = value;
        }
        if (note->n_namesz == sizeof(xen) && memcmp(name, xen, sizeof(xen)) == 0 &&
            note->n_type == XEN_ELFNOTE_PHYS32_ENTRY) {
                elf->has_pvh = true;
                elf->pvh = value;
        }
}

/* The notes in @data, up to the first that does not add up. Each is a header, a name and a descriptor, each of the two
 * padded to @align. */
static void scan_notes(struct elf *elf, const uint8_t *data, uint64_t size, uint64_t align)
{
        uint64_t at = 0;

        while (range_within((struct oriel_range){at, sizeof(Elf64_Nhdr)}, size)) {
                uint64_t name = at + sizeof(Elf64_Nhdr), descriptor, end;
                Elf64_Nhdr note;

                memcpy(&note, data + at, sizeof(note));
                if (!checked_add(name, note.n_namesz, &descriptor) ||
                    !checked_round_up(descriptor, align, &descriptor) ||
                    !checked_add(descriptor, note.n_descsz, &end) || end > size)
                        return;
                elf_take_note(elf, &note, data + name, data + descriptor);
                if (!checked_round_up(end, align, &at))
                        return;
        }
}

static int find_notes(struct elf *elf)
{
        for (unsigned i = 0; i < elf->header.e_phnum; i++) {
                const Elf64_Phdr *segment = &elf->segments[i];
                const struct oriel_range range = {segment->p_offset, segment->p_filesz};

                if (segment->p_type != PT_NOTE)
                        continue;
                if (range.size > MOST_NOTES)
                        return loader_fail(elf->loader, -ENOEXEC, "has more than %u bytes of notes", MOST_NOTES);

                /* Never empty, so that there is always something to free. */
                _cleanup_(freep) uint8_t *data = malloc(range.size + 1);

                if (!data)
                        return loader_fail(elf->loader, -ENOMEM, "no memory to read its notes");

                int r = read_kernel(elf, range, data);

                if (r < 0)
                        return r;
                scan_notes(elf, data, range.size, segment->p_align == 8 ? 8 : 4);
        }
        return 0;
}

static bool is_in_segment(const struct elf *elf, uint64_t address)
{
        for (unsigned i = 0; i < elf->header.e_phnum; i++)
                if (is_loaded(&elf->segments[i]) &&
                    range_contains(place_of(&elf->segments[i]), (struct oriel_range){address, 1}))
                        return address < UINT64_C(1) << 32;
        return false;
}

/* As it lies in guest memory. */
struct start_page {
        struct hvm_start_info info;
        struct hvm_modlist_entry module;
        struct hvm_memmap_table_entry map[BOOT_MAP_MOST];
};
_Static_assert(sizeof(struct start_page) <= 4096, "BOOT_INFO is a page");

static int put_start_info(struct elf *elf)
{
        struct boot_map_entry map[BOOT_MAP_MOST];
        struct start_page page = {
                .info =
                        {
                                .magic = XEN_HVM_START_MAGIC_VALUE,
                                .version = 1,
                                .cmdline_paddr = BOOT_CMDLINE,
                                .rsdp_paddr = elf->loader->description,
                                .memmap_paddr = BOOT_INFO + offsetof(struct start_page, map),
                                .memmap_entries = x86_memory_map(elf->loader, map),
                        },
        };
        struct oriel_range initrd = {0};
        void *to = loader_memory_at(elf->loader, BOOT_INFO, sizeof(page));
        int r = loader_put_cmdline(elf->loader, (struct oriel_range){BOOT_CMDLINE, BOOT_CMDLINE_SIZE},
                                   elf->has_user ? UINT64_MAX : LINUX_CMDLINE);

        if (r == 0)
                r = loader_put_initrd(elf->loader, elf->end, INITRD_CEILING, &initrd);
        if (r < 0)
                return r;
        for (unsigned i = 0; i < page.info.memmap_entries; i++)
                page.map[i] = (struct hvm_memmap_table_entry){
                        .addr = map[i].range.start,
                        .size = map[i].range.size,
                        .type = map[i].type,
                };
        if (initrd.size > 0) {
                page.info.nr_modules = 1;
                page.info.modlist_paddr = BOOT_INFO + offsetof(struct start_page, module);
                page.module = (struct hvm_modlist_entry){.paddr = initrd.start, .size = initrd.size};
        }
        memcpy(to, &page, sizeof(page));
        return 0;
}

static void set_entry(struct elf *elf, struct x86_entry *entry)
{
        *entry = (struct x86_entry){.rip = elf->has_user ? elf->user : elf->pvh, .rsp = BOOT_STACK_END};
        if (elf->has_user) {
                entry->mode = X86_ENTRY_USER;
                entry->rsi = BOOT_INFO;
                entry->cr3 = x86_put_tables(elf->loader, true, elf->loader->image->mmio64);
        } else {
                entry->mode = X86_ENTRY_PROTECTED;
                entry->rbx = BOOT_INFO;
        }
}

int elf_load(struct loader *loader, struct x86_entry *entry)
{
        struct elf elf = {.loader = loader, .end = BOOT_KERNEL};
        int r = loader_file_size(loader, loader->image->kernel_fd, "kernel", &elf.file_size);

        if (r == 0)
                r = read_headers(&elf);
        if (r == 0)
                r = find_notes(&elf);
        if (r < 0)
                return r;
        if (!elf.has_pvh && !elf.has_user)
                return loader_fail(loader, -ENOEXEC,
                                   "has no PVH entry: a vmlinux built with CONFIG_PVH or a bzImage is needed");
        if (!is_in_segment(&elf, elf.has_user ? elf.user : elf.pvh))
                return loader_fail(loader, -ENOEXEC, "has its entry at 0x%llx, where nothing is loaded",
                                   (unsigned long long)(elf.has_user ? elf.user : elf.pvh));
        r = check_segments(&elf);
        if (r == 0)
                r = load_segments(&elf);
        if (r == 0)
                r = put_start_info(&elf);
        if (r < 0)
                return r;
        set_entry(&elf, entry);
        return 0;
}
