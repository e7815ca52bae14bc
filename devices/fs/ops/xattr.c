/* SPDX-License-Identifier: BSD-2-Clause */

/* The requests GETXATTR, SETXATTR, LISTXATTR and REMOVEXATTR, and the security label that a new file gets. A name from
 * the guest passes name_on_host(), which refuses access lists that the guest does not enforce and applies --xattrmap;
 * xattr_translate() is the way back.
 *
 * fgetxattr(2) does not take an O_PATH descriptor, and a file is not opened for its attributes, because open(2) may
 * have effects. So the calls name the descriptor's entry in /proc/self/fd, which is the working directory: see
 * fs_new(). */

#include "base/fd.h"
#include "base/syscalls.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/core/proc_fd.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/inode.h"
#include "devices/fs/files/xattr_map.h"

#include <string.h>
#include <sys/param.h>
#include <sys/xattr.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(setxattr), SYSCALL(getxattr), SYSCALL(listxattr), SYSCALL(removexattr));

/* Access lists can't be read or changed if the guest's kernel does not enforce them. */
static bool is_unknown_acl(const struct fs *fs, const char *name)
{
        static const char acl[] = "system.posix_acl_";

        return strncmp(name, acl, strlen(acl)) == 0 && !(fs->features & FUSE_POSIX_ACL);
}

/* Translates the guest's @name to the host's. */
static int name_on_host(const struct fs *fs, const char *name, char host[XATTR_NAME_SIZE])
{
        if (!fs->options.xattr)
                return -ENOSYS;
        if (is_unknown_acl(fs, name))
                return -EOPNOTSUPP;
        return xattr_to_host(fs->options.xattr_map, name, host);
}

/* Changing an attribute of a submount that it has not entered makes Linux 7.2 fault as removing it does: see
 * inode_check_no_submount(). */
static int begin_change(struct request *request, char host[XATTR_NAME_SIZE])
{
        int r = name_on_host(request->fs, request->name, host);

        return r == 0 && request->node.inode->not_entered ? -EBUSY : r;
}

ssize_t op_setxattr(struct request *request)
{
        const struct fuse_setxattr_in *in = &request->in.setxattr;
        char host[XATTR_NAME_SIZE];
        int r = begin_change(request, host);

        if (r < 0)
                return r;
        if (in->size != request->data.left)
                return -EINVAL;
        if (in->size > XATTR_SIZE_MAX)
                return -E2BIG;

        _cleanup_(freep) void *value = malloc(in->size + 1);

        if (!value)
                return -ENOMEM;
        cursor_read(&request->data, value, in->size);

        _cleanup_(credentials_restore_fsetid) struct credentials_fsetid fsetid =
                credentials_drop_fsetid(in->setxattr_flags & FUSE_SETXATTR_ACL_KILL_SGID);

        return sys_result(setxattr(fd_name(request->node.fd).text, host, value, in->size, (int)in->flags));
}

/* Answers with @value of @size bytes, of which the guest accepts @wanted; 0: with the size alone. */
static ssize_t reply_value(struct request *request, const void *value, size_t size, uint32_t wanted)
{
        const struct fuse_getxattr_out out = {.size = (uint32_t)size};

        if (wanted == 0)
                return request_reply(request, &out, sizeof(out));
        return size > wanted ? -ERANGE : request_reply(request, value, size);
}

ssize_t op_getxattr(struct request *request)
{
        const uint32_t wanted = MIN(request->in.getxattr.size, (uint32_t)XATTR_SIZE_MAX);
        char host[XATTR_NAME_SIZE];
        int r = name_on_host(request->fs, request->name, host);

        /* A forbidden attribute counts as missing: every execve() in the guest asks for the file's capabilities. */
        if (r < 0)
                return r == -EPERM ? -ENODATA : r;

        _cleanup_(freep) void *value = malloc(wanted + 1);

        if (!value)
                return -ENOMEM;

        ssize_t size = getxattr(fd_name(request->node.fd).text, host, wanted ? value : NULL, wanted);

        return size < 0 ? -errno : reply_value(request, value, (size_t)size, wanted);
}

/* Translates the names in @list, in place, and drops those that are hidden. Returns how many bytes are left. */
static size_t xattr_translate(const struct fs *fs, char *list, size_t size)
{
        size_t kept = 0;

        for (char *name = list, *next; name < list + size; name = next) {
                const char *guest = xattr_to_guest(fs->options.xattr_map, name);

                next = name + strlen(name) + 1;
                if (!guest || guest[0] == '\0' || is_unknown_acl(fs, guest))
                        continue;
                memmove(list + kept, guest, (size_t)(next - guest));
                kept += (size_t)(next - guest);
        }
        return kept;
}

ssize_t op_listxattr(struct request *request)
{
        struct fs *fs = request->fs;

        if (!fs->options.xattr)
                return -ENOSYS;

        _cleanup_(freep) char *list = malloc(XATTR_LIST_MAX);

        if (!list)
                return -ENOMEM;

        ssize_t size = listxattr(fd_name(request->node.fd).text, list, XATTR_LIST_MAX);

        if (size < 0)
                return -errno;
        return reply_value(request, list, xattr_translate(fs, list, (size_t)size), request->in.getxattr.size);
}

ssize_t op_removexattr(struct request *request)
{
        char host[XATTR_NAME_SIZE];
        int r = begin_change(request, host);

        return r < 0 ? r : sys_result(removexattr(fd_name(request->node.fd).text, host));
}

/* Opens the new file by its name. Another file of the share may have that name by now, which the guest may label
 * too. */
static int open_new(const struct request *request, int directory_fd, int fd)
{
        if (fd >= 0)
                return fd_dup(fd);
        fd = openat(directory_fd, request->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

int label_new(const struct request *request, int directory_fd, int fd)
{
        const struct extensions *extensions = &request->extensions;
        struct cursor label = extensions->label;
        char host[XATTR_NAME_SIZE], value[4096];
        const size_t size = label.left;

        if (!extensions->has_label || !(request->fs->features & FUSE_SECURITY_CTX))
                return 0;
        if (size > sizeof(value))
                return -E2BIG;

        int r = name_on_host(request->fs, extensions->label_name, host);
        _cleanup_(fd_closep) int new_fd = r < 0 ? r : open_new(request, directory_fd, fd);

        if (new_fd < 0)
                return new_fd;
        cursor_read(&label, value, size);
        return sys_result(setxattr(fd_name(new_fd).text, host, value, size, 0));
}

static const char capability[] = "security.capability";

void drop_mapped_capability(const struct fs *fs, int fd)
{
        char host[XATTR_NAME_SIZE];

        if (fs->options.xattr_map && xattr_to_host(fs->options.xattr_map, capability, host) == 0 &&
            strcmp(host, capability) != 0)
                removexattr(fd_name(fd).text, host);
}
