/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/boot/loader.h"
#include "vmm/arch/x86/acpi.h"

#include "base/range.h"

#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

int loader_fail(struct loader *loader, int error, const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(loader->why, loader->why_size, format, args);
        va_end(args);
        return error;
}

void *loader_memory_at(const struct loader *loader, uint64_t address, uint64_t size)
{
        const struct oriel_range wanted = {address, size};

        for (unsigned i = 0; i < loader->parts; i++) {
                const struct oriel_memory_region *part = &loader->memory[i];

                if (range_contains((struct oriel_range){part->guest_address, part->size}, wanted))
                        return (uint8_t *)(uintptr_t)part->user_address + (address - part->guest_address);
        }
        return NULL;
}

uint64_t loader_low_end(const struct loader *loader)
{
        return loader->parts > 0 ? loader->memory[0].size : 0;
}

int loader_check_range(struct loader *loader, struct oriel_range range)
{
        unsigned long long start = range.start;

        if (!range_valid(range) || range.start < BOOT_KERNEL)
                return loader_fail(loader, -ENOEXEC,
                                   "wants to be at 0x%llx: a kernel must be between 1 MiB and the end of memory",
                                   start);
        if (loader_memory_at(loader, range.start, range.size))
                return 0;
        if (range_last(range) >= KVM_LOW_MEMORY_END)
                return loader_fail(loader, -ENOEXEC,
                                   "wants to be at 0x%llx (0x%llx bytes), where this machine has no memory", start,
                                   (unsigned long long)range.size);
        return loader_fail(loader, -ENOMEM, "needs at least %llu MiB of memory, and the guest has %llu MiB",
                           (unsigned long long)(range_last(range) >> 20) + 1,
                           (unsigned long long)(loader_low_end(loader) >> 20));
}

int loader_file_size(struct loader *loader, int fd, const char *what, uint64_t *size)
{
        struct stat st;

        if (fstat(fd, &st) < 0) {
                int error = errno;

                return loader_fail(loader, -error, "can't read the %s: %s", what, strerror(error));
        }
        if (!S_ISREG(st.st_mode) || st.st_size < 0)
                return loader_fail(loader, -ENOEXEC, "the %s is not a regular file", what);
        *size = (uint64_t)st.st_size;
        return 0;
}

int loader_read(struct loader *loader, int fd, const char *what, struct oriel_range range, void *out)
{
        uint64_t end, done = 0;

        if (!checked_add(range.start, range.size, &end) || end > INT64_MAX)
                return loader_fail(loader, -ENOEXEC, "the %s is truncated", what);
        while (done < range.size) {
                ssize_t n = pread(fd, (uint8_t *)out + done, range.size - done, (off_t)(range.start + done));
                int error = errno;

                if (n < 0 && error == EINTR)
                        continue;
                if (n < 0)
                        return loader_fail(loader, -error, "can't read the %s: %s", what, strerror(error));
                if (n == 0)
                        return loader_fail(loader, -ENOEXEC, "the %s is truncated: %llu bytes at 0x%llx are missing",
                                           what, (unsigned long long)(range.size - done),
                                           (unsigned long long)(range.start + done));
                done += (uint64_t)n;
        }
        return 0;
}

/* From file to file, where the kernel can: that makes memory that nobody has touched yet, without clearing it first and
 * without a page fault for each page of it. How many bytes that were. */
static uint64_t send(const struct loader *loader, int fd, struct oriel_range range, uint64_t address)
{
        const struct oriel_memory_region *part = &loader->memory[address >= KVM_HIGH_MEMORY];
        off_t from = (off_t)range.start, to = (off_t)(part->mmap_offset + (address - part->guest_address));
        uint64_t done = 0;
        ssize_t n = 1;

        if (loader->memory_fd < 0 || lseek(loader->memory_fd, to, SEEK_SET) < 0)
                return 0;
        for (; done < range.size && n > 0; done += n > 0 ? (uint64_t)n : 0)
                n = sendfile(loader->memory_fd, fd, &from, range.size - done);
        return done;
}

int loader_place(struct loader *loader, int fd, const char *what, struct oriel_range range, uint64_t address)
{
        uint64_t end, done;

        if (!checked_add(range.start, range.size, &end) || end > INT64_MAX)
                return loader_fail(loader, -ENOEXEC, "the %s is truncated", what);
        done = send(loader, fd, range, address);
        range.start += done;
        range.size -= done;
        return loader_read(loader, fd, what, range, (uint8_t *)loader_memory_at(loader, address, 1) + done);
}

/* What people try instead of a kernel. */
static const char *what_else(const uint8_t *head, uint64_t size)
{
        static const struct {
                unsigned at, size;
                const char *magic, *why;
        } known[] = {
                {0, 2, "\x1f\x8b", "is compressed with gzip: unpack it, or use a bzImage"},
                {0, 4, "\x28\xb5\x2f\xfd", "is compressed with zstd: unpack it, or use a bzImage"},
                {0, 6, "\xfd\x37zXZ", "is compressed with xz: unpack it, or use a bzImage"},
                {0, 3, "BZh", "is compressed with bzip2: unpack it, or use a bzImage"},
                {0, 4, "\x02\x21\x4c\x18", "is compressed with lz4: unpack it, or use a bzImage"},
                {0x38, 4, "ARM\x64", "is a kernel for another architecture (arm64): an x86-64 one is needed"},
                {0x38, 4, "RSC\x05", "is a kernel for another architecture (RISC-V): an x86-64 one is needed"},
        };

        for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
                if (size >= known[i].at + known[i].size &&
                    memcmp(head + known[i].at, known[i].magic, known[i].size) == 0)
                        return known[i].why;
        return "is not a kernel: a bzImage, or a vmlinux built with CONFIG_PVH, is needed";
}

static int load_kernel(struct loader *loader, struct kvm_entry *entry)
{
        struct oriel_range whole = {0};
        uint8_t head[1024] = {0};
        int r = loader_file_size(loader, loader->image->kernel_fd, "kernel", &whole.size);

        if (r < 0)
                return r;
        if (whole.size > sizeof(head))
                whole.size = sizeof(head);
        r = loader_read(loader, loader->image->kernel_fd, "kernel", whole, head);
        if (r < 0)
                return r;
        if (whole.size >= SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0)
                return elf_load(loader, entry);
        if (bzimage_matches(head, whole.size))
                return bzimage_load(loader, entry);
        return loader_fail(loader, -ENOEXEC, "%s", what_else(head, whole.size));
}

int loader_load(struct loader *loader, struct kvm_entry *entry)
{
        const struct acpi_machine machine = {.cpus = loader->image->cpus, .mmio64 = loader->image->mmio64};
        void *tables = loader_memory_at(loader, BOOT_ACPI, BOOT_ACPI_SIZE);

        *entry = (struct kvm_entry){0};
        if (!tables)
                return loader_fail(loader, -ENOMEM, "the guest needs at least 1 MiB of memory");

        int r = acpi_build(&machine, tables, BOOT_ACPI_SIZE, BOOT_ACPI, &loader->rsdp);

        if (r < 0)
                return loader_fail(loader, r, "can't describe a machine of %u CPUs: %s", machine.cpus, strerror(-r));
        return load_kernel(loader, entry);
}

int boot_load(struct kvm *kvm, const struct boot_image *image, struct kvm_entry *entry, char *why, size_t why_size)
{
        struct loader loader = {.memory_fd = kvm_memory_fd(kvm), .image = image, .why = why, .why_size = why_size};

        loader.parts = kvm_memory_regions(kvm, loader.memory);
        return loader_load(&loader, entry);
}
