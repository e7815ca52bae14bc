/* SPDX-License-Identifier: BSD-2-Clause */

/* The table of mappings in the DAX window, and the requests to the front-end that change it. The lock covers the table
 * and the order of submissions; it is never held while an answer is waited for. So a map or unmap is submitted and
 * entered under the lock, waited for without it, and settle_map() finds its mapping again by serial number, because
 * another thread may have replaced it meanwhile.
 *
 * dax_window_try() maps memfds of its own to find what a front-end can't do. Parts of files that such a front-end
 * can't map are shown by a shadow; the mapping owns the shadow and frees it after the unmap. */

#include "devices/fs/window/window.h"

#include "base/fd.h"
#include "base/log.h"
#include "base/range.h"
#include "base/syscalls.h"
#include "devices/fs/core/proc_fd.h"
#include "devices/fs/files/inode.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <search.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(memfd_create), SYSCALL(ftruncate), SYSCALL_FCNTL(F_GETFL));

/* The most live mappings for a limited front-end: QEMU 11.1 aborts at 511, its own memory included. */
static const uint64_t max_limited_mappings = 480;
/* The range that Linux sets up at once. It may need two mappings. */
static const uint64_t range_of_linux = 2 << 20;

/* One live mapping; no two overlap. */
struct dax_mapping {
        struct dax_window_view view; /* first: the tree compares it */
        uint64_t serial;
        bool placed;           /* the front-end has confirmed it */
        struct shadow *shadow; /* mapped in place of the file, or NULL */
};

/* A part that is about to become a mapping. */
struct piece {
        struct dax_window_view view;
        int fd;
        uint64_t fd_offset;
        struct shadow *shadow;
        uint64_t serial;
        uint64_t ticket;
};

static void free_mapping(void *p)
{
        struct dax_mapping *mapping = p;

        if (mapping)
                shadow_free(mapping->shadow);
        free(mapping);
}

static int compare_views(const void *a, const void *b)
{
        const struct dax_window_view *x = a, *y = b;

        return range_compare(x->range, y->range);
}

/* Returns a mapping that overlaps @range. */
static struct dax_mapping *find_mapping(struct dax_window *window, struct oriel_range range)
{
        const struct dax_window_view key = {.range = range};
        struct dax_mapping **node = tfind(&key, &window->mappings, compare_views);

        return node ? *node : NULL;
}

static bool is_limited(const struct dax_window *window)
{
        return window->limits.whole_pages_only || window->limits.writable_only;
}

static void remove_mapping(struct dax_window *window, struct dax_mapping *mapping)
{
        tdelete(mapping, &window->mappings, compare_views);
        window->n_mappings--;
}

int dax_window_init(struct dax_window *window, const struct fs_options *options, const struct oriel_log *log)
{
        *window = (struct dax_window){
                .size = options->window_size,
                .page = (uint64_t)sysconf(_SC_PAGESIZE),
                .ops = options->window_ops,
                .userdata = options->window_userdata,
                .log = log,
                .insist = options->insist,
                .readonly = options->readonly,
                .shadows = {.wake_fd = -1},
        };
        if (window->size > 0 && (!window->ops || !is_aligned(window->size, window->page)))
                return -EINVAL;
        pthread_mutex_init(&window->lock, NULL);
        return shadows_init(&window->shadows, log);
}

void dax_window_done(struct dax_window *window)
{
        dax_window_forget(window);
        shadows_done(&window->shadows);
        pthread_mutex_destroy(&window->lock);
}

/* With the lock: how many bytes of @view, from its start, one mapping shows. */
static uint64_t shown_at(struct dax_window *window, const struct dax_window_view *view)
{
        const struct dax_mapping *mapping = find_mapping(window, (struct oriel_range){view->range.start, window->page});

        if (!mapping || !mapping->placed || inode_key_compare(&mapping->view.file, &view->file) != 0 ||
            (view->writable && !mapping->view.writable))
                return 0;

        uint64_t inside = view->range.start - mapping->view.range.start;

        if (view->range.start < mapping->view.range.start || mapping->view.file_offset + inside != view->file_offset)
                return 0;
        return mapping->view.range.size - inside;
}

/* @view without its first @n bytes. */
static struct dax_window_view rest_of(const struct dax_window_view *view, uint64_t n)
{
        struct dax_window_view rest = *view;

        rest.range.start += n;
        rest.range.size -= n;
        rest.file_offset += n;
        return rest;
}

bool dax_window_shows(struct dax_window *window, const struct dax_window_view *view)
{
        struct dax_window_view rest = *view;
        uint64_t shown = 1;

        pthread_mutex_lock(&window->lock);
        while (rest.range.size > 0 && shown > 0) {
                shown = shown_at(window, &rest);
                rest = rest_of(&rest, shown < rest.range.size ? shown : rest.range.size);
        }
        pthread_mutex_unlock(&window->lock);
        return rest.range.size == 0;
}

static void log_unmap_failure(struct dax_window *window, const struct dax_mapping *mapping, int error)
{
        log_warning(window->log, "the window's mapping at %#" PRIx64 " was not unmapped: %s", mapping->view.range.start,
                    strerror(-error));
}

/* With the lock: submits the unmaps of all that overlaps @range, and removes it from the table. False: the batch is
 * full and there is more. */
static bool submit_unmaps(struct dax_window *window, struct oriel_range range, struct dax_window_batch *batch)
{
        struct dax_mapping *mapping;

        while ((mapping = find_mapping(window, range))) {
                if (batch->n == FS_WINDOW_BATCH)
                        return false;

                int r = window->ops->submit_unmap(window->userdata, mapping->view.range, &batch->tickets[batch->n]);

                remove_mapping(window, mapping);
                if (r < 0) {
                        log_unmap_failure(window, mapping, r);
                        free_mapping(mapping);
                        continue;
                }
                batch->mappings[batch->n++] = mapping;
        }
        return true;
}

void dax_window_wait(struct dax_window *window, struct dax_window_batch *batch)
{
        for (unsigned i = 0; i < batch->n; i++) {
                int r = window->ops->wait(window->userdata, batch->tickets[i]);

                if (r < 0 && batch->mappings[i])
                        log_unmap_failure(window, batch->mappings[i], r);
                free_mapping(batch->mappings[i]);
        }
        batch->n = 0;
}

/* The most batches for a range, of which the first may be full already. Without a limit, other threads that map
 * there could keep this one forever. */
static uint64_t batches_needed(struct dax_window *window)
{
        pthread_mutex_lock(&window->lock);

        uint64_t n = window->n_mappings / FS_WINDOW_BATCH + 2;

        pthread_mutex_unlock(&window->lock);
        return n;
}

/* Mappings of another process that has served the guest before are in no table here: the guest knows them, and the
 * front-end, which refuses ranges that are not exactly one mapping. True: @range may be one of these. */
static bool submit_unknown(struct dax_window *window, struct oriel_range range, struct dax_window_batch *batch)
{
        pthread_mutex_lock(&window->lock);

        bool unknown = window->resumed && !find_mapping(window, range) && batch->n < FS_WINDOW_BATCH;

        if (unknown && window->ops->submit_unmap(window->userdata, range, &batch->tickets[batch->n]) == 0)
                batch->mappings[batch->n++] = NULL;
        pthread_mutex_unlock(&window->lock);
        return unknown;
}

void dax_window_unmap(struct dax_window *window, struct oriel_range range, struct dax_window_batch *batch)
{
        bool all = submit_unknown(window, range, batch);

        for (uint64_t n = batches_needed(window); !all && n > 0; n--) {
                pthread_mutex_lock(&window->lock);
                all = submit_unmaps(window, range, batch);
                pthread_mutex_unlock(&window->lock);
                if (!all)
                        dax_window_wait(window, batch);
        }
}

/* With the lock, when nothing overlaps: enters the map in the table, which takes the shadow, and submits it. */
static int dax_window_submit_map(struct dax_window *window, struct piece *piece)
{
        const struct dax_window_view *view = &piece->view;
        _cleanup_(freep) struct dax_mapping *mapping = malloc(sizeof(*mapping));

        if (!mapping)
                return -ENOMEM;
        if (is_limited(window) && window->n_mappings >= max_limited_mappings)
                return -ENOSPC;
        *mapping = (struct dax_mapping){.view = *view, .serial = ++window->last_serial};

        /* Before the submission, because this can fail while the front-end has not been asked. */
        if (!tsearch(mapping, &window->mappings, compare_views))
                return -ENOMEM;
        window->n_mappings++;

        int r = window->ops->submit_map(window->userdata, view->range, piece->fd, piece->fd_offset, view->writable,
                                        &piece->ticket);

        if (r < 0) {
                remove_mapping(window, mapping);
                return r;
        }
        mapping->shadow = steal(piece->shadow);
        piece->serial = steal(mapping)->serial;
        return 0;
}

/* Notes the answer to a map. The mapping may have been unmapped or forgotten since it was submitted. */
static void settle_map(struct dax_window *window, const struct piece *piece, bool placed)
{
        struct dax_mapping *gone = NULL;

        pthread_mutex_lock(&window->lock);

        struct dax_mapping *mapping = find_mapping(window, piece->view.range);

        if (mapping && mapping->serial == piece->serial) {
                mapping->placed = placed;
                if (!placed) {
                        remove_mapping(window, mapping);
                        gone = mapping;
                }
        }
        pthread_mutex_unlock(&window->lock);
        free_mapping(gone);
}

/* Maps all of @pieces, which are side by side in @range, or none. */
static int map_pieces(struct dax_window *window, struct oriel_range range, struct piece *pieces, unsigned n)
{
        struct dax_window_batch batch = {0};
        unsigned submitted = 0;
        int r = -EBUSY;

        /* Unmaps and maps are submitted together, so that the guest sees the hole between them as briefly as
         * possible. */
        for (uint64_t tries = batches_needed(window); r == -EBUSY && tries > 0; tries--) {
                pthread_mutex_lock(&window->lock);
                if (submit_unmaps(window, range, &batch))
                        for (submitted = 0, r = 0; r == 0 && submitted < n; submitted += r == 0)
                                r = dax_window_submit_map(window, &pieces[submitted]);
                pthread_mutex_unlock(&window->lock);
                dax_window_wait(window, &batch);
        }
        for (unsigned i = 0; i < submitted; i++) {
                int answer = window->ops->wait(window->userdata, pieces[i].ticket);

                settle_map(window, &pieces[i], answer >= 0);
                if (answer < 0 && r == 0)
                        r = answer;
        }
        if (r < 0 && submitted > 0) {
                dax_window_unmap(window, range, &batch);
                dax_window_wait(window, &batch);
        }
        return r;
}

/* Sets *@out to how much of @view the front-end can map from the file itself, given how @fd is open. */
static int dax_window_mappable(const struct dax_window *window, const struct dax_window_view *view, int fd,
                               uint64_t *out)
{
        struct stat stat;

        *out = view->range.size;
        if (window->limits.writable_only && !view->writable && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
                *out = 0;
        if (*out == 0 || !window->limits.whole_pages_only)
                return 0;
        if (fstat(fd, &stat) < 0)
                return -errno;

        uint64_t whole = (uint64_t)stat.st_size & ~(window->page - 1);
        uint64_t n = whole > view->file_offset ? whole - view->file_offset : 0;

        if (n < *out)
                *out = n;
        return 0;
}

/* Maps the first part from the file, and the rest from a shadow. */
static int map_divided(struct dax_window *window, const struct dax_window_view *view, int fd, uint64_t direct)
{
        struct piece pieces[2];
        unsigned n = 0;
        _cleanup_(fd_closep) int memory = -1;

        if (direct > 0) {
                pieces[n] = (struct piece){.view = *view, .fd = fd, .fd_offset = view->file_offset};
                pieces[n++].view.range.size = direct;
        }
        if (direct < view->range.size) {
                const struct dax_window_view rest = rest_of(view, direct);
                const struct oriel_range part = {rest.file_offset, rest.range.size};
                struct piece *piece = &pieces[n++];

                *piece = (struct piece){.view = rest};

                int r = shadow_new(&window->shadows, fd, part, view->writable, &piece->shadow, &memory);

                if (r < 0)
                        return r;
                piece->fd = memory;
        }

        int r = map_pieces(window, view->range, pieces, n);

        if (n > 0)
                shadow_free(pieces[n - 1].shadow);
        return r;
}

int dax_window_map(struct dax_window *window, const struct dax_window_view *view, int fd)
{
        int r = -EREMOTEIO;

        /* The front-end refuses a file that has just become shorter: divide it again. */
        for (int tries = 0; r == -EREMOTEIO && tries < 3; tries++) {
                uint64_t direct;

                r = dax_window_mappable(window, view, fd, &direct);
                if (r == 0)
                        r = map_divided(window, view, fd, direct);
                if (!window->limits.whole_pages_only)
                        break;
        }
        return r == -EREMOTEIO ? -EIO : r;
}

void dax_window_forget(struct dax_window *window)
{
        pthread_mutex_lock(&window->lock);

        void *mappings = window->mappings;

        window->mappings = NULL;
        window->n_mappings = 0;
        pthread_mutex_unlock(&window->lock);
        tdestroy(mappings, free_mapping);
}

/* ---- what the front-end can do ---- */

/* Maps @fd at the window's start, and unmaps it. -EREMOTEIO: the front-end refuses. */
static int try_one(struct dax_window *window, int fd, bool writable)
{
        const struct oriel_range range = {0, window->page};
        uint64_t ticket;
        int r = window->ops->submit_map(window->userdata, range, fd, 0, writable, &ticket);

        if (r == 0)
                r = window->ops->wait(window->userdata, ticket);
        if (r == 0)
                r = window->ops->submit_unmap(window->userdata, range, &ticket);
        else
                return r;
        return r < 0 ? r : window->ops->wait(window->userdata, ticket);
}

static int make_probe_file(off_t size)
{
        _cleanup_(fd_closep) int fd = memfd_create("oriel-fs-try", MFD_CLOEXEC);

        return fd < 0 || ftruncate(fd, size) < 0 ? -errno : fd_take(&fd);
}

/* A file that ends within its page. */
static int try_partial_page(struct dax_window *window)
{
        _cleanup_(fd_closep) int fd = make_probe_file(100);

        return fd < 0 ? fd : try_one(window, fd, true);
}

static int try_readonly(struct dax_window *window)
{
        _cleanup_(fd_closep) int fd = make_probe_file((off_t)window->page);

        if (fd < 0)
                return fd;

        _cleanup_(fd_closep) int readonly_fd = openat(window->proc_fd, fd_name(fd).text, O_RDONLY | O_CLOEXEC);

        return readonly_fd < 0 ? -errno : try_one(window, readonly_fd, false);
}

static const char *reason_against(const struct dax_window *window)
{
        if (window->limits.writable_only && window->readonly && !window->insist)
                return "a share that is read-only can't be mapped by this front-end, which wants files that it can"
                       " write to, and lets the guest write: --allow-writable-dax does it all the same";
        if (is_limited(window) && window->size / range_of_linux * 2 > max_limited_mappings)
                return "this front-end dies of more mappings than the window has room for: at most"
                       " --dax-window=256M is safe";
        return NULL;
}

static void dax_window_say(struct dax_window *window, const char *against)
{
        const struct dax_window_limits *limits = &window->limits;

        if (limits->whole_pages_only == window->said.whole_pages_only &&
            limits->writable_only == window->said.writable_only)
                return;
        window->said.whole_pages_only = limits->whole_pages_only;
        window->said.writable_only = limits->writable_only;
        if (is_limited(window))
                log_warning(window->log, "the front-end %s%s%s (see \"Limited front-ends\" in oriel-fs(1))",
                            limits->whole_pages_only ? "can't map the last page of a file that ends within it" : "",
                            limits->whole_pages_only && limits->writable_only ? ", and " : "",
                            limits->writable_only ? "maps nothing that is open for reading only" : "");
        if (against)
                log_warning(window->log, "no DAX: %s", against);
}

void dax_window_resume(struct dax_window *window)
{
        window->limits = (struct dax_window_limits){0};
        window->shadows.enabled = false;
        window->usable = window->size > 0;
        window->resumed = true;
}

void dax_window_try(struct dax_window *window)
{
        window->usable = false;
        window->resumed = false;
        window->shadows.enabled = false;
        window->shadows.complained = false;
        if (window->size == 0)
                return;

        int partial = try_partial_page(window), readonly = try_readonly(window);

        if ((partial < 0 && partial != -EREMOTEIO) || (readonly < 0 && readonly != -EREMOTEIO)) {
                log_warning(window->log, "no DAX: the front-end can't be tried: %s",
                            strerror(partial < 0 && partial != -EREMOTEIO ? -partial : -readonly));
                return;
        }
        window->limits.whole_pages_only = partial < 0;
        window->limits.writable_only = readonly < 0;

        const char *against = reason_against(window);

        dax_window_say(window, against);
        window->usable = !against;
        window->shadows.enabled = window->usable && is_limited(window);
}
