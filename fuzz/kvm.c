/* SPDX-License-Identifier: BSD-2-Clause */

/* Stands in for KVM where a device's registers are fuzzed: books of routes, eventfds and slots. Nothing is added
 * twice, nothing is taken away that is not there, and no route that an eventfd uses; each of the three runs out. */

#include "fuzz/kvm.h"

#include "base/cleanup.h"
#include "fuzz/input.h"

#include <errno.h>

enum { ROUTES = 8, IRQS = 32, EVENTFDS = 32, SLOTS = 3 };

static struct {
        bool routes[ROUTES];
        struct {
                int fd, route;
        } irqs[IRQS];
        uint64_t eventfds[EVENTFDS]; /* addresses, 0: none */
        bool slots[SLOTS];
        const void *held_by;
} world;

int kvm_new_route(struct kvm *kvm)
{
        for (int i = 0; i < ROUTES; i++) {
                if (world.routes[i])
                        continue;
                world.routes[i] = true;
                return i;
        }
        return -ENOSPC;
}

void kvm_free_route(struct kvm *kvm, int route)
{
        need(world.routes[route]);
        for (unsigned i = 0; i < ARRAY_SIZE(world.irqs); i++)
                need(!world.irqs[i].fd || world.irqs[i].route != route);
        world.routes[route] = false;
}

int kvm_set_route(struct kvm *kvm, int route, uint64_t address, uint32_t data)
{
        need(world.routes[route]);
        return data == 0xbad ? -EINVAL : 0;
}

/* Each eventfd once. */
int kvm_irqfd(struct kvm *kvm, int route, int fd, bool add)
{
        unsigned i = 0;

        need(world.routes[route]);
        while (i < ARRAY_SIZE(world.irqs) && world.irqs[i].fd != (add ? 0 : fd))
                need(world.irqs[i++].fd != fd);
        need(i < ARRAY_SIZE(world.irqs) && (add || world.irqs[i].route == route));
        world.irqs[i].fd = add ? fd : 0;
        world.irqs[i].route = route;
        return 0;
}

int kvm_ioeventfd(struct kvm *kvm, uint64_t address, unsigned size, int fd, bool add)
{
        unsigned i = 0;

        while (i < ARRAY_SIZE(world.eventfds) && world.eventfds[i] != (add ? 0 : address))
                need(world.eventfds[i++] != address);
        need(i < ARRAY_SIZE(world.eventfds));
        world.eventfds[i] = add ? address : 0;
        return 0;
}

int kvm_add_slot(struct kvm *kvm, uint64_t address, void *host, uint64_t size)
{
        need(host && address % 4096 == 0 && size % 4096 == 0);
        for (int i = 0; i < SLOTS; i++) {
                if (world.slots[i])
                        continue;
                world.slots[i] = true;
                return i;
        }
        return -ENOSPC;
}

void kvm_remove_slot(struct kvm *kvm, int slot)
{
        need(world.slots[slot]);
        world.slots[slot] = false;
}

/* The vcpu does not wait: what the driver does meanwhile has to be borne. One device holds it at a time. */
void kvm_hold(struct kvm *kvm, void *by, int limit_ms, void (*late)(void *by))
{
        need(by && late && limit_ms > 0);
        world.held_by = by;
}

void kvm_let_go(struct kvm *kvm, const void *by)
{
        need(by);
        if (world.held_by == by)
                world.held_by = NULL;
}

void kvm_check_empty(void)
{
        for (unsigned i = 0; i < ROUTES; i++)
                need(!world.routes[i]);
        for (unsigned i = 0; i < ARRAY_SIZE(world.irqs); i++)
                need(!world.irqs[i].fd);
        for (unsigned i = 0; i < ARRAY_SIZE(world.eventfds); i++)
                need(!world.eventfds[i]);
        for (unsigned i = 0; i < SLOTS; i++)
                need(!world.slots[i]);
}
