/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_KVM_KVM_H
#define VMM_KVM_KVM_H

#include <oriel/log.h>
#include <oriel/memory.h>
#include <oriel/range.h>
#include <stdbool.h>
#include <stdint.h>

/* A virtual machine of KVM: guest memory, memory slots, vcpus and interrupts, and nothing of what is on its bus. */
struct kvm;

#define KVM_MAX_CPUS 64

enum kvm_end {
        KVM_END_SHUTDOWN, /* the guest, or who runs it, wants to power off */
        KVM_END_RESET,
        KVM_END_CRASH, /* past all help */
        KVM_END_FAULT, /* an access that nothing can take */
        KVM_END_ERROR, /* KVM's own */
};

/* Callbacks for exits that KVM does not handle. Called on the vcpu's thread, several at once. */
struct kvm_exits {
        /* An access of 1, 2, 4 or 8 bytes, in one of vmm/arch/arch.h's address spaces, that no slot and no ioeventfd
         * took. A read that nobody answers is all ones. */
        void (*access)(void *userdata, unsigned space, uint64_t address, void *data, unsigned size, bool write);
        /* KVM_RUN failed with EFAULT: the guest's access met no page. KVM tells no address. True: something has been
         * done about it, the access is to be tried again. */
        bool (*fault)(void *userdata, unsigned vcpu);
        /* All vcpus have stopped or are about to. Once. @why is a line for the user, or NULL. */
        void (*ended)(void *userdata, enum kvm_end end, const char *why);
        /* After kvm_inspect(): what is the vcpu doing? @stuck: it meets no page again and again. May be NULL. */
        void (*inspect)(void *userdata, unsigned vcpu, bool stuck);
        /* Guest physical memory that is not KVM's own, such as a window: all of @size bytes, or false. For the code
         * that a fault is in. May be NULL. */
        bool (*read)(void *userdata, uint64_t address, void *data, size_t size);
};

struct kvm_options {
        uint64_t memory_size; /* whole pages, at least 1 MiB */
        bool huge_pages;      /* of 2 MiB, which the size is then a multiple of */
        unsigned cpus;        /* 1 to KVM_MAX_CPUS */
        const struct kvm_exits *exits;
        void *userdata;
        const struct oriel_log *log; /* copied; NULL: silent */
};

/* Guest memory is a memfd that can't be made shorter or longer, in one slot or two, with an in-kernel interrupt
 * controller. -EDQUOT: there are not enough huge pages, which are reserved here. -ENOENT, -EACCES: no /dev/kvm, or
 * not for this user. -ENOSYS: a KVM without what is needed. */
int kvm_new(const struct kvm_options *options, struct kvm **out);
void kvm_free(struct kvm *kvm); /* stops it; NULL is accepted */

/* As after kvm_new(): stopped, memory all zeros, vcpus and interrupts as after power-on. The caller has taken back its
 * slots, ioeventfds and routes. Not on a vcpu's thread. After a failure only kvm_free() is left. */
int kvm_reset(struct kvm *kvm);

int kvm_memory_fd(const struct kvm *kvm);
/* The one or two parts of guest memory, for SET_MEM_TABLE: user_address is where this process has it. */
unsigned kvm_memory_regions(const struct kvm *kvm, struct oriel_memory_region regions[2]);
/* Guest memory at @address, or NULL where not all of @size bytes is. */
void *kvm_memory_at(const struct kvm *kvm, uint64_t address, uint64_t size);

/* A memory slot at @address that shows @host; the caller keeps it mapped until it is removed. The slot's number, or a
 * negative errno. */
int kvm_add_slot(struct kvm *kvm, uint64_t address, void *host, uint64_t size);
void kvm_remove_slot(struct kvm *kvm, int slot);

/* A guest's write of @size (0: any) bytes to @address adds to the eventfd @fd, without an exit. */
int kvm_ioeventfd(struct kvm *kvm, uint64_t address, unsigned size, int fd, bool add);

/* An interrupt that is a message: @route is from kvm_new_route(), and @fd an eventfd that sends it. */
int kvm_new_route(struct kvm *kvm);
void kvm_free_route(struct kvm *kvm, int route);
int kvm_set_route(struct kvm *kvm, int route, uint64_t address, uint32_t data);
int kvm_irqfd(struct kvm *kvm, int route, int fd, bool add);
/* A pin of the interrupt controller. */
int kvm_set_pin(struct kvm *kvm, unsigned pin, bool level);

/* A thread for each vcpu. After a failure too, some may run. */
int kvm_start(struct kvm *kvm);
/* Returns when no vcpu runs guest code; not on a vcpu's thread. */
void kvm_pause(struct kvm *kvm);
/* The same, until @deadline_ms at most, on the clock of now_ms(). False: a vcpu still does not stop, which it does not
 * while it waits for the server of a file that is mapped in the guest. */
bool kvm_pause_until(struct kvm *kvm, int64_t deadline_ms);
void kvm_resume(struct kvm *kvm);
/* The same without waiting: from any thread, exits included. */
void kvm_request_pause(struct kvm *kvm);
bool kvm_paused(struct kvm *kvm);
/* Ask for the end: any thread, exits included. */
void kvm_request_end(struct kvm *kvm, enum kvm_end end, const char *why);

/* On a vcpu's thread, in an exit: the vcpu runs no guest code until kvm_let_go(@by), or until @limit_ms have passed,
 * when late(@by) is called there. It can be paused, and the machine can end, meanwhile. */
void kvm_hold(struct kvm *kvm, void *by, int limit_ms, void (*late)(void *by));
/* Let the vcpus that @by holds go on. Any thread. */
void kvm_let_go(struct kvm *kvm, const void *by);

/* Have those vcpus call exits->inspect soon that since the last call have met no page again and again, within KVM_RUN,
 * and may never come out of it; with @all, every vcpu. Not on a vcpu's thread, and not while kvm_reset() runs. */
void kvm_inspect(struct kvm *kvm, bool all);

#endif
