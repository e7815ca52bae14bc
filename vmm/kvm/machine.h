/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_KVM_MACHINE_H
#define VMM_KVM_MACHINE_H

#include "base/lock.h"
#include "vmm/arch/arch.h"
#include "vmm/kvm/kvm.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#define MAX_SLOTS  508
#define MAX_ROUTES 2048

enum vcpu_look { LOOK_NOT, LOOK, LOOK_STUCK };

struct vcpu {
        struct kvm *kvm;
        unsigned index;
        int fd;
        struct kvm_run *run;
        pthread_t thread;
        bool started;
        int stats_fd;                  /* -1: this KVM has none */
        off_t stats[ARCH_FAULT_STATS]; /* where each is, 0: nowhere */
        int64_t faults_seen;
        atomic_int look; /* enum vcpu_look */
        /* See kvm_hold(). Set by the vcpu's thread, taken back by any, with the lock. */
        void *_Atomic held_by;
        int64_t held_until; /* on the clock of now_ms() */
        void (*held_late)(void *by);
};

struct msi_route {
        bool used;
        uint64_t address;
        uint32_t data;
};

struct kvm {
        struct kvm_exits exits;
        void *userdata;
        struct oriel_log log;
        int system; /* /dev/kvm */
        int fd;
        int run_size;

        int memory_fd;
        uint8_t *memory;
        uint64_t memory_size;
        bool huge_pages;

        pthread_mutex_t lock; /* what follows, up to the vcpus */
        bool slots[MAX_SLOTS];
        struct msi_route routes[MAX_ROUTES];
        bool routes_ran_out;
        bool paused;
        bool ended;
        unsigned parked; /* vcpus that wait for the end of the pause, or have ended */
        pthread_cond_t changed;

        atomic_bool stopping; /* paused or ended: what a vcpu looks at */
        unsigned wanted_cpus;
        unsigned cpus; /* that are made */
        struct vcpu vcpus[KVM_MAX_CPUS];
};

int vcpu_create(struct kvm *kvm, unsigned index);
void vcpu_destroy(struct vcpu *vcpu);
void vcpu_open_stats(struct vcpu *vcpu);
void *vcpu_thread(void *vcpu);
/* Sent to a vcpu's thread to bring it out of guest code. */
#define VCPU_KICK SIGRTMIN
/* Make it look at kvm->stopping. */
void vcpu_kick(struct vcpu *vcpu);
/* To be called on its thread, before it runs. */
void vcpu_is_this(struct vcpu *vcpu);
/* On its thread: wait while it is held, and not to stop. */
void vcpu_wait_held(struct vcpu *vcpu);
/* Make all of them stop. With the lock. */
void vcpus_kick(struct kvm *kvm);

/* Guest memory. memory_close() also after a failure. */
int memory_open(struct kvm *kvm, uint64_t size, bool huge_pages);
void memory_close(struct kvm *kvm);
/* All zeros again. */
int memory_clear(struct kvm *kvm);
/* Its slots, of a new machine that has none. */
int memory_add_slots(struct kvm *kvm);

/* Tell KVM of all routes. With the lock. */
int routes_apply(struct kvm *kvm);

#endif
