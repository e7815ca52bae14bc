/* SPDX-License-Identifier: BSD-2-Clause */

/* File systems that are mounted in the share. */

#include "base/cleanup.h"
#include "devices/fs/test/test-requests.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

static bool able;

static bool make_able(void)
{
        return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0;
}

static const enum fs_handles all[] = {FS_HANDLES_NEVER, FS_HANDLES_PREFER, FS_HANDLES_MANDATORY};

/* Two file systems that differ only in their names, and a plain directory. */
static void begin(struct client *client, const struct fs_options *options)
{
        client_begin(client, options);
        assert_int_equal(mkdirat(client->share_fd, "one", 0755), 0);
        assert_int_equal(mkdirat(client->share_fd, "two", 0755), 0);
        assert_int_equal(mkdirat(client->share_fd, "plain", 0755), 0);
        assert_int_equal(mount("none", client_path(client, "one").text, "tmpfs", 0, NULL), 0);
        assert_int_equal(mount("none", client_path(client, "two").text, "tmpfs", 0, NULL), 0);
        client_make_file(client, "one/f", "one");
        client_make_file(client, "two/f", "two");
}

/* Nothing of them is open any more. */
static void end(struct client *client)
{
        assert_int_equal(umount(client_path(client, "one").text), 0);
        assert_int_equal(umount(client_path(client, "two").text), 0);
        client_end(client);
}

static uint32_t flags_by_lookup(struct client *client, uint64_t parent, const char *name)
{
        struct fuse_entry_out entry;

        assert_true(request_entry(client, parent, name, &entry) > 0);
        client_forget(client, entry.nodeid, 1);
        return entry.attr.flags;
}

static uint32_t flags_by_readdirplus(struct client *client, uint64_t parent, const char *name)
{
        static char got[8192];
        uint32_t flags = UINT32_MAX;
        uint64_t fh;

        assert_true(client_open(client, FUSE_OPENDIR, parent, 0, &fh) > 0);

        ssize_t size = client_read(client, FUSE_READDIRPLUS, fh, 0, got, sizeof(got));

        for (ssize_t at = 0; at < size;) {
                const struct fuse_direntplus *plus = (const void *)(got + at);

                if (plus->dirent.namelen == strlen(name) && memcmp(plus->dirent.name, name, strlen(name)) == 0)
                        flags = plus->entry_out.attr.flags;
                if (plus->entry_out.nodeid)
                        client_forget(client, plus->entry_out.nodeid, 1);
                at += (ssize_t)FUSE_DIRENTPLUS_SIZE(plus);
        }
        assert_int_equal(client_release(client, FUSE_RELEASEDIR, fh), 0);
        return flags;
}

static void check_flags(struct client *client, uint32_t expected)
{
        assert_int_equal(flags_by_lookup(client, FUSE_ROOT_ID, "one"), expected);
        assert_int_equal(flags_by_readdirplus(client, FUSE_ROOT_ID, "one"), expected);
        assert_int_equal(flags_by_lookup(client, FUSE_ROOT_ID, "plain"), 0);
        assert_int_equal(flags_by_readdirplus(client, FUSE_ROOT_ID, "plain"), 0);

        /* A directory in it is on the same mount. */
        const uint64_t one = client_node(client, FUSE_ROOT_ID, "one");

        assert_int_equal(mkdirat(client->share_fd, "one/d", 0755), 0);
        assert_int_equal(flags_by_lookup(client, one, "d"), 0);
        assert_int_equal(flags_by_readdirplus(client, one, "d"), 0);
        assert_int_equal(flags_by_lookup(client, one, "f"), 0);
        assert_int_equal(unlinkat(client->share_fd, "one/d", AT_REMOVEDIR), 0);
        client_forget(client, one, 1);
}

static void test_announced(void **state)
{
        struct client client;

        if (!able)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                begin(&client, &(struct fs_options){.file_handles = all[i]});
                assert_true(client.flags & FUSE_SUBMOUNTS);
                check_flags(&client, FUSE_ATTR_SUBMOUNT);
                assert_true(client_init_as(&client, UINT64_MAX & ~(uint64_t)FUSE_SUBMOUNTS) > 0);
                check_flags(&client, 0);
                end(&client);

                begin(&client, &(struct fs_options){.file_handles = all[i], .no_submounts = true});
                assert_false(client.flags & FUSE_SUBMOUNTS);
                check_flags(&client, 0);
                end(&client);
        }
}

static void check_contents(struct client *client, uint64_t node, const char *expected)
{
        char got[8] = "";
        const uint64_t fh = client_handle(client, node, O_RDONLY);

        assert_int_equal(client_read(client, FUSE_READ, fh, 0, got, sizeof(got)), strlen(expected));
        assert_string_equal(got, expected);
        assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
}

/* The same inode numbers, and with a bind mount also the same file system. */
static void test_two_nodes(void **state)
{
        struct client client;

        if (!able)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                begin(&client, &(struct fs_options){.file_handles = all[i]});
                assert_int_equal(client_stat(&client, "one/f").st_ino, client_stat(&client, "two/f").st_ino);
                assert_int_equal(mount(client_path(&client, "one").text, client_path(&client, "plain").text, NULL,
                                       MS_BIND, NULL),
                                 0);

                const uint64_t one = client_node(&client, FUSE_ROOT_ID, "one"),
                               two = client_node(&client, FUSE_ROOT_ID, "two"),
                               bound = client_node(&client, FUSE_ROOT_ID, "plain");
                const uint64_t f = client_node(&client, one, "f"), other = client_node(&client, two, "f"),
                               again = client_node(&client, bound, "f");

                assert_int_not_equal(one, bound);
                assert_int_not_equal(f, other);
                assert_int_not_equal(f, again);
                check_contents(&client, f, "one");
                check_contents(&client, other, "two");
                check_contents(&client, again, "one");
                assert_int_equal(client_node(&client, one, "f"), f);
                assert_int_equal(client_node(&client, bound, "f"), again);
                client_forget(&client, f, 2);
                client_forget(&client, other, 1);
                client_forget(&client, again, 2);
                /* A link from one to the other is refused. */
                struct fuse_entry_out entry;
                const uint64_t g = client_node(&client, one, "f");

                assert_int_equal(request_link(&client, g, two, "g", &entry), -EXDEV);
                client_forget(&client, g, 1);
                client_forget(&client, one, 1);
                client_forget(&client, two, 1);
                client_forget(&client, bound, 1);
                assert_int_equal(umount(client_path(&client, "plain").text), 0);
                end(&client);
        }
}

/* A file system is held as long as something in it is known. */
static void test_let_go(void **state)
{
        struct client client;

        if (!able)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                begin(&client, &(struct fs_options){.file_handles = all[i]});

                const int before = client_fds();
                const struct test_path path = client_path(&client, "one");
                const uint64_t one = client_node(&client, FUSE_ROOT_ID, "one"), f = client_node(&client, one, "f");

                check_contents(&client, f, "one");
                client_forget(&client, one, 1);
                assert_int_equal(umount(path.text), -1);
                assert_int_equal(errno, EBUSY);
                check_contents(&client, f, "one");
                client_forget(&client, f, 1);
                assert_int_equal(umount(path.text), 0);
                assert_int_equal(client_fds(), before);
                assert_int_equal(mount("none", path.text, "tmpfs", 0, NULL), 0);

                /* And released with the session. */
                client_make_file(&client, "one/f", "one");
                check_contents(&client, client_node(&client, client_node(&client, FUSE_ROOT_ID, "one"), "f"), "one");
                assert_int_equal(umount(path.text), -1);
                fs_reset(client.fs);
                assert_int_equal(umount(path.text), 0);
                assert_int_equal(mount("none", path.text, "tmpfs", 0, NULL), 0);
                end(&client);
        }
}

/* STATFS and SYNCFS are about the file system that the node is on. */
static void test_of_its_own(void **state)
{
        const struct fuse_syncfs_in syncfs = {0};
        struct client client;
        struct fuse_statfs_out root, one;

        if (!able)
                skip();
        begin(&client, NULL);

        const uint64_t node = client_node(&client, FUSE_ROOT_ID, "one");

        assert_true(client_call(&client, FUSE_STATFS, FUSE_ROOT_ID, NULL, &root, sizeof(root)) > 0);
        assert_true(client_call(&client, FUSE_STATFS, node, NULL, &one, sizeof(one)) > 0);
        assert_int_not_equal(root.st.blocks, one.st.blocks);
        assert_int_equal(client_call(&client, FUSE_SYNCFS, node, BODY(START(syncfs)), NULL, 0), 0);
        client_forget(&client, node, 1);
        end(&client);
}

static void make_subvolume(struct client *client, const char *name, const char *content)
{
        const int fd = openat(client->share_fd, "btrfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct btrfs_ioctl_vol_args args = {0};
        char path[64];

        snprintf(args.name, sizeof(args.name), "%s", name);
        assert_int_equal(ioctl(fd, BTRFS_IOC_SUBVOL_CREATE, &args), 0);
        close(fd);
        snprintf(path, sizeof(path), "btrfs/%s/f", name);
        client_make_file(client, path, content);
}

/* False: there is no btrfs here, or nothing to mount it from. */
static bool begin_with_subvolumes(struct client *client, const struct fs_options *options)
{
        char command[4 * sizeof(struct test_path) + 128];

        client_begin(client, options);
        assert_int_equal(mkdirat(client->share_fd, "btrfs", 0755), 0);

        const struct test_path image = client_path(client, "image"), path = client_path(client, "btrfs");

        snprintf(command, sizeof(command), "truncate -s 128M %s && mkfs.btrfs -q %s >/dev/null && mount -o loop %s %s",
                 image.text, image.text, image.text, path.text);
        if (system(command) != 0) { /* NOLINT(cert-env33-c) */
                client_end(client);
                return false;
        }
        make_subvolume(client, "one", "one");
        make_subvolume(client, "two", "two");
        return true;
}

/* They are on one mount, and have the same inode numbers. */
static void test_subvolumes(void **state)
{
        struct client client;

        if (!able)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                if (!begin_with_subvolumes(&client, &(struct fs_options){.file_handles = all[i]}))
                        skip();
                assert_int_equal(client_stat(&client, "btrfs/one/f").st_ino,
                                 client_stat(&client, "btrfs/two/f").st_ino);
                assert_int_equal(flags_by_lookup(&client, FUSE_ROOT_ID, "btrfs"), FUSE_ATTR_SUBMOUNT);

                const uint64_t btrfs = client_node(&client, FUSE_ROOT_ID, "btrfs");

                assert_int_equal(flags_by_lookup(&client, btrfs, "one"), FUSE_ATTR_SUBMOUNT);
                assert_int_equal(flags_by_readdirplus(&client, btrfs, "two"), FUSE_ATTR_SUBMOUNT);

                const uint64_t one = client_node(&client, btrfs, "one"), two = client_node(&client, btrfs, "two"),
                               f = client_node(&client, one, "f"), other = client_node(&client, two, "f");

                assert_int_equal(flags_by_lookup(&client, one, "f"), 0);
                assert_int_not_equal(f, other);
                check_contents(&client, f, "one");
                check_contents(&client, other, "two");
                fs_reset(client.fs);
                assert_int_equal(umount(client_path(&client, "btrfs").text), 0);
                client_end(&client);
        }
}

static ssize_t rename_with(struct client *client, uint64_t parent, const char *from, const char *to, uint32_t flags)
{
        const struct fuse_rename2_in in = {.newdir = parent, .flags = flags};

        return client_call(client, FUSE_RENAME2, parent, BODY(START(in), .name = from, .second_name = to), NULL, 0);
}

static ssize_t remove_directory(struct client *client, uint64_t parent, const char *name)
{
        return client_call(client, FUSE_RMDIR, parent, BODY(.name = name), NULL, 0);
}

/* A guest that was told of a submount can't remove or rename it, although the host's kernel would allow it. */
static void test_subvolumes_stay(void **state)
{
        struct client client;

        if (!able)
                skip();
        for (int announced = 0; announced < 2; announced++) {
                if (!begin_with_subvolumes(&client, &(struct fs_options){.no_submounts = !announced}))
                        skip();

                const uint64_t btrfs = client_node(&client, FUSE_ROOT_ID, "btrfs");

                assert_int_equal(unlinkat(client.share_fd, "btrfs/one/f", 0), 0);
                assert_int_equal(unlinkat(client.share_fd, "btrfs/two/f", 0), 0);
                assert_int_equal(mkdirat(client.share_fd, "btrfs/plain", 0755), 0);
                assert_int_equal(rename_with(&client, btrfs, "one", "other", 0), announced ? -EBUSY : 0);
                assert_int_equal(rename_with(&client, btrfs, "two", "plain", RENAME_EXCHANGE), announced ? -EBUSY : 0);
                assert_int_equal(rename_with(&client, btrfs, "plain", "two", RENAME_EXCHANGE), announced ? -EBUSY : 0);
                if (announced) {
                        assert_int_equal(rename_with(&client, btrfs, "plain", "two", 0), -EBUSY);
                        assert_int_equal(remove_directory(&client, btrfs, "one"), -EBUSY);
                }
                assert_int_equal(remove_directory(&client, btrfs, "two"), announced ? -EBUSY : 0);
                assert_int_equal(rename_with(&client, btrfs, "plain", "moved", 0), 0);
                assert_int_equal(remove_directory(&client, btrfs, "moved"), 0);
                fs_reset(client.fs);
                assert_int_equal(umount(client_path(&client, "btrfs").text), 0);
                client_end(&client);
        }
}

/* Nor can it change its attributes before entering it. */
static void test_attributes_before_entering(void **state)
{
        struct client client;

        if (!able)
                skip();
        begin(&client, &(struct fs_options){.xattr = true});

        const uint64_t one = client_node(&client, FUSE_ROOT_ID, "one"), two = client_node(&client, FUSE_ROOT_ID, "two"),
                       plain = client_node(&client, FUSE_ROOT_ID, "plain");
        uint64_t fh;

        for (int entered = 0; entered < 2; entered++) {
                for (int i = 0; i < 2; i++) {
                        const uint64_t node = i == 0 ? one : two;

                        assert_int_equal(request_setxattr(&client, node, "trusted.x", "1", 1, 0), entered ? 0 : -EBUSY);
                        assert_int_equal(request_removexattr(&client, node, "trusted.x"), entered ? 0 : -EBUSY);
                }
                assert_int_equal(request_setxattr(&client, plain, "trusted.x", "1", 1, 0), 0);
                assert_int_equal(client_lookup(&client, one, "none", NULL), -ENOENT);
                assert_true(client_open(&client, FUSE_OPENDIR, two, 0, &fh) > 0);
                assert_int_equal(client_release(&client, FUSE_RELEASEDIR, fh), 0);
        }
        client_forget(&client, one, 1);
        client_forget(&client, two, 1);
        end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_announced),
                counted_test(test_two_nodes),
                counted_test(test_let_go),
                counted_test(test_of_its_own),
                counted_test(test_subvolumes),
                counted_test(test_subvolumes_stay),
                counted_test(test_attributes_before_entering),
        };

        able = make_able();
        return run_counted("fs-submounts", tests);
}
