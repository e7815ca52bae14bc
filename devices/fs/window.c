/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/window.h"

#include "base/log.h"
#include "base/range.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <unistd.h>

/* One live mapping; no two overlap. */
struct mapping {
        struct window_view view; /* first: what the tree compares */
        uint64_t serial;
        bool placed; /* the front-end has said so */
};

static int compare_views(const void *a, const void *b)
{
        const struct window_view *x = a, *y = b;

        return range_compare(x->range, y->range);
}

/* Some mapping that overlaps @range. */
static struct mapping *find_mapping(struct window *window, struct oriel_range range)
{
        const struct window_view key = {.range = range};
        struct mapping **node = tfind(&key, &window->mappings, compare_views);

        return node ? *node : NULL;
}

static void remove_mapping(struct window *window, struct mapping *mapping)
{
        tdelete(mapping, &window->mappings, compare_views);
        window->n_mappings--;
}

int window_init(struct window *window, const struct fs_options *options, const struct oriel_log *log)
{
        *window = (struct window){
                .size = options->window_size,
                .page = (uint64_t)sysconf(_SC_PAGESIZE),
                .ops = options->window_ops,
                .userdata = options->window_userdata,
                .log = log,
        };
        if (window->size > 0 && (!window->ops || !is_aligned(window->size, window->page)))
                return -EINVAL;
        return -pthread_mutex_init(&window->lock, NULL);
}

void window_done(struct window *window)
{
        window_forget(window);
        pthread_mutex_destroy(&window->lock);
}

bool window_shows(struct window *window, const struct window_view *view)
{
        bool shows = false;

        pthread_mutex_lock(&window->lock);

        const struct mapping *mapping = find_mapping(window, view->range);

        if (mapping && mapping->placed && range_contains(mapping->view.range, view->range) &&
            inode_key_compare(&mapping->view.file, &view->file) == 0 && (mapping->view.writable || !view->writable)) {
                uint64_t inside = view->range.start - mapping->view.range.start;

                shows = mapping->view.file_offset + inside == view->file_offset;
        }
        pthread_mutex_unlock(&window->lock);
        return shows;
}

static void log_unmap_failure(struct window *window, const struct mapping *mapping, int error)
{
        log_warning(window->log, "the window's mapping at %#" PRIx64 " was not unmapped: errno %d",
                    mapping->view.range.start, -error);
}

/* With the lock: submit the unmapping of what overlaps @range, and take it out of the table. False: the batch is full
 * and there is more. */
static bool submit_unmaps(struct window *window, struct oriel_range range, struct window_batch *batch)
{
        struct mapping *mapping;

        while ((mapping = find_mapping(window, range))) {
                if (batch->n == FS_WINDOW_BATCH)
                        return false;

                int r = window->ops->submit_unmap(window->userdata, mapping->view.range, &batch->tickets[batch->n]);

                remove_mapping(window, mapping);
                if (r < 0) {
                        log_unmap_failure(window, mapping, r);
                        free(mapping);
                        continue;
                }
                batch->mappings[batch->n++] = mapping;
        }
        return true;
}

void window_wait(struct window *window, struct window_batch *batch)
{
        for (unsigned i = 0; i < batch->n; i++) {
                int r = window->ops->wait(window->userdata, batch->tickets[i]);

                if (r < 0)
                        log_unmap_failure(window, batch->mappings[i], r);
                free(batch->mappings[i]);
        }
        batch->n = 0;
}

/* How many batches a range may need, the first of which may be full already: without an end, other threads that map
 * there could keep us here. */
static uint64_t batches_needed(struct window *window)
{
        pthread_mutex_lock(&window->lock);

        uint64_t n = window->n_mappings / FS_WINDOW_BATCH + 2;

        pthread_mutex_unlock(&window->lock);
        return n;
}

void window_unmap(struct window *window, struct oriel_range range, struct window_batch *batch)
{
        bool all = false;

        for (uint64_t n = batches_needed(window); !all && n > 0; n--) {
                pthread_mutex_lock(&window->lock);
                all = submit_unmaps(window, range, batch);
                pthread_mutex_unlock(&window->lock);
                if (!all)
                        window_wait(window, batch);
        }
}

/* With the lock, nothing overlapping: submit the map and enter it in the table. */
static int submit_map(struct window *window, const struct window_view *view, int fd, uint64_t *serial, uint64_t *ticket)
{
        _cleanup_(freep) struct mapping *mapping = malloc(sizeof(*mapping));

        if (!mapping)
                return -ENOMEM;
        *mapping = (struct mapping){.view = *view, .serial = ++window->last_serial};

        /* First, because it can fail while nothing has been told yet. */
        if (!tsearch(mapping, &window->mappings, compare_views))
                return -ENOMEM;
        window->n_mappings++;

        int r = window->ops->submit_map(window->userdata, view->range, fd, view->file_offset, view->writable, ticket);

        if (r < 0) {
                remove_mapping(window, mapping);
                return r;
        }
        *serial = steal(mapping)->serial;
        return 0;
}

/* The answer to a map has come. The mapping may have been unmapped again, or forgotten, since it was submitted. */
static void settle_map(struct window *window, struct oriel_range range, uint64_t serial, bool placed)
{
        pthread_mutex_lock(&window->lock);

        struct mapping *mapping = find_mapping(window, range);

        if (mapping && mapping->serial == serial) {
                mapping->placed = placed;
                if (!placed) {
                        remove_mapping(window, mapping);
                        free(mapping);
                }
        }
        pthread_mutex_unlock(&window->lock);
}

int window_map(struct window *window, const struct window_view *view, int fd)
{
        struct window_batch batch = {0};
        uint64_t serial = 0, ticket = 0;
        int r = -EBUSY;

        /* Unmaps and the map are submitted together, so the guest sees the hole between them as shortly as can be. */
        for (uint64_t n = batches_needed(window); r == -EBUSY && n > 0; n--) {
                pthread_mutex_lock(&window->lock);
                if (submit_unmaps(window, view->range, &batch))
                        r = submit_map(window, view, fd, &serial, &ticket);
                pthread_mutex_unlock(&window->lock);
                window_wait(window, &batch);
        }
        if (r < 0)
                return r;

        r = window->ops->wait(window->userdata, ticket);
        settle_map(window, view->range, serial, r >= 0);
        return r;
}

void window_forget(struct window *window)
{
        pthread_mutex_lock(&window->lock);
        tdestroy(window->mappings, free);
        window->mappings = NULL;
        window->n_mappings = 0;
        pthread_mutex_unlock(&window->lock);
}
