/* SPDX-License-Identifier: BSD-2-Clause */

/* Reads KVM's counts of a vcpu's page faults. A vcpu whose access meets no page is not always told so by KVM_RUN: where
 * the guest can take interrupts, KVM has the page brought in by a worker, and lets the vcpu try again when that has
 * ended, whether there is a page or not; so it tries for ever. That shows here: faults are taken, and none are fixed.
 */

#include "vmm/kvm/machine.h"

#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { NAME_ROOM = 128 };

/* More than this many faults that came to nothing, between two looks: one that waits for a disk makes a single one. */
#define TOO_MANY 4

void vcpu_open_stats(struct vcpu *vcpu)
{
        struct kvm_stats_header header;
        union {
                struct kvm_stats_desc desc;
                char room[sizeof(struct kvm_stats_desc) + NAME_ROOM];
        } row;

        memset(vcpu->stats, 0, sizeof(vcpu->stats));
        vcpu->stats_fd = ioctl(vcpu->fd, KVM_GET_STATS_FD, 0);
        if (vcpu->stats_fd < 0 || pread(vcpu->stats_fd, &header, sizeof(header), 0) != sizeof(header) ||
            header.name_size >= NAME_ROOM)
                return;
        for (uint32_t i = 0; i < header.num_desc; i++) {
                size_t size = sizeof(struct kvm_stats_desc) + header.name_size;

                memset(&row, 0, sizeof(row));
                if (pread(vcpu->stats_fd, &row, size, (off_t)(header.desc_offset + i * size)) != (ssize_t)size)
                        return;
                for (size_t j = 0; j < ARCH_FAULT_STATS; j++)
                        if (strcmp(arch_fault_stats[j].name, row.desc.name) == 0)
                                vcpu->stats[j] = header.data_offset + row.desc.offset;
        }
}

/* Faults that came to nothing so far, or -1: this KVM does not count them. */
static int64_t count_faults(const struct vcpu *vcpu)
{
        int64_t sum = 0;

        for (size_t i = 0; i < ARCH_FAULT_STATS; i++) {
                uint64_t value;

                if (vcpu->stats[i] == 0 ||
                    pread(vcpu->stats_fd, &value, sizeof(value), vcpu->stats[i]) != sizeof(value))
                        return -1;
                sum += arch_fault_stats[i].sign * (int64_t)value;
        }
        return sum;
}

void kvm_inspect(struct kvm *kvm, bool all)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        for (unsigned i = 0; i < kvm->cpus; i++) {
                struct vcpu *vcpu = &kvm->vcpus[i];
                int64_t faults = count_faults(vcpu);
                bool stuck = faults > vcpu->faults_seen + TOO_MANY;

                vcpu->faults_seen = faults;
                if (!stuck && !all)
                        continue;
                atomic_store(&vcpu->look, stuck ? LOOK_STUCK : LOOK);
                vcpu_kick(vcpu);
        }
}
