/* SPDX-License-Identifier: BSD-2-Clause */

/* The table of FUSE requests, and the parser that reads a request by its row: the struct at its start, names,
 * extensions, data. A request that its row does not allow is refused before its handler runs; rows also say how its
 * node is found, and whether a read-only share refuses it. The handlers are in devices/fs/ops/. The order of the
 * folders is in docs/fs.md. */

#include "devices/fs/core/operations.h"

#include "base/cleanup.h"
#include "devices/fs/core/state.h"

#include <errno.h>
#include <string.h>

#define EXACTLY(type)              .in_min = sizeof(type), .in_max = sizeof(type)
#define FROM_TO(min, type)         .in_min = (min), .in_max = sizeof(type)
#define ANSWERS(type)              .out_min = sizeof(type)
#define OPERATION(NAME, verb, ...) [FUSE_##NAME] = {.name = #NAME, .handle = op_##verb, __VA_ARGS__}

/* Not here, and so ENOSYS, by which the guest also learns not to ask again: ACCESS (it checks itself), BMAP, IOCTL,
 * POLL. */
static const struct operation operations[] = {
        OPERATION(LOOKUP, lookup, .node = NODE_KNOWN, .names = 1, ANSWERS(struct fuse_entry_out), .quick = true),
        OPERATION(FORGET, forget, EXACTLY(struct fuse_forget_in), .silent = true, .quick = true),
        OPERATION(GETATTR, getattr, .node = NODE_KNOWN, EXACTLY(struct fuse_getattr_in), ANSWERS(struct fuse_attr_out),
                  .quick = true),
        OPERATION(SETATTR, setattr, EXACTLY(struct fuse_setattr_in), ANSWERS(struct fuse_attr_out), .changes = true),
        OPERATION(READLINK, readlink, .node = NODE_TO_READ),
        OPERATION(SYMLINK, symlink, .node = NODE_KNOWN, .names = 2, .target = true, .extended = true,
                  ANSWERS(struct fuse_entry_out), .changes = true),
        OPERATION(MKNOD, mknod, .node = NODE_KNOWN, EXACTLY(struct fuse_mknod_in), .names = 1, .extended = true,
                  ANSWERS(struct fuse_entry_out), .changes = true),
        OPERATION(MKDIR, mkdir, .node = NODE_KNOWN, EXACTLY(struct fuse_mkdir_in), .names = 1, .extended = true,
                  ANSWERS(struct fuse_entry_out), .changes = true),
        OPERATION(UNLINK, unlink, .node = NODE_KNOWN, .names = 1, .changes = true),
        OPERATION(RMDIR, unlink, .node = NODE_KNOWN, .names = 1, .changes = true),
        OPERATION(RENAME, rename, .node = NODE_KNOWN, EXACTLY(struct fuse_rename_in), .names = 2, .changes = true),
        OPERATION(LINK, link, EXACTLY(struct fuse_link_in), .names = 1, ANSWERS(struct fuse_entry_out),
                  .changes = true),
        OPERATION(OPEN, open, EXACTLY(struct fuse_open_in), ANSWERS(struct fuse_open_out)),
        OPERATION(READ, read, EXACTLY(struct fuse_read_in), .quick = true),
        OPERATION(WRITE, write, EXACTLY(struct fuse_write_in), .data = true, ANSWERS(struct fuse_write_out),
                  .changes = true, .quick = true),
        OPERATION(STATFS, statfs, .node = NODE_KNOWN, ANSWERS(struct fuse_statfs_out)),
        OPERATION(RELEASE, release, EXACTLY(struct fuse_release_in), .quick = true),
        OPERATION(FSYNC, fsync, EXACTLY(struct fuse_fsync_in)),
        OPERATION(FLUSH, flush, EXACTLY(struct fuse_flush_in)),
        /* Before 7.36 the request ended before flags2. */
        OPERATION(INIT, init, FROM_TO(offsetof(struct fuse_init_in, flags2), struct fuse_init_in),
                  ANSWERS(struct fuse_init_out), .starts = true),
        OPERATION(OPENDIR, opendir, .node = NODE_TO_READ, EXACTLY(struct fuse_open_in), ANSWERS(struct fuse_open_out)),
        OPERATION(READDIR, readdir, EXACTLY(struct fuse_read_in), .quick = true),
        OPERATION(RELEASEDIR, releasedir, EXACTLY(struct fuse_release_in)),
        OPERATION(FSYNCDIR, fsync, EXACTLY(struct fuse_fsync_in)),
        OPERATION(CREATE, create, .node = NODE_LINKED, EXACTLY(struct fuse_create_in), .names = 1, .extended = true,
                  .out_min = sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out), .changes = true),
        OPERATION(INTERRUPT, interrupt, EXACTLY(struct fuse_interrupt_in), .silent = true),
        OPERATION(DESTROY, destroy, .starts = true),
        OPERATION(BATCH_FORGET, batch_forget, EXACTLY(struct fuse_batch_forget_in), .data = true, .silent = true,
                  .quick = true),
        OPERATION(FALLOCATE, fallocate, EXACTLY(struct fuse_fallocate_in), .changes = true),
        OPERATION(READDIRPLUS, readdir, EXACTLY(struct fuse_read_in), .quick = true),
        OPERATION(RENAME2, rename2, .node = NODE_KNOWN, EXACTLY(struct fuse_rename2_in), .names = 2, .changes = true),
        OPERATION(LSEEK, lseek, EXACTLY(struct fuse_lseek_in), ANSWERS(struct fuse_lseek_out)),
        OPERATION(COPY_FILE_RANGE, copy_file_range, EXACTLY(struct fuse_copy_file_range_in),
                  ANSWERS(struct fuse_write_out), .changes = true),
        OPERATION(SETUPMAPPING, setupmapping, EXACTLY(struct fuse_setupmapping_in)),
        OPERATION(TMPFILE, create, .node = NODE_LINKED, EXACTLY(struct fuse_create_in), .names = 1, .free_name = true,
                  .extended = true, .out_min = sizeof(struct fuse_entry_out) + sizeof(struct fuse_open_out),
                  .changes = true),
        OPERATION(SYNCFS, syncfs, .node = NODE_KNOWN, EXACTLY(struct fuse_syncfs_in)),
        OPERATION(STATX, statx, .node = NODE_KNOWN, EXACTLY(struct fuse_statx_in), ANSWERS(struct fuse_statx_out),
                  .quick = true),
        /* Without FUSE_SETXATTR_EXT the struct is shorter, and the name begins earlier: see in_size(). */
        OPERATION(SETXATTR, setxattr, .node = NODE_LINKED,
                  FROM_TO(FUSE_COMPAT_SETXATTR_IN_SIZE, struct fuse_setxattr_in), .names = 1, .free_name = true,
                  .data = true, .changes = true),
        OPERATION(GETXATTR, getxattr, .node = NODE_LINKED, EXACTLY(struct fuse_getxattr_in), .names = 1,
                  .free_name = true),
        OPERATION(LISTXATTR, listxattr, .node = NODE_LINKED, EXACTLY(struct fuse_getxattr_in)),
        OPERATION(REMOVEXATTR, removexattr, .node = NODE_LINKED, .names = 1, .free_name = true, .changes = true),
        OPERATION(GETLK, getlk, .node = NODE_KNOWN, EXACTLY(struct fuse_lk_in), ANSWERS(struct fuse_lk_out),
                  .quick = true),
        OPERATION(SETLK, setlk, EXACTLY(struct fuse_lk_in), .quick = true),
        OPERATION(SETLKW, setlk, EXACTLY(struct fuse_lk_in)),
        OPERATION(COPY_FILE_RANGE_64, copy_file_range_64, EXACTLY(struct fuse_copy_file_range_in),
                  ANSWERS(struct fuse_copy_file_range_out), .changes = true),
        OPERATION(REMOVEMAPPING, removemapping, EXACTLY(struct fuse_removemapping_in), .data = true),
};

const struct operation *operation_find(uint32_t opcode)
{
        if (opcode >= ARRAY_SIZE(operations) || !operations[opcode].handle)
                return NULL;
        return &operations[opcode];
}

/* Requests reach everything below a directory one name at a time. The guest resolves "." and ".." itself, unless it
 * is told otherwise (FUSE_EXPORT_SUPPORT). */
static int check_name(const char *name)
{
        if (name[0] == '\0' || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
                return -EINVAL;
        return 0;
}

static int operations_read_name(struct cursor *data, char *to, size_t size)
{
        ssize_t length = cursor_read_string(data, to, size);

        return length < 0 ? (int)length : check_name(to);
}

/* Reads a string without checking it as a name. */
static int read_string(struct cursor *data, char *to, size_t size)
{
        ssize_t length = cursor_read_string(data, to, size);

        return length < 0 ? (int)length : 0;
}

static int read_names(const struct operation *operation, struct cursor *data, struct request *request)
{
        int r = 0;

        if (operation->names > 0 && operation->free_name)
                r = read_string(data, request->name, sizeof(request->name));
        else if (operation->names > 0)
                r = operations_read_name(data, request->name, sizeof(request->name));
        if (r == 0 && operation->names > 1 && operation->target)
                r = read_string(data, request->second_name, sizeof(request->second_name));
        else if (r == 0 && operation->names > 1)
                r = operations_read_name(data, request->second_name, NAME_MAX + 1);
        return r;
}

/* How many bytes of the request belong to its struct: as many as were sent, except before an attribute's name. */
static size_t in_size(const struct operation *operation, const struct request *request, size_t available)
{
        if (operation->handle == op_setxattr)
                return request->fs->features & FUSE_SETXATTR_EXT ? operation->in_max : operation->in_min;
        return available < operation->in_max ? available : operation->in_max;
}

int operation_parse(const struct operation *operation, struct cursor *data, struct request *request)
{
        size_t size = in_size(operation, request, data->left);

        if (size < operation->in_min || size > data->left)
                return -EINVAL;
        memset(&request->in, 0, sizeof(request->in));
        cursor_read(data, &request->in, size);

        int r = read_names(operation, data, request);

        if (r == 0 && operation->extended)
                r = extensions_read(data, request->header.total_extlen, request->fs->features, &request->extensions);
        if (r < 0)
                return r;
        if (data->left > 0 && !operation->data)
                return -EINVAL;
        request->data = *data;
        return 0;
}
