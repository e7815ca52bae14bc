/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fd.h"
#include "base/range.h"
#include "base/syscalls.h"
#include "devices/fs/handle.h"
#include "devices/fs/inode.h"
#include "devices/fs/operations.h"
#include "devices/fs/state.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(preadv2), SYSCALL(pwritev2), SYSCALL(openat), SYSCALL(unlinkat), SYSCALL(fsync),
              SYSCALL(fdatasync), SYSCALL(lseek), SYSCALL(fallocate), SYSCALL(copy_file_range));

/* What the guest's flags become. O_APPEND is done write by write, because pages that the guest writes back go to their
 * places whatever their handle says. Where it may keep what was written, it reads what it writes only in part. */
static int open_flags(const struct fs *fs, uint32_t flags, int *out)
{
        const uint32_t kept = O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC |
                              (fs->options.allow_direct_io ? (uint32_t)O_DIRECT : 0) | (uint32_t)O_NOATIME;

        if ((flags & O_ACCMODE) == O_ACCMODE)
                return -EINVAL;
        if (fs->options.readonly && ((flags & O_ACCMODE) != O_RDONLY || flags & O_TRUNC))
                return -EROFS;
        if (fs->features & FUSE_WRITEBACK_CACHE && (flags & O_ACCMODE) == O_WRONLY)
                flags = (flags & ~(uint32_t)O_ACCMODE) | O_RDWR;
        *out = (int)(flags & kept);
        return 0;
}

uint32_t open_reply_flags(const struct fs *fs, bool directory)
{
        static const struct {
                uint32_t file, directory;
        } flags[] = {
                [FS_CACHE_AUTO] = {0, 0},
                [FS_CACHE_ALWAYS] = {FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR},
                [FS_CACHE_METADATA] = {FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, 0},
                [FS_CACHE_NEVER] = {FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, 0},
        };

        return directory ? flags[fs->options.cache].directory : flags[fs->options.cache].file;
}

/* A set-group-ID bit without the right to execute is no such bit, and would go too, as this process is in no group. */
bool has_setuid(int fd)
{
        struct stat stat;

        return fstat(fd, &stat) == 0 && (stat.st_mode & S_ISUID || (stat.st_mode & S_ISGID && stat.st_mode & S_IXGRP));
}

/* O_TRUNC changes the file. */
static int open_node(const struct node *node, int flags, bool kill_setuid)
{
        WITHOUT_FSETID(kill_setuid && has_setuid(node->fd));
        HOLD_CONTENTS(node->fs, node->fd, -1, WHOLE_FILE);

        if (flags & O_TRUNC)
                drop_mapped_capability(node->fs, node->fd);

        int fd = node_open(node, flags);

        /* That takes the owner, or a capability, and what it asks for is only a favour. */
        if (fd == -EPERM && flags & O_NOATIME && !node->fs->options.preserve_noatime)
                fd = node_open(node, flags & ~O_NOATIME);
        return fd;
}

/* Who opens a file takes its set-user-ID bit away by truncating it, but for root. A guest that was not asked to say so
 * (HANDLE_KILLPRIV_V2) leaves it to us all the same, as the truncation is ours (ATOMIC_O_TRUNC). */
static bool kills_setuid(const struct request *request, int flags, uint32_t open_flags)
{
        if (request->fs->features & FUSE_HANDLE_KILLPRIV_V2)
                return open_flags & FUSE_OPEN_KILL_SUIDGID;
        return flags & O_TRUNC && request->header.uid != 0;
}

ssize_t op_open(struct request *request)
{
        struct fs *fs = request->fs;
        struct fuse_open_out out = {.open_flags = open_reply_flags(fs, false)};
        int flags;
        NODE(node);

        int r = node_get(fs, request->header.nodeid, &node);

        if (r < 0)
                return r;
        if (S_ISDIR(node.inode->type))
                return -EISDIR;
        r = open_flags(fs, request->in.open.flags, &flags);
        if (r < 0)
                return r;

        int fd = flags == O_RDONLY ? parked_take(fs, node.inode) : -1;

        if (fd < 0)
                fd = open_node(&node, flags, kills_setuid(request, flags, request->in.open.open_flags));
        if (fd < 0)
                return fd;
        r = handle_add(fs, fd, HANDLE_FILE, flags, &node, &out.fh);
        return r < 0 ? r : reply(request, &out, sizeof(out));
}

/* Always O_EXCL: what is there already may be a link or a fifo, which only node_open() knows how to treat. */
static int create_new(struct request *request, int directory_fd, int flags)
{
        const struct fuse_create_in *in = &request->in.create;
        const int how = flags | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
        _cleanup_(credentials_restore) struct credentials saved;
        int r = act_as_caller(request, in->umask, &saved);

        if (r < 0)
                return r;
        return sys_result(openat(directory_fd, request->name, how, in->mode & 07777));
}

/* Somebody else was faster. The lookup in @entry stays only if this succeeds. */
static int open_existing(struct request *request, const struct node *directory, int flags, struct fuse_entry_out *entry)
{
        struct fs *fs = request->fs;
        int r = inode_lookup(fs, directory->fd, &directory->inode->id.key, request->name, entry);
        NODE(node);

        if (r < 0)
                return r;
        r = node_get(fs, entry->nodeid, &node);
        if (r == 0 && S_ISDIR(node.inode->type))
                r = -EISDIR;

        int fd = r < 0 ? r : open_node(&node, flags, kills_setuid(request, flags, request->in.create.open_flags));

        if (fd < 0)
                inode_forget(fs, entry->nodeid, 1);
        return fd;
}

/* An fd and one lookup in @entry, or a negative errno. */
static int create(struct request *request, const struct node *directory, int flags, struct fuse_entry_out *entry)
{
        _cleanup_(fd_closep) int fd = create_new(request, directory->fd, flags);

        if (fd == -EEXIST && !(request->in.create.flags & O_EXCL))
                return open_existing(request, directory, flags, entry);
        if (fd < 0)
                return fd;

        int r = label_new(request, -1, fd);

        if (r < 0)
                unlinkat(directory->fd, request->name, 0);
        else
                r = inode_lookup_open(request->fs, fd, &directory->inode->id.key, entry);
        return r < 0 ? r : fd_take(&fd);
}

/* A file without a name. */
static int create_unnamed(struct request *request, const struct node *directory, int flags,
                          struct fuse_entry_out *entry)
{
        const struct fuse_create_in *in = &request->in.create;
        const int how = (flags & ~O_TRUNC) | O_TMPFILE | (int)(in->flags & O_EXCL) | O_CLOEXEC;
        _cleanup_(credentials_restore) struct credentials saved;
        int r = act_as_caller(request, in->umask, &saved);

        if (r < 0)
                return r;

        _cleanup_(fd_closep) int fd =
                sys_result(openat(request->fs->proc_fd, fd_name(directory->fd).text, how, in->mode & 07777));

        if (fd < 0)
                return fd;
        credentials_restore(&saved);
        r = label_new(request, -1, fd);
        if (r == 0)
                r = inode_lookup_open(request->fs, fd, &directory->inode->id.key, entry);
        return r < 0 ? r : fd_take(&fd);
}

typedef int create_function(struct request *request, const struct node *directory, int flags,
                            struct fuse_entry_out *entry);

static ssize_t create_and_open(struct request *request, create_function *make)
{
        struct fs *fs = request->fs;
        struct {
                struct fuse_entry_out entry;
                struct fuse_open_out open;
        } out = {.open.open_flags = open_reply_flags(fs, false)};
        int flags = 0;
        NODE(directory);
        NODE(node);

        int r = node_get(fs, request->header.nodeid, &directory);

        if (r == 0)
                r = open_flags(fs, request->in.create.flags, &flags);
        if (r == 0)
                r = inode_room_for_new(fs, 1);
        if (r < 0)
                return r;

        int fd = make(request, &directory, flags, &out.entry);

        if (fd < 0)
                return fd;
        r = node_get(fs, out.entry.nodeid, &node);
        if (r == 0)
                r = handle_add(fs, fd, HANDLE_FILE, flags | O_CREAT, &node, &out.open.fh);
        else
                fd_close(fd);
        if (r < 0) {
                inode_forget(fs, out.entry.nodeid, 1);
                return r;
        }
        return reply(request, &out, sizeof(out));
}

ssize_t op_create(struct request *request)
{
        return create_and_open(request, create);
}

ssize_t op_tmpfile(struct request *request)
{
        return create_and_open(request, create_unnamed);
}

typedef ssize_t io_function(int fd, const struct iovec *spans, int n_spans, off_t offset, int flags);

/* Move all of @file, or as much as there is, between the file and the guest's memory. Bytes moved or a negative errno.
 */
static ssize_t transfer(io_function *io, int fd, struct cursor *memory, struct oriel_range file, int flags)
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

/* Also keeps a guest from meaning "the current position", which is what -1 would. */
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
        /* A short answer would be taken for the end of the file. */
        if (!is_in_file(file) || in->size > request->out.left)
                return -EINVAL;

        HOLD_CONTENTS(request->fs, handle->fd, -1, file);

        if (hold.error < 0)
                return hold.error;
        return transfer(preadv2, handle->fd, &request->out, file, 0);
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

        /* What the guest's page cache brings comes by whatever handle there is, in pieces that end with the file: with
         * O_DIRECT, the host would refuse them. */
        _cleanup_(fd_closep) int cached_fd = in->write_flags & FUSE_WRITE_CACHE && handle->is_direct
                                                     ? fs_reopen(request->fs, handle->fd, O_WRONLY)
                                                     : -1;
        int fd = cached_fd >= 0 ? cached_fd : handle->fd;

        WITHOUT_FSETID(in->write_flags & FUSE_WRITE_KILL_SUIDGID && has_setuid(fd));
        HOLD_CONTENTS(request->fs, handle->fd, -1, file);
        drop_mapped_capability(request->fs, handle->fd);

        ssize_t size = transfer(pwritev2, fd, &request->data, file, append ? RWF_APPEND : 0);

        if (size < 0)
                return size;
        if (!append)
                hold.replaced[0] = (struct oriel_range){file.start, (uint64_t)size};

        const struct fuse_write_out out = {.size = (uint32_t)size};

        return reply(request, &out, sizeof(out));
}

/* Who closes a file has no lock on it any more, however many other descriptors of it are open. */
static void drop_locks(struct request *request, uint64_t owner)
{
        NODE(node);

        if (node_get(request->fs, request->header.nodeid, &node) == 0)
                lock_owner_drop(request->fs, node.inode, owner);
}

/* Some file systems report a failed write only when the file is closed. */
ssize_t op_flush(struct request *request)
{
        _cleanup_(handle_putp) struct handle *handle = handle_get(request->fs, request->in.flush.fh, HANDLE_FILE);

        if (!handle)
                return -EBADF;
        if (request->fs->features & FUSE_POSIX_LOCKS)
                drop_locks(request, request->in.flush.lock_owner);

        HOLD_CONTENTS(request->fs, handle->fd, -1, WHOLE_FILE);
        int r = shadows_error(&hold), fd = r < 0 ? r : fd_dup(handle->fd);

        return fd < 0 ? fd : sys_result(close(fd));
}

static void release_locks(struct fs *fs, const struct handle *handle)
{
        NODE(node);

        if (node_get(fs, handle->nodeid, &node) == 0)
                lock_owners_close(fs, node.inode, handle->fh);
}

static int release_file(struct request *request)
{
        _cleanup_(handle_putp) struct handle *handle = handle_remove(request->fs, request->in.release.fh, HANDLE_FILE);

        if (!handle)
                return -EBADF;
        if (request->fs->features & FUSE_POSIX_LOCKS)
                release_locks(request->fs, handle);

        HOLD_CONTENTS(request->fs, handle->fd, -1, WHOLE_FILE);

        if (!(request->fs->features & FUSE_FLOCK_LOCKS) && handle->is_plain && handle_is_unused(handle))
                parked_add(request->fs, handle);
        return 0;
}

ssize_t op_release(struct request *request)
{
        int r = release_file(request);

        /* Its flock has gone with it: only now, that it is closed. */
        if (r == 0 && request->fs->features & FUSE_FLOCK_LOCKS)
                waiting_wake(&request->fs->waiting);
        return r;
}

static ssize_t sync_handle(struct request *request, enum handle_kind kind)
{
        const struct fuse_fsync_in *in = &request->in.fsync;
        _cleanup_(handle_putp) struct handle *handle = handle_get(request->fs, in->fh, kind);

        if (!handle)
                return -EBADF;

        HOLD_CONTENTS(request->fs, handle->fd, -1, WHOLE_FILE);

        int r = shadows_error(&hold);

        if (r < 0)
                return r;
        return sys_result((in->fsync_flags & FUSE_FSYNC_FDATASYNC) ? fdatasync(handle->fd) : fsync(handle->fd));
}

ssize_t op_fsync(struct request *request)
{
        return sync_handle(request, HANDLE_FILE);
}

ssize_t op_fsyncdir(struct request *request)
{
        return sync_handle(request, HANDLE_DIRECTORY);
}

ssize_t op_lseek(struct request *request)
{
        const struct fuse_lseek_in *in = &request->in.lseek;
        _cleanup_(handle_putp) struct handle *handle = handle_get(request->fs, in->fh, HANDLE_FILE);

        if (!handle)
                return -EBADF;
        if ((in->whence != SEEK_DATA && in->whence != SEEK_HOLE) || in->offset > INT64_MAX)
                return -EINVAL;

        HOLD_CONTENTS(request->fs, handle->fd, -1, WHOLE_FILE);
        if (hold.error < 0)
                return hold.error;

        off_t offset = lseek(handle->fd, (off_t)in->offset, (int)in->whence);

        if (offset < 0)
                return -errno;

        const struct fuse_lseek_out out = {.offset = (uint64_t)offset};

        return reply(request, &out, sizeof(out));
}

/* The requests that have no flag for it: a guest that leaves set-user-ID bits to us leaves them to us there, too. */
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

        WITHOUT_FSETID(changes_for_other(request) && has_setuid(handle->fd));
        HOLD_CONTENTS(request->fs, handle->fd, -1, WHOLE_FILE);
        drop_mapped_capability(request->fs, handle->fd);

        int r = sys_result(fallocate(handle->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length));

        if (r == 0 && in->mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
                hold.replaced[0] = (struct oriel_range){in->offset, in->length};
        return r;
}

/* How much was copied, or a negative errno. */
static ssize_t copy_range(struct request *request, size_t most)
{
        const struct fuse_copy_file_range_in *in = &request->in.copy_file_range;
        _cleanup_(handle_putp) struct handle *from = handle_get(request->fs, in->fh_in, HANDLE_FILE);
        _cleanup_(handle_putp) struct handle *to = handle_get(request->fs, in->fh_out, HANDLE_FILE);

        if (!from || !to)
                return -EBADF;
        if (in->flags != 0 || in->off_in > INT64_MAX || in->off_out > INT64_MAX)
                return -EINVAL;

        WITHOUT_FSETID(changes_for_other(request) && has_setuid(to->fd));
        HOLD_CONTENTS(request->fs, from->fd, to->fd, WHOLE_FILE);
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

/* The answer has 32 bits. */
ssize_t op_copy_file_range(struct request *request)
{
        ssize_t done = copy_range(request, INT32_MAX);
        const struct fuse_write_out out = {.size = (uint32_t)done};

        return done < 0 ? done : reply(request, &out, sizeof(out));
}

ssize_t op_copy_file_range_64(struct request *request)
{
        ssize_t done = copy_range(request, SSIZE_MAX);
        const struct fuse_copy_file_range_out out = {.bytes_copied = (uint64_t)done};

        return done < 0 ? done : reply(request, &out, sizeof(out));
}
