/* SPDX-License-Identifier: BSD-2-Clause */

/* Brings vcpus out of guest code and keeps them out: for a pause, or for good. Each is sent a signal, and looks at
 * kvm->stopping before it goes on; immediate_exit covers a signal that comes before KVM_RUN. One vcpu alone is held by
 * what it has done itself, on its own thread: see kvm_hold(). */

#include "base/clock.h"
#include "vmm/kvm/machine.h"

#include <signal.h>

void vcpu_kick(struct vcpu *vcpu)
{
        if (!vcpu->started)
                return;
        __atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        pthread_kill(vcpu->thread, VCPU_KICK);
}

void vcpus_kick(struct kvm *kvm)
{
        atomic_store(&kvm->stopping, true);
        pthread_cond_broadcast(&kvm->changed);
        for (unsigned i = 0; i < kvm->cpus; i++)
                vcpu_kick(&kvm->vcpus[i]);
}

static unsigned pause_started(const struct kvm *kvm)
{
        unsigned n = 0;

        for (unsigned i = 0; i < kvm->cpus; i++)
                n += kvm->vcpus[i].started;
        return n;
}

void kvm_request_pause(struct kvm *kvm)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        kvm->paused = true;
        vcpus_kick(kvm);
}

void kvm_pause(struct kvm *kvm)
{
        kvm_pause_until(kvm, INT64_MAX);
}

bool kvm_pause_until(struct kvm *kvm, int64_t deadline_ms)
{
        const struct timespec deadline = {deadline_ms / 1000, deadline_ms % 1000 * 1000000};
        int r = 0;

        kvm_request_pause(kvm);
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        while (r == 0 && kvm->parked < pause_started(kvm))
                r = pthread_cond_clockwait(&kvm->changed, &kvm->lock, CLOCK_MONOTONIC, &deadline);

        return kvm->parked >= pause_started(kvm);
}

bool kvm_paused(struct kvm *kvm)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);

        return kvm->paused;
}

void kvm_resume(struct kvm *kvm)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        kvm->paused = false;
        atomic_store(&kvm->stopping, kvm->ended);
        pthread_cond_broadcast(&kvm->changed);
}

void kvm_request_end(struct kvm *kvm, enum kvm_end end, const char *why)
{
        bool first;

        pthread_mutex_lock(&kvm->lock);
        first = !kvm->ended;
        kvm->ended = true;
        vcpus_kick(kvm);
        pthread_mutex_unlock(&kvm->lock);
        if (first && kvm->exits.ended)
                kvm->exits.ended(kvm->userdata, end, why);
}

/* ---- one vcpu ---- */

/* The vcpu whose thread this is. */
static _Thread_local struct vcpu *this_vcpu;

void vcpu_is_this(struct vcpu *vcpu)
{
        this_vcpu = vcpu;
}

void kvm_hold(struct kvm *kvm, void *by, int limit_ms, void (*late)(void *by))
{
        struct vcpu *vcpu = this_vcpu;

        if (!vcpu || vcpu->kvm != kvm)
                return;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        vcpu->held_until = now_ms() + limit_ms;
        vcpu->held_late = late;
        atomic_store(&vcpu->held_by, by);
}

void kvm_let_go(struct kvm *kvm, const void *by)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        for (unsigned i = 0; i < kvm->cpus; i++)
                if (atomic_load(&kvm->vcpus[i].held_by) == by)
                        atomic_store(&kvm->vcpus[i].held_by, NULL);
        pthread_cond_broadcast(&kvm->changed);
}

void vcpu_wait_held(struct vcpu *vcpu)
{
        struct kvm *kvm = vcpu->kvm;
        void *late = NULL;

        if (!atomic_load(&vcpu->held_by))
                return;
        pthread_mutex_lock(&kvm->lock);

        const struct timespec deadline = {vcpu->held_until / 1000, vcpu->held_until % 1000 * 1000000};
        int r = 0;

        while (r == 0 && atomic_load(&vcpu->held_by) && !atomic_load(&kvm->stopping))
                r = pthread_cond_clockwait(&kvm->changed, &kvm->lock, CLOCK_MONOTONIC, &deadline);
        if (r != 0)
                late = atomic_exchange(&vcpu->held_by, NULL);
        pthread_mutex_unlock(&kvm->lock);
        if (late)
                vcpu->held_late(late);
}
