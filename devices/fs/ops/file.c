/* SPDX-License-Identifier: BSD-2-Clause */

/* FUSE requests on open files: READ, WRITE, FLUSH, RELEASE, FSYNC, LSEEK, FALLOCATE and COPY_FILE_RANGE. Data moves
 * between the file and the guest's memory without a copy, by preadv2(2) and pwritev2(2). Each request holds the
 * file's shadows (shadows_hold()) while it works on the contents, so that the guest's stores through the window come
 * before it and its effect is shown there. Requests that change a file clear set-user-ID bits if the guest leaves
 * that to the host. */

#include "base/fd.h"
#include "base/range.h"
#include "base/syscalls.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/core/proc_fd.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"
#include "devices/fs/files/inode.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(preadv2), SYSCALL(pwritev2), SYSCALL(fsync), SYSCALL(fdatasync), SYSCALL(lseek),
              SYSCALL(fallocate), SYSCALL(copy_file_range));

typedef ssize_t io_function(int fd, const struct iovec *spans, int n_spans, off_t offset, int flags);

/* Moves all of @file, or as much as there is, between the file and the guest's memory. Returns the bytes moved, or a
 * negative errno. */
static ssize_t file_transfer(io_function *io, int fd, struct cursor *memory, struct oriel_range file, int flags)
{
        uint64_t done = 0;

        while (done < file.size) {
                struct iovec spans[256];
                unsigned n = cursor_spans(memory, file.size - done, spans, ARRAY_SIZE(spans));
                ssize_t r = io(fd, spans, (int)n, (off_t)(file.start + done), flags);

                if (r < 0 && errno == EINTR)
                        continue;
                if (r < 0 && done == 0)
                        return -errno;
                if (r <= 0)
                        break;
                cursor_skip(memory, (size_t)r);
                done += (uint64_t)r;
        }
        return (ssize_t)done;
}

/* Also keeps -1, "the current position", from a guest. */
static bool is_in_file(struct oriel_range range)
{
        return range_within(range, INT64_MAX);
}

ssize_t op_read(struct request *request)
{
        const struct fuse_read_in *in = &request->in.read;
        const struct oriel_range file = {in->offset, in->size};
        _cleanup_(handle_putp) struct handle *handle = handle_get(request->fs, in->fh, HANDLE_FILE);

        if (!handle)
                return -EBADF;
        /* The guest would take a short answer for the end of the file. */
        if (!is_in_file(file) || in->size > request->out.left)
                return -EINVAL;

        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&request->fs->window.shadows, handle->fd, -1, file);

        if (hold.error < 0)
                return hold.error;
        return file_transfer(preadv2, handle->fd, &request->out, file, 0);
}

ssize_t op_write(struct request *request)
{
        const struct fuse_write_in *in = &request->in.write;
        const struct oriel_range file = {in->offset, in->size};
        _cleanup_(handle_putp) struct handle *handle = handle_get(request->fs, in->fh, HANDLE_FILE);
        bool append = in->flags & O_APPEND && !(in->write_flags & FUSE_WRITE_CACHE);

        if (!handle)
                return -EBADF;
        if (!is_in_file(file) || in->size != request->data.left)
                return -EINVAL;

        /* The guest's page cache writes through any handle, in pieces that end with the file; on a descriptor with
         * O_DIRECT the host would refuse them. */
        _cleanup_(fd_closep) int cached_fd = in->write_flags & FUSE_WRITE_CACHE && handle->is_direct
                                                     ? fs_reopen(request->fs, handle->fd, O_WRONLY)
                                                     : -1;
        int fd = cached_fd >= 0 ? cached_fd : handle->fd;

        _cleanup_(credentials_restore_fsetid) struct credentials_fsetid fsetid =
                credentials_kill_setuid(in->write_flags & FUSE_WRITE_KILL_SUIDGID, fd);
        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&request->fs->window.shadows, handle->fd, -1, file);
        drop_mapped_capability(request->fs, handle->fd);

        ssize_t size = file_transfer(pwritev2, fd, &request->data, file, append ? RWF_APPEND : 0);

        if (size < 0)
                return size;
        if (!append)
                hold.replaced[0] = (struct oriel_range){file.start, (uint64_t)size};

        const struct fuse_write_out out = {.size = (uint32_t)size};

        return request_reply(request, &out, sizeof(out));
}

/* Drops the locks on node @nodeid that @drop selects by @number. */
static void drop_locks(struct fs *fs, uint64_t nodeid,
                       bool (*drop)(struct fs *fs, struct inode *inode, uint64_t number), uint64_t number)
{
        _cleanup_(node_put) struct node node = {.opened = -1};

        if (node_get(fs, nodeid, &node) == 0 && drop(fs, node.inode, number))
                waiting_wake(&fs->waiting);
}

/* Some file systems report a failed write only when the file is closed. */
ssize_t op_flush(struct request *request)
{
        _cleanup_(handle_putp) struct handle *handle = handle_get(request->fs, request->in.flush.fh, HANDLE_FILE);

        if (!handle)
                return -EBADF;
        /* A process that closes a file loses its locks on it, even if it has other descriptors of it. */
        if (request->fs->features & FUSE_POSIX_LOCKS)
                drop_locks(request->fs, request->header.nodeid, lock_owner_drop, request->in.flush.lock_owner);

        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&request->fs->window.shadows, handle->fd, -1, WHOLE_FILE);
        int r = shadows_error(&hold), fd = r < 0 ? r : fd_dup(handle->fd);

        return fd < 0 ? fd : sys_result(close(fd));
}

static int release_file(struct request *request)
{
        _cleanup_(handle_putp) struct handle *handle = handle_remove(request->fs, request->in.release.fh, HANDLE_FILE);

        if (!handle)
                return -EBADF;
        if (request->fs->features & FUSE_POSIX_LOCKS)
                drop_locks(request->fs, handle->nodeid, lock_owners_close, handle->fh);

        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&request->fs->window.shadows, handle->fd, -1, WHOLE_FILE);

        if (!(request->fs->features & FUSE_FLOCK_LOCKS) && handle->is_plain && handle_is_unused(handle) &&
            parked_add(request->fs, handle))
                expiring_wake(&request->fs->expiring);
        return 0;
}

ssize_t op_release(struct request *request)
{
        int r = release_file(request);

        /* Only now, when its descriptor is closed, its flock is gone. */
        if (r == 0 && request->fs->features & FUSE_FLOCK_LOCKS)
                waiting_wake(&request->fs->waiting);
        return r;
}

ssize_t op_fsync(struct request *request)
{
        const struct fuse_fsync_in *in = &request->in.fsync;
        const enum handle_kind kind = request->header.opcode == FUSE_FSYNCDIR ? HANDLE_DIRECTORY : HANDLE_FILE;
        _cleanup_(handle_putp) struct handle *handle = handle_get(request->fs, in->fh, kind);

        if (!handle)
                return -EBADF;

        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&request->fs->window.shadows, handle->fd, -1, WHOLE_FILE);

        int r = shadows_error(&hold);

        if (r < 0)
                return r;
        return sys_result((in->fsync_flags & FUSE_FSYNC_FDATASYNC) ? fdatasync(handle->fd) : fsync(handle->fd));
}

ssize_t op_lseek(struct request *request)
{
        const struct fuse_lseek_in *in = &request->in.lseek;
        _cleanup_(handle_putp) struct handle *handle = handle_get(request->fs, in->fh, HANDLE_FILE);

        if (!handle)
                return -EBADF;
        if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
                return -EINVAL;
        /* Before the beginning there is nothing, as behind the end. */
        if (in->offset > INT64_MAX)
                return -ENXIO;

        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&request->fs->window.shadows, handle->fd, -1, WHOLE_FILE);
        if (hold.error < 0)
                return hold.error;

        off_t offset = lseek(handle->fd, (off_t)in->offset, (int)in->whence);

        if (offset < 0)
                return -errno;

        const struct fuse_lseek_out out = {.offset = (uint64_t)offset};

        return request_reply(request, &out, sizeof(out));
}

/* For requests that have no flag for it: a guest that leaves set-user-ID bits to the host leaves them here, too. It
 * names the user, because ALLOW_IDMAP is not wanted then: see features_wanted(). */
static bool changes_for_other(const struct request *request)
{
        return request->fs->features & FUSE_HANDLE_KILLPRIV_V2 && request->header.uid != 0;
}

ssize_t op_fallocate(struct request *request)
{
        const uint32_t known = FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE;
        const struct fuse_fallocate_in *in = &request->in.fallocate;
        _cleanup_(handle_putp) struct handle *handle = handle_get(request->fs, in->fh, HANDLE_FILE);

        if (!handle)
                return -EBADF;
        if (in->mode & ~known)
                return -EOPNOTSUPP;
        if (!is_in_file((struct oriel_range){in->offset, in->length}))
                return -EINVAL;

        _cleanup_(credentials_restore_fsetid) struct credentials_fsetid fsetid =
                credentials_kill_setuid(changes_for_other(request), handle->fd);
        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&request->fs->window.shadows, handle->fd, -1, WHOLE_FILE);
        drop_mapped_capability(request->fs, handle->fd);

        int r = sys_result(fallocate(handle->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length));

        if (r == 0 && in->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
                hold.replaced[0] = (struct oriel_range){in->offset, in->length};
        return r;
}

/* Returns how many bytes were copied, or a negative errno. */
static ssize_t copy_range(struct request *request, size_t most)
{
        const struct fuse_copy_file_range_in *in = &request->in.copy_file_range;
        _cleanup_(handle_putp) struct handle *from = handle_get(request->fs, in->fh_in, HANDLE_FILE);
        _cleanup_(handle_putp) struct handle *to = handle_get(request->fs, in->fh_out, HANDLE_FILE);

        if (!from || !to)
                return -EBADF;
        if (in->flags != 0 || in->off_in > INT64_MAX || in->off_out > INT64_MAX)
                return -EINVAL;

        _cleanup_(credentials_restore_fsetid) struct credentials_fsetid fsetid =
                credentials_kill_setuid(changes_for_other(request), to->fd);
        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&request->fs->window.shadows, from->fd, to->fd, WHOLE_FILE);
        if (hold.error < 0)
                return hold.error;

        off_t from_offset = (off_t)in->off_in, to_offset = (off_t)in->off_out;
        ssize_t done = copy_file_range(from->fd, &from_offset, to->fd, &to_offset, in->len < most ? in->len : most, 0);

        if (done < 0)
                return -errno;
        drop_mapped_capability(request->fs, to->fd);
        hold.replaced[1] = (struct oriel_range){in->off_out, (uint64_t)done};
        return done;
}

/* The size in the answer has 32 bits. */
ssize_t op_copy_file_range(struct request *request)
{
        ssize_t done = copy_range(request, INT32_MAX);
        const struct fuse_write_out out = {.size = (uint32_t)done};

        return done < 0 ? done : request_reply(request, &out, sizeof(out));
}

ssize_t op_copy_file_range_64(struct request *request)
{
        ssize_t done = copy_range(request, SSIZE_MAX);
        const struct fuse_copy_file_range_out out = {.bytes_copied = (uint64_t)done};

        return done < 0 ? done : request_reply(request, &out, sizeof(out));
}
