/* SPDX-License-Identifier: BSD-2-Clause */

/* Tests of ACPI's fixed hardware: the power button and its interrupt, the bits that are kept and cleared, by words and
 * by bytes; power off, and reset. */

#include "base/test.h"
#include "vmm/arch/x86/layout.h"
#include "vmm/arch/x86/pm.h"

#include <string.h>

struct seen {
        bool level;
        unsigned changes, off, reset;
};

static void take_interrupt(void *userdata, bool level)
{
        struct seen *seen = userdata;

        assert_int_not_equal(level, seen->level);
        seen->level = level;
        seen->changes++;
}

static void take_off(void *userdata)
{
        ((struct seen *)userdata)->off++;
}

static void take_reset(void *userdata)
{
        ((struct seen *)userdata)->reset++;
}

static struct pm *begin(struct seen *seen)
{
        static const struct pm_ops ops = {take_interrupt, take_off, take_reset};
        struct pm *pm;

        memset(seen, 0, sizeof(*seen));
        assert_int_equal(pm_new(&ops, seen, &pm), 0);
        return pm;
}

static uint32_t get(struct pm *pm, uint64_t offset, unsigned size)
{
        uint32_t value = 0;

        pm_access(pm, offset, &value, size, false);
        return value;
}

static void put(struct pm *pm, uint64_t offset, uint32_t value, unsigned size)
{
        pm_access(pm, offset, &value, size, true);
}

static void test_button(void **state)
{
        struct seen seen;
        struct pm *pm = begin(&seen);

        /* Nobody listens: it is remembered. */
        pm_press_power_button(pm);
        assert_false(seen.level);
        assert_int_equal(get(pm, 0, 2), 0x100);
        put(pm, 2, 0xffff, 2);
        assert_int_equal(get(pm, 2, 2), 0x520);
        assert_true(seen.level);
        assert_int_equal(get(pm, 0, 4), 0x05200100);
        /* Ones clear, zeros and other ones do not. */
        put(pm, 0, 0xfeff, 2);
        assert_true(seen.level);
        put(pm, 0, 0x100, 2);
        assert_false(seen.level);
        assert_int_equal(get(pm, 0, 2), 0);
        /* By bytes. */
        pm_press_power_button(pm);
        pm_press_power_button(pm);
        assert_true(seen.level);
        assert_int_equal(get(pm, 1, 1), 1);
        put(pm, 1, 1, 1);
        assert_false(seen.level);
        pm_press_power_button(pm);
        pm_reset(pm);
        assert_false(seen.level);
        assert_int_equal(get(pm, 0, 4), 0);
        assert_int_equal(seen.changes, 6);
        pm_free(pm);
}

static void test_off(void **state)
{
        const uint32_t type = LAYOUT_SLEEP_TYPE_OFF << 10, enable = 1 << 13;
        struct seen seen;
        struct pm *pm = begin(&seen);

        assert_int_equal(get(pm, LAYOUT_PM1_CONTROL, 2), 1);
        /* As ACPICA does it: first the type, then with SLP_EN. */
        put(pm, LAYOUT_PM1_CONTROL, type | 1, 2);
        assert_int_equal(get(pm, LAYOUT_PM1_CONTROL, 2), type | 1);
        assert_int_equal(seen.off, 0);
        put(pm, LAYOUT_PM1_CONTROL, type | enable | 1, 2);
        assert_int_equal(seen.off, 1);
        assert_int_equal(get(pm, LAYOUT_PM1_CONTROL, 2), type | 1);
        /* A state that is not there. */
        put(pm, LAYOUT_PM1_CONTROL, 3 << 10 | enable, 2);
        assert_int_equal(seen.off, 1);
        put(pm, LAYOUT_PM1_CONTROL + 1, (type | enable) >> 8, 1);
        assert_int_equal(seen.off, 2);
        assert_int_equal(seen.reset, 0);
        pm_free(pm);
        pm_free(NULL);
}

static void test_reset(void **state)
{
        struct seen seen;
        struct pm *pm = begin(&seen);
        uint64_t all = 0x5555555555555555;

        put(pm, LAYOUT_PM_RESET, 2, 1);
        assert_int_equal(seen.reset, 0);
        put(pm, LAYOUT_PM_RESET, LAYOUT_RESET_VALUE, 1);
        assert_int_equal(seen.reset, 1);
        assert_int_equal(get(pm, LAYOUT_PM_RESET, 4), 0);

        /* Over the end, and behind it: what is not there is left alone. */
        pm_access(pm, LAYOUT_PM_SIZE - 2, &all, 8, false);
        assert_int_equal(all, 0x5555555555550000);
        pm_access(pm, LAYOUT_PM_SIZE, &all, 8, true);
        pm_access(pm, UINT64_MAX, &all, 8, true);
        pm_access(pm, UINT64_MAX - 3, &all, 8, false);
        assert_int_equal(all, 0x5555555555550000);
        assert_int_equal(seen.off + seen.changes, 0);
        pm_free(pm);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_button),
                counted_test(test_off),
                counted_test(test_reset),
        };

        return run_counted("pm", tests);
}
