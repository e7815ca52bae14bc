/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/test.h"
#include "vmm/virtio/slots.h"

static void test_a_part_for_each(void **state)
{
        const int owners[3] = {0};
        struct slots slots = {.max = 32};

        for (unsigned i = 0; i < 10; i++)
                assert_true(slots_take(&slots, &owners[0], 3));
        assert_false(slots_take(&slots, &owners[0], 3));
        /* The others have theirs all the same. */
        for (unsigned i = 0; i < 10; i++) {
                assert_true(slots_take(&slots, &owners[1], 3));
                assert_true(slots_take(&slots, &owners[2], 3));
        }
        assert_false(slots_take(&slots, &owners[2], 3));
        slots_give_back(&slots, &owners[0]);
        assert_false(slots_take(&slots, &owners[1], 3));
        assert_true(slots_take(&slots, &owners[0], 3));
        assert_false(slots_take(&slots, &owners[0], 3));
        slots_clear(&slots);
        assert_true(slots_take(&slots, &owners[0], 3));
        slots_clear(&slots);
}

/* Where there are fewer than windows, the back-end itself says when it has no more. */
static void test_few(void **state)
{
        const int owners[2] = {0};

        for (uint64_t max = 0; max < 4; max++) {
                struct slots slots = {.max = max};

                assert_true(slots_take(&slots, &owners[0], 40));
                assert_false(slots_take(&slots, &owners[0], 40));
                assert_true(slots_take(&slots, &owners[1], 40));
                slots_give_back(&slots, NULL);
                slots_clear(&slots);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_a_part_for_each),
                counted_test(test_few),
        };

        return run_counted("slots", tests);
}
