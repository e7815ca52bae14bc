/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_ROOM_H
#define DEVICES_FS_FILES_ROOM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct fs;

/* Where the search for descriptors that can be spared goes on. */
struct room {
        pthread_mutex_t lock; /* one searches, and others find what it has found */
        uint32_t next_slot;   /* of the inodes */
};

/* Without the lock: what the guest may hold is used up. Is there room now that there was not? Files that are parked are
 * closed; if there are none, files that are known by a descriptor become known by their handle. */
bool room_make(struct fs *fs);

#endif
