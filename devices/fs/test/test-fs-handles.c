/* SPDX-License-Identifier: BSD-2-Clause */

/* Files that are known by their handles instead of descriptors. */

#include "base/cleanup.h"
#include "devices/fs/test/test-requests.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whether files can be opened by handle here, and this process has mounts of its own. */
static bool able;

static bool make_able(void)
{
        return geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) == 0;
}

static void begin(struct client *client, enum fs_handles handles, unsigned max_open)
{
        client_begin(client, &(struct fs_options){.file_handles = handles, .max_open = max_open, .xattr = true});
}

static void use_names(struct client *client)
{
        const struct fuse_rename_in rename = {.newdir = FUSE_ROOT_ID};
        struct fuse_entry_out entry, linked;
        char target[16] = "";

        assert_true(request_mkdir(client, test_root, FUSE_ROOT_ID, "d", 0755, &entry) > 0);

        const uint64_t d = entry.nodeid;

        assert_true(client_call(client, FUSE_SYMLINK, d, BODY(.name = "l", .second_name = "there"), &entry,
                                sizeof(entry)) > 0);
        assert_int_equal(client_call(client, FUSE_READLINK, entry.nodeid, NULL, target, sizeof(target)), 5);
        assert_string_equal(target, "there");
        assert_true(request_link(client, entry.nodeid, FUSE_ROOT_ID, "l2", &linked) > 0);
        assert_int_equal(linked.nodeid, entry.nodeid);
        assert_int_equal(linked.attr.nlink, 2);
        assert_int_equal(
                client_call(client, FUSE_RENAME, d, BODY(START(rename), .name = "l", .second_name = "l3"), NULL, 0), 0);
        assert_int_equal(client_node(client, FUSE_ROOT_ID, "l3"), entry.nodeid);
        assert_int_equal(request_unlink(client, FUSE_ROOT_ID, "l2"), 0);
        assert_int_equal(request_unlink(client, FUSE_ROOT_ID, "l3"), 0);
        assert_int_equal(client_call(client, FUSE_RMDIR, FUSE_ROOT_ID, BODY(.name = "d"), NULL, 0), 0);
        client_forget(client, entry.nodeid, 3);
        client_forget(client, d, 1);
}

static void use_contents(struct client *client)
{
        const struct fuse_setattr_in smaller = {.valid = FATTR_SIZE | FATTR_MODE, .size = 3, .mode = 0640};
        struct test_created created, unnamed;
        struct fuse_entry_out entry;
        struct fuse_attr attr;
        struct fuse_statx stat;
        char got[16] = "";

        assert_true(request_create(client, test_root, FUSE_ROOT_ID, "f", O_RDWR, 0600, &created) > 0);

        const uint64_t f = created.entry.nodeid;

        assert_int_equal(client_write(client, created.open.fh, 0, "hello", 5, 0, 0), 5);
        assert_int_equal(client_release(client, FUSE_RELEASE, created.open.fh), 0);
        for (int i = 0; i < 3; i++) {
                const uint64_t fh = client_handle(client, f, O_RDONLY);

                assert_int_equal(client_read(client, FUSE_READ, fh, 0, got, 5), 5);
                assert_memory_equal(got, "hello", 5);
                assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
        }
        assert_true(request_setattr(client, f, smaller, &attr) > 0);
        assert_int_equal(attr.size, 3);
        assert_true(request_getattr(client, f, &attr) > 0);
        assert_int_equal(attr.mode, S_IFREG | 0640);
        assert_true(request_statx(client, f, &stat) > 0);
        assert_int_equal(stat.size, 3);
        assert_int_equal(request_setxattr(client, f, "user.x", "1", 1, 0), 0);
        assert_int_equal(request_getxattr(client, f, "user.x", got, sizeof(got)), 1);
        assert_int_equal(request_unlink(client, FUSE_ROOT_ID, "f"), 0);
        client_forget(client, f, 1);

        assert_true(request_tmpfile(client, FUSE_ROOT_ID, O_RDWR, 0600, &unnamed) > 0);
        assert_true(request_getattr(client, unnamed.entry.nodeid, &attr) > 0);
        assert_int_equal(attr.nlink, 0);
        assert_true(request_link(client, unnamed.entry.nodeid, FUSE_ROOT_ID, "named", &entry) > 0);
        assert_int_equal(entry.nodeid, unnamed.entry.nodeid);
        assert_int_equal(client_release(client, FUSE_RELEASE, unnamed.open.fh), 0);
        assert_int_equal(request_unlink(client, FUSE_ROOT_ID, "named"), 0);
        client_forget(client, entry.nodeid, 2);
}

/* A file of each kind, looked up first in a session. */
static void use_first(struct client *client)
{
        static const char *const names[] = {"fifo", "link", "socket", "device", "file", "dir"};
        struct fuse_entry_out entry;
        struct fuse_attr attr;

        assert_int_equal(mkfifoat(client->share_fd, "fifo", 0600), 0);
        assert_int_equal(symlinkat("x", client->share_fd, "link"), 0);
        assert_int_equal(mknodat(client->share_fd, "socket", S_IFSOCK | 0600, 0), 0);
        assert_int_equal(mknodat(client->share_fd, "device", S_IFCHR | 0600, 0x103), 0);
        assert_int_equal(mkdirat(client->share_fd, "dir", 0700), 0);
        client_make_file(client, "file", "");
        for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
                ssize_t r = request_entry(client, FUSE_ROOT_ID, names[i], &entry);

                if (r < 0)
                        fail_msg("looking up %s: %zd", names[i], r);
                assert_int_equal(entry.attr.mode, client_stat(client, names[i]).st_mode);
                assert_true(request_getattr(client, entry.nodeid, &attr) > 0);
                assert_int_equal(attr.ino, entry.attr.ino);
                client_forget(client, entry.nodeid, 1);
        }
}

static void use_everything(enum fs_handles handles)
{
        struct client client;

        begin(&client, handles, 0);
        use_first(&client);
        use_names(&client);
        use_contents(&client);
        client_end(&client);
}

static void test_everything(void **state)
{
        static const enum fs_handles all[] = {FS_HANDLES_MANDATORY, FS_HANDLES_PREFER, FS_HANDLES_NEVER};

        if (!able)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
                use_everything(all[i]);
                assert_int_equal(mount("none", "/tmp", "tmpfs", 0, NULL), 0);
                use_everything(all[i]);
                assert_int_equal(umount("/tmp"), 0);
        }
}

enum {
        FILES = 100,
};

static void make_files(struct client *client)
{
        char name[16];

        for (unsigned i = 0; i < FILES; i++) {
                snprintf(name, sizeof(name), "f%u", i);
                client_make_file(client, name, name);
        }
}

static uint64_t look_up(struct client *client, unsigned i)
{
        char name[16];

        snprintf(name, sizeof(name), "f%u", i);
        return client_node(client, FUSE_ROOT_ID, name);
}

static void check_contents(struct client *client, uint64_t node, unsigned i)
{
        char name[16], got[16] = "";
        uint64_t fh = client_handle(client, node, O_RDONLY);

        snprintf(name, sizeof(name), "f%u", i);
        assert_int_equal(client_read(client, FUSE_READ, fh, 0, got, sizeof(got)), strlen(name));
        assert_string_equal(got, name);
        assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
}

static void test_mandatory_takes_no_descriptors(void **state)
{
        struct client client;
        uint64_t nodes[FILES];

        if (!able)
                skip();
        begin(&client, FS_HANDLES_MANDATORY, 10);
        make_files(&client);

        const int before = client_fds();

        for (unsigned i = 0; i < FILES; i++)
                nodes[i] = look_up(&client, i);
        assert_true(client_fds() <= before + 1);
        for (unsigned i = 0; i < FILES; i++)
                assert_int_equal(look_up(&client, i), nodes[i]);
        for (unsigned i = 0; i < FILES; i++)
                client_forget(&client, nodes[i], 2);
        assert_int_equal(client_fds(), before);
        client_end(&client);
}

/* From half of the descriptors on. A file keeps its node, however it was known first. */
static void test_prefer(void **state)
{
        struct client client;
        uint64_t nodes[FILES];

        if (!able)
                skip();
        client_begin(&client,
                     &(struct fs_options){.file_handles = FS_HANDLES_PREFER, .max_open = 20, .no_parked = true});
        make_files(&client);

        const int before = client_fds();

        for (unsigned i = 0; i < FILES; i++)
                nodes[i] = look_up(&client, i);
        assert_true(client_fds() >= before + 8);
        assert_true(client_fds() <= before + 11);
        for (unsigned i = 0; i < FILES; i++) {
                assert_int_equal(look_up(&client, i), nodes[i]);
                check_contents(&client, nodes[i], i);
        }
        /* Those with descriptors are forgotten, and there is room again; the others stay as they are. */
        for (unsigned i = 0; i < 50; i++)
                client_forget(&client, nodes[i], 2);
        assert_true(client_fds() <= before + 11);
        for (unsigned i = FILES; i-- > 0;) {
                uint64_t node = look_up(&client, i);

                if (i >= 50)
                        assert_int_equal(node, nodes[i]);
                else
                        assert_int_not_equal(node, nodes[i]);
                nodes[i] = node;
                check_contents(&client, node, i);
        }
        for (unsigned i = 0; i < FILES; i++)
                assert_int_equal(look_up(&client, i), nodes[i]);
        for (unsigned i = 0; i < FILES; i++)
                client_forget(&client, nodes[i], UINT64_MAX);
        assert_int_equal(client_fds(), before);
        client_end(&client);
}

/* A new file with the inode number of one that is gone is another file. */
static void test_generation(void **state)
{
        struct client client;
        struct fuse_attr attr;
        ino_t number;

        if (!able)
                skip();
        begin(&client, FS_HANDLES_MANDATORY, 0);
        client_make_file(&client, "f", "old");
        number = client_stat(&client, "f").st_ino;

        const uint64_t old = client_node(&client, FUSE_ROOT_ID, "f");

        for (int i = 0; i < 1000; i++) {
                assert_int_equal(unlinkat(client.share_fd, "f", 0), 0);
                client_make_file(&client, "f", "new");
                if (client_stat(&client, "f").st_ino == number)
                        break;
        }
        if (client_stat(&client, "f").st_ino != number)
                print_message("the file system did not use the inode number again\n");

        const uint64_t new = client_node(&client, FUSE_ROOT_ID, "f");

        assert_int_not_equal(old, new);
        assert_int_equal(request_getattr(&client, old, &attr), -ESTALE);
        assert_int_equal(client_open(&client, FUSE_OPEN, old, O_RDONLY, NULL), -ESTALE);
        assert_true(request_getattr(&client, new, &attr) > 0);
        assert_int_equal(client_node(&client, FUSE_ROOT_ID, "f"), new);
        client_forget(&client, old, 1);
        assert_true(request_getattr(&client, new, &attr) > 0);
        client_end(&client);
}

static void check_gone(void)
{
        struct client client;
        struct fuse_attr attr;
        char got[8] = "";

        begin(&client, FS_HANDLES_MANDATORY, 0);
        client_make_file(&client, "f", "text");

        const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f"), fh = client_handle(&client, f, O_RDWR);

        /* The file exists as long as it is open. */
        assert_int_equal(unlinkat(client.share_fd, "f", 0), 0);
        assert_int_equal(client_read(&client, FUSE_READ, fh, 0, got, 8), 4);
        assert_true(request_getattr(&client, f, &attr) > 0);
        assert_int_equal(attr.nlink, 0);
        assert_int_equal(client_release(&client, FUSE_RELEASE, fh), 0);
        assert_int_equal(request_getattr(&client, f, &attr), -ESTALE);
        assert_int_equal(client_lookup(&client, f, "x", NULL), -ESTALE);
        client_forget(&client, f, 1);
        client_end(&client);
}

static void test_gone(void **state)
{
        if (!able)
                skip();
        check_gone();
        assert_int_equal(mount("none", "/tmp", "tmpfs", 0, NULL), 0);
        check_gone();
        assert_int_equal(umount("/tmp"), 0);
}

static int without_capability(enum fs_handles handles)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
        struct fs *fs = NULL;
        const struct fs_options options = {.shared_dir = "/tmp", .file_handles = handles};

        syscall(SYS_capget, &header, data);
        data[0].effective &= ~(1u << CAP_DAC_READ_SEARCH);
        if (syscall(SYS_capset, &header, data) < 0)
                return 99;

        int r = fs_new(&options, -1, &fs);

        fs_free(fs);
        return -r;
}

static void test_capability(void **state)
{
        static const struct {
                enum fs_handles handles;
                int error;
        } rows[] = {{FS_HANDLES_NEVER, 0}, {FS_HANDLES_PREFER, 0}, {FS_HANDLES_MANDATORY, EPERM}};

        if (!able)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                int status;
                pid_t pid = fork();

                assert_true(pid >= 0);
                if (pid == 0)
                        _exit(without_capability(rows[i].handles));
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFEXITED(status));
                assert_int_equal(WEXITSTATUS(status), rows[i].error);
        }
}

/* Opens take descriptors back from files that are only known, and from those that are also open by another one. All
 * stay usable. */
static void test_prefer_leaves_room(void **state)
{
        enum { MAX = 400 };
        struct client client;
        uint64_t nodes[MAX];
        unsigned n = 0;
        char name[16];

        if (!able)
                skip();
        for (int known_first = 0; known_first < 2; known_first++) {
                begin(&client, FS_HANDLES_PREFER, MAX);
                for (unsigned i = 0; i < MAX; i++) {
                        snprintf(name, sizeof(name), "f%u", i);
                        client_make_file(&client, name, name);
                        nodes[i] = known_first ? look_up(&client, i) : 0;
                }
                for (n = 0; n < MAX; n++) {
                        if (!known_first)
                                nodes[n] = look_up(&client, n);
                        if (client_open(&client, FUSE_OPEN, nodes[n], O_RDWR, NULL) < 0)
                                break;
                }
                assert_between(n, MAX - 4, MAX);
                for (unsigned i = 0; i < n; i++) {
                        assert_int_equal(look_up(&client, i), nodes[i]);
                        client_forget(&client, nodes[i], 1);
                }
                client_end(&client);
        }
}

/* A file without a name would be lost when its last descriptor is closed. */
static void test_prefer_keeps_what_is_gone(void **state)
{
        enum { MAX = 40 };
        struct client client;
        struct fuse_attr attr;
        uint64_t node;
        unsigned n = 0;

        if (!able)
                skip();
        begin(&client, FS_HANDLES_PREFER, MAX);
        client_make_file(&client, "gone", "");
        client_make_file(&client, "f0", "f0");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "gone", &node) > 0);
        assert_int_equal(request_unlink(&client, FUSE_ROOT_ID, "gone"), 0);
        while (client_open(&client, FUSE_OPEN, look_up(&client, 0), O_RDWR, NULL) > 0)
                n++;
        /* The root and that file have one each, and the request has one for the file that it opens. */
        assert_int_equal(n, MAX - 3);
        assert_true(request_getattr(&client, node, &attr) > 0);
        assert_int_equal(attr.nlink, 0);
        client_end(&client);
}

/* Open files count as well. */
static void test_prefer_with_many_open(void **state)
{
        struct client client;
        unsigned n = 0;

        if (!able)
                skip();
        client_begin(&client, &(struct fs_options){.max_open = 40, .file_handles = FS_HANDLES_PREFER});
        client_make_file(&client, "f", "");

        const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f");

        while (client_open(&client, FUSE_OPEN, f, O_RDONLY, NULL) > 0)
                n++;
        assert_int_equal(n, 38);
        for (int i = 0; i < 50; i++) {
                char name[8];

                snprintf(name, sizeof(name), "n%d", i);
                client_make_file(&client, name, "");
                client_node(&client, FUSE_ROOT_ID, name);
        }
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_everything),
                counted_test(test_mandatory_takes_no_descriptors),
                counted_test(test_prefer),
                counted_test(test_prefer_with_many_open),
                counted_test(test_generation),
                counted_test(test_gone),
                counted_test(test_capability),
                counted_test(test_prefer_leaves_room),
                counted_test(test_prefer_keeps_what_is_gone),
        };

        able = make_able();
        return run_counted("fs-handles", tests);
}
