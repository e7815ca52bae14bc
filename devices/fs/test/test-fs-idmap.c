/* SPDX-License-Identifier: BSD-2-Clause */

/* The rules of --translate-uid and --translate-gid, and the ranges of --uid-map and --gid-map. */

#include "base/cleanup.h"
#include "base/test.h"
#include "daemon/id_range.h"
#include "devices/fs/core/idmap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void add(struct id_map *map, const char *text)
{
        char why[128] = "";

        if (id_map_add(map, text, why, sizeof(why)) < 0)
                fail_msg("%s: %s", text, why);
}

static uint32_t to_host(const struct id_map *map, uint32_t guest)
{
        uint32_t host = 99999;

        assert_int_equal(id_to_host(map, guest, &host), 0);
        return host;
}

static void test_one_direction(void **state)
{
        struct id_map map = {0};

        add(&map, "guest:0:1000:10");
        assert_int_equal(to_host(&map, 0), 1000);
        assert_int_equal(to_host(&map, 9), 1009);
        assert_int_equal(to_host(&map, 10), 10);
        assert_int_equal(id_to_guest(&map, 1000), 1000);
        assert_int_equal(id_to_guest(&map, 0), 0);

        add(&map, "host:1000:0:10");
        assert_int_equal(id_to_guest(&map, 999), 999);
        assert_int_equal(id_to_guest(&map, 1000), 0);
        assert_int_equal(id_to_guest(&map, 1009), 9);
        assert_int_equal(id_to_guest(&map, 1010), 1010);
        assert_int_equal(to_host(&map, 1000), 1000);
}

static void test_both_directions(void **state)
{
        struct id_map map = {0};

        add(&map, "map:0:100000:65536");
        assert_int_equal(to_host(&map, 0), 100000);
        assert_int_equal(to_host(&map, 65535), 165535);
        assert_int_equal(to_host(&map, 65536), 65536);
        assert_int_equal(id_to_guest(&map, 100000), 0);
        assert_int_equal(id_to_guest(&map, 165535), 65535);
        assert_int_equal(id_to_guest(&map, 165536), 165536);
        assert_int_equal(id_to_guest(&map, 99999), 99999);
}

static void test_squash_and_forbid(void **state)
{
        struct id_map map = {0};
        uint32_t host = 7;

        add(&map, "squash-guest:1000:65534:1000");
        add(&map, "squash-host:5000:1:2");
        add(&map, "forbid-guest:0:1");
        add(&map, "forbid-guest:3000:4294964295");
        assert_int_equal(to_host(&map, 999), 999);
        assert_int_equal(to_host(&map, 1000), 65534);
        assert_int_equal(to_host(&map, 1999), 65534);
        assert_int_equal(to_host(&map, 2000), 2000);
        assert_int_equal(id_to_guest(&map, 5000), 1);
        assert_int_equal(id_to_guest(&map, 5001), 1);
        assert_int_equal(id_to_guest(&map, 5002), 5002);
        assert_int_equal(id_to_guest(&map, 65534), 65534);
        assert_int_equal(id_to_host(&map, 0, &host), -EPERM);
        assert_int_equal(id_to_host(&map, 3000, &host), -EPERM);
        assert_int_equal(id_to_host(&map, 4294967294, &host), -EPERM);
        assert_int_equal(host, 7);
        assert_int_equal(to_host(&map, 2999), 2999);
        /* -1, no id: nothing is to be changed. */
        assert_int_equal(to_host(&map, UINT32_MAX), UINT32_MAX);
        assert_int_equal(id_to_guest(&map, UINT32_MAX), UINT32_MAX);
}

static void test_edges(void **state)
{
        struct id_map all = {0}, last = {0}, swapped = {0};

        add(&all, "map:0:0:4294967295");
        assert_int_equal(to_host(&all, 4294967294), 4294967294);
        assert_int_equal(to_host(&all, UINT32_MAX), UINT32_MAX);
        add(&last, "map:4294967294:0:1");
        assert_int_equal(to_host(&last, 4294967294), 0);
        assert_int_equal(id_to_guest(&last, 0), 4294967294);
        assert_int_equal(id_to_guest(&last, 4294967294), 4294967294);
        /* Adjacent ranges don't overlap. */
        add(&swapped, "map:0:10:10");
        add(&swapped, "map:10:0:10");
        assert_int_equal(to_host(&swapped, 3), 13);
        assert_int_equal(to_host(&swapped, 13), 3);
        assert_int_equal(id_to_guest(&swapped, 13), 3);
}

static const char is_overlap[] = "its range overlaps another's";
static const char is_start[] = "it begins with guest:, host:, squash-guest:, squash-host:, forbid-guest: or map:";
static const char is_numbers[] = "it ends in SOURCE:TARGET:COUNT", is_two_numbers[] = "it ends in BASE:COUNT";
static const char is_range[] = "a range has at least one id, and none above 4294967294";

static void test_wrong(void **state)
{
        static const struct {
                const char *text, *why;
        } rows[] = {
                {"", is_start},
                {"guest", is_start},
                {"map", is_start},
                {":0:0:1", is_start},
                {"maps:0:0:1", is_start},
                {"ma:0:0:1", is_start},
                {"Map:0:0:1", is_start},
                {"0:0:1", is_start},
                {"map:", is_numbers},
                {"map:0:0", is_numbers},
                {"map:0:0:1:", is_numbers},
                {"map:0:0:1:1", is_numbers},
                {"map:0::1", is_numbers},
                {"map:a:0:1", is_numbers},
                {"map:-1:0:1", is_numbers},
                {"map:+1:0:1", is_numbers},
                {"map: 1:0:1", is_numbers},
                {"map:0x1:0:1", is_numbers},
                {"map:0:0:1 ", is_numbers},
                {"map:4294967296:0:1", is_numbers},
                {"map:99999999999999999999999:0:1", is_numbers},
                {"forbid-guest:0:0:1", is_two_numbers},
                {"forbid-guest:0", is_two_numbers},
                {"map:0:0:0", is_range},
                {"map:1:0:4294967295", is_range},
                {"map:0:1:4294967295", is_range},
                {"map:4294967295:0:1", is_range},
                {"guest:0:4294967295:1", is_range},
                {"squash-guest:4294967295:0:1", is_range},
                {"squash-guest:0:4294967295:1", is_range},
                {"squash-host:0:4294967295:1", is_range},
                {"forbid-guest:4294967295:1", is_range},
                {"forbid-guest:0:0", is_range},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct id_map map = {0};
                char why[128] = "";

                if (id_map_add(&map, rows[i].text, why, sizeof(why)) != -EINVAL || strcmp(why, rows[i].why) != 0)
                        fail_msg("\"%s\": \"%s\", not \"%s\"", rows[i].text, why, rows[i].why);
        }
}

static void test_overlaps(void **state)
{
        static const struct {
                const char *first, *second;
                bool overlap;
        } rows[] = {
                {"guest:0:0:10", "guest:9:100:1", true},
                {"guest:0:0:10", "guest:10:100:1", false},
                {"guest:10:0:10", "guest:0:100:11", true},
                {"guest:10:0:10", "squash-guest:12:1:2", true},
                {"forbid-guest:0:4294967295", "guest:4294967294:0:1", true},
                {"guest:0:0:10", "host:0:0:10", false},
                {"map:0:1000:10", "host:1005:0:1", true},
                {"map:0:1000:10", "host:0:0:10", false},
                {"map:0:1000:10", "guest:1000:0:10", false},
                {"map:0:1000:10", "map:10:1009:10", true},
                {"guest:0:1000:10", "guest:10:1000:10", false},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct id_map map = {0};
                char why[128] = "";

                add(&map, rows[i].first);
                if (id_map_add(&map, rows[i].second, why, sizeof(why)) != (rows[i].overlap ? -EINVAL : 0))
                        fail_msg("%s and %s: \"%s\"", rows[i].first, rows[i].second, why);
                if (rows[i].overlap)
                        assert_string_equal(why, is_overlap);
        }
}

static void test_too_many(void **state)
{
        struct id_map map = {0};
        char text[64], why[128];

        for (unsigned i = 0; i <= ID_MAP_MAX; i++) {
                snprintf(text, sizeof(text), "guest:%u:%u:1", i, i);
                assert_int_equal(id_map_add(&map, text, why, sizeof(why)), i < ID_MAP_MAX ? 0 : -EINVAL);
        }
        assert_string_equal(why, "too many ranges");
}

static void test_ranges(void **state)
{
        static const char *const wrong[] = {
                "",        ":",         "::",       ":0:0:1",           "0:0:1:",
                ":0:0:0:", ":0:0:1:1:", ":0:0:",    "00000:",           "/0:0:1/",
                ":a:0:1:", ":0:0:1:\n", ":-1:0:1:", ":4294967295:0:1:", ":0:1:4294967295:",
        };
        struct id_range range;
        char longest[128];

        assert_int_equal(id_range_parse(":0:100000:65536:", &range), 0);
        assert_int_equal(range.inside, 0);
        assert_int_equal(range.outside, 100000);
        assert_int_equal(range.count, 65536);
        assert_int_equal(id_range_parse("/4294967294/0/1/", &range), 0);
        assert_int_equal(range.inside, 4294967294);
        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
                if (id_range_parse(wrong[i], &range) != -EINVAL)
                        fail_msg("\"%s\"", wrong[i]);
        memset(longest, '0', sizeof(longest));
        longest[0] = longest[100] = ':';
        longest[101] = '\0';
        assert_int_equal(id_range_parse(longest, &range), -EINVAL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_one_direction),     counted_test(test_both_directions), counted_test(test_edges),
                counted_test(test_squash_and_forbid), counted_test(test_wrong),           counted_test(test_overlaps),
                counted_test(test_too_many),          counted_test(test_ranges),
        };

        return run_counted("fs-idmap", tests);
}
