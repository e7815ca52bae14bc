/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_WINDOW_WINDOW_H
#define DEVICES_FS_WINDOW_WINDOW_H

#include "devices/fs/core/file_id.h"
#include "devices/fs/core/fs.h"
#include "devices/fs/window/shadow.h"

#include <pthread.h>

/* Limits of the front-end, found by trying. A front-end with both is QEMU 11.1, or like it, and is expected to
 * behave like it otherwise: it makes a user's empty file longer, lets the guest write to read-only mappings, and
 * aborts at too many mappings. */
struct dax_window_limits {
        atomic_bool whole_pages_only; /* it maps a file's last page only if the file fills it */
        atomic_bool writable_only;    /* it maps no fd that is open for reading only */
};

/* The mappings in the DAX window. The guest removes any ranges, but the front-end only whole mappings, so each is
 * recorded. */
struct dax_window {
        uint64_t size; /* 0: there is no window */
        uint64_t page;
        const struct fs_window_ops *ops;
        void *userdata;
        const struct oriel_log *log;
        int proc_fd;                     /* /proc/self/fd; borrowed */
        bool insist;                     /* a read-only share may be mapped even if the guest can write to it */
        bool readonly;                   /* the share is */
        atomic_bool usable;              /* files can be mapped; set by dax_window_try() */
        atomic_bool resumed;             /* mappings may be those of another process */
        struct dax_window_limits limits; /* likewise */
        struct dax_window_limits said;   /* those that the log has */
        struct shadows shadows;

        pthread_mutex_t lock; /* of what follows, and of the order of submissions */
        void *mappings;       /* tsearch, by range */
        uint64_t n_mappings;
        uint64_t last_serial;
};

/* The contents of a part of the window. */
struct dax_window_view {
        struct oriel_range range; /* whole pages, within the window */
        struct inode_key file;
        uint64_t file_offset;
        bool writable;
};

/* Submitted unmaps whose answers have not been waited for. Zero is empty. */
struct dax_window_batch {
        struct dax_mapping *mappings[FS_WINDOW_BATCH]; /* NULL: of another process */
        uint64_t tickets[FS_WINDOW_BATCH];
        unsigned n;
};

/* -EINVAL: a size without ops, or not a multiple of the page size. */
int dax_window_init(struct dax_window *window, const struct fs_options *options, const struct oriel_log *log);
void dax_window_done(struct dax_window *window);

/* Call it when a session begins, nothing is mapped and no request is handled: finds what the front-end can do, by
 * mapping files of our own and unmapping them. Afterwards window->usable tells whether files may be mapped; if not,
 * the log has the reason. */
void dax_window_try(struct dax_window *window);
/* The same without trying, because the guest may be using the window: a front-end that takes a new back-end while
 * its guest runs is assumed to map everything. */
void dax_window_resume(struct dax_window *window);

/* Whether all of @view is mapped already. */
bool dax_window_shows(struct dax_window *window, const struct dax_window_view *view);

/* Shows the file open as @fd in the window as @view says, in place of all that the range overlaps. Parts that the
 * front-end can't map are shown by a shadow. 0 or a negative errno. */
int dax_window_map(struct dax_window *window, const struct dax_window_view *view, int fd);

/* Submits the unmaps of all that @range overlaps; wait for @batch. A mapping that is partly outside is removed
 * whole: the guest removes what it has set up, so only a guest that breaks this rule finds a hole, and a rest that
 * was mapped again would have been missing for a moment too. */
void dax_window_unmap(struct dax_window *window, struct oriel_range range, struct dax_window_batch *batch);
/* An unmap that the front-end refuses is logged, and its mapping forgotten. @batch is empty afterwards. */
void dax_window_wait(struct dax_window *window, struct dax_window_batch *batch);

/* Forgets all mappings, which are gone. */
void dax_window_forget(struct dax_window *window);

#endif
