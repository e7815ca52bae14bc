/* SPDX-License-Identifier: BSD-2-Clause */

/* The host removes or replaces what the guest has looked up. The guest learns that what it knows is gone before
 * anything is written there, unless it has it open. */

#include "base/cleanup.h"
#include "devices/fs/test-requests.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const enum fs_cache caches[] = {FS_CACHE_AUTO, FS_CACHE_ALWAYS, FS_CACHE_NEVER, FS_CACHE_METADATA};
static const enum fs_handles handles[] = {FS_HANDLES_NEVER, FS_HANDLES_PREFER, FS_HANDLES_MANDATORY};

static void for_each_mode(void (*check)(struct client *client))
{
        struct client client;

        for (size_t i = 0; i < ARRAY_SIZE(caches); i++)
                for (size_t j = 0; j < ARRAY_SIZE(handles); j++) {
                        /* Files are opened by handle with a capability of root's. */
                        if (handles[j] == FS_HANDLES_MANDATORY && geteuid() != 0)
                                continue;
                        client_begin(&client, &(struct fs_options){.cache = caches[i],
                                                                   .file_handles = handles[j],
                                                                   .xattr = true,
                                                                   .writeback = true});
                        check(&client);
                        client_end(&client);
                }
}

static void remove_name(struct client *client, const char *name)
{
        assert_int_equal(unlinkat(client->share_fd, name, 0), 0);
}

/* As an editor or git does. */
static void replace(struct client *client, const char *name)
{
        client_make_file(client, "new", "new");
        assert_int_equal(renameat(client->share_fd, "new", client->share_fd, name), 0);
}

static void check_file_is_gone(struct client *client, uint64_t node)
{
        static const uint32_t flags[] = {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_WRONLY | O_TRUNC};
        const struct fuse_setattr_in shorter = {.valid = FATTR_SIZE}, mode = {.valid = FATTR_MODE, .mode = 0600};
        struct fuse_entry_out entry;
        struct fuse_attr attr;

        for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
                assert_int_equal(client_open(client, FUSE_OPEN, node, flags[i], NULL), -ESTALE);
        assert_int_equal(request_setattr(client, node, shorter, &attr), -ESTALE);
        assert_int_equal(request_setattr(client, node, mode, &attr), -ESTALE);
        assert_int_equal(request_setxattr(client, node, "user.x", "1", 1, 0), -ESTALE);
        assert_int_equal(request_removexattr(client, node, "user.x"), -ESTALE);
        assert_int_equal(request_link(client, node, FUSE_ROOT_ID, "link", &entry), -ESTALE);
}

static void check_files(struct client *client)
{
        static void (*const changes[])(struct client * client, const char *name) = {remove_name, replace};

        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                client_make_file(client, "f", "old");

                const uint64_t node = client_node(client, FUSE_ROOT_ID, "f");

                /* Its descriptor is kept. */
                assert_int_equal(client_release(client, FUSE_RELEASE, client_handle(client, node, O_RDONLY)), 0);
                changes[i](client, "f");
                check_file_is_gone(client, node);
                client_make_file(client, "f", "new");

                const uint64_t found = client_node(client, FUSE_ROOT_ID, "f");

                assert_int_not_equal(found, node);
                assert_int_equal(client_release(client, FUSE_RELEASE, client_handle(client, found, O_RDWR)), 0);
                client_forget(client, node, 1);
                client_forget(client, found, 1);
        }
}

/* While a name is given to one file after the other, it can always be opened to be read: the guest's kernel looks it up
 * anew once. Whoever would write is told each time. */
static void check_files_in_turn(struct client *client)
{
        client_make_file(client, "f", "old");

        const uint64_t first = client_node(client, FUSE_ROOT_ID, "f");

        replace(client, "f");
        assert_int_equal(client_open(client, FUSE_OPEN, first, O_RDONLY, NULL), -ESTALE);
        assert_int_equal(client_open(client, FUSE_OPEN, first, O_RDONLY, NULL), -ESTALE);
        for (int round = 0; round < 2; round++) {
                const uint64_t next = client_node(client, FUSE_ROOT_ID, "f");
                uint64_t fh = 0;

                replace(client, "f");
                if (round == 1)
                        assert_int_equal(client_open(client, FUSE_OPEN, next, O_RDWR, NULL), -ESTALE);
                assert_true(client_open(client, FUSE_OPEN, next, O_RDONLY, &fh) >= 0);
                assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
                assert_int_equal(client_open(client, FUSE_OPEN, next, O_RDONLY, NULL), -ESTALE);
        }
}

/* With descriptors: a file without a name is found by no handle. */
static void test_files_in_turn(void **state)
{
        struct client client;

        (void)state;
        client_begin(&client, &(struct fs_options){.file_handles = FS_HANDLES_NEVER});
        check_files_in_turn(&client);
        client_end(&client);
}

static void test_files(void **state)
{
        (void)state;
        for_each_mode(check_files);
}

/* By another name, or by none as long as it is open, a file is what it was. */
static void check_what_stays(struct client *client)
{
        struct test_created unnamed;
        struct fuse_entry_out entry;
        struct fuse_attr attr;
        char got[8] = "";

        client_make_file(client, "f", "old");
        assert_int_equal(linkat(client->share_fd, "f", client->share_fd, "g", 0), 0);

        const uint64_t node = client_node(client, FUSE_ROOT_ID, "f");

        remove_name(client, "f");

        const uint64_t fh = client_handle(client, node, O_RDONLY);

        remove_name(client, "g");

        const uint64_t other = client_handle(client, node, O_RDWR);

        assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
        assert_int_equal(client_write(client, other, 0, "new", 3, 0, 0), 3);
        assert_int_equal(client_read(client, FUSE_READ, other, 0, got, sizeof(got)), 3);
        assert_true(request_setattr(client, node, (struct fuse_setattr_in){.valid = FATTR_SIZE}, &attr) > 0);
        assert_int_equal(attr.nlink, 0);
        assert_int_equal(client_release(client, FUSE_RELEASE, other), 0);
        check_file_is_gone(client, node);
        client_forget(client, node, 1);

        assert_true(request_tmpfile(client, FUSE_ROOT_ID, O_RDWR, 0600, &unnamed) > 0);
        assert_int_equal(client_release(client, FUSE_RELEASE, client_handle(client, unnamed.entry.nodeid, O_RDONLY)),
                         0);
        assert_true(request_link(client, unnamed.entry.nodeid, FUSE_ROOT_ID, "f", &entry) > 0);
        remove_name(client, "f");
}

static void test_what_stays(void **state)
{
        (void)state;
        for_each_mode(check_what_stays);
}

static void check_directory_is_gone(struct client *client, uint64_t d, uint64_t file)
{
        const struct fuse_mknod_in mknod = {.mode = S_IFREG | 0600};
        const struct fuse_rename_in from = {.newdir = FUSE_ROOT_ID}, to = {.newdir = d};
        struct fuse_entry_out entry;
        struct test_created created;

        assert_int_equal(client_lookup(client, d, "x", NULL), -ESTALE);
        assert_int_equal(request_create(client, test_root, d, "x", O_RDWR, 0600, &created), -ESTALE);
        assert_int_equal(request_tmpfile(client, d, O_RDWR, 0600, &created), -ESTALE);
        assert_int_equal(request_mkdir(client, test_root, d, "x", 0700, &entry), -ESTALE);
        assert_int_equal(client_call(client, FUSE_MKNOD, d, BODY(START(mknod), .name = "x"), &entry, sizeof(entry)),
                         -ESTALE);
        assert_int_equal(
                client_call(client, FUSE_SYMLINK, d, BODY(.name = "x", .second_name = "y"), &entry, sizeof(entry)),
                -ESTALE);
        assert_int_equal(request_link(client, file, d, "x", &entry), -ESTALE);
        assert_int_equal(request_unlink(client, d, "x"), -ESTALE);
        assert_int_equal(client_call(client, FUSE_RMDIR, d, BODY(.name = "x"), NULL, 0), -ESTALE);
        assert_int_equal(
                client_call(client, FUSE_RENAME, d, BODY(START(from), .name = "x", .second_name = "y"), NULL, 0),
                -ESTALE);
        assert_int_equal(client_call(client, FUSE_RENAME, FUSE_ROOT_ID,
                                     BODY(START(to), .name = "file", .second_name = "y"), NULL, 0),
                         -ESTALE);
        assert_int_equal(client_open(client, FUSE_OPENDIR, d, 0, NULL), -ESTALE);
}

static void check_directories(struct client *client)
{
        struct fuse_entry_out entry;
        uint64_t fh;

        client_make_file(client, "file", "");
        assert_int_equal(mkdirat(client->share_fd, "d", 0700), 0);

        const uint64_t d = client_node(client, FUSE_ROOT_ID, "d"), file = client_node(client, FUSE_ROOT_ID, "file");

        assert_int_equal(client_lookup(client, d, "x", NULL), -ENOENT);
        assert_true(client_open(client, FUSE_OPENDIR, d, 0, &fh) > 0);
        assert_int_equal(unlinkat(client->share_fd, "d", AT_REMOVEDIR), 0);
        assert_int_equal(mkdirat(client->share_fd, "d", 0700), 0);
        /* Open, it is an empty directory in which nothing can be made. */
        assert_int_equal(client_lookup(client, d, "x", NULL), -ENOENT);
        assert_int_equal(request_mkdir(client, test_root, d, "x", 0700, &entry), -ENOENT);
        assert_int_equal(client_release(client, FUSE_RELEASEDIR, fh), 0);
        check_directory_is_gone(client, d, file);

        const uint64_t found = client_node(client, FUSE_ROOT_ID, "d");

        assert_int_not_equal(found, d);
        assert_int_equal(client_lookup(client, found, "x", NULL), -ENOENT);
        client_forget(client, d, 1);
        client_forget(client, found, 1);
}

static void test_directories(void **state)
{
        (void)state;
        for_each_mode(check_directories);
}

/* "..data" of a ConfigMap: what it leads to is asked for each time, as it may be another link by now. */
static void check_links(struct client *client)
{
        char target[8] = "";

        assert_int_equal(client->flags & FUSE_CACHE_SYMLINKS, 0);
        assert_int_equal(symlinkat("one", client->share_fd, "..data"), 0);

        const uint64_t old = client_node(client, FUSE_ROOT_ID, "..data");

        assert_int_equal(client_call(client, FUSE_READLINK, old, NULL, target, sizeof(target)), 3);
        assert_int_equal(symlinkat("two", client->share_fd, "..data_tmp"), 0);
        assert_int_equal(renameat(client->share_fd, "..data_tmp", client->share_fd, "..data"), 0);
        assert_int_equal(client_call(client, FUSE_READLINK, old, NULL, target, sizeof(target)), -ESTALE);

        const uint64_t new = client_node(client, FUSE_ROOT_ID, "..data");

        assert_int_equal(client_call(client, FUSE_READLINK, new, NULL, target, sizeof(target)), 3);
        assert_string_equal(target, "two");
}

static void test_links(void **state)
{
        (void)state;
        for_each_mode(check_links);
}

/* Of a file that the guest has removed and has no handle of any more: not an error that somebody would hear of. */
static void check_times_of_writeback(struct client *client)
{
        const struct fuse_setattr_in brought = {.valid = FATTR_MTIME | FATTR_CTIME, .mtime = 1, .ctime = 1},
                                     set = {.valid = FATTR_MTIME | FATTR_ATIME, .mtime = 1, .atime = 1};
        struct fuse_attr attr;

        for (int writeback = 0; writeback < 2; writeback++) {
                assert_true(client_init_as(client, UINT64_MAX & ~(writeback ? 0 : (uint64_t)FUSE_WRITEBACK_CACHE)) > 0);
                client_make_file(client, "f", "");

                const uint64_t f = client_node(client, FUSE_ROOT_ID, "f");

                assert_int_equal(client_release(client, FUSE_RELEASE, client_handle(client, f, O_RDWR)), 0);
                assert_int_equal(request_unlink(client, FUSE_ROOT_ID, "f"), 0);
                assert_int_equal(request_setattr(client, f, brought, &attr) > 0, writeback);
                if (writeback)
                        assert_int_equal(attr.mode & S_IFMT, S_IFREG);
                assert_int_equal(request_setattr(client, f, set, &attr), -ESTALE);
                assert_int_equal(request_setattr(client, 12345, brought, &attr), -ESTALE);
        }
}

static void test_times_of_writeback(void **state)
{
        (void)state;
        for_each_mode(check_times_of_writeback);
}

/* What is counted is what is open: not after a session's end, and not for a guest that forgets what it has open. */
static void test_counts(void **state)
{
        struct client client;
        uint64_t fh;

        (void)state;
        client_begin(&client, NULL);
        client_make_file(&client, "f", "");
        assert_true(client_open(&client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, &fh) > 0);

        uint64_t node = client_node(&client, FUSE_ROOT_ID, "f");

        client_handle(&client, node, O_RDWR);
        fs_reset(client.fs);
        assert_true(client_init(&client) > 0);
        node = client_node(&client, FUSE_ROOT_ID, "f");
        fh = client_handle(&client, node, O_RDWR);
        client_forget(&client, node, 1);
        node = client_node(&client, FUSE_ROOT_ID, "f");
        assert_int_equal(client_release(&client, FUSE_RELEASE, fh), 0);
        remove_name(&client, "f");
        check_file_is_gone(&client, node);
        /* The share itself. */
        assert_int_equal(rmdir(client.share), 0);
        assert_int_equal(client_open(&client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, NULL), -ESTALE);
        assert_int_equal(mkdir(client.share, 0700), 0);
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_files),
                counted_test(test_files_in_turn),
                counted_test(test_what_stays),
                counted_test(test_directories),
                counted_test(test_links),
                counted_test(test_counts),
                counted_test(test_times_of_writeback),
        };

        return run_counted("fs-gone", tests);
}
