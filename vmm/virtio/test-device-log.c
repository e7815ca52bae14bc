/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/log.h"
#include "base/test.h"
#include "vmm/virtio/device_log.h"

#include <string.h>

struct heard {
        unsigned lines;
        char last[200];
};

static void hear(void *userdata, enum oriel_log_level level, const char *line)
{
        struct heard *heard = userdata;

        heard->lines++;
        strncpy(heard->last, line, sizeof(heard->last) - 1);
}

static void test_holds_and_limits(void **state)
{
        struct heard heard = {0};
        const struct oriel_log to = {sizeof(to), hear, &heard, ORIEL_LOG_INFO};
        struct device_log device_log;

        device_log_init(&device_log, &to);

        struct oriel_log log = device_log_get(&device_log);

        log_error(&log, "a reason");
        assert_int_equal(heard.lines, 0);
        assert_string_equal(device_log.held, "a reason");
        device_log_release(&device_log);
        assert_string_equal(device_log.held, "");
        for (unsigned i = 0; i < 1000; i++)
                log_warning(&log, "line %u", i);
        /* A second may have passed. */
        assert_between(heard.lines, 20, 30);
        /* Lines that the user asked for are not limited; lines above the level are not written. */
        log_info(&log, "told");
        assert_string_equal(heard.last, "told");
        log_debug(&log, "not told");
        assert_string_equal(heard.last, "told");
        device_log_done(&device_log);
}

int main(void)
{
        const struct CMUnitTest tests[] = {counted_test(test_holds_and_limits)};

        return run_counted("device_log", tests);
}
