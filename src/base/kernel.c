/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/kernel.h"
#include "base/options.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/utsname.h>

static struct utsname kernel_name;
static unsigned kernel_major, kernel_minor;

static void kernel_ask(void)
{
        if (uname(&kernel_name) < 0 || sscanf(kernel_name.release, "%u.%u", &kernel_major, &kernel_minor) != 2)
                kernel_major = kernel_minor = 0;
}

bool kernel_is_at_least(unsigned major, unsigned minor)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, kernel_ask);
        return kernel_major > major || (kernel_major == major && kernel_minor >= minor);
}

int kernel_check(void)
{
        if (kernel_is_at_least(KERNEL_LEAST_MAJOR, KERNEL_LEAST_MINOR))
                return 0;
        report("this is Linux %s, and %d.%d is the least that will do", kernel_name.release, KERNEL_LEAST_MAJOR,
               KERNEL_LEAST_MINOR);
        return -ENOSYS;
}
