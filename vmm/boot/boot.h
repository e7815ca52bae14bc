/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include "vmm/kvm/kvm.h"

#include <oriel/range.h>
#include <stddef.h>

/* A kernel and what it wants to find in guest memory: its command line, an initial file system, ACPI tables. */
struct boot_image {
        int kernel_fd; /* an ELF with a PVH entry (or Oriel's note, below), or a Linux bzImage with a 64-bit entry */
        int initrd_fd; /* -1: none */
        const char *cmdline; /* "": none */
        unsigned cpus;
        struct oriel_range mmio64; /* 64-bit PCI memory, for the host bridge's resources */
};

/* Fill guest memory, which is all zeros, and say how vcpu 0 begins. Both files are read with pread(), so that a reset
 * can do it again; they stay the caller's. Nothing in the files is trusted. On failure @why is one line without the
 * file's name: what is wrong and what to do. -ENOEXEC: not a kernel that can be started this way. -ENOMEM: guest memory
 * is too small for it. -E2BIG: the command line or the initrd is larger than this kernel takes. Else an errno of
 * reading. */
int boot_load(struct kvm *kvm, const struct boot_image *image, struct kvm_entry *entry, char *why, size_t why_size);

/* An ELF with this note starts in 64-bit mode at privilege level 3, in pages that show [0, 4 GiB) and the beginning of
 * mmio64 as they are, with the address of the PVH start info in rsi. For tests: where KVM interprets level 0, only such
 * a guest is fast. Descriptor: the entry, 8 bytes. */
#define BOOT_NOTE_NAME "Oriel"
enum { BOOT_NOTE_USER_ENTRY = 1 };

#endif
