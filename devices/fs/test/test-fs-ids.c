/* SPDX-License-Identifier: BSD-2-Clause */

/* Users and groups with other numbers on the host, in every request that names them. */

#include "devices/fs/core/idmap.h"
#include "devices/fs/test/test-requests.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static struct id_map map_of(const char *first, const char *second)
{
        struct id_map map = {0};
        char why[128];

        assert_int_equal(id_map_add(&map, first, why, sizeof(why)), 0);
        if (second)
                assert_int_equal(id_map_add(&map, second, why, sizeof(why)), 0);
        return map;
}

/* The guest's users from 0 on are the host's from 100000 on, its groups the host's from 200000 on. */
static bool begin(struct client *client, struct id_map *uids, struct id_map *gids)
{
        if (geteuid() != 0)
                return false;
        *uids = map_of("map:0:100000:60000", "forbid-guest:60000:1000");
        *gids = map_of("map:0:200000:60000", "forbid-guest:60000:1000");
        client_begin(client, &(struct fs_options){.uids = uids, .gids = gids, .xattr = true});
        /* The guest's root is an ordinary user of the host, and can use the share nevertheless. */
        assert_int_equal(fchmod(client->share_fd, 0755), -1);
        assert_int_equal(chmod(client->share, 0755), 0);
        return true;
}

static void check(struct client *client, const char *name, const struct fuse_attr *attr, uint32_t uid, uint32_t gid)
{
        const struct stat stat = client_stat(client, name);

        assert_int_equal(attr->uid, uid);
        assert_int_equal(attr->gid, gid);
        assert_int_equal(stat.st_uid, uid + 100000);
        assert_int_equal(stat.st_gid, gid + 200000);
}

static void test_made(void **state)
{
        const struct fuse_mknod_in mknod_in = {.mode = S_IFIFO | 0600};
        struct client client;
        struct id_map uids, gids;
        struct test_created created;
        struct fuse_entry_out entry;

        if (!begin(&client, &uids, &gids))
                skip();
        assert_true(request_create(&client, (struct test_user){0, 0}, FUSE_ROOT_ID, "a", O_RDWR, 0600, &created) > 0);
        check(&client, "a", &created.entry.attr, 0, 0);
        assert_true(request_create(&client, (struct test_user){5, 6}, FUSE_ROOT_ID, "b", O_RDWR, 0600, &created) > 0);
        check(&client, "b", &created.entry.attr, 5, 6);
        assert_true(request_mkdir(&client, (struct test_user){59999, 59999}, FUSE_ROOT_ID, "d", 0700, &entry) > 0);
        check(&client, "d", &entry.attr, 59999, 59999);
        assert_true(client_call_as(&client, 7, 8, FUSE_SYMLINK, entry.nodeid, BODY(.name = "l", .second_name = "x"),
                                   &entry, sizeof(entry)) > 0);
        check(&client, "d/l", &entry.attr, 7, 8);
        assert_true(client_call_as(&client, 9, 10, FUSE_MKNOD, FUSE_ROOT_ID, BODY(START(mknod_in), .name = "p"), &entry,
                                   sizeof(entry)) > 0);
        check(&client, "p", &entry.attr, 9, 10);
        client_end(&client);
}

static void test_forbidden(void **state)
{
        const struct test_user users[] = {{60000, 0}, {0, 60000}, {60999, 60999}};
        struct client client;
        struct id_map uids, gids;
        struct test_created created;
        struct fuse_entry_out entry;
        struct fuse_attr attr;

        if (!begin(&client, &uids, &gids))
                skip();
        client_make_file(&client, "f", "");

        const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f");

        for (size_t i = 0; i < 3; i++) {
                const struct fuse_setattr_in in = {
                        .valid = FATTR_UID | FATTR_GID, .uid = users[i].uid, .gid = users[i].gid};

                assert_int_equal(request_create(&client, users[i], FUSE_ROOT_ID, "x", O_RDWR, 0600, &created), -EPERM);
                assert_int_equal(request_mkdir(&client, users[i], FUSE_ROOT_ID, "x", 0700, &entry), -EPERM);
                assert_int_equal(client_call_as(&client, users[i].uid, users[i].gid, FUSE_SYMLINK, FUSE_ROOT_ID,
                                                BODY(.name = "x", .second_name = "y"), &entry, sizeof(entry)),
                                 -EPERM);
                assert_int_equal(request_setattr(&client, f, in, &attr), -EPERM);
                assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "x", NULL), -ENOENT);
        }
        assert_int_equal(client_stat(&client, "f").st_uid, 0);
        assert_int_equal(client_stat(&client, "f").st_gid, 0);
        client_end(&client);
}

/* Owners on the host are translated to the guest's numbers in all attributes. */
static void test_told(void **state)
{
        static char got[4096];
        struct client client;
        struct id_map uids, gids;
        struct fuse_entry_out entry;
        struct fuse_attr attr;
        struct fuse_statx stat;
        uint64_t fh;

        if (!begin(&client, &uids, &gids))
                skip();
        client_make_file(&client, "f", "");
        assert_int_equal(fchownat(client.share_fd, "f", 100012, 200034, 0), 0);
        assert_true(request_entry(&client, FUSE_ROOT_ID, "f", &entry) > 0);
        check(&client, "f", &entry.attr, 12, 34);
        assert_true(request_getattr(&client, entry.nodeid, &attr) > 0);
        check(&client, "f", &attr, 12, 34);
        assert_true(request_statx(&client, entry.nodeid, &stat) > 0);
        assert_int_equal(stat.uid, 12);
        assert_int_equal(stat.gid, 34);

        assert_true(client_open(&client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, &fh) > 0);

        ssize_t size = client_read(&client, FUSE_READDIRPLUS, fh, 0, got, sizeof(got));
        int found = 0;

        for (ssize_t at = 0; at < size;) {
                const struct fuse_direntplus *plus = (const void *)(got + at);

                if (plus->dirent.namelen == 1 && plus->dirent.name[0] == 'f') {
                        check(&client, "f", &plus->entry_out.attr, 12, 34);
                        found++;
                }
                at += (ssize_t)FUSE_DIRENTPLUS_SIZE(plus);
        }
        assert_int_equal(found, 1);

        /* Ids of the host without a rule don't change; nor does -1. */
        assert_int_equal(fchownat(client.share_fd, "f", 77, 78, 0), 0);
        assert_true(request_getattr(&client, entry.nodeid, &attr) > 0);
        assert_int_equal(attr.uid, 77);
        assert_int_equal(attr.gid, 78);
        client_end(&client);
}

static void test_setattr(void **state)
{
        struct client client;
        struct id_map uids, gids;
        struct fuse_attr attr;

        if (!begin(&client, &uids, &gids))
                skip();
        client_make_file(&client, "f", "");

        const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f");
        struct fuse_setattr_in in = {.valid = FATTR_UID | FATTR_GID, .uid = 1, .gid = 2};

        assert_true(request_setattr(&client, f, in, &attr) > 0);
        check(&client, "f", &attr, 1, 2);
        /* One of both alone. */
        in = (struct fuse_setattr_in){.valid = FATTR_UID, .uid = 3, .gid = 60000};
        assert_true(request_setattr(&client, f, in, &attr) > 0);
        check(&client, "f", &attr, 3, 2);
        in = (struct fuse_setattr_in){.valid = FATTR_GID, .uid = 60000, .gid = 4};
        assert_true(request_setattr(&client, f, in, &attr) > 0);
        check(&client, "f", &attr, 3, 4);
        client_end(&client);
}

static void test_squash(void **state)
{
        struct client client;
        struct id_map uids, gids;
        struct test_created created;
        struct fuse_attr attr;

        if (geteuid() != 0)
                skip();
        uids = map_of("squash-guest:0:1000:4294967295", "squash-host:0:0:4294967295");
        gids = map_of("squash-guest:0:1001:4294967295", "squash-host:0:5:4294967295");
        client_begin(&client, &(struct fs_options){.uids = &uids, .gids = &gids});
        assert_int_equal(chmod(client.share, 0777), 0);
        assert_true(request_create(&client, (struct test_user){33, 44}, FUSE_ROOT_ID, "a", O_RDWR, 0600, &created) > 0);
        assert_int_equal(created.entry.attr.uid, 0);
        assert_int_equal(created.entry.attr.gid, 5);
        assert_int_equal(client_stat(&client, "a").st_uid, 1000);
        assert_int_equal(client_stat(&client, "a").st_gid, 1001);
        assert_true(request_getattr(&client, FUSE_ROOT_ID, &attr) > 0);
        assert_int_equal(attr.gid, 5);
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_made),    counted_test(test_forbidden), counted_test(test_told),
                counted_test(test_setattr), counted_test(test_squash),
        };

        return run_counted("fs-ids", tests);
}
