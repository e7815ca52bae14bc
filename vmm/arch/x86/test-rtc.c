/* SPDX-License-Identifier: BSD-2-Clause */

/* Tests of the clock with a host whose time the test sets: registers, alarm, updates, and the timer. */

#include "base/cleanup.h"
#include "base/test.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/rtc.h"

#include <poll.h>
#include <unistd.h>

/* Registers and bits of an MC146818. */
enum {
        SECONDS = 0,
        SECONDS_ALARM = 1,
        MINUTES = 2,
        MINUTES_ALARM = 3,
        HOURS = 4,
        HOURS_ALARM = 5,
        A = 10,
        B = 11,
        C = 12
};
enum { UIP = 0x80, AIE = 0x20, UIE = 0x10, HOURS_24 = 2, IRQF = 0x80, AF = 0x20, UF = 0x10 };

struct host {
        struct timespec now;
        bool level;
        unsigned raised;
};

static void take_interrupt(void *userdata, bool level)
{
        struct host *host = userdata;

        assert_int_not_equal(level, host->level);
        host->level = level;
        host->raised += level;
}

static struct timespec tell_time(void *userdata)
{
        return ((struct host *)userdata)->now;
}

static struct rtc *begin(struct host *host, time_t now)
{
        static const struct rtc_ops ops = {take_interrupt, tell_time};
        struct rtc *rtc;

        *host = (struct host){.now = {now, 0}};
        assert_int_equal(rtc_new(&ops, host, &rtc), 0);
        return rtc;
}

static uint8_t get(struct rtc *rtc, uint8_t reg)
{
        uint8_t value = 0;

        rtc_access(rtc, 0, &reg, 1, true);
        rtc_access(rtc, 1, &value, 1, false);
        return value;
}

static void put(struct rtc *rtc, uint8_t reg, uint8_t value)
{
        uint8_t both[2] = {reg, value};

        rtc_access(rtc, 0, both, 2, true);
}

static void test_time(void **state)
{
        /* By date -u -d @SECONDS. */
        static const struct {
                time_t second;
                uint8_t registers[10], century;
        } times[] = {
                {0, {0x00, 0, 0x00, 0, 0x00, 0, 5, 0x01, 0x01, 0x70}, 0x19},
                {951868799, {0x59, 0, 0x59, 0, 0x23, 0, 3, 0x29, 0x02, 0x00}, 0x20},
                {1796036537, {0x17, 0, 0x02, 0, 0x11, 0, 2, 0x30, 0x11, 0x26}, 0x20},
                {4102444800, {0x00, 0, 0x00, 0, 0x00, 0, 6, 0x01, 0x01, 0x00}, 0x21},
        };
        struct host host;
        struct rtc *rtc = begin(&host, 0);

        for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
                host.now.tv_sec = times[i].second;
                for (uint8_t j = 0; j < 10; j++)
                        assert_int_equal(get(rtc, j), times[i].registers[j]);
                assert_int_equal(get(rtc, LAYOUT_RTC_CENTURY), times[i].century);
        }
        host.now.tv_nsec = 999755999;
        assert_int_equal(get(rtc, A) & UIP, 0);
        host.now.tv_nsec = 999756000;
        assert_int_equal(get(rtc, A) & UIP, UIP);
        assert_int_equal(get(rtc, 13), 0x80);
        rtc_free(rtc);
}

/* It can't be set, and what is no register is memory, also with the bit that masks NMIs. */
static void test_writes(void **state)
{
        struct host host;
        struct rtc *rtc = begin(&host, 59);

        put(rtc, SECONDS, 0x11);
        assert_int_equal(get(rtc, SECONDS), 0x59);
        put(rtc, 0x8f, 0x0a);
        assert_int_equal(get(rtc, 0x0f), 0x0a);
        put(rtc, B, 0xff);
        assert_int_equal(get(rtc, B), AIE | UIE | HOURS_24);
        rtc_reset(rtc);
        assert_int_equal(get(rtc, B), HOURS_24);
        assert_int_equal(get(rtc, 0x0f), 0);
        rtc_free(rtc);
}

static void test_update(void **state)
{
        struct host host;
        struct rtc *rtc = begin(&host, 1000);

        host.now.tv_sec++;
        assert_int_equal(get(rtc, C), UF);
        assert_int_equal(get(rtc, C), 0);
        put(rtc, B, UIE);
        assert_int_equal(host.raised, 0);
        host.now.tv_sec++;
        assert_int_equal(get(rtc, C), IRQF | UF);
        assert_int_equal(host.raised, 1);
        assert_false(host.level);
        /* The host's clock is set back. */
        host.now.tv_sec -= 500;
        assert_int_equal(get(rtc, C), IRQF | UF);
        assert_int_equal(get(rtc, C), 0);
        rtc_free(rtc);
}

static void test_alarm(void **state)
{
        struct host host;
        struct rtc *rtc = begin(&host, 10 * 3600 + 42 * 60 + 17);

        put(rtc, HOURS_ALARM, 0x10);
        put(rtc, MINUTES_ALARM, 0x42);
        put(rtc, SECONDS_ALARM, 0x19);
        put(rtc, B, AIE);
        host.now.tv_sec++;
        assert_int_equal(get(rtc, C), UF);
        host.now.tv_sec++;
        assert_int_equal(get(rtc, C), IRQF | UF | AF);
        host.now.tv_sec++;
        assert_int_equal(get(rtc, C), UF);
        /* It lies in what was not looked at for an hour; each second of a minute; and never. */
        host.now.tv_sec += 86400 - 10;
        assert_int_equal(get(rtc, C), UF);
        host.now.tv_sec += 3600;
        assert_int_equal(get(rtc, C), IRQF | UF | AF);
        put(rtc, HOURS_ALARM, 0xc0);
        put(rtc, MINUTES_ALARM, 0xff);
        put(rtc, SECONDS_ALARM, 0xe0);
        host.now.tv_sec++;
        assert_int_equal(get(rtc, C), IRQF | UF | AF);
        put(rtc, SECONDS_ALARM, 0x61);
        host.now.tv_sec += 600;
        assert_int_equal(get(rtc, C), UF);
        rtc_free(rtc);
}

/* The timer runs only for who wants an interrupt, and goes on when the host's clock is set back. */
static void test_timer(void **state)
{
        struct host host;
        struct rtc *rtc = begin(&host, time(NULL) - 3600);
        struct pollfd fd = {.fd = rtc_get_fd(rtc), .events = POLLIN};

        assert_int_equal(poll(&fd, 1, 20), 0);
        rtc_tick(rtc);
        put(rtc, B, UIE);
        assert_int_equal(poll(&fd, 1, -1), 1);
        host.now.tv_sec++;
        rtc_tick(rtc);
        assert_true(host.level);
        assert_int_equal(poll(&fd, 1, -1), 1);
        host.now.tv_sec -= 7200;
        host.now.tv_nsec = 900000000;
        rtc_tick(rtc);
        assert_int_equal(poll(&fd, 1, 60000), 1);
        put(rtc, B, 0);
        assert_false(host.level);
        assert_int_equal(poll(&fd, 1, 20), 0);
        rtc_free(rtc);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_time),  counted_test(test_writes), counted_test(test_update),
                counted_test(test_alarm), counted_test(test_timer),
        };

        return run_counted("rtc", tests);
}
