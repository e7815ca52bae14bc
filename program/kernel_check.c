/* SPDX-License-Identifier: BSD-2-Clause */
#include "program/kernel_check.h"

#include "base/kernel.h"
#include "program/report.h"

#include <errno.h>
#include <sys/utsname.h>

int kernel_check(void)
{
        struct utsname name = {.release = "unknown"};

        if (kernel_is_at_least(KERNEL_LEAST_MAJOR, KERNEL_LEAST_MINOR))
                return 0;
        uname(&name);
        report("this is Linux %s, and %d.%d is the least that will do", name.release, KERNEL_LEAST_MAJOR,
               KERNEL_LEAST_MINOR);
        return -ENOSYS;
}
