/* SPDX-License-Identifier: BSD-2-Clause */

/* The identity of a vcpu: what CPUID tells the guest, and the registers that firmware would have set. CPUID is all that
 * this host's KVM supports, but for the topology, which is made up: one package with a core of one thread for each
 * vcpu, since the host's cores are not the guest's. arch_create_vcpu() runs once for each vcpu, before it runs. */

#include "base/cleanup.h"
#include "vmm/arch/x86/x86.h"
#include "vmm/kvm/machine.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#define MAX_CPUID 256

/* Bits that count to @n values. */
static uint32_t bits_for(unsigned n)
{
        uint32_t bits = 0;

        while (1u << bits < n)
                bits++;
        return bits;
}

/* One package, of which each vcpu is a core of one thread: what the host says of its own cores is not the guest's. */
static void describe_topology(struct kvm_cpuid_entry2 *entry, unsigned index, unsigned cpus)
{
        switch (entry->function) {
        case 1:
                entry->ebx = (entry->ebx & 0xffff) | cpus << 16 | index << 24;
                entry->edx = cpus > 1 ? entry->edx | 1u << 28 : entry->edx & ~(1u << 28);
                break;
        case 4:
                entry->eax = (entry->eax & 0x3fff) | (cpus - 1) << 26;
                break;
        case 0xb:
        case 0x1f:
                entry->eax = entry->index == 1 ? bits_for(cpus) : 0;
                entry->ebx = entry->index == 0 ? 1 : entry->index == 1 ? cpus : 0;
                entry->ecx = entry->index | (entry->index < 2 ? entry->index + 1 : 0) << 8;
                entry->edx = index;
                break;
        case 0x80000008:
                entry->ecx = cpus - 1;
                break;
        case 0x8000001e:
                entry->eax = entry->ebx = index;
                entry->ecx = 0;
                break;
        default:
                break;
        }
}

/* All that KVM can. @out is the caller's, also on failure. */
static int get_cpuid(const struct kvm *kvm, struct kvm_cpuid2 **out)
{
        struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + MAX_CPUID * sizeof(cpuid->entries[0]));

        if (!cpuid)
                return -ENOMEM;
        cpuid->nent = MAX_CPUID;
        *out = cpuid;
        return ioctl(kvm->system, KVM_GET_SUPPORTED_CPUID, cpuid) < 0 ? -errno : 0;
}

static int set_cpuid(struct vcpu *vcpu)
{
        _cleanup_(freep) struct kvm_cpuid2 *cpuid = NULL;
        int r = get_cpuid(vcpu->kvm, &cpuid);

        if (r < 0 || !cpuid)
                return r;
        for (unsigned i = 0; i < cpuid->nent; i++) {
                struct kvm_cpuid_entry2 *entry = &cpuid->entries[i];

                describe_topology(entry, vcpu->index, vcpu->kvm->wanted_cpus);
                if (entry->function == 1) {
                        entry->ecx |= 1u << 31; /* there is a hypervisor */
                        if (ioctl(vcpu->kvm->system, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0)
                                entry->ecx |= 1u << 24;
                }
        }
        return ioctl(vcpu->fd, KVM_SET_CPUID2, cpuid) < 0 ? -errno : 0;
}

unsigned x86_address_bits(const struct kvm *kvm)
{
        _cleanup_(freep) struct kvm_cpuid2 *cpuid = NULL;

        if (get_cpuid(kvm, &cpuid) == 0 && cpuid)
                for (unsigned i = 0; i < cpuid->nent; i++)
                        if (cpuid->entries[i].function == 0x80000008)
                                return cpuid->entries[i].eax & 0xff;
        return 36;
}

/* As firmware leaves them: memory is cached unless the guest says otherwise. A KVM that has not got one of them does
 * without. */
static void set_msrs(struct vcpu *vcpu)
{
        static const struct kvm_msr_entry wanted[] = {
                {.index = 0x2ff, .data = 1 << 11 | 6}, /* MTRR default type: on, write-back */
                {.index = 0x1a0, .data = 1},           /* MISC_ENABLE: fast strings */
        };

        for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
                union {
                        struct kvm_msrs header;
                        uint8_t room[sizeof(struct kvm_msrs) + sizeof(wanted[i])];
                } msrs = {.header.nmsrs = 1};

                memcpy(msrs.header.entries, &wanted[i], sizeof(wanted[i]));
                ioctl(vcpu->fd, KVM_SET_MSRS, &msrs);
        }
}

int arch_create_vcpu(struct vcpu *vcpu)
{
        set_msrs(vcpu);
        return set_cpuid(vcpu);
}
