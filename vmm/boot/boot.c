/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/boot/boot.h"

#include "vmm/arch/arch.h"
#include "vmm/boot/loader.h"
#include "vmm/kvm/kvm.h"

int boot_load(struct kvm *kvm, const struct boot_image *image, char *why, size_t why_size)
{
        struct loader loader = {.memory_fd = kvm_memory_fd(kvm), .image = image, .why = why, .why_size = why_size};

        loader.parts = kvm_memory_regions(kvm, loader.memory);
        return arch_load(kvm, &loader);
}
