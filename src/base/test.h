/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_TEST_H
#define BASE_TEST_H

/* Included by every test program: cmocka, and a check around each test that no fd was leaked or closed. */

#ifdef NDEBUG
#error "tests are not built with NDEBUG"
#endif

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <stdlib.h>

static inline int test_count_fds(void)
{
        DIR *dir = opendir("/proc/self/fd");
        int n = 0;

        if (!dir)
                return -1;
        while (readdir(dir))
                n++;
        closedir(dir);
        return n;
}

/* Replaces cmocka's own, whose name differs between versions. */
#define assert_between(value, least, most)                      \
        do {                                                    \
                intmax_t assert_value = (intmax_t)(value);      \
                                                                \
                assert_true(assert_value >= (intmax_t)(least)); \
                assert_true(assert_value <= (intmax_t)(most));  \
        } while (0)

static int test_fds_before;

static inline int test_setup(void **state)
{
        test_fds_before = test_count_fds();
        return test_fds_before < 0;
}

static inline int test_teardown(void **state)
{
        int now = test_count_fds();

        if (now != test_fds_before) {
                print_error("fds open before the test: %d, after: %d\n", test_fds_before, now);
                return 1;
        }
        return 0;
}

#define counted_test(function)   cmocka_unit_test_setup_teardown(function, test_setup, test_teardown)
#define run_counted(name, tests) cmocka_run_group_tests_name(name, tests, NULL, NULL)

#endif
