/* SPDX-License-Identifier: BSD-2-Clause */

/* A machine of KVM's from kvm_new() to kvm_free(): the check of this host's KVM, how the machine is put together of
 * memory, interrupts and vcpus, started, and taken apart. A reset takes it apart but for the memory, and puts it
 * together again, since KVM has no reset of its own. These functions belong to the owner's thread; pause.c stops the
 * vcpus' threads. */

#include "vmm/kvm/kvm.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "vmm/kvm/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>

DEFINE_CLEANUP(struct kvm *, kvm_free);

static int check_kvm(const struct kvm *kvm)
{
        static const int needed[] = {KVM_CAP_USER_MEMORY, KVM_CAP_IRQCHIP,    KVM_CAP_IRQFD,         KVM_CAP_IOEVENTFD,
                                     KVM_CAP_IRQ_ROUTING, KVM_CAP_SIGNAL_MSI, KVM_CAP_IMMEDIATE_EXIT};

        if (ioctl(kvm->system, KVM_GET_API_VERSION, 0) != KVM_API_VERSION)
                return -ENOSYS;
        for (size_t i = 0; i < ARRAY_SIZE(needed); i++)
                if (ioctl(kvm->system, KVM_CHECK_EXTENSION, needed[i]) <= 0) {
                        log_error(&kvm->log, "this KVM lacks extension %d", needed[i]);
                        return -ENOSYS;
                }
        return 0;
}

static int create_machine(struct kvm *kvm)
{
        do
                kvm->fd = ioctl(kvm->system, KVM_CREATE_VM, 0);
        while (kvm->fd < 0 && errno == EINTR);
        if (kvm->fd < 0)
                return -errno;
        kvm->run_size = ioctl(kvm->system, KVM_GET_VCPU_MMAP_SIZE, 0);
        if (kvm->run_size < (int)sizeof(struct kvm_run))
                return -ENOSYS;

        int r = arch_create_vm(kvm);

        return r == 0 ? routes_apply(kvm) : r;
}

/* A machine of KVM's, with memory's slots and the vcpus. */
static int kvm_build(struct kvm *kvm)
{
        int r = create_machine(kvm);

        if (r == 0)
                r = memory_add_slots(kvm);
        for (unsigned i = 0; r == 0 && i < kvm->wanted_cpus; i++)
                r = vcpu_create(kvm, i);
        return r;
}

static void vcpus_stop(struct kvm *kvm)
{
        pthread_mutex_lock(&kvm->lock);
        kvm->ended = true;
        vcpus_kick(kvm);
        pthread_cond_broadcast(&kvm->changed);
        pthread_mutex_unlock(&kvm->lock);
        for (unsigned i = 0; i < kvm->cpus; i++)
                if (kvm->vcpus[i].started)
                        pthread_join(kvm->vcpus[i].thread, NULL);
}

static void kvm_demolish(struct kvm *kvm)
{
        vcpus_stop(kvm);
        for (unsigned i = 0; i < kvm->cpus; i++)
                vcpu_destroy(&kvm->vcpus[i]);
        kvm->cpus = 0;
        kvm->fd = fd_close(kvm->fd);
}

int kvm_new(const struct kvm_options *options, struct kvm **out)
{
        if (options->cpus < 1 || options->cpus > KVM_MAX_CPUS)
                return -EINVAL;

        _cleanup_(kvm_freep) struct kvm *kvm = calloc(1, sizeof(*kvm));

        if (!kvm)
                return -ENOMEM;
        kvm->exits = *options->exits;
        kvm->userdata = options->userdata;
        kvm->log = options->log ? *options->log : (struct oriel_log){0};
        kvm->fd = kvm->memory_fd = -1;
        kvm->wanted_cpus = options->cpus;
        pthread_mutex_init(&kvm->lock, NULL);
        pthread_cond_init(&kvm->changed, NULL);
        kvm->system = open("/dev/kvm", O_RDWR | O_CLOEXEC);
        if (kvm->system < 0)
                return -errno;

        int r = check_kvm(kvm);

        if (r == 0)
                r = memory_open(kvm, options->memory_size, options->huge_pages);
        if (r == 0)
                r = kvm_build(kvm);
        if (r < 0)
                return r;
        *out = steal(kvm);
        return 0;
}

void kvm_free(struct kvm *kvm)
{
        if (!kvm)
                return;
        kvm_demolish(kvm);
        memory_close(kvm);
        fd_close(kvm->system);
        pthread_cond_destroy(&kvm->changed);
        pthread_mutex_destroy(&kvm->lock);
        free(kvm);
}

int kvm_reset(struct kvm *kvm)
{
        kvm_demolish(kvm);
        memset(kvm->slots, 0, sizeof(kvm->slots));
        memset(kvm->routes, 0, sizeof(kvm->routes));
        kvm->paused = kvm->ended = false;
        kvm->parked = 0;
        atomic_store(&kvm->stopping, false);

        int r = memory_clear(kvm);

        return r == 0 ? kvm_build(kvm) : r;
}

int kvm_start(struct kvm *kvm)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < kvm->cpus; i++) {
                pthread_mutex_lock(&kvm->lock);
                r = thread_start(&kvm->vcpus[i].thread, vcpu_thread, &kvm->vcpus[i]);
                kvm->vcpus[i].started = r == 0;
                pthread_mutex_unlock(&kvm->lock);
        }
        return r;
}
