/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_ARCH_X86_LAYOUT_H
#define VMM_ARCH_X86_LAYOUT_H

#include <stdint.h>

/* Where the machine has what: guest physical addresses and I/O ports. */

/* Memory is below the hole for devices, and the rest of it is from 4 GiB on. */
#define LAYOUT_LOW_MEMORY_END UINT64_C(0xc0000000)
#define LAYOUT_HIGH_MEMORY    UINT64_C(0x100000000)

/* 32-bit PCI memory, between low memory and the configuration space. */
#define LAYOUT_MMIO32      UINT64_C(0xc0000000)
#define LAYOUT_MMIO32_SIZE UINT64_C(0x20000000)
/* PCI configuration space (ECAM): one bus, 1 MiB. */
#define LAYOUT_ECAM      UINT64_C(0xe0000000)
#define LAYOUT_ECAM_SIZE UINT64_C(0x100000)
/* Devices that have ports are here as well, for a guest at privilege level 3, which has no ports. */
#define LAYOUT_PLATFORM      UINT64_C(0xfe000000)
#define LAYOUT_PLATFORM_SIZE UINT64_C(0x1000)
#define LAYOUT_IOAPIC        UINT64_C(0xfec00000)
#define LAYOUT_LAPIC         UINT64_C(0xfee00000)

/* The serial port: a 16550. At LAYOUT_PLATFORM + 0 too. */
enum { LAYOUT_SERIAL_PORT = 0x3f8, LAYOUT_SERIAL_PIN = 4 };
/* The clock: an index and a data port, and the century's register. */
enum { LAYOUT_RTC_PORT = 0x70, LAYOUT_RTC_SIZE = 2, LAYOUT_RTC_PIN = 8, LAYOUT_RTC_CENTURY = 0x32 };
/* Power management, ACPI's fixed hardware: PM1a event block (4 bytes), PM1a control block (2 bytes), and the reset
 * register (1 byte, LAYOUT_RESET_VALUE). At LAYOUT_PLATFORM + 0x100 too. */
enum {
        LAYOUT_PM_PORT = 0x600,
        LAYOUT_PM_SIZE = 0x10,
        LAYOUT_PM1_EVENT = 0,
        LAYOUT_PM1_CONTROL = 4,
        LAYOUT_PM_RESET = 8,
        LAYOUT_RESET_VALUE = 1,
        LAYOUT_SLEEP_TYPE_OFF = 5, /* \_S5 */
        LAYOUT_SCI_PIN = 9,
};

#endif
