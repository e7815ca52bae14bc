/* SPDX-License-Identifier: BSD-2-Clause */

#include "base/uuid.h"

#include "base/syscalls.h"

#include <errno.h>
#include <sys/random.h>

USES_SYSCALLS(SYSCALL(getrandom));

int uuid_new(uint8_t uuid[16])
{
        if (getrandom(uuid, 16, 0) != 16)
                return -EAGAIN;
        uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
        uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
        return 0;
}
