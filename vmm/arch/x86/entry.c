/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/arch/x86/x86.h"
#include "vmm/kvm/machine.h"

#include <errno.h>
#include <sys/ioctl.h>

static struct kvm_segment entry_segment(uint16_t selector, uint8_t type, unsigned privilege, bool is_long)
{
        return (struct kvm_segment){
                .limit = 0xffffffff,
                .selector = (uint16_t)(selector | privilege),
                .type = type,
                .present = 1,
                .dpl = (uint8_t)privilege,
                .db = !is_long,
                .s = 1,
                .l = is_long,
                .g = 1,
        };
}

/* Intel's names: PE, ET, PG of CR0, PAE of CR4, LME and LMA of EFER. */
enum { CR0_PE = 1 << 0, CR0_ET = 1 << 4, EFER_LME = 1 << 8, EFER_LMA = 1 << 10, CR4_PAE = 1 << 5 };
#define CR0_PG (UINT64_C(1) << 31)
/* So that the guest may use SSE without asking. */
enum { CR4_OSFXSR = 1 << 9, CR4_OSXMMEXCPT = 1 << 10, CR0_MP = 1 << 1 };

int x86_set_entry(struct kvm *kvm, const struct x86_entry *entry)
{
        int fd = kvm->vcpus[0].fd;
        bool is_long = entry->mode != X86_ENTRY_PROTECTED, user = entry->mode == X86_ENTRY_USER;
        unsigned privilege = user ? 3 : 0;
        struct kvm_sregs sregs;
        struct kvm_regs regs = {
                .rip = entry->rip,
                .rsp = entry->rsp,
                .rbx = entry->rbx,
                .rsi = entry->rsi,
                .rflags = 2 | (user ? 3 << 12 : 0),
        };

        if (ioctl(fd, KVM_GET_SREGS, &sregs) < 0)
                return -errno;
        sregs.cs = entry_segment(0x08, 11, privilege, is_long);
        sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = entry_segment(0x10, 3, privilege, false);
        sregs.tr = (struct kvm_segment){.limit = 0x67, .selector = 0x18, .type = 11, .present = 1};
        sregs.cr0 = CR0_PE | CR0_ET;
        if (is_long) {
                sregs.cr0 |= CR0_PG | CR0_MP;
                sregs.cr3 = entry->cr3;
                sregs.cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT;
                sregs.efer = EFER_LME | EFER_LMA;
        }
        if (ioctl(fd, KVM_SET_SREGS, &sregs) < 0 || ioctl(fd, KVM_SET_REGS, &regs) < 0)
                return -errno;
        return 0;
}
