/* SPDX-License-Identifier: BSD-2-Clause */

/* MSI-X of a function (PCI 3.0, 6.8.2): its table, its pending bits, and the capability. A source is an eventfd that
 * the device signals; KVM reads it and sends the message of the source's vector, while the vector is not masked and has
 * a route. Otherwise the eventfd keeps its count, which is the pending bit, and KVM looks at it when it gets it again.
 * One lock orders the guest's writes, on vcpu threads, and changes of vectors by the device. */

#include "vmm/bus/msix.h"

#include "base/cleanup.h"
#include "base/lock.h"
#include "base/range.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
        uint32_t address_low;
        uint32_t address_high;
        uint32_t data;
        uint32_t control;
};
_Static_assert(sizeof(struct entry) == PCI_MSIX_ENTRY_SIZE, "PCI 3.0, 6.8.2");

struct msix_source {
        int fd;
        uint16_t vector;
        bool connected; /* KVM reads the fd */
};

struct msix {
        struct kvm *kvm;
        struct pci_function *function;
        unsigned capability;
        pthread_mutex_t lock;
        uint16_t flags; /* the control register, as written last */
        unsigned n_vectors, n_sources;
        struct entry entries[MSIX_MAX_VECTORS];
        int routes[MSIX_MAX_VECTORS]; /* of KVM, -1: not needed yet */
        struct msix_source sources[MSIX_MAX_VECTORS];
};

static void reset_entries(struct msix *msix)
{
        for (unsigned i = 0; i < msix->n_vectors; i++)
                msix->entries[i] = (struct entry){.control = PCI_MSIX_ENTRY_CTRL_MASKBIT};
        for (unsigned i = 0; i < msix->n_sources; i++)
                msix->sources[i].vector = MSIX_NO_VECTOR;
}

static int msix_add_capability(struct msix *msix, const struct msix_options *options)
{
        unsigned at = pci_add_capability(options->function, PCI_CAP_ID_MSIX, PCI_CAP_MSIX_SIZEOF);

        if (at == 0)
                return -ENOSPC;
        msix->capability = at;
        pci_set16(options->function, at + PCI_MSIX_FLAGS, (uint16_t)(options->vectors - 1));
        pci_set32(options->function, at + PCI_MSIX_TABLE, options->table_offset | options->bar);
        pci_set32(options->function, at + PCI_MSIX_PBA, options->pending_offset | options->bar);
        options->function->writable[at + PCI_MSIX_FLAGS + 1] = (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) >> 8;
        return 0;
}

DEFINE_CLEANUP(struct msix *, msix_free);

int msix_new(const struct msix_options *options, struct msix **out)
{
        if (options->vectors < 1 || options->vectors > MSIX_MAX_VECTORS || options->n_sources > MSIX_MAX_VECTORS)
                return -EINVAL;

        _cleanup_(msix_freep) struct msix *msix = calloc(1, sizeof(*msix));

        if (!msix)
                return -ENOMEM;
        pthread_mutex_init(&msix->lock, NULL);
        msix->kvm = options->kvm;
        msix->function = options->function;
        msix->n_vectors = options->vectors;
        msix->n_sources = options->n_sources;
        for (unsigned i = 0; i < msix->n_vectors; i++)
                msix->routes[i] = -1;
        for (unsigned i = 0; i < msix->n_sources; i++)
                msix->sources[i].fd = options->sources[i];
        reset_entries(msix);

        int r = msix_add_capability(msix, options);

        if (r < 0)
                return r;
        *out = steal(msix);
        return 0;
}

void msix_free(struct msix *msix)
{
        if (!msix)
                return;
        if (msix->capability)
                msix_reset(msix);
        pthread_mutex_destroy(&msix->lock);
        free(msix);
}

/* ---- what KVM is told; with the lock ---- */

static bool can_send(const struct msix *msix, uint16_t vector)
{
        return vector < msix->n_vectors && msix->flags & PCI_MSIX_FLAGS_ENABLE &&
               !(msix->flags & PCI_MSIX_FLAGS_MASKALL) &&
               !(msix->entries[vector].control & PCI_MSIX_ENTRY_CTRL_MASKBIT);
}

/* A vector's message as its entry has it now. */
static int set_route(struct msix *msix, uint16_t vector)
{
        const struct entry *entry = &msix->entries[vector];

        if (msix->routes[vector] < 0)
                msix->routes[vector] = kvm_new_route(msix->kvm);
        if (msix->routes[vector] < 0)
                return msix->routes[vector];
        return kvm_set_route(msix->kvm, msix->routes[vector], (uint64_t)entry->address_high << 32 | entry->address_low,
                             entry->data);
}

/* KVM looks at the eventfd when it gets it, so that what was signalled before is sent. */
static void connect_source(struct msix *msix, struct msix_source *source)
{
        if (source->connected || !can_send(msix, source->vector) || set_route(msix, source->vector) < 0)
                return;
        source->connected = kvm_irqfd(msix->kvm, msix->routes[source->vector], source->fd, true) == 0;
}

static void disconnect_source(struct msix *msix, struct msix_source *source)
{
        if (source->connected)
                kvm_irqfd(msix->kvm, msix->routes[source->vector], source->fd, false);
        source->connected = false;
}

static void update_source(struct msix *msix, struct msix_source *source)
{
        if (source->connected && !can_send(msix, source->vector))
                disconnect_source(msix, source);
        else
                connect_source(msix, source);
}

/* ---- */

void msix_reset(struct msix *msix)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&msix->lock);
        pci_set16(msix->function, msix->capability + PCI_MSIX_FLAGS, (uint16_t)(msix->n_vectors - 1));
        msix->flags = 0;
        for (unsigned i = 0; i < msix->n_sources; i++)
                disconnect_source(msix, &msix->sources[i]);
        for (unsigned i = 0; i < msix->n_vectors; i++) {
                if (msix->routes[i] >= 0)
                        kvm_free_route(msix->kvm, msix->routes[i]);
                msix->routes[i] = -1;
        }
        reset_entries(msix);
}

bool msix_set_vector(struct msix *msix, unsigned source, uint16_t vector)
{
        bool there = vector == MSIX_NO_VECTOR || vector < msix->n_vectors;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&msix->lock);
        disconnect_source(msix, &msix->sources[source]);
        msix->sources[source].vector = there ? vector : MSIX_NO_VECTOR;
        connect_source(msix, &msix->sources[source]);
        return there;
}

/* A message that changes while it may be sent is told to KVM at once. */
static void entry_changed(struct msix *msix, unsigned vector, const struct entry *before)
{
        const struct entry *now = &msix->entries[vector];
        bool message = now->address_low != before->address_low || now->address_high != before->address_high ||
                       now->data != before->data;

        if (message && msix->routes[vector] >= 0)
                set_route(msix, (uint16_t)vector);
        for (unsigned i = 0; i < msix->n_sources; i++)
                if (msix->sources[i].vector == vector)
                        update_source(msix, &msix->sources[i]);
}

void msix_access_table(struct msix *msix, uint64_t offset, void *data, unsigned size, bool write)
{
        uint64_t vector = offset / PCI_MSIX_ENTRY_SIZE;
        unsigned at = offset % PCI_MSIX_ENTRY_SIZE;

        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&msix->lock);
        if (vector < msix->n_vectors && size <= PCI_MSIX_ENTRY_SIZE - at) {
                struct entry *entry = &msix->entries[vector], before = *entry;

                if (write) {
                        memcpy((uint8_t *)entry + at, data, size);
                        entry_changed(msix, (unsigned)vector, &before);
                } else {
                        memcpy(data, (uint8_t *)entry + at, size);
                }
        }
}

static bool is_pending(const struct msix_source *source)
{
        struct pollfd fd = {.fd = source->fd, .events = POLLIN};

        return !source->connected && poll(&fd, 1, 0) == 1;
}

void msix_access_pending(struct msix *msix, uint64_t offset, void *data, unsigned size, bool write)
{
        uint8_t bits[MSIX_MAX_VECTORS / 8 + 8] = {0};

        if (write || !range_within((struct oriel_range){offset, size}, sizeof(bits)))
                return;
        pthread_mutex_lock(&msix->lock);
        for (unsigned i = 0; i < msix->n_sources; i++)
                if (msix->sources[i].vector < msix->n_vectors && is_pending(&msix->sources[i]))
                        bits[msix->sources[i].vector / 8] |= (uint8_t)(1 << msix->sources[i].vector % 8);
        pthread_mutex_unlock(&msix->lock);
        memcpy(data, bits + offset, size);
}

void msix_config_written(struct msix *msix, unsigned offset, unsigned size)
{
        unsigned flags = msix->capability + PCI_MSIX_FLAGS;

        if (offset >= flags + 2 || offset + size <= flags)
                return;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&msix->lock);
        msix->flags = pci_get16(msix->function, flags);
        for (unsigned i = 0; i < msix->n_sources; i++)
                update_source(msix, &msix->sources[i]);
}
