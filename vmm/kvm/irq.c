/* SPDX-License-Identifier: BSD-2-Clause */

/* Interrupts by way of KVM: routes for messages, eventfds that send them (irqfd), pins, and eventfds that a guest's
 * write signals (ioeventfd). A route is a number that KVM translates to a message; all of them are told to KVM
 * together, beside those of the interrupt controller's pins. Calls come from any thread, under the machine's lock. */

#include "vmm/kvm/machine.h"

#include "base/cleanup.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

static struct kvm_irq_routing_entry message_entry(unsigned gsi, const struct msi_route *route)
{
        return (struct kvm_irq_routing_entry){
                .gsi = gsi,
                .type = KVM_IRQ_ROUTING_MSI,
                .u.msi =
                        {
                                .address_lo = (uint32_t)route->address,
                                .address_hi = (uint32_t)(route->address >> 32),
                                .data = route->data,
                        },
        };
}

int routes_apply(struct kvm *kvm)
{
        const size_t most = ARCH_PIN_ROUTES + MAX_ROUTES;
        _cleanup_(freep) struct kvm_irq_routing *routing =
                calloc(1, sizeof(*routing) + most * sizeof(routing->entries[0]));

        if (!routing)
                return -ENOMEM;
        routing->nr = arch_pin_routes(routing->entries);
        for (unsigned i = 0; i < MAX_ROUTES; i++)
                if (kvm->routes[i].used)
                        routing->entries[routing->nr++] = message_entry(arch_first_message + i, &kvm->routes[i]);
        return ioctl(kvm->fd, KVM_SET_GSI_ROUTING, routing) < 0 ? -errno : 0;
}

int kvm_new_route(struct kvm *kvm)
{
        int route = 0;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        while (route < MAX_ROUTES && kvm->routes[route].used)
                route++;
        if (route < MAX_ROUTES)
                kvm->routes[route] = (struct msi_route){.used = true};
        if (route == MAX_ROUTES && !kvm->routes_ran_out) {
                kvm->routes_ran_out = true;
                log_warning(&kvm->log, "more than %d interrupt vectors are in use: the next ones send nothing",
                            MAX_ROUTES);
        }
        return route < MAX_ROUTES ? route : -ENOSPC;
}

void kvm_free_route(struct kvm *kvm, int route)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        if (route >= 0 && route < MAX_ROUTES)
                kvm->routes[route].used = false;
}

int kvm_set_route(struct kvm *kvm, int route, uint64_t address, uint32_t data)
{
        int r = -EINVAL;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&kvm->lock);
        if (route >= 0 && route < MAX_ROUTES && kvm->routes[route].used) {
                struct msi_route *to = &kvm->routes[route];
                /* Telling KVM takes it long. */
                bool same = to->address == address && to->data == data;

                to->address = address;
                to->data = data;
                r = same ? 0 : routes_apply(kvm);
        }
        return r;
}

int kvm_irqfd(struct kvm *kvm, int route, int fd, bool add)
{
        struct kvm_irqfd irqfd = {
                .fd = (uint32_t)fd,
                .gsi = arch_first_message + (unsigned)route,
                .flags = add ? 0 : KVM_IRQFD_FLAG_DEASSIGN,
        };

        return ioctl(kvm->fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

int kvm_set_pin(struct kvm *kvm, unsigned pin, bool level)
{
        struct kvm_irq_level irq = {.irq = pin, .level = level};

        return ioctl(kvm->fd, KVM_IRQ_LINE, &irq) < 0 ? -errno : 0;
}

int kvm_ioeventfd(struct kvm *kvm, uint64_t address, unsigned size, int fd, bool add)
{
        struct kvm_ioeventfd ioeventfd = {
                .addr = address,
                .len = size,
                .fd = fd,
                .flags = add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
        };

        return ioctl(kvm->fd, KVM_IOEVENTFD, &ioeventfd) < 0 ? -errno : 0;
}
