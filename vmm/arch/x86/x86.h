/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_ARCH_X86_X86_H
#define VMM_ARCH_X86_X86_H

#include "vmm/arch/arch.h"

/* Declarations that the files and tests of this folder share. */

enum { X86_SPACE_PORTS = ARCH_SPACE_OTHER };

/* How vcpu 0 begins; the others wait for it. Before kvm_start(). */
struct x86_entry {
        uint64_t rip, rsp, rbx, rsi, cr3;
        enum {
                X86_ENTRY_PROTECTED, /* 32 bits, no paging: PVH */
                X86_ENTRY_LONG,      /* 64 bits, @cr3 */
                X86_ENTRY_USER,      /* 64 bits, @cr3, privilege level 3 with IOPL 3: for tests */
        } mode;
};
int x86_set_entry(struct kvm *kvm, const struct x86_entry *entry);

/* arch_load() but for the vcpu, on memory that need not be a virtual machine's. */
int x86_load(struct loader *loader, struct x86_entry *entry);

/* How many bits a guest physical address has. */
unsigned x86_address_bits(const struct kvm *kvm);

#endif
