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
 * what may follow it. The guest reads and stores there. Any other request that reads or changes the file merges both
 * before. Host programs see the guest's changes, and it sees theirs, when the guest syncs, closes or asks for
 * attributes, and once a second.
 *
 * The merge is by bytes, not by pages: bytes that the guest has stored since the last merge go to the file, bytes that
 * have changed in the file go to the shadow, and if both have changed the guest's wins. A shadow never makes a file
 * longer.
 *
 * Each file that has shadows has a lock, held during a merge and while a request changes the file; no thread waits
 * for another file. */
struct shadow;
struct shadowed_file;

/* All shadows of a window. */
struct shadows {
        atomic_bool enabled; /* false: there are none, and the functions here do nothing */
        const struct oriel_log *log;
        atomic_uint n;
        atomic_bool complained; /* of bytes that can't be written */
        int wake_fd;            /* an eventfd, signalled when there is a first shadow */

        pthread_mutex_t lock; /* the list and its counts of references; never held over a system call */
        LIST_HEAD(shadowed_files, shadowed_file) files;
};

int shadows_init(struct shadows *shadows, const struct oriel_log *log);
void shadows_done(struct shadows *shadows); /* all are free already */

/* Makes a shadow of @part of the file open as @fd, which it duplicates, with the file's contents. With @writable the
 * guest's stores go to the file. *@memory: an fd of the shadow, to be mapped from its start. It is the caller's, and
 * nobody can change its size. */
int shadow_new(struct shadows *shadows, int fd, struct oriel_range part, bool writable, struct shadow **out,
               int *memory);
/* Writes the last stores to the file; the guest must not have it mapped any more. NULL is accepted. */
void shadow_free(struct shadow *shadow);

/* Held around every operation on @range of the contents, or on the size, of the files open as @fds, one of which may
 * be -1: merges shadows and files before, and again afterwards. Not twice by one thread for one file. */
struct shadows_hold {
        struct shadows *shadows; /* NULL: nothing is held */
        int fds[2];
        struct oriel_range range;
        struct shadowed_file *files[2];
        int error; /* why some of the guest's stores are not in the files: 0 or a negative errno */
        /* Set by a request that has replaced a part of a file: earlier stores there are void. */
        struct oriel_range replaced[2];
};
#define WHOLE_FILE ((struct oriel_range){0, UINT64_MAX})
struct shadows_hold shadows_hold(struct shadows *shadows, int fd, int other_fd, struct oriel_range range);
void shadows_release(struct shadows_hold *hold);
/* Returns hold->error, or, once, why stores to the first file were lost when they were unmapped. */
int shadows_error(struct shadows_hold *hold);

/* Call it before the attributes of file @number on @device are read for the guest, and before a size is told to the
 * guest, which may use it at once. */
void shadows_tell(struct shadows *shadows, dev_t device, ino_t number);
/* Merges all shadows and files, except for files that are held, which their holder merges. */
void shadows_sync(struct shadows *shadows);

#endif
