/* SPDX-License-Identifier: BSD-2-Clause */

/* Which format a kernel has, and what all of them need: ACPI's tables first. */

#include "vmm/arch/x86/load.h"

#include "vmm/arch/x86/acpi.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

const char arch_kernels[] = "an ELF with a PVH entry (vmlinux), or a Linux bzImage";

/* Names other files that users give instead of a kernel, for the error message. */
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

static int load_kernel(struct loader *loader, struct x86_entry *entry)
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

int x86_load(struct loader *loader, struct x86_entry *entry)
{
        const struct acpi_machine machine = {.cpus = loader->image->cpus, .mmio64 = loader->image->mmio64};
        void *tables = loader_memory_at(loader, BOOT_ACPI, BOOT_ACPI_SIZE);

        *entry = (struct x86_entry){0};
        if (!tables)
                return loader_fail(loader, -ENOMEM, "the guest needs at least 1 MiB of memory");

        int r = acpi_build(&machine, tables, BOOT_ACPI_SIZE, BOOT_ACPI, &loader->description);

        if (r < 0)
                return loader_fail(loader, r, "can't describe a machine of %u CPUs: %s", machine.cpus, strerror(-r));
        return load_kernel(loader, entry);
}

int arch_load(struct kvm *kvm, struct loader *loader)
{
        struct x86_entry entry;
        int r = x86_load(loader, &entry);

        if (r < 0)
                return r;
        r = x86_set_entry(kvm, &entry);
        return r < 0 ? loader_fail(loader, r, "vcpu 0 can't be set up: %s", strerror(-r)) : 0;
}
