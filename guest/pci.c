/* SPDX-License-Identifier: BSD-2-Clause */
#include "pci.h"
#include "vmm/arch/x86/layout.h"

#include <linux/pci_regs.h>

enum { FUNCTIONS = 256, FUNCTION_SHIFT = 12, CAPABILITY_MOST = 64, MULTI_FUNCTION = 0x80 };

static uint64_t config_of(unsigned number)
{
        return LAYOUT_ECAM + ((uint64_t)number << FUNCTION_SHIFT);
}

unsigned pci_scan(struct pci_function *functions, unsigned most)
{
        unsigned n = 0;
        bool multi = false;

        for (unsigned number = 0; number < FUNCTIONS && n < most; number++) {
                uint64_t config = config_of(number);

                if ((number & 7) == 0)
                        multi = read8(config + PCI_HEADER_TYPE) & MULTI_FUNCTION;
                else if (!multi)
                        continue;

                uint32_t id = read32(config + PCI_VENDOR_ID);

                if ((id & 0xffff) == 0xffff) {
                        /* Without its first function a device has no others. */
                        if ((number & 7) == 0)
                                multi = false;
                        continue;
                }
                functions[n++] = (struct pci_function){config, (uint16_t)id, (uint16_t)(id >> 16), number};
        }
        return n;
}

unsigned pci_find_capability(const struct pci_function *function, uint8_t id, unsigned at)
{
        if (!(read16(function->config + PCI_STATUS) & PCI_STATUS_CAP_LIST))
                return 0;
        /* The list may be wrong, and be a circle. */
        for (unsigned i = 0; i < CAPABILITY_MOST; i++) {
                at = read8(function->config + (at ? at + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST)) & ~3u;
                if (at == 0 || read8(function->config + at + PCI_CAP_LIST_ID) == id)
                        return at;
        }
        return 0;
}

/* The bits that stay of all ones. The function must not decode meanwhile. */
static uint32_t size_mask(uint64_t at)
{
        uint32_t old = read32(at), mask;

        write32(at, UINT32_MAX);
        mask = read32(at);
        write32(at, old);
        return mask;
}

uint64_t pci_bar(const struct pci_function *function, unsigned bar, uint64_t *size)
{
        uint64_t at = function->config + PCI_BASE_ADDRESS_0 + 4 * bar, address = read32(at), mask;
        uint16_t command = read16(function->config + PCI_COMMAND);
        bool is_64 = (address & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64;

        *size = 0;
        if (address & PCI_BASE_ADDRESS_SPACE_IO)
                return 0;
        write16(function->config + PCI_COMMAND, (uint16_t)(command & ~PCI_COMMAND_MEMORY));
        mask = size_mask(at) & ~UINT64_C(0xf);
        if (mask) {
                mask |= is_64 ? (uint64_t)size_mask(at + 4) << 32 : UINT64_C(0xffffffff) << 32;
                *size = ~mask + 1;
        }
        write16(function->config + PCI_COMMAND, command);
        address &= ~UINT64_C(0xf);
        return is_64 ? address | (uint64_t)read32(at + 4) << 32 : address;
}

void pci_enable(const struct pci_function *function, bool on)
{
        uint16_t command = read16(function->config + PCI_COMMAND), bits = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

        write16(function->config + PCI_COMMAND, (uint16_t)(on ? command | bits : command & ~bits));
}
