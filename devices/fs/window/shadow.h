/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_WINDOW_SHADOW_H
#define DEVICES_FS_WINDOW_SHADOW_H

#include "base/cleanup.h"

#include <oriel/log.h>
#include <oriel/range.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/stat.h>

/* Parts of files that the front-end can't map as they are, in memory that it can: the page in which a file ends, and
 * what may come behind it. The guest reads and stores there; whatever else reads or changes the file through us meets
 * it in the file, because both are brought together first. Host programs meet each other's changes, and the guest's,
 * when the guest syncs, closes or looks, and once a second.
 *
 * Bytes decide, not pages: what the guest stored since they were last brought together goes to the file, what has
 * changed in the file goes to the shadow, and where both have, the guest's is kept. A shadow never makes a file longer.
 *
 * Each file that has shadows has a lock, held while it is brought together and while a request changes it; nothing
 * waits for another file. */
struct shadow;
struct shadowed_file;

/* All shadows of a window. */
struct shadows {
        atomic_bool enabled; /* else there are none and everything here does nothing */
        const struct oriel_log *log;
        atomic_uint n;
        atomic_bool complained; /* of bytes that can't be written */
        int wake_fd;            /* an eventfd, signalled when the first shadow is there */

        pthread_mutex_t lock; /* the list and its counts of references; never held over a system call */
        LIST_HEAD(shadowed_files, shadowed_file) files;
};

int shadows_init(struct shadows *shadows, const struct oriel_log *log);
void shadows_done(struct shadows *shadows); /* all are free already */

/* A shadow of @part of the file open as @fd, of which it keeps a copy; what is there of the file is in it. With
 * @writable the guest's stores go to the file. @memory: an fd of the shadow, to be mapped from its start. It is
 * the caller's, and nobody who has it can change its size. */
int shadow_new(struct shadows *shadows, int fd, struct oriel_range part, bool writable, struct shadow **out,
               int *memory);
/* The last stores go to the file: the guest must have lost it. NULL is accepted. */
void shadow_free(struct shadow *shadow);

/* Around every operation on @range of the contents, or on the size, of the files open as @fds, of which one may be -1:
 * shadows and files are the same before, and again afterwards. Not twice by one thread for one file. */
struct shadows_hold {
        struct shadows *shadows; /* NULL: nothing is held */
        int fds[2];
        struct oriel_range range;
        struct shadowed_file *files[2];
        int error; /* why some of what the guest stored is not in the files, 0 or a negative errno */
        /* To be set by a request that has replaced a part of a file: what was stored there before is no more. */
        struct oriel_range replaced[2];
};
#define WHOLE_FILE ((struct oriel_range){0, UINT64_MAX})
struct shadows_hold shadows_hold(struct shadows *shadows, int fd, int other_fd, struct oriel_range range);
void shadows_release(struct shadows_hold *hold);
/* The same as hold->error, or, once, why stores to the first file were lost when they were unmapped. */
int shadows_error(struct shadows_hold *hold);

/* The attributes of file @number on @device are about to be read, or a size was and is about to be told to the guest,
 * which may use what it learns at once. */
void shadows_tell(struct shadows *shadows, dev_t device, ino_t number);
/* Bring all shadows and files together, but for files that are held, whose holder will. */
void shadows_sync(struct shadows *shadows);

#endif
