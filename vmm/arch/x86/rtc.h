/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_ARCH_X86_RTC_H
#define VMM_ARCH_X86_RTC_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* The clock of a PC, an MC146818 with a century: the host's time in UTC, in BCD and with 24 hours. It can't be set.
 * The alarm and the update interrupt are there, the periodic one is not. It knows no bus. */
struct rtc;

struct rtc_ops {
        /* The interrupt's level has changed. Called with a lock held, in the order of the changes. */
        void (*interrupt)(void *userdata, bool level);
        struct timespec (*now)(void *userdata); /* the host's time */
};

int rtc_new(const struct rtc_ops *ops, void *userdata, struct rtc **out);
void rtc_free(struct rtc *rtc); /* NULL is accepted */
/* As after power-on. */
void rtc_reset(struct rtc *rtc);
/* As the access of a struct bus_device: an index port and a data port of one byte each. Any thread. */
void rtc_access(void *rtc, uint64_t offset, void *data, unsigned size, bool write);
/* Readable when rtc_tick() has something to do, which is once a second while the guest wants an interrupt. */
int rtc_get_fd(const struct rtc *rtc);
void rtc_tick(struct rtc *rtc);

#endif
