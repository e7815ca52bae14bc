/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_TEST_TEST_REQUESTS_H
#define DEVICES_FS_TEST_TEST_REQUESTS_H

/* Requests of the tests, one function each. Each returns what client_call() does. */

#include "devices/fs/core/abi.h"
#include "devices/fs/test/test-client.h"

#include <fcntl.h>
#include <sys/stat.h>

struct test_created {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
};

/* The user of a request, for requests whose result depends on it. */
struct test_user {
        uint32_t uid, gid;
};
extern const struct test_user test_root;

ssize_t request_create(struct client *client, struct test_user user, uint64_t parent, const char *name, uint32_t flags,
                       uint32_t mode, struct test_created *out);
ssize_t request_tmpfile(struct client *client, uint64_t parent, uint32_t flags, uint32_t mode,
                        struct test_created *out);
ssize_t request_mkdir(struct client *client, struct test_user user, uint64_t parent, const char *name, uint32_t mode,
                      struct fuse_entry_out *out);
ssize_t request_unlink(struct client *client, uint64_t parent, const char *name);
ssize_t request_link(struct client *client, uint64_t nodeid, uint64_t parent, const char *name,
                     struct fuse_entry_out *out);
ssize_t request_entry(struct client *client, uint64_t parent, const char *name, struct fuse_entry_out *out);
ssize_t request_getattr(struct client *client, uint64_t nodeid, struct fuse_attr *attr);
ssize_t request_setattr(struct client *client, uint64_t nodeid, struct fuse_setattr_in in, struct fuse_attr *attr);
ssize_t request_statx(struct client *client, uint64_t nodeid, struct fuse_statx *stat);

/* In the layout that was negotiated. */
ssize_t request_setxattr(struct client *client, uint64_t nodeid, const char *name, const void *value, uint32_t size,
                         uint32_t flags);
ssize_t request_getxattr(struct client *client, uint64_t nodeid, const char *name, void *to, uint32_t size);
ssize_t request_listxattr(struct client *client, uint64_t nodeid, char *to, uint32_t size);
ssize_t request_removexattr(struct client *client, uint64_t nodeid, const char *name);

/* The node of @name, which must be there. */
uint64_t client_node(struct client *client, uint64_t parent, const char *name);
/* The handle of @nodeid, which must open. */
uint64_t client_handle(struct client *client, uint64_t nodeid, uint32_t flags);
/* lstat(2) of @name in the share, which must be there. */
struct stat client_stat(struct client *client, const char *name);
/* Its path. */
struct test_path {
        char text[512];
};
struct test_path client_path(struct client *client, const char *name);

#endif
