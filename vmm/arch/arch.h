/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_ARCH_ARCH_H
#define VMM_ARCH_ARCH_H

#include <oriel/range.h>
#include <stdbool.h>
#include <stdint.h>

/* The interface of an architecture: a folder beside this file defines all that is declared here. vmm/meson.build takes
 * the folder of the host's architecture, as KVM runs guests of no other. The folder may use vmm/kvm, vmm/bus,
 * vmm/platform and vmm/boot; code outside of it includes this file and knows no register, no table and no fixed
 * address. Unless it says otherwise a function returns 0 or a negative errno. */

struct bus;
struct kvm;
struct kvm_irq_routing_entry;
struct loader;
struct pci_space;
struct vcpu;

/* ---- texts for users ---- */

extern const char arch_kernels[];    /* which formats of kernels arch_load() takes, as --help has it */
extern const char arch_kvm_enable[]; /* what to do where there is no KVM */
extern const char arch_kvm_needed[]; /* which kernels have all of KVM that is needed */

/* ---- memory, and where devices are ---- */

/* The parts that guest memory of @size bytes consists of, in the order of their addresses: how many. */
unsigned arch_memory(uint64_t size, struct oriel_range parts[static 2]);
/* Where PCI's configuration space and BARs are, clear of memory. */
void arch_pci_space(const struct kvm *kvm, struct pci_space *out);

/* Address spaces: memory, and one that only this architecture knows. Each is a bus of the machine. */
enum { ARCH_SPACE_MEMORY, ARCH_SPACE_OTHER, ARCH_SPACES };

/* ---- KVM ---- */

/* The interrupt controller, and whatever else KVM has to have before vcpus: of a new kvm->fd. */
int arch_create_vm(struct kvm *kvm);
/* Set CPUID or the like of a new vcpu->fd, and the registers that firmware would have set. */
int arch_create_vcpu(struct vcpu *vcpu);

/* The routes of the interrupt controller's pins, which stay beside those of messages: puts at most ARCH_PIN_ROUTES into
 * @entries, and returns how many. Messages have the numbers from arch_first_message on. */
enum { ARCH_PIN_ROUTES = 64 };
unsigned arch_pin_routes(struct kvm_irq_routing_entry *entries);
extern const unsigned arch_first_message;

/* An exit of KVM_RUN that not all architectures have, on the vcpu's thread. False: it is not known. @crash, which is
 * NULL, becomes a text where the guest can't go on. */
bool arch_exit(struct vcpu *vcpu, const char **crash);
/* The vcpu was paused and is about to go on, on its thread: tell the guest, which would take it for a lock-up. */
void arch_resume(const struct vcpu *vcpu);
/* The program counter, for a report; on the vcpu's thread. */
uint64_t arch_pc(const struct vcpu *vcpu);

/* The access that a vcpu is about to do, where KVM says only that it meets no page; on the vcpu's thread. */
struct arch_fault {
        uint64_t pc;
        uint64_t address; /* guest physical */
        bool found;       /* the address: the instruction could be read and understood */
        uint64_t source;  /* where an instruction with two operands in memory would read; 0: nowhere */
};
void arch_get_fault(struct kvm *kvm, unsigned vcpu, struct arch_fault *out);

/* The statistics of a vcpu, by KVM's names, whose sum with these signs is the number of faults that came to nothing. */
enum { ARCH_FAULT_STATS = 5 };
struct arch_fault_stat {
        const char *name;
        int sign;
};
extern const struct arch_fault_stat arch_fault_stats[ARCH_FAULT_STATS];

/* ---- booting ---- */

/* Fill guest memory, which is all zeros, with the kernel, what it is told, and what describes the machine; then set
 * vcpu 0 up to begin there. Files are read with pread(), so that a reset can do it again; they stay the caller's.
 * Nothing in the files is trusted. On failure the loader's @why is one line without the file's name: what is wrong and
 * what to do. -ENOEXEC: not a kernel that can be started this way. -ENOMEM: guest memory is too small for it. -E2BIG:
 * the command line or the initrd is larger than this kernel takes. Else an errno of reading. */
int arch_load(struct kvm *kvm, struct loader *loader);

/* ---- devices that only this architecture has: at least one that turns the machine off ---- */

struct arch_platform;

/* The pin of the serial port, a 16550, for kvm_set_pin(). */
extern const unsigned arch_serial_pin;

/* Adds its devices and @serial to the buses, where they stay: no access may come once one of them is freed. After a
 * failure too, *out is to be freed. */
struct serial;
int arch_platform_new(struct kvm *kvm, struct bus *const spaces[static ARCH_SPACES], struct serial *serial,
                      struct arch_platform **out);
void arch_platform_free(struct arch_platform *platform); /* NULL is accepted */
/* As after power-on. */
void arch_platform_reset(struct arch_platform *platform);
/* Once this is readable, call arch_platform_dispatch() on the owner's thread. -1: no device needs it. */
int arch_platform_get_fd(const struct arch_platform *platform);
void arch_platform_dispatch(struct arch_platform *platform);
/* Press the power button: the guest may shut down. Any thread. */
void arch_platform_press_power_button(struct arch_platform *platform);

#endif
