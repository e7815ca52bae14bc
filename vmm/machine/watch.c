/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/machine/watch.h"

#include "base/fd.h"
#include "base/thread.h"
#include "vmm/virtio/guest_window.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

enum {
        BUSY_MS = 50,  /* between looks */
        IDLE_MS = 500, /* the same while nothing is mapped */
        LOOKS_A_SECOND = 1000 / BUSY_MS,
};

static bool any_mapped(const struct watch *watch)
{
        struct guest_window *window;

        for (unsigned i = 0; i < watch->n_devices; i++)
                for (unsigned j = 0; (window = virtio_get_window(watch->devices[i], j)); j++)
                        if (oriel_region_count(guest_window_region(window)) > 0)
                                return true;
        return false;
}

static void *watch_run(void *userdata)
{
        struct watch *watch = userdata;
        struct pollfd fd = {.fd = watch->stop_fd, .events = POLLIN};
        unsigned looks = 0;
        bool mapped = false;

        while (poll(&fd, 1, mapped ? BUSY_MS : IDLE_MS) == 0 || !fd.revents) {
                mapped = any_mapped(watch);
                /* Once a second at all of them: whatever KVM does or counts, a vcpu does not wait for longer. */
                if (mapped)
                        kvm_inspect(watch->kvm, ++looks % LOOKS_A_SECOND == 0);
        }
        return NULL;
}

int watch_start(struct watch *watch, struct kvm *kvm, struct virtio **devices, unsigned n_devices)
{
        *watch = (struct watch){.kvm = kvm, .devices = devices, .n_devices = n_devices};
        watch->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (watch->stop_fd < 0)
                return -errno;

        int r = thread_start(&watch->thread, watch_run, watch);

        if (r < 0)
                watch->stop_fd = fd_close(watch->stop_fd);
        return r;
}

void watch_stop(struct watch *watch)
{
        watch_stop_until(watch, INT64_MAX);
}

bool watch_stop_until(struct watch *watch, int64_t deadline_ms)
{
        if (watch->stop_fd < 0)
                return true;
        fd_event_wake(watch->stop_fd);
        if (!thread_join(watch->thread, deadline_ms))
                return false;
        watch->stop_fd = fd_close(watch->stop_fd);
        return true;
}
