/* SPDX-License-Identifier: BSD-2-Clause */

/* PCI: configuration space by ECAM, BARs, and two windows of the address space in which BARs may be. A function has 4
 * KiB of configuration registers, and a mask that says which bits the guest may write; after a write to the command
 * register or a BAR its areas are taken from the bus and put where they are decoded now. A BAR outside of the windows,
 * or over another one, is decoded nowhere. Accesses come from vcpu threads; one lock orders those to configuration
 * space. */

#include "vmm/bus/pci.h"

#include "base/cleanup.h"
#include "base/range.h"

#include <endian.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { FUNCTION_BITS = 12, FUNCTIONS = 256 };
enum { MULTI_FUNCTION = 0x80 }; /* of the header type; not in every version of the header */

/* The host bridge: nobody's vendor, which every system takes for what its class says. */
enum { BRIDGE_VENDOR = 0x1b36, BRIDGE_DEVICE = 0x0008 };

struct pci {
        struct bus *bus; /* the machine's */
        struct bus *bars;
        struct bus_device ecam, mmio32, mmio64;
        uint64_t next32, next64; /* addresses not yet given away */
        pthread_mutex_t lock;    /* configuration space; before the lock of bars */
        struct pci_function *functions[FUNCTIONS];
        struct pci_function bridge;
};

/* ---- registers ---- */

uint16_t pci_get16(const struct pci_function *function, unsigned offset)
{
        uint16_t value;

        memcpy(&value, function->config + offset, sizeof(value));
        return le16toh(value);
}

uint32_t pci_get32(const struct pci_function *function, unsigned offset)
{
        uint32_t value;

        memcpy(&value, function->config + offset, sizeof(value));
        return le32toh(value);
}

void pci_set16(struct pci_function *function, unsigned offset, uint16_t value)
{
        value = htole16(value);
        memcpy(function->config + offset, &value, sizeof(value));
}

void pci_set32(struct pci_function *function, unsigned offset, uint32_t value)
{
        value = htole32(value);
        memcpy(function->config + offset, &value, sizeof(value));
}

static void allow16(struct pci_function *function, unsigned offset, uint16_t bits)
{
        bits = htole16(bits);
        memcpy(function->writable + offset, &bits, sizeof(bits));
}

static void allow32(struct pci_function *function, unsigned offset, uint32_t bits)
{
        bits = htole32(bits);
        memcpy(function->writable + offset, &bits, sizeof(bits));
}

void pci_init(struct pci_function *function, uint16_t vendor, uint16_t device, uint32_t class_revision,
              uint16_t subsystem_vendor, uint16_t subsystem)
{
        pci_set16(function, PCI_VENDOR_ID, vendor);
        pci_set16(function, PCI_DEVICE_ID, device);
        pci_set32(function, PCI_CLASS_REVISION, class_revision);
        pci_set16(function, PCI_SUBSYSTEM_VENDOR_ID, subsystem_vendor);
        pci_set16(function, PCI_SUBSYSTEM_ID, subsystem);
        allow16(function, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE);
        function->writable[PCI_INTERRUPT_LINE] = 0xff;
        function->writable[PCI_CACHE_LINE_SIZE] = 0xff;
        function->next_capability = PCI_STD_HEADER_SIZEOF;
}

unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned size)
{
        unsigned at = function->next_capability;

        if (size > PCI_CONFIG_SIZE - at)
                return 0;
        function->config[at] = id;
        function->config[at + 1] = function->config[PCI_CAPABILITY_LIST];
        function->config[PCI_CAPABILITY_LIST] = (uint8_t)at;
        pci_set16(function, PCI_STATUS, PCI_STATUS_CAP_LIST);
        function->next_capability = (at + size + 3) & ~3u;
        return at;
}

/* ---- BARs ---- */

static unsigned bar_register(unsigned bar)
{
        return PCI_BASE_ADDRESS_0 + 4 * bar;
}

static uint64_t bar_address(const struct pci_function *function, unsigned bar)
{
        uint64_t address = pci_get32(function, bar_register(bar)) & ~UINT64_C(0xf);

        if (function->bars[bar].is_64)
                address |= (uint64_t)pci_get32(function, bar_register(bar + 1)) << 32;
        return address;
}

/* The low bits are read-only zeros but for the type, so that the guest finds the size. */
static void init_bar(struct pci_function *function, unsigned bar)
{
        uint64_t mask = ~(function->bars[bar].size - 1);

        allow32(function, bar_register(bar), (uint32_t)mask);
        if (function->bars[bar].is_64)
                allow32(function, bar_register(bar + 1), (uint32_t)(mask >> 32));
}

static void reset_bar(struct pci_function *function, unsigned bar)
{
        const struct pci_bar *from = &function->bars[bar];
        uint32_t type = from->is_64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 | PCI_BASE_ADDRESS_MEM_PREFETCH : 0;

        pci_set32(function, bar_register(bar), (uint32_t)from->initial | type);
        if (from->is_64)
                pci_set32(function, bar_register(bar + 1), (uint32_t)(from->initial >> 32));
}

static void stop_decoding(struct pci_function *function, struct pci_bar *bar)
{
        if (!bar->decoded)
                return;
        bus_remove(function->pci->bars, &bar->device);
        bar->decoded = false;
        if (bar->moved)
                bar->moved(function->userdata, bar->device.range.start, false);
}

/* Only within the bus's windows: a BAR that the guest has put over memory, or another BAR, shows nowhere. */
static void start_decoding(struct pci_function *function, struct pci_bar *bar, uint64_t address)
{
        const struct pci *pci = function->pci;
        struct oriel_range range = {address, bar->size};

        if (!range_contains(pci->mmio32.range, range) && !range_contains(pci->mmio64.range, range))
                return;
        bar->device = (struct bus_device){range, bar->access, function->userdata};
        if (bus_add(pci->bars, &bar->device) < 0)
                return;
        bar->decoded = true;
        if (bar->moved)
                bar->moved(function->userdata, address, true);
}

/* After the command register or a BAR was written. */
static void place_bars(struct pci_function *function)
{
        bool decode = pci_get16(function, PCI_COMMAND) & PCI_COMMAND_MEMORY;

        for (unsigned i = 0; i < PCI_BAR_COUNT; i++) {
                struct pci_bar *bar = &function->bars[i];
                uint64_t address = bar_address(function, i);

                if (bar->size == 0 || (bar->decoded && decode && bar->device.range.start == address))
                        continue;
                stop_decoding(function, bar);
                if (decode)
                        start_decoding(function, bar, address);
        }
}

void pci_bar_access(struct pci_function *function, unsigned bar, uint64_t offset, void *data, unsigned size, bool write)
{
        const struct pci_bar *to = bar < PCI_BAR_COUNT ? &function->bars[bar] : NULL;

        if (to && to->access && range_within((struct oriel_range){offset, size}, to->size))
                to->access(function->userdata, offset, data, size, write);
}

/* ---- configuration space ---- */

static bool range_touches(unsigned offset, unsigned size, unsigned from, unsigned to)
{
        return offset < to && offset + size > from;
}

static void pci_write_config(struct pci_function *function, unsigned offset, const uint8_t *data, unsigned size)
{
        for (unsigned i = 0; i < size; i++) {
                uint8_t *byte = &function->config[offset + i], may = function->writable[offset + i];

                *byte = (uint8_t)((*byte & ~may) | (data[i] & may));
        }
        if (range_touches(offset, size, PCI_COMMAND, PCI_COMMAND + 2) ||
            range_touches(offset, size, PCI_BASE_ADDRESS_0, PCI_BASE_ADDRESS_5 + 4))
                place_bars(function);
        if (function->config_access)
                function->config_access(function->userdata, offset, size, true);
}

static void access_ecam(void *userdata, uint64_t address, void *data, unsigned size, bool write)
{
        struct pci *pci = userdata;
        uint64_t number = address >> FUNCTION_BITS;
        unsigned offset = (unsigned)address & ((1u << FUNCTION_BITS) - 1);

        pthread_mutex_lock(&pci->lock);

        struct pci_function *function = number < FUNCTIONS ? pci->functions[number] : NULL;

        if (function && offset <= PCI_CONFIG_SIZE - size) {
                if (write)
                        pci_write_config(function, offset, data, size);
                else if (function->config_access)
                        function->config_access(function->userdata, offset, size, false);
                if (!write)
                        memcpy(data, function->config + offset, size);
        } else if (function && !write) {
                memset(data, 0, size); /* no extended capabilities */
        }
        pthread_mutex_unlock(&pci->lock);
}

static void access_mmio32(void *userdata, uint64_t offset, void *data, unsigned size, bool write)
{
        struct pci *pci = userdata;

        bus_access(pci->bars, pci->mmio32.range.start + offset, data, size, write);
}

static void access_mmio64(void *userdata, uint64_t offset, void *data, unsigned size, bool write)
{
        struct pci *pci = userdata;

        bus_access(pci->bars, pci->mmio64.range.start + offset, data, size, write);
}

/* ---- functions ---- */

/* A device number for each function as long as there are some: then the guest need not look for more than one. */
static int free_number(const struct pci *pci)
{
        for (unsigned function = 0; function < 8; function++)
                for (unsigned device = 1; device < 32; device++)
                        if (!pci->functions[device << 3 | function])
                                return (int)(device << 3 | function);
        return -ENOSPC;
}

/* A BAR's address is a multiple of its size. */
static int bar_allocate(struct pci_bar *bar, uint64_t *next, struct oriel_range window)
{
        uint64_t start, end;

        if (!checked_round_up(*next, bar->size, &start) || !checked_add(start, bar->size, &end) ||
            !range_contains(window, (struct oriel_range){start, bar->size}))
                return -ENOSPC;
        bar->initial = start;
        *next = end;
        return 0;
}

static int add_bars(struct pci *pci, struct pci_function *function)
{
        int r = 0;

        for (unsigned i = 0; r == 0 && i < PCI_BAR_COUNT; i++) {
                struct pci_bar *bar = &function->bars[i];

                if (bar->size == 0)
                        continue;
                r = bar->is_64 ? bar_allocate(bar, &pci->next64, pci->mmio64.range)
                               : bar_allocate(bar, &pci->next32, pci->mmio32.range);
                init_bar(function, i);
                reset_bar(function, i);
        }
        return r;
}

int pci_add(struct pci *pci, struct pci_function *function)
{
        int number = free_number(pci);

        function->pci = pci;
        if (number < 0)
                return number;

        int r = add_bars(pci, function);

        if (r < 0)
                return r;
        function->number = (unsigned)number;
        pci->functions[number] = function;
        /* A guest looks at the other functions of a device only where the first says that there are some. */
        if (number & 7)
                pci->functions[number & ~7]->config[PCI_HEADER_TYPE] |= MULTI_FUNCTION;
        return 0;
}

void pci_remove(struct pci_function *function)
{
        struct pci *pci = function->pci;

        if (!pci || pci->functions[function->number] != function)
                return;
        pci_reset(function);
        pci->functions[function->number] = NULL;
}

void pci_reset(struct pci_function *function)
{
        pthread_mutex_lock(&function->pci->lock);
        pci_set16(function, PCI_COMMAND, 0);
        place_bars(function);
        for (unsigned i = 0; i < PCI_BAR_COUNT; i++)
                if (function->bars[i].size > 0)
                        reset_bar(function, i);
        pthread_mutex_unlock(&function->pci->lock);
}

static int add_windows(struct pci *pci, const struct pci_space *space)
{
        pci->ecam = (struct bus_device){space->ecam, access_ecam, pci};
        pci->mmio32 = (struct bus_device){space->mmio32, access_mmio32, pci};
        pci->mmio64 = (struct bus_device){space->mmio64, access_mmio64, pci};
        pci->next32 = space->mmio32.start;
        pci->next64 = space->mmio64.start;

        int r = bus_add(pci->bus, &pci->ecam);

        if (r == 0)
                r = bus_add(pci->bus, &pci->mmio32);
        return r == 0 ? bus_add(pci->bus, &pci->mmio64) : r;
}

int pci_new(struct bus *bus, const struct pci_space *space, struct pci **out)
{
        struct pci *pci = calloc(1, sizeof(*pci));

        if (!pci)
                return -ENOMEM;
        pci->bus = bus;
        pthread_mutex_init(&pci->lock, NULL);

        int r = bus_new(&pci->bars);

        if (r == 0)
                r = add_windows(pci, space);
        if (r < 0) {
                pci_free(pci);
                return r;
        }
        pci_init(&pci->bridge, BRIDGE_VENDOR, BRIDGE_DEVICE, 0x06000000, 0, 0);
        pci->bridge.pci = pci;
        pci->functions[0] = &pci->bridge;
        *out = pci;
        return 0;
}

void pci_free(struct pci *pci)
{
        if (!pci)
                return;
        bus_remove(pci->bus, &pci->ecam);
        bus_remove(pci->bus, &pci->mmio32);
        bus_remove(pci->bus, &pci->mmio64);
        bus_free(pci->bars);
        pthread_mutex_destroy(&pci->lock);
        free(pci);
}
