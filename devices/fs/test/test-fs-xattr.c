/* SPDX-License-Identifier: BSD-2-Clause */

/* Extended attributes, by requests. */

#include "base/cleanup.h"
#include "devices/fs/files/xattr_map.h"
#include "devices/fs/test/test-requests.h"

#include <errno.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

static void test_not_there(void **state)
{
        struct client client;
        char got[16];

        client_begin(&client, NULL);
        client_make_file(&client, "a", "");

        uint64_t a = client_node(&client, FUSE_ROOT_ID, "a");

        assert_false(client.flags & FUSE_SETXATTR_EXT);
        assert_int_equal(request_setxattr(&client, a, "user.x", "1", 1, 0), -ENOSYS);
        assert_int_equal(request_getxattr(&client, a, "user.x", got, sizeof(got)), -ENOSYS);
        assert_int_equal(request_listxattr(&client, a, got, sizeof(got)), -ENOSYS);
        assert_int_equal(request_removexattr(&client, a, "user.x"), -ENOSYS);
        client_end(&client);
}

static void check_requests(struct client *client, const char *file)
{
        const uint64_t a = client_node(client, FUSE_ROOT_ID, file);
        const struct test_path path = client_path(client, file);
        char got[64] = "";

        assert_int_equal(request_listxattr(client, a, got, 0), 0);
        assert_int_equal(request_listxattr(client, a, got, sizeof(got)), 0);
        assert_int_equal(request_setxattr(client, a, "user.x", "hello", 5, XATTR_REPLACE), -ENODATA);
        assert_int_equal(request_setxattr(client, a, "user.x", "hello", 5, XATTR_CREATE), 0);
        assert_int_equal(request_setxattr(client, a, "user.x", "other", 5, XATTR_CREATE), -EEXIST);
        assert_int_equal(lgetxattr(path.text, "user.x", got, sizeof(got)), 5);
        assert_memory_equal(got, "hello", 5);
        assert_int_equal(request_setxattr(client, a, "user.x", "longer one", 10, XATTR_REPLACE), 0);
        assert_int_equal(request_setxattr(client, a, "user.x", "", 0, 64), -EINVAL);

        assert_int_equal(request_getxattr(client, a, "user.x", NULL, 0), 10);
        assert_int_equal(request_getxattr(client, a, "user.x", got, 9), -ERANGE);
        assert_int_equal(request_getxattr(client, a, "user.x", got, 10), 10);
        assert_memory_equal(got, "longer one", 10);
        assert_int_equal(request_getxattr(client, a, "user.y", got, sizeof(got)), -ENODATA);
        assert_int_equal(request_getxattr(client, a, "user.y", NULL, 0), -ENODATA);

        /* An empty value is a value, and values may have any bytes. */
        assert_int_equal(request_setxattr(client, a, "user.e", "", 0, 0), 0);
        assert_int_equal(request_getxattr(client, a, "user.e", got, sizeof(got)), 0);
        assert_int_equal(request_getxattr(client, a, "user.e", NULL, 0), 0);
        assert_int_equal(request_setxattr(client, a, "user.e", "\0\xff\0", 3, 0), 0);
        assert_int_equal(request_getxattr(client, a, "user.e", got, sizeof(got)), 3);
        assert_memory_equal(got, "\0\xff\0", 3);

        assert_int_equal(request_listxattr(client, a, NULL, 0), 14);
        assert_int_equal(request_listxattr(client, a, got, 13), -ERANGE);
        assert_int_equal(request_listxattr(client, a, got, 14), 14);
        assert_true(memcmp(got, "user.x\0user.e", 14) == 0 || memcmp(got, "user.e\0user.x", 14) == 0);
        assert_int_equal(request_removexattr(client, a, "user.x"), 0);
        assert_int_equal(request_removexattr(client, a, "user.x"), -ENODATA);
        assert_int_equal(request_listxattr(client, a, got, sizeof(got)), 7);
        assert_string_equal(got, "user.e");
        assert_int_equal(request_removexattr(client, a, "user.e"), 0);
        client_forget(client, a, 1);
}

static void test_requests(void **state)
{
        struct client client;

        client_begin(&client, &(struct fs_options){.xattr = true});
        assert_true(client.flags & FUSE_SETXATTR_EXT);
        client_make_file(&client, "a", "");
        assert_int_equal(mkdirat(client.share_fd, "d", 0755), 0);
        check_requests(&client, "a");
        check_requests(&client, "d");
        /* It needs no right on the host that the process lacks. */
        assert_int_equal(fchmodat(client.share_fd, "d", 0, 0), 0);
        if (geteuid() == 0)
                check_requests(&client, "d");
        assert_int_equal(fchmodat(client.share_fd, "d", 0755, 0), 0);

        /* The older layout, of a kernel before 7.33. */
        assert_true(client_init_as(&client, UINT32_MAX & ~(uint64_t)(FUSE_INIT_EXT | FUSE_SETXATTR_EXT)) > 0);
        assert_false(client.flags & FUSE_SETXATTR_EXT);
        check_requests(&client, "a");
        client_end(&client);
}

/* The host's programs get the same errors of the file system. */
static void test_other_types(void **state)
{
        static const char *const names[] = {"link", "fifo", "socket"};
        struct client client;
        char got[64];

        client_begin(&client, &(struct fs_options){.xattr = true});
        client_make_file(&client, "target", "");
        assert_int_equal(symlinkat("target", client.share_fd, "link"), 0);
        assert_int_equal(mkfifoat(client.share_fd, "fifo", 0666), 0);
        assert_int_equal(mknodat(client.share_fd, "socket", S_IFSOCK | 0666, 0), 0);
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                const uint64_t node = client_node(&client, FUSE_ROOT_ID, names[i]);
                const struct test_path path = client_path(&client, names[i]);

                assert_int_equal(request_setxattr(&client, node, "user.x", "1", 1, 0), -EPERM);
                assert_int_equal(lsetxattr(path.text, "user.x", "1", 1, 0), -1);
                if (geteuid() != 0)
                        continue;
                /* On the link itself, not on its target. */
                assert_int_equal(request_setxattr(&client, node, "trusted.x", names[i], 4, 0), 0);
                assert_int_equal(lgetxattr(path.text, "trusted.x", got, sizeof(got)), 4);
                assert_int_equal(request_getxattr(&client, node, "trusted.x", got, sizeof(got)), 4);
                assert_memory_equal(got, names[i], 4);
                assert_int_equal(request_listxattr(&client, node, got, sizeof(got)), 10);
                assert_int_equal(getxattr(client_path(&client, "target").text, "trusted.x", got, 1), -1);
                assert_int_equal(errno, ENODATA);
                assert_int_equal(request_removexattr(&client, node, "trusted.x"), 0);
                assert_int_equal(request_listxattr(&client, node, got, sizeof(got)), 0);
        }
        client_end(&client);
}

static void test_large_values(void **state)
{
        static char value[XATTR_SIZE_MAX + 1], got[XATTR_SIZE_MAX + 1];
        struct client client;

        client_begin(&client, &(struct fs_options){.xattr = true});
        client.chunk = 4096;
        client_make_file(&client, "a", "");
        client_make_file(&client, "plain", "");
        for (size_t i = 0; i < sizeof(value); i++)
                value[i] = (char)(i * 7 + i / 256);

        const uint64_t a = client_node(&client, FUSE_ROOT_ID, "a");
        const struct test_path plain = client_path(&client, "plain");
        static const uint32_t sizes[] = {1, 255, 3000, 4000, 4097, 65535, 65536};

        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                int host = setxattr(plain.text, "user.x", value, sizes[i], 0) < 0 ? -errno : 0;

                assert_int_equal(request_setxattr(&client, a, "user.x", value, sizes[i], 0), host);
                if (host < 0)
                        continue;
                assert_int_equal(request_getxattr(&client, a, "user.x", NULL, 0), sizes[i]);
                assert_int_equal(request_getxattr(&client, a, "user.x", got, sizes[i]), sizes[i]);
                assert_memory_equal(got, value, sizes[i]);
                /* More room than the largest value needs is accepted. */
                assert_int_equal(request_getxattr(&client, a, "user.x", got, sizeof(got)), sizes[i]);
        }
        assert_int_equal(request_setxattr(&client, a, "user.x", value, XATTR_SIZE_MAX + 1, 0), -E2BIG);
        client_end(&client);
}

static void test_lying_sizes(void **state)
{
        struct client client;
        struct fuse_setxattr_in in = {.size = 5};
        const struct fuse_getxattr_in get = {.size = UINT32_MAX};
        const uint32_t sizes[] = {0, 4, 6, 65536, 0x80000000, UINT32_MAX};
        char got[64];

        client_begin(&client, &(struct fs_options){.xattr = true});
        client_make_file(&client, "a", "");

        const uint64_t a = client_node(&client, FUSE_ROOT_ID, "a");

        assert_int_equal(request_setxattr(&client, a, "user.x", "hello", 5, 0), 0);
        for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
                in.size = sizes[i];
                assert_int_equal(client_call(&client, FUSE_SETXATTR, a,
                                             BODY(START(in), .name = "user.y", .data = "hello", .data_size = 5), NULL,
                                             0),
                                 -EINVAL);
        }
        /* A name without an end; an empty one; one that is too long. */
        in.size = 0;
        assert_int_equal(
                client_call(&client, FUSE_SETXATTR, a, BODY(START(in), .data = "user.y", .data_size = 6), NULL, 0),
                -EINVAL);
        assert_int_equal(request_setxattr(&client, a, "", "1", 1, 0), -ERANGE);
        assert_int_equal(request_getxattr(&client, a, "", got, sizeof(got)), -ERANGE);
        memset(got, 'u', sizeof(got) - 1);
        got[sizeof(got) - 1] = '\0';
        assert_int_equal(request_setxattr(&client, a, got, "1", 1, 0), -EOPNOTSUPP);
        /* The request asks for more than the answer has room for. */
        assert_int_equal(client_call(&client, FUSE_GETXATTR, a, BODY(START(get), .name = "user.x"), got, 4), -EINVAL);
        assert_int_equal(client_call(&client, FUSE_LISTXATTR, a, BODY(START(get)), got, 6), -EINVAL);
        assert_int_equal(client_call(&client, FUSE_LISTXATTR, a, BODY(START(get)), got, 7), 7);
        assert_int_equal(request_getxattr(&client, 12345, "user.x", got, sizeof(got)), -ESTALE);
        client_end(&client);
}

/* Without negotiated access lists, a guest neither sees nor changes those of the host. */
static void test_acl_names(void **state)
{
        static const char name[] = "system.posix_acl_access";
        static const char acl[] = "\2\0\0\0\1\0\7\0\xff\xff\xff\xff\2\0\5\0\x64\0\0\0\4\0\5\0\xff\xff\xff\xff"
                                  "\x10\0\5\0\xff\xff\xff\xff\x20\0\5\0\xff\xff\xff\xff";
        struct client client;
        char got[128];

        client_begin(&client, &(struct fs_options){.xattr = true});
        client_make_file(&client, "a", "");

        const uint64_t a = client_node(&client, FUSE_ROOT_ID, "a");

        if (setxattr(client_path(&client, "a").text, name, acl, sizeof(acl) - 1, 0) < 0) {
                client_end(&client);
                skip();
        }
        assert_int_equal(request_getxattr(&client, a, name, got, sizeof(got)), -EOPNOTSUPP);
        assert_int_equal(request_setxattr(&client, a, name, acl, sizeof(acl) - 1, 0), -EOPNOTSUPP);
        assert_int_equal(request_removexattr(&client, a, name), -EOPNOTSUPP);
        assert_int_equal(request_listxattr(&client, a, got, sizeof(got)), 0);
        client_end(&client);

        client_begin(&client, &(struct fs_options){.xattr = true, .posix_acl = FS_AUTO});
        assert_true(client.flags & FUSE_POSIX_ACL);
        client_make_file(&client, "a", "");
        const uint64_t b = client_node(&client, FUSE_ROOT_ID, "a");

        assert_int_equal(request_setxattr(&client, b, name, acl, sizeof(acl) - 1, 0), 0);
        assert_int_equal(request_getxattr(&client, b, name, got, sizeof(got)), sizeof(acl) - 1);
        assert_memory_equal(got, acl, sizeof(acl) - 1);
        assert_int_equal(request_listxattr(&client, b, got, sizeof(got)), sizeof(name));
        /* A kernel that can't enforce them does not see them. */
        assert_true(client_init_as(&client, UINT64_MAX & ~(uint64_t)FUSE_POSIX_ACL) > 0);
        assert_int_equal(request_getxattr(&client, client_node(&client, FUSE_ROOT_ID, "a"), name, got, sizeof(got)),
                         -EOPNOTSUPP);
        client_end(&client);
}

/* If the guest says so, setting an access list by a user outside the group clears the set-group-ID bit. */
static void test_kill_sgid(void **state)
{
        static const char acl[] = "\2\0\0\0\1\0\7\0\xff\xff\xff\xff\4\0\7\0\xff\xff\xff\xff\x20\0\5\0\xff\xff\xff\xff";
        struct fuse_setxattr_in in = {.size = sizeof(acl) - 1};
        const struct test_body body = {START(in), .name = "system.posix_acl_access", .data = acl,
                                       .data_size = sizeof(acl) - 1};
        struct client client;

        if (geteuid() != 0)
                skip();
        client_begin(&client, &(struct fs_options){.xattr = true, .posix_acl = FS_AUTO});
        client_make_file(&client, "a", "");
        assert_int_equal(fchownat(client.share_fd, "a", 1000, 1000, 0), 0);
        assert_int_equal(fchmodat(client.share_fd, "a", 02775, 0), 0);

        const uint64_t a = client_node(&client, FUSE_ROOT_ID, "a");

        assert_int_equal(client_call(&client, FUSE_SETXATTR, a, &body, NULL, 0), 0);
        assert_int_equal(client_stat(&client, "a").st_mode, S_IFREG | 02775);
        in.setxattr_flags = FUSE_SETXATTR_ACL_KILL_SGID;
        assert_int_equal(client_call(&client, FUSE_SETXATTR, a, &body, NULL, 0), 0);
        assert_int_equal(client_stat(&client, "a").st_mode, S_IFREG | 0775);
        /* Afterwards the thread has its capability back. */
        assert_int_equal(fchmodat(client.share_fd, "a", 02775, 0), 0);
        in.setxattr_flags = 0;
        assert_int_equal(client_call(&client, FUSE_SETXATTR, a, &body, NULL, 0), 0);
        assert_int_equal(client_stat(&client, "a").st_mode, S_IFREG | 02775);
        client_end(&client);
}

static struct xattr_map *map_of(const char *text)
{
        struct xattr_map *map;
        char why[128];

        assert_int_equal(xattr_map_parse(text, &map, why, sizeof(why)), 0);
        return map;
}

static void test_map(void **state)
{
        struct xattr_map *map = map_of(":unsupported:client:system.:: :map:trusted.:user.guest.:");
        struct client client;
        char got[256] = "";

        client_begin(&client, &(struct fs_options){.xattr = true, .xattr_map = map});
        client_make_file(&client, "a", "");

        const uint64_t a = client_node(&client, FUSE_ROOT_ID, "a");
        const struct test_path path = client_path(&client, "a");

        assert_int_equal(setxattr(path.text, "user.seen", "1", 1, 0), 0);
        if (geteuid() == 0)
                assert_int_equal(setxattr(path.text, "trusted.hidden", "1", 1, 0), 0);
        assert_int_equal(request_setxattr(&client, a, "trusted.x", "guest", 5, 0), 0);
        assert_int_equal(getxattr(path.text, "user.guest.trusted.x", got, sizeof(got)), 5);
        assert_int_equal(request_getxattr(&client, a, "trusted.x", got, sizeof(got)), 5);
        assert_memory_equal(got, "guest", 5);
        assert_int_equal(request_getxattr(&client, a, "trusted.hidden", got, sizeof(got)), -ENODATA);
        assert_int_equal(request_getxattr(&client, a, "user.guest.trusted.x", got, sizeof(got)), -ENODATA);
        assert_int_equal(request_setxattr(&client, a, "user.guest.trusted.x", "1", 1, 0), -EPERM);
        assert_int_equal(request_removexattr(&client, a, "user.guest.trusted.x"), -EPERM);
        assert_int_equal(request_getxattr(&client, a, "system.x", got, sizeof(got)), -ENOTSUP);
        assert_int_equal(request_getxattr(&client, a, "user.seen", got, sizeof(got)), 1);
        /* The size in the answer is that of the visible names. */
        assert_int_equal(request_listxattr(&client, a, NULL, 0), 20);
        assert_int_equal(request_listxattr(&client, a, got, 19), -ERANGE);
        assert_int_equal(request_listxattr(&client, a, got, 20), 20);
        assert_true(memcmp(got, "trusted.x\0user.seen", 20) == 0 || memcmp(got, "user.seen\0trusted.x", 20) == 0);
        assert_int_equal(request_removexattr(&client, a, "trusted.x"), 0);
        assert_int_equal(getxattr(path.text, "user.guest.trusted.x", got, sizeof(got)), -1);
        client_end(&client);
        xattr_map_free(map);
}

static const char cap_name[] = "security.capability", mapped[] = "user.guest.security.capability";
/* The value of cap_net_raw+ep. */
static const struct vfs_cap_data cap_value = {.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
                                              .data = {{.permitted = 1 << CAP_NET_RAW}}};

typedef void change_function(struct client *client, uint64_t nodeid, uint64_t fh);

static void by_write(struct client *client, uint64_t nodeid, uint64_t fh)
{
        assert_int_equal(client_write(client, fh, 0, "x", 1, 0, 0), 1);
}

static void by_truncation(struct client *client, uint64_t nodeid, uint64_t fh)
{
        struct fuse_attr attr;

        assert_true(request_setattr(client, nodeid, (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = 3}, &attr) >
                    0);
}

static void by_open(struct client *client, uint64_t nodeid, uint64_t fh)
{
        assert_int_equal(client_release(client, FUSE_RELEASE, client_handle(client, nodeid, O_WRONLY | O_TRUNC)), 0);
}

static void by_owner(struct client *client, uint64_t nodeid, uint64_t fh)
{
        const struct fuse_setattr_in in = {.valid = FATTR_UID, .uid = getuid()};
        struct fuse_attr attr;

        assert_true(request_setattr(client, nodeid, in, &attr) > 0);
}

static void by_copy(struct client *client, uint64_t nodeid, uint64_t fh)
{
        const uint64_t from = client_handle(client, client_node(client, FUSE_ROOT_ID, "from"), O_RDONLY);
        const struct fuse_copy_file_range_in in = {.fh_in = from, .fh_out = fh, .len = 2};
        struct fuse_write_out out;

        assert_int_equal(client_call(client, FUSE_COPY_FILE_RANGE, 0, BODY(START(in)), &out, sizeof(out)), sizeof(out));
        assert_int_equal(client_release(client, FUSE_RELEASE, from), 0);
}

static void by_allocation(struct client *client, uint64_t nodeid, uint64_t fh)
{
        const struct fuse_fallocate_in in = {.fh = fh, .offset = 1 << 20, .length = 4096};

        assert_int_equal(client_call(client, FUSE_FALLOCATE, nodeid, BODY(START(in)), NULL, 0), 0);
}

/* Under any name on the host, a change of the file removes its capabilities; a new mode does not. */
static void check_capability(struct client *client, const char *on_host)
{
        static change_function *const changes[] = {by_write, by_truncation, by_open, by_owner, by_copy, by_allocation};
        struct fuse_attr attr;
        char got[64];

        client_make_file(client, "f", "text");
        client_make_file(client, "from", "text");

        const uint64_t f = client_node(client, FUSE_ROOT_ID, "f"), fh = client_handle(client, f, O_RDWR);
        const struct test_path path = client_path(client, "f");

        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                assert_int_equal(request_setxattr(client, f, cap_name, &cap_value, XATTR_CAPS_SZ_2, 0), 0);
                assert_true(getxattr(path.text, on_host, got, sizeof(got)) >= (ssize_t)XATTR_CAPS_SZ_2);
                assert_true(request_setattr(client, f, (struct fuse_setattr_in){.valid = FATTR_MODE, .mode = 0700},
                                            &attr) > 0);
                assert_true(request_getxattr(client, f, cap_name, got, sizeof(got)) >= (ssize_t)XATTR_CAPS_SZ_2);
                changes[i](client, f, fh);
                if (getxattr(path.text, on_host, got, sizeof(got)) >= 0)
                        fail_msg("change %zu leaves %s", i, on_host);
        }
}

static void test_capabilities(void **state)
{
        struct xattr_map *map = map_of(":map::user.guest.:");
        struct client client;

        client_begin(&client, &(struct fs_options){.xattr = true, .xattr_map = map});
        check_capability(&client, mapped);
        client_end(&client);
        xattr_map_free(map);
        if (geteuid() != 0)
                return;
        client_begin(&client, &(struct fs_options){.xattr = true});
        check_capability(&client, cap_name);
        client_end(&client);
}

static void test_readonly(void **state)
{
        struct client client;
        char got[8];

        client_begin(&client, &(struct fs_options){.xattr = true, .readonly = true});
        client_make_file(&client, "a", "");
        assert_int_equal(setxattr(client_path(&client, "a").text, "user.x", "1", 1, 0), 0);

        const uint64_t a = client_node(&client, FUSE_ROOT_ID, "a");

        assert_int_equal(request_getxattr(&client, a, "user.x", got, sizeof(got)), 1);
        assert_int_equal(request_setxattr(&client, a, "user.x", "2", 1, 0), -EROFS);
        assert_int_equal(request_removexattr(&client, a, "user.x"), -EROFS);
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_not_there),    counted_test(test_requests),    counted_test(test_other_types),
                counted_test(test_large_values), counted_test(test_lying_sizes), counted_test(test_acl_names),
                counted_test(test_kill_sgid),    counted_test(test_map),         counted_test(test_capabilities),
                counted_test(test_readonly),
        };

        return run_counted("fs-xattr", tests);
}
