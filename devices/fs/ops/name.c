/* SPDX-License-Identifier: BSD-2-Clause */

/* FUSE requests on names in directories: LOOKUP, FORGET, SYMLINK, MKNOD, MKDIR, LINK, UNLINK, RMDIR and RENAME. Each
 * works on the directory's descriptor and one checked name. make_entry() checks first that there is room for an
 * inode, makes the file as the guest's user, sets its security label, and looks it up for the answer. An error in a
 * directory that was removed becomes ESTALE (node_name_result()). */

#include "base/range.h"
#include "base/syscalls.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/core/proc_fd.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/inode.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL_AT(mkdirat, 0), SYSCALL_AT(mknodat, 0), SYSCALL_AT(symlinkat, 1), SYSCALL_BETWEEN(linkat, 0, 2),
              SYSCALL_AT(unlinkat, 0), SYSCALL_BETWEEN(renameat, 0, 2), SYSCALL_BETWEEN(renameat2, 0, 2));

/* The bits of the guest's mode that a creation uses beside the type. */
static const uint32_t permission_bits = 07777;

static ssize_t reply_entry(struct request *request, const struct node *directory, const char *name)
{
        struct fuse_entry_out entry;
        int r = inode_lookup(request->fs, directory->fd, &directory->inode->id.key, name, &entry);

        return r < 0 ? node_name_result(directory, r) : request_reply(request, &entry, sizeof(entry));
}

ssize_t op_lookup(struct request *request)
{
        request->node.inode->not_entered = false;
        return reply_entry(request, &request->node, request->name);
}

ssize_t op_forget(struct request *request)
{
        inode_forget(request->fs, request->header.nodeid, request->in.forget.nlookup);
        return 0;
}

ssize_t op_batch_forget(struct request *request)
{
        struct fuse_forget_one one;

        for (uint32_t n = request->in.batch_forget.count; n > 0; n--) {
                if (!cursor_read(&request->data, &one, sizeof(one)))
                        return -EINVAL;
                inode_forget(request->fs, one.nodeid, one.nlookup);
        }
        return 0;
}

/* Makes a file in a directory, as the guest's user. 0 or a negative errno. */
typedef int make_function(struct request *request, int directory_fd);

static int make_as_caller(struct request *request, int directory_fd, uint32_t umask, make_function *make)
{
        _cleanup_(credentials_restore) struct credentials saved;
        int r = act_as_caller(request, umask, &saved);

        return r < 0 ? r : make(request, directory_fd);
}

static ssize_t make_entry(struct request *request, uint32_t umask, make_function *make)
{
        const struct node *directory = &request->node;
        int r = inode_room_for_new(request->fs, 0);

        if (r == 0)
                r = make_as_caller(request, directory->fd, umask, make);
        if (r < 0)
                return node_name_result(directory, r);
        r = label_new(request, directory->fd, -1);
        if (r < 0) {
                unlinkat(directory->fd, request->name, request->header.opcode == FUSE_MKDIR ? AT_REMOVEDIR : 0);
                return r;
        }
        return reply_entry(request, directory, request->name);
}

static int make_symlink(struct request *request, int directory_fd)
{
        return sys_result(symlinkat(request->second_name, directory_fd, request->name));
}

ssize_t op_symlink(struct request *request)
{
        return make_entry(request, 0, make_symlink);
}

static int make_directory(struct request *request, int directory_fd)
{
        return sys_result(mkdirat(directory_fd, request->name, request->in.mkdir.mode & permission_bits));
}

ssize_t op_mkdir(struct request *request)
{
        return make_entry(request, request->in.mkdir.umask, make_directory);
}

/* As on the wire: 12 bits of major between the minor's lower 8 and upper 12 bits. */
static dev_t decode_device(uint32_t rdev)
{
        return makedev(rdev >> 8 & 0xfff, (rdev & 0xff) | (rdev >> 12 & 0xfff00));
}

static int make_node(struct request *request, int directory_fd)
{
        const struct fuse_mknod_in *in = &request->in.mknod;
        mode_t mode = in->mode & (S_IFMT | permission_bits);

        return sys_result(mknodat(directory_fd, request->name, mode, decode_device(in->rdev)));
}

ssize_t op_mknod(struct request *request)
{
        return make_entry(request, request->in.mknod.umask, make_node);
}

/* Through /proc, because AT_EMPTY_PATH would need a capability. */
ssize_t op_link(struct request *request)
{
        struct fs *fs = request->fs;
        _cleanup_(node_put) struct node node = {.opened = -1};
        _cleanup_(node_put) struct node directory = {.opened = -1};

        int r = node_get_linked(fs, request->in.link.oldnodeid, &node);

        if (r == 0)
                r = node_get(fs, request->header.nodeid, &directory);
        if (r < 0)
                return r;
        if (linkat(fs->proc_fd, fd_name(node.fd).text, directory.fd, request->name, AT_SYMLINK_FOLLOW) < 0)
                return node_name_result(&directory, -errno);
        return reply_entry(request, &directory, request->name);
}

static int check_no_submount(const struct node *directory, const char *name)
{
        return inode_check_no_submount(directory->fs, directory->fd, &directory->inode->id.key, name);
}

ssize_t op_unlink(struct request *request)
{
        const int flags = request->header.opcode == FUSE_RMDIR ? AT_REMOVEDIR : 0;
        const struct node *directory = &request->node;
        int r = flags & AT_REMOVEDIR ? check_no_submount(directory, request->name) : 0;

        return r < 0 ? r : node_name_result(directory, sys_result(unlinkat(directory->fd, request->name, flags)));
}

static ssize_t rename_to(struct request *request, uint64_t new_directory, unsigned flags)
{
        const struct node *from = &request->node;
        _cleanup_(node_put) struct node to = {.opened = -1};

        int r = node_get(request->fs, new_directory, &to);

        if (r == 0)
                r = check_no_submount(from, request->name);
        if (r == 0)
                r = check_no_submount(&to, request->second_name);
        if (r < 0)
                return r;
        r = sys_result(renameat2(from->fd, request->name, to.fd, request->second_name, flags));
        return node_name_result(&to, node_name_result(from, r));
}

ssize_t op_rename(struct request *request)
{
        return rename_to(request, request->in.rename.newdir, 0);
}

ssize_t op_rename2(struct request *request)
{
        const unsigned known = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;

        if (request->in.rename2.flags & ~known)
                return -EINVAL;
        return rename_to(request, request->in.rename2.newdir, request->in.rename2.flags);
}
