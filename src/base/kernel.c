/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/kernel.h"

#include <pthread.h>
#include <stdio.h>
#include <sys/utsname.h>

static unsigned kernel_major, kernel_minor;

static void kernel_ask(void)
{
        struct utsname kernel_name;

        if (uname(&kernel_name) < 0 || sscanf(kernel_name.release, "%u.%u", &kernel_major, &kernel_minor) != 2)
                kernel_major = kernel_minor = 0;
}

bool kernel_is_at_least(unsigned major, unsigned minor)
{
        static pthread_once_t once = PTHREAD_ONCE_INIT;

        pthread_once(&once, kernel_ask);
        return kernel_major > major || (kernel_major == major && kernel_minor >= minor);
}
