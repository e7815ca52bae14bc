/* SPDX-License-Identifier: BSD-2-Clause */

/* Parts of oriel-fs's core by themselves: the cursor that reads requests, the tables of ids that a guest is given, and
 * the credentials of a thread. */

#include "base/cleanup.h"
#include "base/test.h"
#include "devices/fs/core/credentials.h"
#include "devices/fs/core/cursor.h"
#include "devices/fs/core/ids.h"

#include <errno.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

static void test_cursor(void **state)
{
        char bytes[] = "abcdefghij", got[16] = "";
        const struct iovec spans[] = {{bytes, 0}, {bytes, 3}, {bytes, 0}, {bytes + 3, 4}, {bytes + 7, 3}, {bytes, 0}};
        struct cursor cursor = cursor_at(spans, ARRAY_SIZE(spans)), end;
        struct iovec pieces[4];

        assert_int_equal(cursor.left, 10);
        assert_false(cursor_read(&cursor, got, 11));
        assert_true(cursor_read(&cursor, got, 5));
        assert_string_equal(got, "abcde");
        assert_int_equal(cursor_spans(&cursor, 3, pieces, 4), 2);
        assert_int_equal(pieces[0].iov_len, 2);
        assert_ptr_equal(pieces[1].iov_base, bytes + 7);
        assert_int_equal(pieces[1].iov_len, 1);
        assert_int_equal(cursor_spans(&cursor, 100, pieces, 1), 1);
        end = cursor;
        assert_true(cursor_skip(&end, 5));
        assert_false(cursor_skip(&end, 1));
        assert_true(cursor_skip(&end, 0));
        assert_int_equal(cursor_spans(&end, 1, pieces, 4), 0);
        cursor_limit(&cursor, 4);
        assert_false(cursor_write(&cursor, "12345", 5));
        assert_true(cursor_write(&cursor, "1234", 4));
        assert_string_equal(bytes, "abcde1234j");
        assert_int_equal(cursor.left, 0);

        /* More bytes than a size_t holds. */
        const struct iovec huge[] = {{bytes, SIZE_MAX}, {bytes, SIZE_MAX}};

        assert_int_equal(cursor_at(huge, 2).left, SIZE_MAX);
        assert_int_equal(cursor_at(NULL, 0).left, 0);
}

static void test_cursor_strings(void **state)
{
        char bytes[] = "one\0\0three";
        const struct iovec spans[] = {{bytes, 2}, {bytes + 2, 8}};
        struct cursor cursor = cursor_at(spans, 2);
        char got[16];

        assert_int_equal(cursor_read_string(&cursor, got, 3), -ENAMETOOLONG);
        assert_int_equal(cursor_read_string(&cursor, got, 4), 3);
        assert_string_equal(got, "one");
        assert_int_equal(cursor_read_string(&cursor, got, sizeof(got)), 0);
        assert_int_equal(cursor_read_string(&cursor, got, sizeof(got)), -EINVAL);
        assert_int_equal(cursor.left, 5);
}

static void test_ids(void **state)
{
        struct ids ids;
        uint64_t id[200], again;
        char objects[200];
        uint32_t slot = 0;

        ids_init(&ids, true);
        assert_null(ids_find(&ids, 0));
        assert_null(ids_find(&ids, 1));
        for (unsigned i = 0; i < ARRAY_SIZE(id); i++) {
                assert_int_equal(ids_add(&ids, &objects[i], &id[i]), 0);
                assert_int_equal((uint32_t)id[i], i + 1);
        }
        assert_int_equal(id[0], 1);
        assert_ptr_equal(ids_find(&ids, id[150]), &objects[150]);
        assert_ptr_equal(ids_remove(&ids, id[150]), &objects[150]);
        assert_null(ids_remove(&ids, id[150]));
        assert_int_equal(ids_add(&ids, &objects[0], &again), 0);
        assert_int_not_equal(again, id[150]);
        assert_null(ids_find(&ids, id[150]));
        assert_ptr_equal(ids_find(&ids, again), &objects[0]);
        assert_null(ids_find(&ids, UINT64_MAX));
        assert_null(ids_find(&ids, 0));
        assert_int_equal(ids.n_used, 200);
        assert_ptr_equal(ids_next(&ids, &slot), &objects[0]);
        assert_ptr_equal(ids_next(&ids, &slot), &objects[1]);
        slot = 201;
        assert_null(ids_next(&ids, &slot));
        ids_done(&ids);
}

/* A process that serves the guest after another one does not know the other's ids. */
static void test_ids_of_another(void **state)
{
        struct ids ids, other;
        uint64_t id[3], theirs;
        int object = 0;

        ids_init(&ids, true);
        ids_init(&other, false);
        for (unsigned i = 0; i < ARRAY_SIZE(id); i++)
                assert_int_equal(ids_add(&ids, &object, &id[i]), 0);
        assert_int_equal(ids_add(&other, &object, &theirs), 0);
        if (ids.first_generation == other.first_generation)
                skip(); /* once in 4 billion runs */
        for (unsigned i = 0; i < ARRAY_SIZE(id); i++)
                assert_null(ids_find(&other, id[i]));
        assert_null(ids_find(&ids, theirs));
        ids_done(&ids);
        ids_done(&other);
}

static void test_credentials(void **state)
{
        const struct credentials_wanted other = {.uid = 1000, .gid = 1001}, own = {.uid = geteuid(), .gid = getegid()},
                                        no_user = {.uid = (uid_t)-1}, no_group = {.gid = (gid_t)-1},
                                        masked = {.uid = geteuid(), .gid = getegid(), .umask = 027};
        struct credentials saved;

        if (!credentials_init())
                skip();
        assert_int_equal(credentials_take(&other, true, &saved), 0);
        assert_true(saved.changed);
        assert_int_equal(setfsuid((uid_t)-1), 1000);
        assert_int_equal(setfsgid((gid_t)-1), 1001);
        credentials_restore(&saved);
        assert_int_equal(setfsuid((uid_t)-1), geteuid());
        assert_int_equal(credentials_take(&own, true, &saved), 0);
        assert_false(saved.changed);
        assert_int_equal(credentials_take(&other, false, &saved), 0);
        assert_false(saved.changed);
        assert_int_equal(credentials_take(&no_user, true, &saved), -EPERM);
        assert_int_equal(credentials_take(&no_group, true, &saved), -EPERM);
        assert_int_equal(setfsuid((uid_t)-1), geteuid());

        mode_t before = umask(0);

        assert_int_equal(credentials_take(&masked, true, &saved), 0);
        assert_int_equal(umask(027), 027);
        credentials_restore(&saved);
        assert_int_equal(umask(before), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_cursor),         counted_test(test_cursor_strings), counted_test(test_ids),
                counted_test(test_ids_of_another), counted_test(test_credentials),
        };

        return run_counted("fs-parts", tests);
}
