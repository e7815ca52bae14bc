/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_WINDOW_WINDOW_H
#define DEVICES_FS_WINDOW_WINDOW_H

#include "devices/fs/core/file_id.h"
#include "devices/fs/core/fs.h"
#include "devices/fs/window/shadow.h"

#include <pthread.h>

/* What the front-end can't do, found by trying. One that maps neither is QEMU 11.1, or like it, and what else is known
 * of that is expected too: it would make a user's empty file longer, lets the guest write to what was to be read only,
 * and dies of too many mappings. */
struct dax_window_limits {
        atomic_bool whole_pages_only; /* nothing of a file's last page unless the file fills it */
        atomic_bool writable_only;    /* no fd that is open for reading only */
};

/* What is mapped where in the DAX window. The guest removes whatever ranges it likes, but the front-end only what was
 * mapped, so each mapping is remembered. */
struct dax_window {
        uint64_t size; /* 0: there is no window */
        uint64_t page;
        const struct fs_window_ops *ops;
        void *userdata;
        const struct oriel_log *log;
        int proc_fd;                     /* /proc/self/fd; borrowed */
        bool insist;                     /* a share that is read-only may be mapped by a front-end that writes to it */
        bool readonly;                   /* the share is */
        atomic_bool usable;              /* files can be mapped; set by dax_window_try() */
        atomic_bool resumed;             /* what is mapped may be another process's */
        struct dax_window_limits limits; /* likewise */
        struct dax_window_limits said;   /* what the log has been told */
        struct shadows shadows;

        pthread_mutex_t lock; /* what follows, and the order of submissions */
        void *mappings;       /* tsearch, by range */
        uint64_t n_mappings;
        uint64_t last_serial;
};

/* What is to be seen in a part of the window. */
struct dax_window_view {
        struct oriel_range range; /* whole pages, within the window */
        struct inode_key file;
        uint64_t file_offset;
        bool writable;
};

/* Unmaps that were submitted, and whose answers are yet to be waited for. Zero is empty. */
struct dax_window_batch {
        struct mapping *mappings[FS_WINDOW_BATCH]; /* NULL: not one of ours */
        uint64_t tickets[FS_WINDOW_BATCH];
        unsigned n;
};

/* -EINVAL: a size without ops, or not a multiple of the page size. */
int dax_window_init(struct dax_window *window, const struct fs_options *options, const struct oriel_log *log);
void dax_window_done(struct dax_window *window);

/* A session begins, nothing is mapped and no request is handled: find out what the front-end can do, by mapping files
 * of our own and unmapping them again. Afterwards window->usable says whether files may be mapped; if not, the log says
 * why. */
void dax_window_try(struct dax_window *window);
/* The same without trying, because the guest may be using the window: a front-end that takes a new back-end while its
 * guest runs is taken for one that maps everything. */
void dax_window_resume(struct dax_window *window);

/* Is all of @view there already? */
bool dax_window_shows(struct dax_window *window, const struct dax_window_view *view);

/* Show the file open as @fd as @view says, in place of whatever its range overlaps. What the front-end can't map is
 * shown by a shadow. 0 or a negative errno. */
int dax_window_map(struct dax_window *window, const struct dax_window_view *view, int fd);

/* Submit the unmapping of everything that @range overlaps; @batch has what to wait for. A mapping that is partly
 * outside goes as a whole: the guest removes what it has set up, so only a guest that breaks this rule finds a hole,
 * and a rest that was mapped back would have been missing for a moment all the same. */
void dax_window_unmap(struct dax_window *window, struct oriel_range range, struct dax_window_batch *batch);
/* What the front-end refuses to unmap is logged and forgotten. @batch is empty afterwards. */
void dax_window_wait(struct dax_window *window, struct dax_window_batch *batch);

/* The mappings are gone. */
void dax_window_forget(struct dax_window *window);

#endif
