/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_EXPIRE_H
#define DEVICES_FS_FILES_EXPIRE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct fs;

struct expiring {
        int wake_fd;
        atomic_bool seldom; /* nothing is parked, so it is looked at every few seconds alone */
        uint32_t next_slot; /* of the inodes: where to go on */
};

int expiring_init(struct expiring *expiring);
void expiring_done(struct expiring *expiring);
/* There is a session, or something is parked. */
void expiring_wake(struct expiring *expiring);

#endif
