/* SPDX-License-Identifier: BSD-2-Clause */

/* FUSE requests on attributes and links: GETATTR, STATX, SETATTR, READLINK. They work on the node's O_PATH
 * descriptor; fchmodat(2) goes through /proc/self/fd, and a size is set by the guest's handle or a new descriptor.
 * SETATTR changes owner, mode, size and times in this order, with the file's shadows held, and answers with the
 * attributes of afterwards. */

#include "base/fd.h"
#include "base/syscalls.h"
#include "devices/fs/core/idmap.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/core/proc_fd.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"
#include "devices/fs/files/inode.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#ifdef __NR_fchmodat2
/* The form that newer C libraries use for fchmodat(). */
SYSCALL_ROWS newer_form[] = {SYSCALL_AT(fchmodat2, 0)};
#endif
USES_SYSCALLS(SYSCALL_AT(fchownat, 0), SYSCALL_AT(fchmodat, 0), SYSCALL(ftruncate), SYSCALL_AT(utimensat, 0),
              SYSCALL(fstat), SYSCALL_AT(readlinkat, 0));

static ssize_t reply_attributes(struct request *request, const struct node *node)
{
        struct fuse_attr_out out;
        int r = node_attributes(node, &out);

        return r < 0 ? r : request_reply(request, &out, sizeof(out));
}

ssize_t op_getattr(struct request *request)
{
        return reply_attributes(request, &request->node);
}

ssize_t op_statx(struct request *request)
{
        struct fuse_statx_out out;
        int r = node_statx(&request->node, &out);

        return r < 0 ? r : request_reply(request, &out, sizeof(out));
}

static int change_owner(const struct node *node, const struct fuse_setattr_in *in)
{
        uid_t uid = (uid_t)-1;
        gid_t gid = (gid_t)-1;
        int r = 0;

        if (in->valid & FATTR_UID)
                r = id_to_host(node->fs->options.uids, in->uid, &uid);
        if (r == 0 && in->valid & FATTR_GID)
                r = id_to_host(node->fs->options.gids, in->gid, &gid);
        if (r < 0)
                return r;
        return sys_result(fchownat(node->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

static int change_mode(const struct node *node, const struct fuse_setattr_in *in)
{
        return sys_result(fchmodat(node->fs->proc_fd, fd_name(node->fd).text, in->mode & 07777, 0));
}

/* The handle is used first, as it was opened when the guest's user still had the right to. */
static int change_size(const struct node *node, const struct fuse_setattr_in *in)
{
        _cleanup_(credentials_restore_fsetid) struct credentials_fsetid fsetid =
                credentials_kill_setuid(in->valid & FATTR_KILL_SUIDGID, node->fd);

        if (in->size > INT64_MAX)
                return -EINVAL;
        if (in->valid & FATTR_FH) {
                _cleanup_(handle_putp) struct handle *handle = handle_get(node->fs, in->fh, HANDLE_FILE);

                return handle ? sys_result(ftruncate(handle->fd, (off_t)in->size)) : -EBADF;
        }
        if (S_ISDIR(node->inode->type))
                return -EISDIR;

        _cleanup_(fd_closep) int fd = node_open(node, O_WRONLY);

        return fd < 0 ? fd : sys_result(ftruncate(fd, (off_t)in->size));
}

static struct timespec time_to_set(uint32_t valid, uint32_t set, uint32_t now, uint64_t seconds, uint32_t nanoseconds)
{
        if (valid & now)
                return (struct timespec){.tv_nsec = UTIME_NOW};
        if (valid & set)
                return (struct timespec){.tv_sec = (time_t)seconds, .tv_nsec = nanoseconds};
        return (struct timespec){.tv_nsec = UTIME_OMIT};
}

static int change_times(const struct node *node, const struct fuse_setattr_in *in)
{
        const struct timespec times[2] = {
                time_to_set(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
                time_to_set(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
        };

        return sys_result(utimensat(node->fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

/* If the guest leaves the bits to the host (HANDLE_KILLPRIV_V2), an empty SETATTR tells that a file was changed by a
 * user who may not keep them, and by no request that would say so: by a store into the window. */
static int kill_setuid(const struct node *node, const struct fuse_setattr_in *in)
{
        struct stat stat;
        mode_t mode;

        if (in->valid & ~(uint32_t)(FATTR_FH | FATTR_LOCKOWNER | FATTR_CTIME) ||
            !(node->fs->features & FUSE_HANDLE_KILLPRIV_V2) || !S_ISREG(node->inode->type))
                return 0;
        if (fstat(node->fd, &stat) < 0)
                return -errno;
        mode = stat.st_mode & ~(mode_t)(S_ISUID | (stat.st_mode & S_IXGRP ? S_ISGID : 0));
        if (mode == stat.st_mode)
                return 0;
        return sys_result(fchmodat(node->fs->proc_fd, fd_name(node->fd).text, mode & 07777, 0));
}

/* Owner before mode, because a new owner takes set-user-ID bits away; times last, because the others change them. */
static int change_attributes(const struct node *node, const struct fuse_setattr_in *in)
{
        const uint32_t times = FATTR_ATIME | FATTR_ATIME_NOW | FATTR_MTIME | FATTR_MTIME_NOW;
        /* Merges earlier stores first, as they would change the times that are set here. */
        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&node->fs->window.shadows, node->fd, -1, WHOLE_FILE);
        int r = 0;

        if (in->valid & (FATTR_UID | FATTR_GID))
                r = change_owner(node, in);
        if (r == 0 && in->valid & FATTR_MODE)
                r = change_mode(node, in);
        if (r == 0 && in->valid & FATTR_SIZE)
                r = change_size(node, in);
        if (r == 0 && in->valid & (FATTR_UID | FATTR_GID | FATTR_SIZE))
                drop_mapped_capability(node->fs, node->fd);
        if (r == 0 && in->valid & times)
                r = change_times(node, in);
        return r == 0 ? kill_setuid(node, in) : r;
}

/* A guest that delays writes sends a file's times when it drops the file, whether that has a name or not. */
static bool brings_times(const struct request *request)
{
        const uint32_t brought = FATTR_MTIME | FATTR_CTIME | FATTR_FH | FATTR_LOCKOWNER;

        return request->fs->features & FUSE_WRITEBACK_CACHE && !(request->in.setattr.valid & ~brought);
}

ssize_t op_setattr(struct request *request)
{
        _cleanup_(node_put) struct node node = {.opened = -1};

        int r = node_get_linked(request->fs, request->header.nodeid, &node);

        /* The file is gone, so there is nothing to set; an error would go to the next caller of syncfs(2). */
        if (r == -ESTALE && node.inode && brings_times(request)) {
                const struct fuse_attr_out out = {.attr = {.ino = node.inode->id.key.number, .mode = node.inode->type}};

                return request_reply(request, &out, sizeof(out));
        }
        if (r == 0)
                r = change_attributes(&node, &request->in.setattr);
        return r < 0 ? r : reply_attributes(request, &node);
}

ssize_t op_readlink(struct request *request)
{
        char target[PATH_MAX];

        if (!S_ISLNK(request->node.inode->type))
                return -EINVAL;

        ssize_t size = readlinkat(request->node.fd, "", target, sizeof(target));

        return size < 0 ? -errno : request_reply(request, target, (size_t)size);
}
