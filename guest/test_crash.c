/* SPDX-License-Identifier: BSD-2-Clause */

/* Ends that no guest should come to, by the word how=NAME; and a guest that only waits. */

#include "guest.h"
#include "tests.h"
#include "vmm/arch/x86/layout.h"

/* There is nothing to take an exception. */
static void crash(void)
{
        __asm__ volatile("ud2");
}

/* Code that is in a register. */
static void run_device(void)
{
        ((void (*)(void))(LAYOUT_PLATFORM + 0x800))();
}

/* An address that pages do not show. */
static void leave_pages(void)
{
        write8(UINT64_C(1) << 46, 0);
}

/* Nothing will wake it. */
static void halt(void)
{
        __asm__ volatile("hlt");
}

void test_crash(void)
{
        static const struct {
                const char *name;
                void (*run)(void);
        } ways[] = {{"exception", crash}, {"device", run_device}, {"pages", leave_pages}, {"halt", halt}};

        check_end();
        tell_host("crash");
        for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
                if (cmdline_is("how", ways[i].name))
                        ways[i].run();
        print("# it goes on\n");
}

void test_wait(void)
{
        check(true, "it runs");
        tell_host("wait");
        while (!host_has_answered())
                ;
}
