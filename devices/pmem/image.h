/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_PMEM_IMAGE_H
#define DEVICES_PMEM_IMAGE_H

#include <stdbool.h>
#include <stdint.h>

/* The file that a pmem device shows. */
struct pmem_image {
        const char *path; /* of the command line, as are the next three */
        bool readonly;
        bool writable; /* front-ends get a descriptor that can be written to, and are trusted to map it read-only */
        uint64_t size; /* of the device, 0: as large as the file */

        int fd;          /* passed to front-ends */
        int lock_fd;     /* another description, for the lock: a front-end that goes on without us does not keep it */
        int watch_fd;    /* readable when the file was changed other than by a mapping; -1: not watched */
        uint64_t shown;  /* bytes of the file, from its start; a part of them may be gone now */
        uint64_t length; /* the same in whole pages */
        uint64_t region; /* bytes of the device; there is a hole behind the file */
};

/* There is one. It does not change after image_open(). */
extern struct pmem_image image;

/* Opens and locks the file that the first fields name: many processes may have it open read-only, or one read-write.
 * Never changes the file. Returns the exit status, and has reported errors. */
int image_open(void);
/* How many of the shown bytes the file has now. */
uint64_t image_left(void);
/* Writes to the disk all that was stored through mappings by now: 0, or a negative errno. -EIO: a part of the file
 * is gone, or was, and stores to it are lost. */
int image_sync(void);

#endif
