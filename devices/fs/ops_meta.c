/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/fd.h"
#include "devices/fs/handle.h"
#include "devices/fs/operations.h"
#include "devices/fs/state.h"

#include <fcntl.h>
#include <unistd.h>

static ssize_t reply_attributes(struct request *request, const struct inode *inode)
{
        struct fuse_attr_out out;
        int r = inode_attributes(request->fs, inode, &out);

        return r < 0 ? r : reply(request, &out, sizeof(out));
}

ssize_t op_getattr(struct request *request)
{
        _cleanup_(inode_putp) struct inode *inode = inode_get(request->fs, request->header.nodeid);

        return inode ? reply_attributes(request, inode) : -ESTALE;
}

static int change_owner(const struct inode *inode, const struct fuse_setattr_in *in)
{
        uid_t uid = (in->valid & FATTR_UID) ? in->uid : (uid_t)-1;
        gid_t gid = (in->valid & FATTR_GID) ? in->gid : (gid_t)-1;

        return sys_result(fchownat(inode->fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

static int change_mode(const struct fs *fs, const struct inode *inode, const struct fuse_setattr_in *in)
{
        return sys_result(fchmodat(fs->proc_fd, fd_name(inode->fd).text, in->mode & 07777, 0));
}

/* The handle was opened when the guest's user still had the right to, so it is asked before the file. */
static int change_size(struct fs *fs, const struct inode *inode, const struct fuse_setattr_in *in)
{
        if (in->size > INT64_MAX)
                return -EINVAL;
        if (in->valid & FATTR_FH) {
                _cleanup_(handle_putp) struct handle *handle = handle_get(fs, in->fh, HANDLE_FILE);

                return handle ? sys_result(ftruncate(handle->fd, (off_t)in->size)) : -EBADF;
        }
        if (S_ISDIR(inode->type))
                return -EISDIR;

        _cleanup_(fd_closep) int fd = inode_open(fs, inode, O_WRONLY);

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

static int change_times(const struct inode *inode, const struct fuse_setattr_in *in)
{
        const struct timespec times[2] = {
                time_to_set(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
                time_to_set(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
        };

        return sys_result(utimensat(inode->fd, "", times, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW));
}

/* Owner before mode, because a new owner takes set-user-ID bits away; times last, because the others change them. */
static int change_attributes(struct fs *fs, const struct inode *inode, const struct fuse_setattr_in *in)
{
        const uint32_t times = FATTR_ATIME | FATTR_ATIME_NOW | FATTR_MTIME | FATTR_MTIME_NOW;
        /* What was stored before is written before, or it would change the times that are set here. */
        HOLD_CONTENTS(fs, inode->fd, -1, WHOLE_FILE);
        int r = 0;

        if (in->valid & (FATTR_UID | FATTR_GID))
                r = change_owner(inode, in);
        if (r == 0 && in->valid & FATTR_MODE)
                r = change_mode(fs, inode, in);
        if (r == 0 && in->valid & FATTR_SIZE)
                r = change_size(fs, inode, in);
        if (r == 0 && in->valid & times)
                r = change_times(inode, in);
        return r;
}

ssize_t op_setattr(struct request *request)
{
        _cleanup_(inode_putp) struct inode *inode = inode_get(request->fs, request->header.nodeid);

        if (!inode)
                return -ESTALE;

        int r = change_attributes(request->fs, inode, &request->in.setattr);

        return r < 0 ? r : reply_attributes(request, inode);
}

ssize_t op_readlink(struct request *request)
{
        _cleanup_(inode_putp) struct inode *inode = inode_get(request->fs, request->header.nodeid);
        char target[PATH_MAX];

        if (!inode)
                return -ESTALE;
        if (!S_ISLNK(inode->type))
                return -EINVAL;

        ssize_t size = readlinkat(inode->fd, "", target, sizeof(target));

        return size < 0 ? -errno : reply(request, target, (size_t)size);
}
