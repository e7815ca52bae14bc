/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_BOOT_BOOT_H
#define VMM_BOOT_BOOT_H

#include "vmm/kvm/kvm.h"

#include <oriel/range.h>
#include <stddef.h>

/* A kernel and what it wants to find in guest memory: its command line, an initial file system, what describes the
 * machine. */
struct boot_image {
        int kernel_fd;       /* of a format that arch_kernels names */
        int initrd_fd;       /* -1: none */
        const char *cmdline; /* "": none */
        unsigned cpus;
        struct oriel_range mmio64; /* 64-bit PCI memory, for the host bridge's resources */
};

/* Fill guest memory, which is all zeros, and set vcpu 0 up to begin. Both files are read with pread(), so that a reset
 * can do it again; they stay the caller's. Nothing in the files is trusted. On failure @why is one line without the
 * file's name: what is wrong and what to do. -ENOEXEC: not a kernel that can be started this way. -ENOMEM: guest memory
 * is too small for it. -E2BIG: the command line or the initrd is larger than this kernel takes. Else an errno of
 * reading. */
int boot_load(struct kvm *kvm, const struct boot_image *image, char *why, size_t why_size);

#endif
