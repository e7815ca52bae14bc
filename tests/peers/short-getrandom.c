/* SPDX-License-Identifier: BSD-2-Clause */

/* To be preloaded: getrandom(2) never gives more than 1000 bytes, as it may. */

#include <sys/param.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

__attribute__((visibility("default"))) ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
        return syscall(SYS_getrandom, buffer, MIN(size, 1000u), flags);
}
