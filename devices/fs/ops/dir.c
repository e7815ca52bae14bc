/* SPDX-License-Identifier: BSD-2-Clause */

/* FUSE requests on directories: OPENDIR, READDIR, READDIRPLUS and RELEASEDIR. READDIR seeks to the guest's offset
 * and reads entries with getdents64(2) until the answer is full, under the handle's lock, as the position belongs to
 * the descriptor; entries that no longer fit are read again by the next request. READDIRPLUS looks each entry up
 * too, which counts a lookup for the guest. */

#include "base/syscalls.h"
#include "devices/fs/core/operations.h"
#include "devices/fs/core/state.h"
#include "devices/fs/files/handle.h"
#include "devices/fs/files/inode.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/param.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(getdents64), SYSCALL(lseek), SYSCALL(fstat));

ssize_t op_opendir(struct request *request)
{
        struct fs *fs = request->fs;
        const struct node *node = &request->node;
        struct fuse_open_out out = {.open_flags = open_reply_flags(fs, true)};

        if (!S_ISDIR(node->inode->type))
                return -ENOTDIR;
        node->inode->not_entered = false;

        int fd = node_open(node, O_RDONLY | O_DIRECTORY);
        int r = fd < 0 ? fd : handle_add(fs, fd, HANDLE_DIRECTORY, O_RDONLY, node, &out.fh);

        return r < 0 ? r : request_reply(request, &out, sizeof(out));
}

ssize_t op_releasedir(struct request *request)
{
        uint64_t fh = request->in.release.fh;
        _cleanup_(handle_putp) struct handle *handle = handle_remove(request->fs, fh, HANDLE_DIRECTORY);

        return handle ? 0 : -EBADF;
}

/* The arguments of one READDIR or READDIRPLUS. */
struct dir_listing {
        struct fs *fs;
        const struct handle *handle;
        struct cursor *out;
        bool plus;
        uint64_t root_number; /* the shared directory's own inode number; 0 in any other directory */
};

static bool is_dot(const char *name)
{
        return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* An entry that can't be looked up, or must not be, gets node 0: the answer has only its name. */
static void write_lookup(const struct dir_listing *listing, const char *name)
{
        struct fuse_entry_out entry;

        if (is_dot(name) || inode_lookup(listing->fs, listing->handle->fd, &listing->handle->file, name, &entry) < 0)
                entry = (struct fuse_entry_out){0};
        cursor_write(listing->out, &entry, sizeof(entry));
}

/* False: there is no room for it, and nothing was done. */
static bool write_entry(const struct dir_listing *listing, const struct dirent64 *entry)
{
        const char padding[sizeof(uint64_t)] = {0};
        const size_t length = strlen(entry->d_name), record = FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET + length);
        struct fuse_dirent dirent = {
                .ino = entry->d_ino,
                .off = (uint64_t)entry->d_off,
                .namelen = (uint32_t)length,
                .type = entry->d_type,
        };

        if (record + (listing->plus ? sizeof(struct fuse_entry_out) : 0) > listing->out->left)
                return false;
        /* Hides the parent of the shared directory from the guest. */
        if (listing->root_number != 0 && strcmp(entry->d_name, "..") == 0)
                dirent.ino = listing->root_number;
        if (listing->plus)
                write_lookup(listing, entry->d_name);
        cursor_write(listing->out, &dirent, FUSE_NAME_OFFSET);
        cursor_write(listing->out, entry->d_name, length);
        cursor_write(listing->out, padding, record - FUSE_NAME_OFFSET - length);
        return true;
}

/* Lists the entries of one system call. >0: there may be more; 0: the directory or the room has ended. */
static int list_some(const struct dir_listing *listing)
{
        _Alignas(struct dirent64) char entries[16384];
        /* An entry takes about as many bytes for the guest as here, and five times as many with attributes. Entries
         * that don't fit are read again by the next request. */
        size_t wanted = listing->out->left / (listing->plus ? 5 : 1);
        ssize_t size =
                getdents64(listing->handle->fd, entries, MIN(MAX(wanted, sizeof(struct dirent64)), sizeof(entries)));

        if (size <= 0)
                return (int)sys_result((int)size);
        for (ssize_t at = 0; at < size;) {
                const struct dirent64 *entry = (const void *)(entries + at);

                if (!write_entry(listing, entry))
                        return at > 0 ? 0 : -EINVAL;
                at += entry->d_reclen;
        }
        return 1;
}

static uint64_t root_number(struct fs *fs, const struct handle *handle)
{
        _cleanup_(node_put) struct node root = {.opened = -1};

        return node_get(fs, FUSE_ROOT_ID, &root) == 0 && handle->nodeid == FUSE_ROOT_ID ? root.inode->id.key.number : 0;
}

static bool has_no_name(int fd)
{
        struct stat stat;

        return fstat(fd, &stat) == 0 && stat.st_nlink == 0;
}

/* The guest's offsets are those of the file system, which also judges invalid ones. A directory that was removed
 * meanwhile has no offset but 0: others are its end. */
ssize_t op_readdir(struct request *request)
{
        const struct fuse_read_in *in = &request->in.read;
        _cleanup_(handle_putp) struct handle *handle = handle_get(request->fs, in->fh, HANDLE_DIRECTORY);
        int r;

        if (!handle)
                return -EBADF;
        if (in->size > request->out.left)
                return -EINVAL;
        cursor_limit(&request->out, in->size);

        const struct dir_listing listing = {
                .fs = request->fs,
                .handle = handle,
                .out = &request->out,
                .plus = request->header.opcode == FUSE_READDIRPLUS,
                .root_number = root_number(request->fs, handle),
        };

        pthread_mutex_lock(&handle->lock);
        r = lseek(handle->fd, (off_t)in->offset, SEEK_SET) < 0 ? -errno : 1;
        if (r == -EINVAL && has_no_name(handle->fd))
                r = 0;
        while (r > 0)
                r = list_some(&listing);
        pthread_mutex_unlock(&handle->lock);

        size_t written = in->size - request->out.left;

        return written > 0 ? (ssize_t)written : r;
}
