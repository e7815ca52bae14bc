/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_PCI_H
#define GUEST_PCI_H

#include "guest.h"

/* A function on the bus, by the address of its configuration space. */
struct pci_function {
        uint64_t config;
        uint16_t vendor, device;
        unsigned number; /* device and function */
};

/* All functions that are there, and how many, at most @most. */
unsigned pci_scan(struct pci_function *functions, unsigned most);
/* The next capability with @id after @at (0: the first), or 0. */
unsigned pci_find_capability(const struct pci_function *function, uint8_t id, unsigned at);
/* A memory BAR's address and size; the size is 0 where there is none. */
uint64_t pci_bar(const struct pci_function *function, unsigned bar, uint64_t *size);
/* Memory accesses and DMA on or off. */
void pci_enable(const struct pci_function *function, bool on);

#endif
