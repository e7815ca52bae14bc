/* SPDX-License-Identifier: BSD-2-Clause */

/* The clock of a PC: registers that are made from the host's time when they are read, and memory. Each second that has
 * passed is looked at once, when register C is read or the timer has expired: it sets the flag of the update, and that
 * of the alarm where its time is the alarm's. The timer runs only while the guest wants an interrupt. */

#include "vmm/arch/x86/rtc.h"

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/lock.h"
#include "vmm/arch/x86/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

/* The registers, and the bits, by the data sheet's names. */
enum { SECONDS, SECONDS_ALARM, MINUTES, MINUTES_ALARM, HOURS, HOURS_ALARM, WEEKDAY, DAY, MONTH, YEAR, A, B, C, D };
enum { A_UIP = 0x80, A_DIVIDER_32K = 0x26 };
enum { B_AIE = 0x20, B_UIE = 0x10, B_24H = 0x02 };
enum { C_IRQF = 0x80, C_AF = 0x20, C_UF = 0x10 };
enum { D_VRT = 0x80, ALARM_ANY = 0xc0, CELLS = 128 };

/* Of more seconds than these, none but the last is looked at. */
enum { SECONDS_A_DAY = 86400 };
/* Before a second ends, UIP says that the registers are about to change. */
#define UPDATE_NS 244000
#define NS_PER_S  1000000000

struct rtc {
        struct rtc_ops ops;
        void *userdata;
        int timer_fd;
        pthread_mutex_t lock; /* what follows */
        uint8_t index;
        uint8_t cells[CELLS]; /* alarm, B, C, and what is memory */
        time_t seen;          /* the last second that was looked at */
        bool level;
};

static uint8_t bcd(int value)
{
        return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

static bool alarm_matches(const struct rtc *rtc, time_t second)
{
        const int in_day = (int)(second % SECONDS_A_DAY);
        const uint8_t time[] = {bcd(in_day % 60), bcd(in_day / 60 % 60), bcd(in_day / 3600)};
        bool all = true;

        for (unsigned i = 0; i < ARRAY_SIZE(time); i++) {
                uint8_t wanted = rtc->cells[SECONDS_ALARM + 2 * i];

                all = all && ((wanted & ALARM_ANY) == ALARM_ANY || wanted == time[i]);
        }
        return all;
}

static void rtc_update_level(struct rtc *rtc)
{
        const bool level = (rtc->cells[C] & rtc->cells[B] & (C_AF | C_UF)) != 0;

        if (level)
                rtc->cells[C] |= C_IRQF;
        if (level == rtc->level)
                return;
        rtc->level = level;
        rtc->ops.interrupt(rtc->userdata, level);
}

static void rtc_look(struct rtc *rtc)
{
        const time_t now = rtc->ops.now(rtc->userdata).tv_sec;

        /* Also when the host's clock was set back. */
        if (now < rtc->seen || now - rtc->seen > SECONDS_A_DAY)
                rtc->seen = now - 1;
        for (; rtc->seen < now; rtc->seen++) {
                rtc->cells[C] |= C_UF;
                if (alarm_matches(rtc, rtc->seen + 1))
                        rtc->cells[C] |= C_AF;
        }
        rtc_update_level(rtc);
}

/* Until the next second, or never. Not at a time of the host's clock: that may be set back meanwhile. */
static void rtc_set_timer(struct rtc *rtc)
{
        struct itimerspec when = {.it_value.tv_nsec = 0};

        if (rtc->cells[B] & (B_AIE | B_UIE))
                when.it_value.tv_nsec = NS_PER_S - rtc->ops.now(rtc->userdata).tv_nsec;
        if (when.it_value.tv_nsec == NS_PER_S)
                when.it_value = (struct timespec){.tv_sec = 1};
        timerfd_settime(rtc->timer_fd, 0, &when, NULL);
}

static uint8_t rtc_read_time(const struct rtc *rtc)
{
        const struct timespec now = rtc->ops.now(rtc->userdata);
        struct tm tm;

        gmtime_r(&now.tv_sec, &tm);

        const uint8_t time[] = {
                [SECONDS] = bcd(tm.tm_sec),      [MINUTES] = bcd(tm.tm_min), [HOURS] = bcd(tm.tm_hour),
                [WEEKDAY] = bcd(tm.tm_wday + 1), [DAY] = bcd(tm.tm_mday),    [MONTH] = bcd(tm.tm_mon + 1),
                [YEAR] = bcd(tm.tm_year % 100),
        };

        if (rtc->index == LAYOUT_RTC_CENTURY)
                return bcd((tm.tm_year + 1900) / 100);
        if (rtc->index == A)
                return A_DIVIDER_32K | (now.tv_nsec >= NS_PER_S - UPDATE_NS ? A_UIP : 0);
        return time[rtc->index];
}

static uint8_t rtc_read(struct rtc *rtc)
{
        uint8_t value;

        switch (rtc->index) {
        case SECONDS_ALARM:
        case MINUTES_ALARM:
        case HOURS_ALARM:
        case B:
                return rtc->cells[rtc->index];
        case C:
                rtc_look(rtc);
                value = rtc->cells[C];
                rtc->cells[C] = 0;
                rtc_update_level(rtc);
                return value;
        case D:
                return D_VRT;
        default:
                return rtc->index <= A || rtc->index == LAYOUT_RTC_CENTURY ? rtc_read_time(rtc)
                                                                           : rtc->cells[rtc->index];
        }
}

static void rtc_write(struct rtc *rtc, uint8_t value)
{
        /* The seconds until now, by the registers until now. */
        rtc_look(rtc);
        if (rtc->index == B) {
                rtc->cells[B] = (value & (B_AIE | B_UIE)) | B_24H;
                rtc_update_level(rtc);
                rtc_set_timer(rtc);
        } else if (rtc->index != C) {
                rtc->cells[rtc->index] = value;
        }
}

void rtc_access(void *userdata, uint64_t offset, void *data, unsigned size, bool write)
{
        struct rtc *rtc = userdata;
        uint8_t *bytes = data;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&rtc->lock);

        for (unsigned i = 0; i < size; i++, offset++)
                if (offset == 0 && write)
                        rtc->index = bytes[i] & (CELLS - 1); /* the highest bit masks NMIs, and there are none */
                else if (offset == 1 && write)
                        rtc_write(rtc, bytes[i]);
                else if (offset == 1)
                        bytes[i] = rtc_read(rtc);
}

int rtc_get_fd(const struct rtc *rtc)
{
        return rtc->timer_fd;
}

void rtc_tick(struct rtc *rtc)
{
        uint64_t expirations;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&rtc->lock);

        if (read(rtc->timer_fd, &expirations, sizeof(expirations)) != sizeof(expirations))
                return;
        rtc_look(rtc);
        rtc_set_timer(rtc);
}

void rtc_reset(struct rtc *rtc)
{
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&rtc->lock);

        memset(rtc->cells, 0, sizeof(rtc->cells));
        rtc->cells[B] = B_24H;
        rtc->index = 0;
        rtc->seen = rtc->ops.now(rtc->userdata).tv_sec;
        rtc_update_level(rtc);
        rtc_set_timer(rtc);
}

int rtc_new(const struct rtc_ops *ops, void *userdata, struct rtc **out)
{
        struct rtc *rtc = calloc(1, sizeof(*rtc));
        struct tm tm;

        *out = rtc;
        if (!rtc)
                return -ENOMEM;
        rtc->ops = *ops;
        rtc->userdata = userdata;
        pthread_mutex_init(&rtc->lock, NULL);
        rtc->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (rtc->timer_fd < 0)
                return -errno;
        /* The C library opens the file of the time zone at the first call, which a sandbox would forbid later. */
        gmtime_r(&(time_t){0}, &tm);
        rtc_reset(rtc);
        return 0;
}

void rtc_free(struct rtc *rtc)
{
        if (!rtc)
                return;
        fd_close(rtc->timer_fd);
        pthread_mutex_destroy(&rtc->lock);
        free(rtc);
}
