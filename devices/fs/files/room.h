/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_FILES_ROOM_H
#define DEVICES_FS_FILES_ROOM_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct fs;

/* The state of the search for descriptors that can be taken back. */
struct room {
        pthread_mutex_t lock; /* one thread searches, and the others use the result */
        uint32_t next_slot;   /* of the inodes: where to go on */
};

/* Without the lock, when the guest holds all descriptors that it may: closes parked files; if there are none, makes
 * files that have a descriptor known by their handle. Returns whether there is room now. */
bool room_make(struct fs *fs);

#endif
