/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_BUS_PCI_H
#define VMM_BUS_PCI_H

#include "vmm/bus/bus.h"

#include <stddef.h>

/* One PCI bus: its configuration space (ECAM), a host bridge at 00.0, and functions whose BARs it places. Accesses come
 * from any thread; functions are added and removed while no guest runs. */
struct pci;

enum {
        PCI_CONFIG_SIZE = 256,
        PCI_BAR_COUNT = 6,
        PCI_MAX_FUNCTIONS = 31 * 8, /* besides the host bridge */
};

struct pci_bar {
        uint64_t size; /* a power of two, at least 4096; 0: there is none */
        bool is_64;    /* takes the next BAR's register too; is prefetchable */
        /* The guest's accesses, offsets in the BAR. */
        void (*access)(void *userdata, uint64_t offset, void *data, unsigned size, bool write);
        /* The BAR is at @address from now on, or, if @decoded is false, nowhere. May be NULL. */
        void (*moved)(void *userdata, uint64_t address, bool decoded);

        /* The bus's. */
        struct bus_device device;
        uint64_t initial; /* address */
        bool decoded;
};

struct pci_function {
        uint8_t config[PCI_CONFIG_SIZE];
        uint8_t writable[PCI_CONFIG_SIZE]; /* the bits that the guest may change */
        struct pci_bar bars[PCI_BAR_COUNT];
        /* Around an access to the configuration space, with the bus's lock: before a read, after a write. May be NULL.
         */
        void (*config_access)(void *userdata, unsigned offset, unsigned size, bool write);
        void *userdata;

        /* The bus's. */
        struct pci *pci;
        unsigned number; /* device and function */
        unsigned next_capability;
};

struct pci_space {
        struct oriel_range ecam, mmio32, mmio64;
};

/* On @bus, which must outlive it. */
int pci_new(struct bus *bus, const struct pci_space *space, struct pci **out);
void pci_free(struct pci *pci); /* after its functions were removed */

/* The header's fields before pci_add(): the rest of @function is zero or the caller's. */
void pci_init(struct pci_function *function, uint16_t vendor, uint16_t device, uint32_t class_revision,
              uint16_t subsystem_vendor, uint16_t subsystem);
/* A capability of @size bytes: where it is in the configuration space. 0: there is no room. */
unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned size);

/* Give it a number and its BARs their first addresses. @function is the caller's until it is removed. -ENOSPC: no
 * number is free, or no address for a BAR. */
int pci_add(struct pci *pci, struct pci_function *function);
void pci_remove(struct pci_function *function);
/* As after power-on: nothing is decoded, and BARs have their first addresses again. The function's owner puts the rest
 * of its registers back. */
void pci_reset(struct pci_function *function);

/* Of the configuration space, little-endian. */
uint16_t pci_get16(const struct pci_function *function, unsigned offset);
uint32_t pci_get32(const struct pci_function *function, unsigned offset);
void pci_set16(struct pci_function *function, unsigned offset, uint16_t value);
void pci_set32(struct pci_function *function, unsigned offset, uint32_t value);

/* An access to a BAR by way of the configuration space (virtio 1.2, 4.1.4.9). */
void pci_bar_access(struct pci_function *function, unsigned bar, uint64_t offset, void *data, unsigned size,
                    bool write);

#endif
