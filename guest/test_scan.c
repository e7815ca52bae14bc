/* SPDX-License-Identifier: BSD-2-Clause */

/* Looks for the devices on the bus. */

#include "pci.h"
#include "tests.h"

#include <linux/pci_regs.h>

enum { MOST_FUNCTIONS = 64, BARS = 6 };

static void show_bars(const struct pci_function *function)
{
        for (unsigned i = 0; i < BARS; i++) {
                uint64_t size, address = pci_bar(function, i, &size);

                if (size > 0)
                        print("#   BAR %u at 0x%llx, 0x%llx bytes\n", i, (unsigned long long)address,
                              (unsigned long long)size);
                /* The next register has the address's other half. */
                if (read32(function->config + PCI_BASE_ADDRESS_0 + 4 * i) & PCI_BASE_ADDRESS_MEM_TYPE_64)
                        i++;
        }
}

void test_scan(void)
{
        static struct pci_function functions[MOST_FUNCTIONS];
        unsigned n = pci_scan(functions, MOST_FUNCTIONS);

        for (unsigned i = 0; i < n; i++) {
                print("# %02x.%u is %04x:%04x, class 0x%06x\n", functions[i].number >> 3, functions[i].number & 7,
                      functions[i].vendor, functions[i].device, read32(functions[i].config + PCI_CLASS_REVISION) >> 8);
                show_bars(&functions[i]);
        }
        check(n > 0, "there is a host bridge");
        check(n > 0 && functions[0].number == 0, "it is 00.0");
}
