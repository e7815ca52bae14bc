/* SPDX-License-Identifier: BSD-2-Clause */

/* FUSE requests that open files: OPEN, CREATE and TMPFILE. OPEN takes a parked descriptor for plain reading, or
 * opens the node again through /proc/self/fd with the flags that open_flags() lets through. CREATE makes the file
 * with O_EXCL as the guest's user, and opens an existing one through its node if another was faster; TMPFILE makes
 * one without a name. The answer's flags follow from the cache policy and from DAX (open_reply_flags()). */

#include "base/fd.h"
#include "base/syscalls.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/core/proc_fd.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"
#include "devices/fs/files/inode.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL_AT(openat, 0), SYSCALL_AT(unlinkat, 0));

/* Translates the guest's flags. O_APPEND is done write by write, because pages that the guest writes back go to
 * their own offsets whatever the flags of their handle. A guest that may delay writes reads what it writes only in
 * part, so O_WRONLY becomes O_RDWR. */
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

/* Whether the guest maps every regular file, and so has no pages of its own that could be old. It does if it is
 * mounted with dax=always, or if it asks (dax=inode) and all files are marked, whatever their size. */
static bool maps_all(const struct fs *fs)
{
        if (!(fs->features & FUSE_MAP_ALIGNMENT) || !fs->window.usable)
                return false;
        return !(fs->features & FUSE_HAS_INODE_DAX) ||
               (fs->options.dax_from == 0 && !fs->window.limits.whole_pages_only);
}

/* KEEP_CACHE for mapped files: they show the host's page cache, which is never old. Without it Linux drops a file's
 * mappings at each open, and warns if they are those of a running program (dax_disassociate_entry()). */
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

        if (directory)
                return flags[fs->options.cache].directory;
        return flags[fs->options.cache].file | (maps_all(fs) ? FOPEN_KEEP_CACHE : 0);
}

/* O_TRUNC changes the file. */
static int open_node(const struct node *node, int flags, bool kill_setuid)
{
        _cleanup_(credentials_restore_fsetid) struct credentials_fsetid fsetid =
                credentials_kill_setuid(kill_setuid, node->fd);
        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&node->fs->window.shadows, node->fd, -1, WHOLE_FILE);

        if (flags & O_TRUNC)
                drop_mapped_capability(node->fs, node->fd);

        int fd = node_open(node, flags);

        /* O_NOATIME takes the owner or a capability, and is only a hint. */
        if (fd == -EPERM && flags & O_NOATIME && !node->fs->options.preserve_noatime)
                fd = node_open(node, flags & ~O_NOATIME);
        return fd;
}

/* Returns a parked descriptor for a reader, or -1. */
static int take_parked(struct fs *fs, const struct node *node)
{
        _cleanup_(shadows_release) struct shadows_hold hold =
                shadows_hold(&fs->window.shadows, node->fd, -1, WHOLE_FILE);

        return parked_take(fs, node->inode);
}

/* Whether the open clears set-user-ID bits: truncation does, except by root. A guest without HANDLE_KILLPRIV_V2
 * truncates by a SETATTR of its own (no ATOMIC_O_TRUNC), and sends O_TRUNC only with CREATE, for a file that it did
 * not know. CREATE always names the user. */
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
        _cleanup_(node_put) struct node node = {.opened = -1};

        bool reads = (request->in.open.flags & (O_ACCMODE | O_TRUNC)) == O_RDONLY;
        int r = reads ? node_get_to_read(fs, &request->header, &node)
                      : node_get_linked(fs, request->header.nodeid, &node);

        if (r < 0)
                return r;
        if (S_ISDIR(node.inode->type))
                return -EISDIR;
        r = open_flags(fs, request->in.open.flags, &flags);
        if (r < 0)
                return r;

        int fd = flags == O_RDONLY ? take_parked(fs, &node) : -1;

        if (fd < 0)
                fd = open_node(&node, flags, kills_setuid(request, flags, request->in.open.open_flags));
        if (fd < 0)
                return fd;
        r = handle_add(fs, fd, HANDLE_FILE, flags, &node, &out.fh);
        return r < 0 ? r : request_reply(request, &out, sizeof(out));
}

/* Makes a new file as the guest's user. */
static int create_as_caller(struct request *request, int directory_fd, const char *name, int how)
{
        const struct fuse_create_in *in = &request->in.create;
        _cleanup_(credentials_restore) struct credentials saved;
        int r = act_as_caller(request, in->umask, &saved);

        return r < 0 ? r : sys_result(openat(directory_fd, name, how | O_CLOEXEC, in->mode & 07777));
}

/* Another process has made it first. The lookup in @entry stays only on success. */
static int open_existing(struct request *request, const struct node *directory, int flags, struct fuse_entry_out *entry)
{
        struct fs *fs = request->fs;
        int r = inode_lookup(fs, directory->fd, &directory->inode->id.key, request->name, entry);
        _cleanup_(node_put) struct node node = {.opened = -1};

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

/* Returns an fd, and one lookup in @entry, or a negative errno. */
static int open_create(struct request *request, const struct node *directory, int flags, struct fuse_entry_out *entry)
{
        /* Always O_EXCL: an existing file may be a link or a fifo, which only node_open() handles. */
        const int how = flags | O_CREAT | O_EXCL | O_NOFOLLOW;
        _cleanup_(fd_closep) int fd = create_as_caller(request, directory->fd, request->name, how);

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

/* Makes a file without a name. */
static int create_unnamed(struct request *request, const struct node *directory, int flags,
                          struct fuse_entry_out *entry)
{
        const int how = (flags & ~O_TRUNC) | O_TMPFILE | (int)(request->in.create.flags & O_EXCL);
        _cleanup_(fd_closep) int fd = create_as_caller(request, request->fs->proc_fd, fd_name(directory->fd).text, how);

        if (fd < 0)
                return fd;

        int r = label_new(request, -1, fd);

        if (r == 0)
                r = inode_lookup_open(request->fs, fd, &directory->inode->id.key, entry);
        return r < 0 ? r : fd_take(&fd);
}

ssize_t op_create(struct request *request)
{
        struct fs *fs = request->fs;
        struct {
                struct fuse_entry_out entry;
                struct fuse_open_out open;
        } out = {.open.open_flags = open_reply_flags(fs, false)};
        int flags = 0, r = open_flags(fs, request->in.create.flags, &flags);
        _cleanup_(node_put) struct node node = {.opened = -1};

        if (r == 0)
                r = inode_room_for_new(fs, 1);
        if (r < 0)
                return r;

        int fd = request->header.opcode == FUSE_TMPFILE ? create_unnamed(request, &request->node, flags, &out.entry)
                                                        : open_create(request, &request->node, flags, &out.entry);

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
        return request_reply(request, &out, sizeof(out));
}
