/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/arch/arch.h"
#include "vmm/arch/x86/instruction.h"
#include "vmm/kvm/machine.h"

#include <string.h>
#include <sys/ioctl.h>

#define GUEST_PAGE 4096

/* A linear address as the vcpu sees it now. */
static bool fault_translate(const struct vcpu *vcpu, uint64_t linear, uint64_t *physical)
{
        struct kvm_translation translation = {.linear_address = linear};

        if (ioctl(vcpu->fd, KVM_TRANSLATE, &translation) < 0 || !translation.valid)
                return false;
        *physical = translation.physical_address;
        return true;
}

static bool read_physical(const struct kvm *kvm, uint64_t physical, uint8_t *out, size_t size)
{
        const void *memory = kvm_memory_at(kvm, physical, size);

        if (memory)
                memcpy(out, memory, size);
        return memory || (kvm->exits.read && kvm->exits.read(kvm->userdata, physical, out, size));
}

/* Read the guest code at @linear, up to @size bytes. Returns how many there are. */
static size_t read_code(const struct vcpu *vcpu, uint64_t linear, uint8_t *code, size_t size)
{
        size_t n = 0;

        while (n < size) {
                size_t of_page = GUEST_PAGE - (linear + n) % GUEST_PAGE;
                size_t part = size - n < of_page ? size - n : of_page;
                uint64_t physical;

                if (!fault_translate(vcpu, linear + n, &physical) ||
                    !read_physical(vcpu->kvm, physical, code + n, part))
                        break;
                n += part;
        }
        return n;
}

void arch_get_fault(struct kvm *kvm, unsigned index, struct arch_fault *out)
{
        const struct vcpu *vcpu = &kvm->vcpus[index];
        struct kvm_regs regs = {0};
        struct kvm_sregs sregs = {0};
        uint8_t code[15];

        ioctl(vcpu->fd, KVM_GET_REGS, &regs);
        ioctl(vcpu->fd, KVM_GET_SREGS, &sregs);
        *out = (struct arch_fault){.pc = regs.rip};

        size_t n = read_code(vcpu, regs.rip, code, sizeof(code));
        struct instruction_operand operand = instruction_operand(code, n, &regs, sregs.fs.base, sregs.gs.base);

        out->found = operand.found && fault_translate(vcpu, operand.address, &out->address);
        if (!fault_translate(vcpu, regs.rsi, &out->source))
                out->source = 0;
}
