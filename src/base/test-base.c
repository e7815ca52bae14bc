/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/printable.h"
#include "base/range.h"
#include "base/test.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

static void test_checked(void **state)
{
        uint64_t out = 7;

        (void)state;
        assert_false(checked_add(UINT64_MAX, 1, &out));
        assert_false(checked_mul(UINT64_MAX, 2, &out));
        assert_false(checked_round_up(UINT64_MAX, 4096, &out));
        assert_int_equal(out, 7);
        assert_true(checked_round_up(4097, 4096, &out));
        assert_int_equal(out, 8192);
}

static void test_ranges(void **state)
{
        const struct oriel_range top = {UINT64_MAX, 1}, over = {UINT64_MAX, 2}, empty = {5, 0};

        (void)state;
        assert_true(range_valid(top));
        assert_false(range_valid(over));
        assert_false(range_valid(empty));
        assert_true(range_within((struct oriel_range){4096, 4096}, 8192));
        assert_false(range_within((struct oriel_range){4097, 4096}, 8192));
        assert_false(range_within((struct oriel_range){UINT64_MAX, 4096}, 8192));
        assert_true(range_overlaps((struct oriel_range){0, 10}, (struct oriel_range){9, 1}));
        assert_false(range_overlaps((struct oriel_range){0, 10}, (struct oriel_range){10, 1}));
        assert_false(range_overlaps((struct oriel_range){0, 10}, empty));
        assert_true(range_contains((struct oriel_range){0, 10}, (struct oriel_range){9, 1}));
        assert_false(range_contains((struct oriel_range){0, 10}, (struct oriel_range){9, 2}));
}

static void test_fds(void **state)
{
        int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        int slots[2] = {fd_dup(fd), -1};

        (void)state;
        assert_int_equal(fd_event_clear(fd), 0);
        assert_int_equal(fd_event_signal(fd), 0);
        assert_int_equal(fd_event_clear(slots[0]), 1);
        /* Whoever shares the eventfd can make it block, which changes nothing. */
        assert_int_equal(fd_set_nonblocking(fd, 0), 0);
        assert_int_equal(fd_event_clear(fd), 0);
        assert_int_equal(write(fd, &(uint64_t){UINT64_MAX - 1}, sizeof(uint64_t)), sizeof(uint64_t));
        assert_int_equal(fd_event_signal(fd), 0);
        assert_int_equal(fd_event_clear(fd), 1);
        fd_close_all(slots, 2);
        assert_int_equal(slots[0], -1);

        int taken = fd_take(&fd);

        assert_int_equal(fd, -1);
        assert_int_equal(fd_close(taken), -1);
        assert_int_equal(fd_dup(taken), -EBADF);
}

static void keep_line(void *userdata, enum oriel_log_level level, const char *line)
{
        (void)level;
        strcpy(userdata, line);
}

static void test_log(void **state)
{
        char line[512] = "";
        struct oriel_log log = {keep_line, line, ORIEL_LOG_INFO};

        (void)state;
        log_error(NULL, "nobody");
        log_debug(&log, "too fine");
        assert_string_equal(line, "");
        log_info(&log, "%d of %s", 3, "four");
        assert_string_equal(line, "3 of four");
}

static void test_printable(void **state)
{
        static const struct {
                const char *text, *shown;
        } cases[] = {
                {"plain", "plain"},
                {"\t\x7f\x1b", "???"},
                {"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"},
                {"\xff\xc0\x80", "???"},
                {"\xed\xa0\x80", "???"},
                {"\xe2\x82", "??"},
                {"\xf4\x90\x80\x80", "????"},
                {"a\xc2\x80\xc2\x9b"
                 "31mb\xc2\x9f\xc2\xa0",
                 "a??31mb?\xc2\xa0"},
                {"\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9x", "????x"},
                {"\xe2\x80\xa8\xe2\x80\x8e\xd8\x9c\xe2\x80\xa6", "???\xe2\x80\xa6"},
        };

        (void)state;
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
                char text[32];

                snprintf(text, sizeof(text), "%s", cases[i].text);
                make_printable(text);
                assert_string_equal(text, cases[i].shown);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_checked), counted_test(test_ranges),    counted_test(test_fds),
                counted_test(test_log),     counted_test(test_printable),
        };

        return run_counted("base", tests);
}
