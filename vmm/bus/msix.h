/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_BUS_MSIX_H
#define VMM_BUS_MSIX_H

#include "vmm/bus/pci.h"
#include "vmm/kvm/kvm.h"

/* MSI-X of one function: each source, an eventfd, sends the vector that it was given. KVM itself reads the eventfds;
 * what is signalled while a vector is masked stays in its eventfd, and is sent when the mask goes. Any thread. */
struct msix;

enum { MSIX_NO_VECTOR = 0xffff, MSIX_MAX_VECTORS = 257 };

struct msix_options {
        struct kvm *kvm;
        struct pci_function *function; /* gets the capability */
        unsigned vectors;
        const int *sources; /* eventfds, the caller's; copied */
        unsigned n_sources;
        unsigned bar, table_offset, pending_offset; /* where the capability says that they are */
};

/* -ENOSPC: the configuration space has no room. */
int msix_new(const struct msix_options *options, struct msix **out);
void msix_free(struct msix *msix);
/* As after power-on; KVM knows of none of it any more. */
void msix_reset(struct msix *msix);

/* Source @source sends @vector from now on; MSIX_NO_VECTOR: nothing. False: there is no such vector. */
bool msix_set_vector(struct msix *msix, unsigned source, uint16_t vector);

/* The guest's accesses, offsets from the table's start and from the pending bits'. */
void msix_access_table(struct msix *msix, uint64_t offset, void *data, unsigned size, bool write);
void msix_access_pending(struct msix *msix, uint64_t offset, void *data, unsigned size, bool write);
/* The function's configuration space was written. */
void msix_config_written(struct msix *msix, unsigned offset, unsigned size);

#endif
