/* SPDX-License-Identifier: BSD-2-Clause */

/* The requests SETUPMAPPING and REMOVEMAPPING. Ranges come from the guest: they are checked against the page size,
 * the window and the largest file offset before window.c of devices/fs/window/ gets them. A file is opened
 * read-write if possible even for a mapping to be read, because the guest later asks for the same range to be
 * written, and a mapping that is replaced is missing for a moment. REMOVEMAPPING submits all unmaps of a request,
 * then waits for them. */

#include "base/fd.h"
#include "base/range.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/inode.h"

#include <fcntl.h>

/* As many as a page of 64 KiB holds, the largest of any Linux guest. */
static const uint32_t max_removals = 65536 / sizeof(struct fuse_removemapping_one);

/* Checks the request. The view has whole pages within the window: the guest may name the last page in part. */
static int view_wanted(struct fs *fs, const struct fuse_setupmapping_in *in, struct dax_window_view *view)
{
        const uint64_t known = FUSE_SETUPMAPPING_FLAG_READ | FUSE_SETUPMAPPING_FLAG_WRITE, page = fs->window.page;

        view->range.start = in->moffset;
        if (in->len == 0 || !is_aligned(in->moffset, page) || !checked_round_up(in->len, page, &view->range.size) ||
            !range_within(view->range, fs->window.size) || in->flags & ~known || !is_aligned(in->foffset, page) ||
            !range_within((struct oriel_range){in->foffset, view->range.size}, INT64_MAX))
                return -EINVAL;
        view->file_offset = in->foffset;
        view->writable = in->flags & FUSE_SETUPMAPPING_FLAG_WRITE;
        return view->writable && fs->options.readonly ? -EROFS : 0;
}

/* Opens read-write if possible, also if only reading was asked for: the guest sets the same range up again for
 * writing, and a mapping that is replaced is missing for a moment. */
static int open_for_view(const struct node *node, struct dax_window_view *view)
{
        bool readonly = node->fs->options.readonly;
        int fd = readonly && !node->fs->window.limits.writable_only ? -EROFS : node_open(node, O_RDWR);

        if (fd >= 0)
                view->writable = !readonly;
        else if (!view->writable && (fd == -EACCES || fd == -EPERM || fd == -EROFS || fd == -ETXTBSY))
                fd = node_open(node, O_RDONLY);
        return fd;
}

/* A shadow keeps its file open. */
static bool has_room_for_shadow(struct fs *fs)
{
        if (!fs->window.shadows.enabled)
                return true;
        _cleanup_(lock_releasep) pthread_mutex_t *locked = lock_take(&fs->lock);

        return fs_has_room(fs);
}

/* The kernel names the file by its node; it sends no handle. */
ssize_t op_setupmapping(struct request *request)
{
        struct fs *fs = request->fs;
        struct dax_window_view view;
        _cleanup_(node_put) struct node node = {.opened = -1};

        if (!fs->window.usable)
                return -ENOSYS;

        int r = view_wanted(fs, &request->in.setupmapping, &view);

        if (r == 0)
                r = node_get(fs, request->header.nodeid, &node);
        if (r < 0)
                return r;
        if (!S_ISREG(node.inode->type))
                return -EINVAL;
        view.file = node.inode->id.key;
        if (dax_window_shows(&fs->window, &view))
                return 0;

        if (!has_room_for_shadow(fs) && !(room_make(fs) && has_room_for_shadow(fs)))
                return -ENFILE;

        _cleanup_(fd_closep) int fd = open_for_view(&node, &view);

        return fd < 0 ? fd : dax_window_map(&fs->window, &view, fd);
}

/* A guest that removes everything may name more than there is. */
static int range_to_unmap(const struct dax_window *window, uint64_t start, uint64_t size, struct oriel_range *out)
{
        if (size == 0 || start >= window->size || !is_aligned(start, window->page))
                return -EINVAL;
        *out = (struct oriel_range){start, size < window->size - start ? size : window->size - start};
        return 0;
}

ssize_t op_removemapping(struct request *request)
{
        struct dax_window *window = &request->fs->window;
        const uint32_t n = request->in.removemapping.count;
        struct dax_window_batch batch = {0};
        int r = 0;

        if (window->size == 0)
                return -ENOSYS;
        if (n > max_removals || request->data.left != n * sizeof(struct fuse_removemapping_one))
                return -EINVAL;

        for (uint32_t i = 0; r == 0 && i < n; i++) {
                struct fuse_removemapping_one one;
                struct oriel_range range;

                cursor_read(&request->data, &one, sizeof(one));
                r = range_to_unmap(window, one.moffset, one.len, &range);
                if (r == 0)
                        dax_window_unmap(window, range, &batch);
        }
        dax_window_wait(window, &batch);
        return r;
}
