/* SPDX-License-Identifier: BSD-2-Clause */

/* A vcpu: its creation, and the thread that runs it. The thread loops over KVM_RUN and hands each exit to the
 * callbacks of struct kvm_exits, on this thread and without a lock. To stop it, others set kvm->stopping, set
 * immediate_exit and send VCPU_KICK; the thread clears immediate_exit before it looks at stopping, so no kick is lost.
 * It then parks under kvm->lock until the machine goes on, or returns when the machine has ended. */

#include "base/fd.h"
#include "vmm/kvm/machine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

static void on_kick(int number)
{
}

int vcpu_create(struct kvm *kvm, unsigned index)
{
        struct vcpu *vcpu = &kvm->vcpus[index];

        *vcpu = (struct vcpu){.kvm = kvm, .index = index, .stats_fd = -1};
        vcpu->fd = ioctl(kvm->fd, KVM_CREATE_VCPU, index);
        if (vcpu->fd < 0)
                return -errno;
        kvm->cpus = index + 1;

        void *run = mmap(NULL, (size_t)kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);

        if (run == MAP_FAILED)
                return -errno;
        vcpu->run = run;
        vcpu_open_stats(vcpu);
        return arch_create_vcpu(vcpu);
}

void vcpu_destroy(struct vcpu *vcpu)
{
        if (vcpu->run)
                munmap(vcpu->run, (size_t)vcpu->kvm->run_size);
        fd_close(vcpu->stats_fd);
        close(vcpu->fd);
}

/* False: the machine has ended. */
static bool vcpu_park(struct vcpu *vcpu)
{
        struct kvm *kvm = vcpu->kvm;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        kvm->parked++;
        pthread_cond_broadcast(&kvm->changed);
        const bool paused = kvm->paused;

        while (kvm->paused && !kvm->ended)
                pthread_cond_wait(&kvm->changed, &kvm->lock);

        bool on = !kvm->ended;

        if (on)
                kvm->parked--;
        if (on && paused)
                arch_resume(vcpu);
        return on;
}

static void do_mmio(struct vcpu *vcpu)
{
        struct kvm_run *run = vcpu->run;

        if (!run->mmio.is_write)
                memset(run->mmio.data, 0xff, sizeof(run->mmio.data));
        vcpu->kvm->exits.access(vcpu->kvm->userdata, ARCH_SPACE_MEMORY, run->mmio.phys_addr, run->mmio.data,
                                run->mmio.len, run->mmio.is_write);
}

static void end_at(struct vcpu *vcpu, enum kvm_end end, const char *what, unsigned long long detail)
{
        char why[160];

        snprintf(why, sizeof(why), "vcpu %u at 0x%llx: %s (0x%llx)", vcpu->index, (unsigned long long)arch_pc(vcpu),
                 what, detail);
        kvm_request_end(vcpu->kvm, end, why);
}

static void do_arch_exit(struct vcpu *vcpu)
{
        const char *crash = NULL;

        if (!arch_exit(vcpu, &crash))
                end_at(vcpu, KVM_END_ERROR, "an exit that is not known", vcpu->run->exit_reason);
        else if (crash)
                end_at(vcpu, KVM_END_CRASH, crash, vcpu->run->exit_reason);
}

static void do_exit(struct vcpu *vcpu)
{
        struct kvm_run *run = vcpu->run;

        switch (run->exit_reason) {
        case KVM_EXIT_MMIO:
                do_mmio(vcpu);
                break;
        case KVM_EXIT_INTR:
                break;
        case KVM_EXIT_SYSTEM_EVENT:
                kvm_request_end(vcpu->kvm,
                                run->system_event.type == KVM_SYSTEM_EVENT_RESET ? KVM_END_RESET : KVM_END_SHUTDOWN,
                                NULL);
                break;
        case KVM_EXIT_FAIL_ENTRY:
                end_at(vcpu, KVM_END_ERROR, "KVM can't enter the guest", run->fail_entry.hardware_entry_failure_reason);
                break;
        case KVM_EXIT_INTERNAL_ERROR:
                end_at(vcpu, KVM_END_ERROR, "KVM's internal error", run->internal.suberror);
                break;
        default:
                do_arch_exit(vcpu);
        }
}

static void run_once(struct vcpu *vcpu)
{
        if (ioctl(vcpu->fd, KVM_RUN, 0) == 0)
                do_exit(vcpu);
        else if (errno == EFAULT) {
                if (!vcpu->kvm->exits.fault(vcpu->kvm->userdata, vcpu->index))
                        end_at(vcpu, KVM_END_FAULT, "an access that can't be done", 0);
        } else if (errno != EINTR && errno != EAGAIN)
                end_at(vcpu, KVM_END_ERROR, strerror(errno), (unsigned)errno);
}

static void vcpu_inspect(struct vcpu *vcpu)
{
        int look = atomic_exchange(&vcpu->look, LOOK_NOT);

        if (look != LOOK_NOT && vcpu->kvm->exits.inspect)
                vcpu->kvm->exits.inspect(vcpu->kvm->userdata, vcpu->index, look == LOOK_STUCK);
}

void *vcpu_thread(void *userdata)
{
        const struct sigaction action = {.sa_handler = on_kick};
        struct vcpu *vcpu = userdata;
        sigset_t kick;

        sigaction(VCPU_KICK, &action, NULL);
        sigemptyset(&kick);
        sigaddset(&kick, VCPU_KICK);
        pthread_sigmask(SIG_UNBLOCK, &kick, NULL);
        vcpu_is_this(vcpu);
        for (;;) {
                /* In this order: a kick after the look is seen by KVM_RUN. */
                __atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
                if (atomic_load(&vcpu->kvm->stopping) && !vcpu_park(vcpu))
                        return NULL;
                vcpu_inspect(vcpu);
                vcpu_wait_held(vcpu);
                if (!atomic_load(&vcpu->kvm->stopping))
                        run_once(vcpu);
        }
}
