/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_MACHINE_WATCH_H
#define VMM_MACHINE_WATCH_H

#include "vmm/virtio/virtio.h"

#include <pthread.h>
#include <stdbool.h>

/* Has vcpus looked at, while something is mapped: 20 times a second those that meet no page within KVM_RUN, where KVM
 * does not say so, and once a second all. What they wait for is zero-filled. */
struct watch {
        struct kvm *kvm;
        struct virtio **devices;
        unsigned n_devices;
        pthread_t thread;
        int stop_fd; /* -1: it does not run */
};

/* Between the two neither kvm nor devices may change. */
int watch_start(struct watch *watch, struct kvm *kvm, struct virtio **devices, unsigned n_devices);
void watch_stop(struct watch *watch);
/* False: it is still there at @deadline_ms, on the clock of now_ms(). */
bool watch_stop_until(struct watch *watch, int64_t deadline_ms);

#endif
