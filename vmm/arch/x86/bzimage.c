/* SPDX-License-Identifier: BSD-2-Clause */

/* Linux's own format, bzImage, by its 64-bit boot protocol (Documentation/arch/x86/boot.rst). The setup header says
 * where the compressed kernel is in the file and where it wants to be in memory; bzimage_load() puts it there with its
 * initrd, command line and boot_params, and leaves the vcpu at the 64-bit entry. Every field of the header is checked
 * before use: the file is the user's, but it may be damaged. */

#include "vmm/arch/x86/load.h"

#include "base/range.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>

enum {
        HEADER = 0x1f1,      /* in the file and in boot_params */
        HEADER_JUMP = 0x202, /* what the header's jump counts from */
        MAGIC = 0x53726448,  /* "HdrS" */
        BOOT_FLAG = 0xaa55,  /* a boot sector's */
        VERSION_64 = 0x020c, /* the first with xloadflags */
        SECTOR = 512,
        ENTRY_64 = 0x200, /* from the beginning of the protected-mode part */
        LOADER_UNKNOWN = 0xff,
        VIDEO_NORMAL = 0xffff,
};

struct bzimage {
        struct loader *loader;
        struct setup_header header;
        struct oriel_range payload; /* of the file: what runs */
        struct oriel_range place;   /* in guest memory: what runs, and what it needs until it has memory of its own */
};

_Static_assert(offsetof(struct boot_params, hdr) == HEADER, "the header is where it is in the file");
_Static_assert(sizeof(struct boot_params) == 4096, "BOOT_INFO is a page");

static bool has_magic(const struct setup_header *header)
{
        return header->boot_flag == BOOT_FLAG && header->header == MAGIC;
}

bool bzimage_matches(const void *head, uint64_t size)
{
        struct setup_header header;

        if (size < HEADER + sizeof(header))
                return false;
        memcpy(&header, (const uint8_t *)head + HEADER, sizeof(header));
        return has_magic(&header);
}

/* A newer kernel's header may be longer than what is known here, an older one's shorter. */
static int read_header(struct bzimage *image)
{
        const struct oriel_range range = {HEADER, sizeof(image->header)};
        struct setup_header *header = &image->header;
        int r = loader_read(image->loader, image->loader->image->kernel_fd, "kernel", range, header);

        if (r < 0)
                return r;
        if (!has_magic(header))
                return loader_fail(image->loader, -ENOEXEC, "is not a kernel: it has changed while it was read");

        size_t end = HEADER_JUMP + (size_t)(header->jump >> 8);

        if (end < HEADER + sizeof(*header))
                memset((uint8_t *)header + (end - HEADER), 0, HEADER + sizeof(*header) - end);
        if (header->version < VERSION_64)
                return loader_fail(image->loader, -ENOEXEC,
                                   "is a Linux kernel of boot protocol %u.%u: 2.12 (Linux 3.8) or newer is needed",
                                   header->version >> 8, header->version & 0xffu);
        if (!(header->xloadflags & XLF_KERNEL_64))
                return loader_fail(image->loader, -ENOEXEC, "is a 32-bit kernel: an x86-64 one is needed");
        return 0;
}

static int find_payload(struct bzimage *image)
{
        const struct setup_header *header = &image->header;
        uint64_t sectors = header->setup_sects ? header->setup_sects : 4;
        /* Of a byte and of 32 bits: no overflow. */
        uint64_t begin = (sectors + 1) * SECTOR, size = (uint64_t)header->syssize * 16, end = begin + size, file_size;
        int r = loader_file_size(image->loader, image->loader->image->kernel_fd, "kernel", &file_size);

        if (r < 0)
                return r;
        if (end > file_size)
                return loader_fail(image->loader, -ENOEXEC,
                                   "the kernel is truncated: its file has %" PRIu64 " bytes, and should have %" PRIu64,
                                   file_size, end);
        image->payload = (struct oriel_range){begin, size};
        if (image->payload.size <= ENTRY_64)
                return loader_fail(image->loader, -ENOEXEC, "is a Linux kernel without anything in it");
        return 0;
}

static int load_payload(struct bzimage *image)
{
        const struct setup_header *header = &image->header;

        image->place.start = header->pref_address ? header->pref_address : header->code32_start;
        image->place.size = header->init_size > image->payload.size ? header->init_size : image->payload.size;

        int r = x86_check_range(image->loader, image->place);

        if (r < 0)
                return r;
        if (image->place.start >= LAYOUT_LOW_MEMORY_END)
                return loader_fail(image->loader, -ENOEXEC, "wants to be above 4 GiB, where it can't begin");
        return loader_place(image->loader, image->loader->image->kernel_fd, "kernel", image->payload,
                            image->place.start);
}

static void put_boot_params(struct bzimage *image, struct oriel_range initrd)
{
        struct boot_params params = {.acpi_rsdp_addr = image->loader->description, .hdr = image->header};
        struct boot_map_entry map[BOOT_MAP_MOST];
        unsigned n = x86_memory_map(image->loader, map);

        params.hdr.type_of_loader = LOADER_UNKNOWN;
        params.hdr.loadflags = (uint8_t)((params.hdr.loadflags | LOADED_HIGH) & ~CAN_USE_HEAP);
        params.hdr.vid_mode = VIDEO_NORMAL;
        params.hdr.code32_start = (uint32_t)image->place.start;
        params.hdr.cmd_line_ptr = BOOT_CMDLINE;
        params.hdr.ramdisk_image = (uint32_t)initrd.start;
        params.hdr.ramdisk_size = (uint32_t)initrd.size;
        params.hdr.setup_data = 0;
        params.e820_entries = (uint8_t)n;
        for (unsigned i = 0; i < n; i++)
                params.e820_table[i] = (struct boot_e820_entry){
                        .addr = map[i].range.start,
                        .size = map[i].range.size,
                        .type = map[i].type,
                };
        memcpy(loader_memory_at(image->loader, BOOT_INFO, sizeof(params)), &params, sizeof(params));
}

static uint64_t initrd_ceiling(const struct setup_header *header)
{
        uint64_t ceiling = (uint64_t)header->initrd_addr_max + 1;

        return ceiling < LAYOUT_LOW_MEMORY_END ? ceiling : LAYOUT_LOW_MEMORY_END;
}

int bzimage_load(struct loader *loader, struct x86_entry *entry)
{
        struct bzimage image = {.loader = loader};
        struct oriel_range initrd = {0};
        int r = read_header(&image);

        if (r == 0)
                r = find_payload(&image);
        if (r == 0)
                r = load_payload(&image);
        if (r == 0)
                r = loader_put_cmdline(loader, (struct oriel_range){BOOT_CMDLINE, BOOT_CMDLINE_SIZE},
                                       image.header.cmdline_size);
        if (r == 0)
                r = loader_put_initrd(loader, range_last(image.place) + 1, initrd_ceiling(&image.header), &initrd);
        if (r < 0)
                return r;
        put_boot_params(&image, initrd);
        *entry = (struct x86_entry){
                .rip = image.place.start + ENTRY_64,
                .rsp = BOOT_STACK_END,
                .rsi = BOOT_INFO,
                .cr3 = x86_put_tables(loader, false, (struct oriel_range){0}),
                .mode = X86_ENTRY_LONG,
        };
        return 0;
}
