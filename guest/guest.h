/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef GUEST_H
#define GUEST_H

/* A guest without a kernel, for tests: one vcpu at privilege level 3, which polls. It speaks TAP over the serial port,
 * and turns the machine off when it has done. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Registers of devices: one access of this size, and in this order. */
static inline uint8_t read8(uint64_t address)
{
        return *(volatile uint8_t *)address;
}

static inline uint16_t read16(uint64_t address)
{
        return *(volatile uint16_t *)address;
}

static inline uint32_t read32(uint64_t address)
{
        return *(volatile uint32_t *)address;
}

static inline uint64_t read64(uint64_t address)
{
        return *(volatile uint64_t *)address;
}

static inline void write8(uint64_t address, uint8_t value)
{
        *(volatile uint8_t *)address = value;
}

static inline void write16(uint64_t address, uint16_t value)
{
        *(volatile uint16_t *)address = value;
}

static inline void write32(uint64_t address, uint32_t value)
{
        *(volatile uint32_t *)address = value;
}

static inline void write64(uint64_t address, uint64_t value)
{
        *(volatile uint64_t *)address = value;
}

void *memcpy(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);

/* To the serial port. Of printf's conversions: %s, %d, %u, %x, %c, %%, with l or ll, a width and zeros before. */
void print(const char *format, ...) __attribute__((format(printf, 1, 2)));
void power_off(void) __attribute__((noreturn));

/* Begin anew, as by the reset register. */
void reset_machine(void) __attribute__((noreturn));

/* Ends a wait that nothing else would end. A host with a load of its own needs long for things that take no time. */
enum { LAST_RESORT_MS = 120000 };

/* Bounds of waits, in the processor's ticks: none is so fast or slow that they would be too long or too short. */
uint64_t deadline_in(unsigned ms);
bool deadline_past(uint64_t deadline);
void sleep_ms(unsigned ms);

/* Tell the host that this point is reached, by a line "# sync: @name", and wait until it has sent a byte. */
void sync_host(const char *name);
/* The same in two halves: a byte that has come since, without waiting. */
void tell_host(const char *name);
bool host_has_answered(void);

/* The command line, of which each word is a name or name=value. The value, "" for a name alone, or NULL; it ends with a
 * space or a zero. */
extern const char *guest_cmdline;
const char *cmdline_value(const char *name);
uint64_t cmdline_number(const char *name, uint64_t otherwise);
bool cmdline_is(const char *name, const char *value);

/* A point of TAP. */
bool check(bool ok, const char *name, ...) __attribute__((format(printf, 2, 3)));
/* One without which the rest makes no sense: if it fails the machine is turned off. */
void need(bool ok, const char *name, ...) __attribute__((format(printf, 2, 3)));
/* The plan, at the end: how many points there were. */
void check_end(void);

void guest_main(void);

#endif
