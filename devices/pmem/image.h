/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_PMEM_IMAGE_H
#define DEVICES_PMEM_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

/* The file that a pmem device shows. */
struct image {
        const char *path; /* as the user says, and the next three */
        bool readonly;
        bool writable; /* front-ends are trusted to map it as they are asked to */
        uint64_t size; /* of the device, 0: as large as the file */

        int fd;          /* what front-ends are given */
        int lock_fd;     /* open for itself: a front-end that goes on without us keeps no lock */
        int watch_fd;    /* readable when the file was changed, but through a mapping; -1: that can't be known */
        uint64_t shown;  /* bytes of the file, from its start, of which a part may be gone now */
        uint64_t length; /* the same in whole pages */
        uint64_t region; /* bytes of the device: what is behind the file is a hole */
};

/* There is one. It does not change when it is open. */
extern struct image image;

/* Open and lock the file that the first fields name: many may have it open read-only, or one read-write. Never changes
 * it. The exit status, with everything said. */
int image_open(void);
/* How much of what is shown is there now. */
uint64_t image_left(void);
/* All that was written through mappings by now is on the disk: 0, or a negative errno. -EIO: a part of the file is
 * gone, or was, and what was written there is with it. */
int image_sync(void);

#endif
