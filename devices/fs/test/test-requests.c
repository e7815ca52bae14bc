/* SPDX-License-Identifier: BSD-2-Clause */

/* Requests that several tests of oriel-fs send: names, attributes and extended attributes, each with the answer that a
 * test compares; and the host's view of the same file. */

#include "devices/fs/test/test-requests.h"

#include <string.h>
#include <unistd.h>

const struct test_user test_root = {0, 0};

static ssize_t create(struct client *client, struct test_user user, uint32_t opcode, uint64_t parent, const char *name,
                      const struct fuse_create_in *in, struct test_created *out)
{
        *out = (struct test_created){0};
        return client_call_as(client, user.uid, user.gid, opcode, parent, BODY(START(*in), .name = name), out,
                              sizeof(*out));
}

ssize_t request_create(struct client *client, struct test_user user, uint64_t parent, const char *name, uint32_t flags,
                       uint32_t mode, struct test_created *out)
{
        const struct fuse_create_in in = {.flags = flags, .mode = S_IFREG | mode};

        return create(client, user, FUSE_CREATE, parent, name, &in, out);
}

ssize_t request_tmpfile(struct client *client, uint64_t parent, uint32_t flags, uint32_t mode, struct test_created *out)
{
        const struct fuse_create_in in = {.flags = flags, .mode = S_IFREG | mode};

        return create(client, (struct test_user){getuid(), getgid()}, FUSE_TMPFILE, parent, "", &in, out);
}

ssize_t request_mkdir(struct client *client, struct test_user user, uint64_t parent, const char *name, uint32_t mode,
                      struct fuse_entry_out *out)
{
        const struct fuse_mkdir_in in = {.mode = mode};

        return client_call_as(client, user.uid, user.gid, FUSE_MKDIR, parent, BODY(START(in), .name = name), out,
                              sizeof(*out));
}

ssize_t request_unlink(struct client *client, uint64_t parent, const char *name)
{
        return client_call(client, FUSE_UNLINK, parent, BODY(.name = name), NULL, 0);
}

ssize_t request_link(struct client *client, uint64_t nodeid, uint64_t parent, const char *name,
                     struct fuse_entry_out *out)
{
        const struct fuse_link_in in = {.oldnodeid = nodeid};

        return client_call(client, FUSE_LINK, parent, BODY(START(in), .name = name), out, sizeof(*out));
}

ssize_t request_entry(struct client *client, uint64_t parent, const char *name, struct fuse_entry_out *out)
{
        *out = (struct fuse_entry_out){0};
        return client_call(client, FUSE_LOOKUP, parent, BODY(.name = name), out, sizeof(*out));
}

ssize_t request_getattr(struct client *client, uint64_t nodeid, struct fuse_attr *attr)
{
        const struct fuse_getattr_in in = {0};
        struct fuse_attr_out out = {0};
        ssize_t r = client_call(client, FUSE_GETATTR, nodeid, BODY(START(in)), &out, sizeof(out));

        *attr = out.attr;
        return r;
}

ssize_t request_setattr(struct client *client, uint64_t nodeid, struct fuse_setattr_in in, struct fuse_attr *attr)
{
        struct fuse_attr_out out = {0};
        ssize_t r = client_call(client, FUSE_SETATTR, nodeid, BODY(START(in)), &out, sizeof(out));

        *attr = out.attr;
        return r;
}

ssize_t request_statx(struct client *client, uint64_t nodeid, struct fuse_statx *stat)
{
        const struct fuse_statx_in in = {.sx_mask = UINT32_MAX};
        struct fuse_statx_out out = {0};
        ssize_t r = client_call(client, FUSE_STATX, nodeid, BODY(START(in)), &out, sizeof(out));

        *stat = out.stat;
        return r;
}

ssize_t request_setxattr(struct client *client, uint64_t nodeid, const char *name, const void *value, uint32_t size,
                         uint32_t flags)
{
        const struct fuse_setxattr_in in = {.size = size, .flags = flags};
        const size_t start = client->flags & FUSE_SETXATTR_EXT ? sizeof(in) : FUSE_COMPAT_SETXATTR_IN_SIZE;
        const struct test_body body = {
                .start = &in, .start_size = start, .name = name, .data = value, .data_size = size};

        return client_call(client, FUSE_SETXATTR, nodeid, &body, NULL, 0);
}

/* With @size 0 the answer is the size of the value, which is returned, as by getxattr(2). */
static ssize_t read_xattr(struct client *client, uint32_t opcode, uint64_t nodeid, const char *name, void *to,
                          uint32_t size)
{
        const struct fuse_getxattr_in in = {.size = size};
        struct fuse_getxattr_out out = {0};
        ssize_t r;

        if (size > 0)
                return client_call(client, opcode, nodeid, BODY(START(in), .name = name), to, size);
        r = client_call(client, opcode, nodeid, BODY(START(in), .name = name), &out, sizeof(out));
        if (r < 0)
                return r;
        assert_int_equal(r, sizeof(out));
        return out.size;
}

ssize_t request_getxattr(struct client *client, uint64_t nodeid, const char *name, void *to, uint32_t size)
{
        return read_xattr(client, FUSE_GETXATTR, nodeid, name, to, size);
}

ssize_t request_listxattr(struct client *client, uint64_t nodeid, char *to, uint32_t size)
{
        return read_xattr(client, FUSE_LISTXATTR, nodeid, NULL, to, size);
}

ssize_t request_removexattr(struct client *client, uint64_t nodeid, const char *name)
{
        return client_call(client, FUSE_REMOVEXATTR, nodeid, BODY(.name = name), NULL, 0);
}

uint64_t client_node(struct client *client, uint64_t parent, const char *name)
{
        uint64_t nodeid;

        assert_true(client_lookup(client, parent, name, &nodeid) > 0);
        return nodeid;
}

uint64_t client_handle(struct client *client, uint64_t nodeid, uint32_t flags)
{
        uint64_t fh;

        assert_true(client_open(client, FUSE_OPEN, nodeid, flags, &fh) > 0);
        return fh;
}

struct stat client_stat(struct client *client, const char *name)
{
        struct stat stat;

        assert_int_equal(fstatat(client->share_fd, name, &stat, AT_SYMLINK_NOFOLLOW), 0);
        return stat;
}

struct test_path client_path(struct client *client, const char *name)
{
        struct test_path path;

        assert_true(snprintf(path.text, sizeof(path.text), "%s/%s", client->share, name) < (int)sizeof(path.text));
        return path;
}
