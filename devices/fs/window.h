/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_WINDOW_H
#define DEVICES_FS_WINDOW_H

#include "devices/fs/fs.h"
#include "devices/fs/inode.h"

#include <pthread.h>

/* What is mapped where in the DAX window. The guest removes whatever ranges it likes, but the front-end only what was
 * mapped, so each mapping is remembered. */
struct window {
        uint64_t size; /* 0: there is no window */
        uint64_t page;
        const struct fs_window_ops *ops;
        void *userdata;
        const struct oriel_log *log;

        pthread_mutex_t lock; /* what follows, and the order of submissions */
        void *mappings;       /* tsearch, by range */
        uint64_t n_mappings;
        uint64_t last_serial;
};

/* What is to be seen in a part of the window. */
struct window_view {
        struct oriel_range range; /* whole pages, within the window */
        struct inode_key file;
        uint64_t file_offset;
        bool writable;
};

/* Unmaps that were submitted, and whose answers are yet to be waited for. Zero is empty. */
struct window_batch {
        struct mapping *mappings[FS_WINDOW_BATCH];
        uint64_t tickets[FS_WINDOW_BATCH];
        unsigned n;
};

/* -EINVAL: a size without ops, or not a multiple of the page size. */
int window_init(struct window *window, const struct fs_options *options, const struct oriel_log *log);
void window_done(struct window *window);

/* Is all of @view there already? */
bool window_shows(struct window *window, const struct window_view *view);

/* Map @fd as @view says, in place of whatever its range overlaps. 0 or what the front-end said. */
int window_map(struct window *window, const struct window_view *view, int fd);

/* Submit the unmapping of everything that @range overlaps; @batch has what to wait for. A mapping that is partly
 * outside goes as a whole: the guest removes what it has set up, so only a guest that breaks this rule finds a hole,
 * and a rest that was mapped back would have been missing for a moment all the same. */
void window_unmap(struct window *window, struct oriel_range range, struct window_batch *batch);
/* What the front-end refuses to unmap is logged and forgotten. @batch is empty afterwards. */
void window_wait(struct window *window, struct window_batch *batch);

/* The mappings are gone. */
void window_forget(struct window *window);

#endif
