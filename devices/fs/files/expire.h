/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_EXPIRE_H
#define DEVICES_FS_FILES_EXPIRE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct fs;

struct expiring {
        int wake_fd;
        atomic_bool seldom; /* nothing is parked, so checks every few seconds are enough */
        uint32_t next_slot; /* of the inodes: the next one to check */
};

int expiring_init(struct expiring *expiring);
void expiring_done(struct expiring *expiring);
/* Call it when a session has begun or something was parked. */
void expiring_wake(struct expiring *expiring);

#endif
