/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest.h"
#include "tests.h"

static const struct {
        const char *name;
        void (*run)(void);
} tests[] = {
        {"config", test_config}, {"crash", test_crash},       {"cycles", test_cycles},
        {"demo", test_demo},     {"hostile", test_hostile},   {"interrupts", test_interrupts},
        {"media", test_media},   {"objects", test_objects},   {"readonly", test_readonly},
        {"reset", test_reset},   {"restart", test_restart},   {"scan", test_scan},
        {"start", test_start},   {"truncate", test_truncate}, {"two", test_two},
        {"wait", test_wait},     {"window", test_window},
};

void guest_main(void)
{
        print("TAP version 13\n");
        for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
                if (!cmdline_is("test", tests[i].name))
                        continue;
                tests[i].run();
                check_end();
                return;
        }
        need(false, "the command line \"%s\" has test=NAME", guest_cmdline);
}
