/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/test.h"
#include "bench/common/figures.h"

/* A figure with 4 runs of each side; in the last two, our side's ratio is @own to 1. */
static struct figure compared(double own, double bar, bool at_most)
{
        struct figure figure = {.bar = bar, .at_most = at_most};
        double owns[] = {1e-9, own, own, 1e9};

        for (size_t i = 0; i < ARRAY_SIZE(owns); i++) {
                figure_sample(&figure, 0, owns[i]);
                figure_sample(&figure, 1, 1);
        }
        return figure;
}

static void test_the_bar_is_held_against_what_is_told(void **state)
{
        static const struct {
                double own, told, bar;
                bool at_most, reached;
        } cases[] = {
                {2, 2, 1, false, true},           {0.5, 0.5, 1, false, false},     {0.5, 0.5, 1, true, true},
                {2, 2, 1, true, false},           {0.9996, 1, 1, false, true},     {1.0004, 1, 1, true, true},
                {0.9994, 0.999, 1, false, false}, {1.0006, 1.001, 1, true, false}, {2.4996, 2.5, 2.5, false, true},
        };

        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                struct figure figure = compared(cases[i].own, cases[i].bar, cases[i].at_most);
                char text[32], told[32];

                snprintf(text, sizeof(text), "%.3f", figure_ratio(&figure));
                snprintf(told, sizeof(told), "%.3f", cases[i].told);
                assert_string_equal(text, told);
                assert_int_equal(figure_reached(&figure), cases[i].reached);
        }
}

static void test_no_ratio(void **state)
{
        struct figure none = {.bar = 1}, unequal = compared(2, 1, false);

        unequal.unequal = true;
        assert_true(figure_ratio(&none) == 0);
        assert_true(figure_ratio(&unequal) == 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_the_bar_is_held_against_what_is_told),
                counted_test(test_no_ratio),
        };

        return run_counted("figures", tests);
}
