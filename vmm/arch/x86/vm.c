/* SPDX-License-Identifier: BSD-2-Clause */

/* The x86 part of KVM: the devices that it emulates itself, the pins of its interrupt controllers, port I/O and
 * triple faults among the exits, the end of a pause, and how it counts page faults. What is called for a vcpu runs on
 * that vcpu's thread. */

#include "vmm/arch/x86/x86.h"
#include "vmm/kvm/machine.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

enum { PINS = 24, OLD_PINS = 16 };

const unsigned arch_first_message = PINS;
_Static_assert(PINS - 1 + OLD_PINS <= ARCH_PIN_ROUTES, "");

const char arch_kvm_enable[] = "load kvm_intel or kvm_amd, and enable virtualization in the firmware";
const char arch_kvm_needed[] = "Linux 5.14 on x86-64";

const struct arch_fault_stat arch_fault_stats[ARCH_FAULT_STATS] = {
        {"pf_taken", 1}, {"pf_fixed", -1}, {"pf_spurious", -1}, {"pf_fast", -1}, {"pf_emulate", -1}};

/* Three pages for the processor's own use on Intel, and one before them, out of everybody's way. */
static const uint64_t tss_address = 0xfffbd000, identity_map_address = 0xfffbc000;

int arch_create_vm(struct kvm *kvm)
{
        const struct kvm_pit_config pit = {.flags = KVM_PIT_SPEAKER_DUMMY};
        uint64_t identity_map = identity_map_address;

        if (ioctl(kvm->fd, KVM_SET_TSS_ADDR, tss_address) < 0 ||
            ioctl(kvm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map) < 0 || ioctl(kvm->fd, KVM_CREATE_IRQCHIP, 0) < 0 ||
            ioctl(kvm->fd, KVM_CREATE_PIT2, &pit) < 0)
                return -errno;
        return 0;
}

static struct kvm_irq_routing_entry pin_entry(unsigned pin, unsigned chip, unsigned chip_pin)
{
        return (struct kvm_irq_routing_entry){
                .gsi = pin,
                .type = KVM_IRQ_ROUTING_IRQCHIP,
                .u.irqchip = {.irqchip = chip, .pin = chip_pin},
        };
}

/* The pins keep the routes that KVM gives them: the old controllers have 16 of them, and pin 0 of the new one is 2. */
unsigned arch_pin_routes(struct kvm_irq_routing_entry *entries)
{
        unsigned n = 0;

        for (unsigned pin = 0; pin < OLD_PINS; pin++)
                entries[n++] = pin_entry(pin, pin < 8 ? KVM_IRQCHIP_PIC_MASTER : KVM_IRQCHIP_PIC_SLAVE, pin % 8);
        for (unsigned pin = 0; pin < PINS; pin++)
                if (pin != 2)
                        entries[n++] = pin_entry(pin, KVM_IRQCHIP_IOAPIC, pin == 0 ? 2 : pin);
        return n;
}

static void do_port(struct vcpu *vcpu)
{
        struct kvm_run *run = vcpu->run;
        uint8_t *data = (uint8_t *)run + run->io.data_offset;
        bool write = run->io.direction == KVM_EXIT_IO_OUT;

        for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
                if (!write)
                        memset(data, 0xff, run->io.size);
                vcpu->kvm->exits.access(vcpu->kvm->userdata, X86_SPACE_PORTS, run->io.port, data, run->io.size, write);
        }
}

bool arch_exit(struct vcpu *vcpu, const char **crash)
{
        switch (vcpu->run->exit_reason) {
        case KVM_EXIT_IO:
                do_port(vcpu);
                return true;
        case KVM_EXIT_HLT:
                return true;
        case KVM_EXIT_SHUTDOWN:
                *crash = "the guest has crashed by a triple fault";
                return true;
        default:
                return false;
        }
}

void arch_resume(const struct vcpu *vcpu)
{
        /* The clock went on, which is what the guest wants of it. A guest that does not use it is an error. */
        ioctl(vcpu->fd, KVM_KVMCLOCK_CTRL, 0);
}

uint64_t arch_pc(const struct vcpu *vcpu)
{
        struct kvm_regs regs = {0};

        ioctl(vcpu->fd, KVM_GET_REGS, &regs);
        return regs.rip;
}
