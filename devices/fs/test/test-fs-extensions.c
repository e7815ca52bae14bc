/* SPDX-License-Identifier: BSD-2-Clause */

/* Extensions at the end of requests that make files: a group, and a security label. */

#include "base/cleanup.h"
#include "devices/fs/files/xattr_map.h"
#include "devices/fs/test/test-requests.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

struct tail {
        char bytes[8192];
        size_t size;
};

static void put(struct tail *tail, const void *from, size_t size)
{
        assert_true(tail->size + size <= sizeof(tail->bytes));
        memcpy(tail->bytes + tail->size, from, size);
        tail->size += size;
}

static void put_numbers(struct tail *tail, uint32_t a, uint32_t b)
{
        const uint32_t numbers[] = {a, b};

        put(tail, numbers, sizeof(numbers));
}

static void pad(struct tail *tail)
{
        while (tail->size % 8)
                tail->bytes[tail->size++] = 0;
}

static void put_group(struct tail *tail, uint32_t group)
{
        put_numbers(tail, 16, FUSE_EXT_GROUPS);
        put_numbers(tail, 1, group);
}

static void put_label(struct tail *tail, const char *name, const char *value)
{
        const size_t size = 16 + strlen(name) + 1 + strlen(value);

        put_numbers(tail, (uint32_t)(size + 7) & ~7u, 1);
        put_numbers(tail, (uint32_t)strlen(value), 0);
        put(tail, name, strlen(name) + 1);
        put(tail, value, strlen(value));
        pad(tail);
}

static struct tail label_of(const char *name, const char *value)
{
        struct tail tail = {.size = 0};

        put_label(&tail, name, value);
        return tail;
}

static ssize_t make(struct client *client, uint32_t opcode, const char *name, uint32_t mode, const struct tail *tail,
                    uint16_t units)
{
        const struct fuse_create_in create = {.flags = O_RDWR, .mode = S_IFREG | mode};
        const struct fuse_mkdir_in mkdir = {.mode = mode};
        const struct fuse_mknod_in mknod = {.mode = S_IFREG | mode};
        struct test_body body = {.name = name, .data = tail->bytes, .data_size = tail->size, .extension_units = units};
        struct test_created out;

        if (opcode == FUSE_CREATE || opcode == FUSE_TMPFILE)
                body.start = &create, body.start_size = sizeof(create);
        else if (opcode == FUSE_MKDIR)
                body.start = &mkdir, body.start_size = sizeof(mkdir);
        else if (opcode == FUSE_MKNOD)
                body.start = &mknod, body.start_size = sizeof(mknod);
        else
                body.second_name = "target";
        return client_call_as(client, 1234, 1235, opcode, FUSE_ROOT_ID, &body, &out, sizeof(out));
}

static uint16_t units_of(const struct tail *tail)
{
        return (uint16_t)(tail->size / 8);
}

static const uint32_t opcodes[] = {FUSE_CREATE, FUSE_MKDIR, FUSE_MKNOD, FUSE_SYMLINK, FUSE_TMPFILE};

static struct xattr_map *map_of(const char *text)
{
        struct xattr_map *map;
        char why[128];

        assert_int_equal(xattr_map_parse(text, &map, why, sizeof(why)), 0);
        return map;
}

static void test_label(void **state)
{
        struct xattr_map *map = map_of(":map:security.:user.guest.:");
        const struct tail tail = label_of("security.selinux", "system_u:object_r:etc_t:s0");
        struct client client;
        char got[64];

        client_begin(&client, &(struct fs_options){.xattr = true, .xattr_map = map, .security_label = FS_AUTO});
        assert_true(client.flags & FUSE_SECURITY_CTX);
        assert_int_equal(chmod(client.share, 0777), 0);
        for (size_t i = 0; i < 3; i++) {
                /* As kernels from 7.38 on send it, and as older ones do. */
                for (int old = 0; old < 2; old++) {
                        const char name[] = {(char)('a' + i), old ? 'o' : 'n', '\0'};

                        assert_true(make(&client, opcodes[i], name, 0755, &tail, old ? 0 : units_of(&tail)) > 0);
                        assert_int_equal(getxattr(client_path(&client, name).text, "user.guest.security.selinux", got,
                                                  sizeof(got)),
                                         26);
                        assert_memory_equal(got, "system_u:object_r:etc_t:s0", 26);
                        if (geteuid() == 0)
                                assert_int_equal(client_stat(&client, name).st_uid, 1234);
                }
        }
        assert_true(make(&client, FUSE_TMPFILE, "", 0600, &tail, units_of(&tail)) > 0);
        client_end(&client);
        xattr_map_free(map);
}

/* A file that can't be labelled is not made. */
static void test_label_fails(void **state)
{
        struct xattr_map *map = map_of(":bad:client:security.bad:: :map:security.:user.guest.:");
        const struct tail bad = label_of("security.bad", "x"), good = label_of("security.good", "x");
        struct tail long_label = {.size = 0};
        char value[5000];
        struct client client;

        client_begin(&client, &(struct fs_options){.xattr = true, .xattr_map = map, .security_label = FS_AUTO});
        assert_int_equal(chmod(client.share, 0777), 0);
        memset(value, 'v', sizeof(value) - 1);
        value[sizeof(value) - 1] = '\0';
        put_label(&long_label, "security.good", value);

        const int before = client_fds();

        for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
                assert_int_equal(make(&client, opcodes[i], "x", 0755, &bad, units_of(&bad)), -EPERM);
                assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "x", NULL), -ENOENT);
                assert_int_equal(make(&client, opcodes[i], "x", 0755, &long_label, units_of(&long_label)), -E2BIG);
                assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "x", NULL), -ENOENT);
        }
        /* A link has no user attributes. */
        assert_int_equal(make(&client, FUSE_SYMLINK, "x", 0755, &good, units_of(&good)), -EPERM);
        assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "x", NULL), -ENOENT);
        assert_int_equal(client_fds(), before);
        /* An existing file stays, and keeps its label. */
        client_make_file(&client, "x", "text");
        assert_true(make(&client, FUSE_CREATE, "x", 0755, &bad, units_of(&bad)) > 0);
        assert_int_equal(make(&client, FUSE_MKDIR, "x", 0755, &bad, units_of(&bad)), -EEXIST);
        assert_int_equal(client_stat(&client, "x").st_size, 4);
        client_end(&client);
        xattr_map_free(map);
}

/* A guest without negotiated labels has none set, whatever it sends. */
static void test_label_not_agreed(void **state)
{
        const struct tail tail = label_of("user.label", "x");
        struct client client;
        char got[16];

        client_begin(&client, &(struct fs_options){.xattr = true});
        assert_false(client.flags & FUSE_SECURITY_CTX);
        assert_int_equal(chmod(client.share, 0777), 0);
        assert_true(make(&client, FUSE_CREATE, "a", 0755, &tail, units_of(&tail)) > 0);
        assert_int_equal(getxattr(client_path(&client, "a").text, "user.label", got, sizeof(got)), -1);
        /* In the older form the label is no part of the request. */
        assert_int_equal(make(&client, FUSE_CREATE, "b", 0755, &tail, 0), -EINVAL);
        client_end(&client);
}

/* An empty label is none. */
static void test_no_label(void **state)
{
        struct tail tails[4] = {{.size = 0}, {.size = 0}, label_of("", ""), label_of("user.label", "")};
        struct client client;

        put_numbers(&tails[1], 8, 0);
        client_begin(&client, &(struct fs_options){.xattr = true, .security_label = FS_AUTO});
        assert_int_equal(chmod(client.share, 0777), 0);
        for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
                const char name[] = {(char)('a' + i), '\0'};
                char got[64];

                assert_true(make(&client, FUSE_MKDIR, name, 0755, &tails[i], units_of(&tails[i])) > 0);
                assert_int_equal(listxattr(client_path(&client, name).text, got, sizeof(got)), 0);
        }
        client_end(&client);
}

static void check_wrong(struct client *client, const struct tail *tail, size_t which)
{
        const int before = client_fds();

        for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
                ssize_t r = make(client, opcodes[i], "x", 0755, tail, units_of(tail));

                if (r != -EINVAL)
                        fail_msg("tail %zu, opcode %u: %zd", which, opcodes[i], r);
                assert_int_equal(client_lookup(client, FUSE_ROOT_ID, "x", NULL), -ENOENT);
        }
        assert_int_equal(client_fds(), before);
}

/* A header of @size and @type, two numbers behind it, and eight bytes of text. */
static struct tail wrong_tail(uint32_t size, uint32_t type, uint32_t a, uint32_t b, const char *text)
{
        struct tail tail = {.size = 0};

        put_numbers(&tail, size, type);
        put_numbers(&tail, a, b);
        put(&tail, text, 8);
        return tail;
}

static void test_malformed(void **state)
{
        const char *const text = "user.a\0v";
        const struct tail tails[] = {
                /* Sizes: less than the header, more than there is. */
                wrong_tail(0, 1, 1, 0, text),
                wrong_tail(7, 1, 1, 0, text),
                wrong_tail(25, 1, 1, 0, text),
                wrong_tail(0x80000000, 1, 1, 0, text),
                wrong_tail(UINT32_MAX, 1, 1, 0, text),
                wrong_tail(UINT32_MAX - 6, 1, 1, 0, text),
                /* Labels: too many, longer than there is, a name without an end, none at all. */
                wrong_tail(24, 2, 1, 0, text),
                wrong_tail(24, 31, 1, 0, text),
                wrong_tail(24, 1, 2, 0, text),
                wrong_tail(24, 1, UINT32_MAX, 0, text),
                wrong_tail(24, 1, 1, 0, "user.abc"),
                wrong_tail(16, 1, 0, 0, text),
                wrong_tail(12, 1, 1, 0, text),
                wrong_tail(8, 1, 1, 0, text),
                /* Unknown types. */
                wrong_tail(24, 33, 1, 0, text),
                wrong_tail(24, UINT32_MAX, 1, 0, text),
                /* Groups: none, more than one, and fewer than said. */
                wrong_tail(24, FUSE_EXT_GROUPS, 0, 0, text),
                wrong_tail(24, FUSE_EXT_GROUPS, 2, 0, text),
                wrong_tail(24, FUSE_EXT_GROUPS, UINT32_MAX, 0, text),
                wrong_tail(12, FUSE_EXT_GROUPS, 1, 0, text),
                wrong_tail(8, FUSE_EXT_GROUPS, 1, 0, text),
        };
        struct client client;

        client_begin(&client, &(struct fs_options){.xattr = true, .security_label = FS_AUTO});
        assert_int_equal(chmod(client.share, 0777), 0);
        for (size_t i = 0; i < ARRAY_SIZE(tails); i++)
                check_wrong(&client, &tails[i], i);

        /* More or fewer than the header says. */
        const struct tail good = label_of("user.label", "x");
        static const uint16_t units[] = {1, 3, 5, 6, UINT16_MAX};

        for (size_t i = 0; i < ARRAY_SIZE(units); i++)
                if (units[i] != units_of(&good))
                        assert_int_equal(make(&client, FUSE_MKDIR, "x", 0755, &good, units[i]), -EINVAL);
        assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "x", NULL), -ENOENT);
        /* A tail cut anywhere. */
        for (struct tail cut = good; cut.size > 1; cut.size--) {
                ssize_t r = make(&client, FUSE_MKDIR, "x", 0755, &cut, 0);

                assert_true(r == -EINVAL || cut.size == good.size);
                if (r > 0)
                        assert_int_equal(unlinkat(client.share_fd, "x", AT_REMOVEDIR), 0);
        }
        client_end(&client);
}

/* A user in the directory's group may make files with its set-group-ID bit. */
static void test_group(void **state)
{
        struct tail with = {.size = 0}, other = {.size = 0}, both = {.size = 0};
        const struct tail without = {.size = 0};
        struct client client;
        gid_t groups[4];

        if (geteuid() != 0)
                skip();
        put_group(&with, 5000);
        put_group(&other, 5001);
        put_group(&both, 5000);
        put_label(&both, "user.label", "x");
        client_begin(&client, &(struct fs_options){.xattr = true, .security_label = FS_AUTO});
        assert_true(client.flags & FUSE_CREATE_SUPP_GROUP);
        assert_int_equal(chown(client.share, 0, 5000), 0);
        assert_int_equal(chmod(client.share, 02777), 0);

        assert_true(make(&client, FUSE_CREATE, "with", 02755, &with, units_of(&with)) > 0);
        assert_int_equal(client_stat(&client, "with").st_mode, S_IFREG | 02755);
        assert_true(make(&client, FUSE_CREATE, "both", 02755, &both, units_of(&both)) > 0);
        assert_int_equal(client_stat(&client, "both").st_mode, S_IFREG | 02755);
        assert_true(make(&client, FUSE_CREATE, "without", 02755, &without, 0) > 0);
        assert_int_equal(client_stat(&client, "without").st_mode, S_IFREG | 0755);
        assert_true(make(&client, FUSE_CREATE, "other", 02755, &other, units_of(&other)) > 0);
        assert_int_equal(client_stat(&client, "other").st_mode, S_IFREG | 0755);
        assert_true(make(&client, FUSE_MKDIR, "dir", 0755, &with, units_of(&with)) > 0);
        assert_int_equal(client_stat(&client, "dir").st_mode, S_IFDIR | 02755);
        for (size_t i = 0; i < 4; i++) {
                static const char *const names[] = {"with", "without", "other", "dir"};

                assert_int_equal(client_stat(&client, names[i]).st_uid, 1234);
                assert_int_equal(client_stat(&client, names[i]).st_gid, 5000);
        }
        /* Afterwards the thread is in no group. */
        assert_int_equal(getgroups(4, groups), 0);
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_label),    counted_test(test_label_fails), counted_test(test_label_not_agreed),
                counted_test(test_no_label), counted_test(test_malformed),   counted_test(test_group),
        };

        return run_counted("fs-extensions", tests);
}
