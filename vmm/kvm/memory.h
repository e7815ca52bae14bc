/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_KVM_MEMORY_H
#define VMM_KVM_MEMORY_H

#include "vmm/kvm/machine.h"

/* Guest memory. memory_close() also after a failure. */
int memory_open(struct kvm *kvm, uint64_t size);
void memory_close(struct kvm *kvm);
/* All zeros again. */
int memory_clear(struct kvm *kvm);
/* Its slots, of a new machine that has none. */
int memory_add_slots(struct kvm *kvm);

#endif
