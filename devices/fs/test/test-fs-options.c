/* SPDX-License-Identifier: BSD-2-Clause */

/* Effects of options, and requests of later kernels. */

#include "base/cleanup.h"
#include "devices/fs/test/test-requests.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

/* Another process has served the guest before, and has negotiated what the options want: it is not negotiated again. */
static void test_resumed(void **state)
{
        const struct fuse_create_in create = {.flags = O_WRONLY, .mode = S_IFREG | 0666, .umask = 022};
        const struct fuse_lk_in lock = {.owner = 1, .lk = {.end = INT64_MAX, .type = F_WRLCK}};
        struct test_created created;
        struct client client;

        client_begin(&client,
                     &(struct fs_options){.xattr = true, .posix_acl = FS_AUTO, .posix_lock = true, .writeback = true});
        fs_reset(client.fs);
        assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "f", NULL), -EIO);
        fs_resume(client.fs);
        assert_true(client_call(&client, FUSE_CREATE, FUSE_ROOT_ID, BODY(START(create), .name = "f"), &created,
                                sizeof(created)) > 0);
        assert_int_equal(client_stat(&client, "f").st_mode & 07777, 0644);
        assert_int_equal(client_call(&client, FUSE_SETLK, created.entry.nodeid, BODY(START(lock)), NULL, 0), 0);
        assert_int_equal(request_setxattr(&client, created.entry.nodeid, "user.x", "1", 1, 0), 0);

        char got[2];

        assert_int_equal(client_read(&client, FUSE_READ, created.open.fh, 0, got, sizeof(got)), 0);
        client_end(&client);
}

static void test_cache_policies(void **state)
{
        static const struct {
                enum fs_cache cache;
                uint64_t valid;
                uint32_t open_flags, directory_flags;
        } rows[] = {
                {FS_CACHE_AUTO, 1, 0, 0},
                {FS_CACHE_ALWAYS, 86400, FOPEN_KEEP_CACHE, FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR},
                {FS_CACHE_METADATA, 86400, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, 0},
                {FS_CACHE_NEVER, 0, FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES, 0},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const struct fuse_open_in open_in = {.flags = O_RDONLY};
                const struct fuse_getattr_in getattr = {0};
                const struct fuse_statx_in statx = {.sx_mask = UINT32_MAX};
                struct client client;
                struct fuse_entry_out entry;
                struct fuse_attr_out attr;
                struct fuse_statx_out all;
                struct fuse_open_out open;
                struct test_created created;

                client_begin(&client, &(struct fs_options){.cache = rows[i].cache});
                client_make_file(&client, "f", "");
                assert_true(request_entry(&client, FUSE_ROOT_ID, "f", &entry) > 0);
                assert_int_equal(entry.entry_valid, rows[i].valid);
                assert_int_equal(entry.attr_valid, rows[i].valid);
                assert_int_equal(entry.entry_valid_nsec, 0);
                client_call(&client, FUSE_GETATTR, entry.nodeid, BODY(START(getattr)), &attr, sizeof(attr));
                assert_int_equal(attr.attr_valid, rows[i].valid);
                client_call(&client, FUSE_STATX, entry.nodeid, BODY(START(statx)), &all, sizeof(all));
                assert_int_equal(all.attr_valid, rows[i].valid);
                client_call(&client, FUSE_OPEN, entry.nodeid, BODY(START(open_in)), &open, sizeof(open));
                assert_int_equal(open.open_flags, rows[i].open_flags);
                client_call(&client, FUSE_OPENDIR, FUSE_ROOT_ID, BODY(START(open_in)), &open, sizeof(open));
                assert_int_equal(open.open_flags, rows[i].directory_flags);
                assert_true(request_create(&client, test_root, FUSE_ROOT_ID, "g", O_RDWR, 0600, &created) > 0);
                assert_int_equal(created.open.open_flags, rows[i].open_flags);
                assert_int_equal(created.entry.entry_valid, rows[i].valid);
                client_end(&client);
        }
}

static void test_flags_of_options(void **state)
{
        static const struct {
                struct fs_options options;
                uint64_t with, without;
        } rows[] = {
                {{.shared_dir = NULL},
                 FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_SUBMOUNTS | FUSE_ASYNC_READ | FUSE_ALLOW_IDMAP |
                         FUSE_CREATE_SUPP_GROUP,
                 FUSE_ATOMIC_O_TRUNC | FUSE_WRITEBACK_CACHE | FUSE_HANDLE_KILLPRIV_V2 | FUSE_HANDLE_KILLPRIV |
                         FUSE_DIRECT_IO_ALLOW_MMAP | FUSE_SETXATTR_EXT | FUSE_POSIX_ACL | FUSE_DONT_MASK |
                         FUSE_SECURITY_CTX | FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS | FUSE_EXPORT_SUPPORT |
                         FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX},
                {{.no_readdirplus = true}, FUSE_SUBMOUNTS, FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO},
                {{.no_submounts = true}, FUSE_DO_READDIRPLUS, FUSE_SUBMOUNTS},
                {{.writeback = true}, FUSE_WRITEBACK_CACHE, 0},
                {{.killpriv_v2 = true},
                 FUSE_HANDLE_KILLPRIV_V2 | FUSE_ATOMIC_O_TRUNC,
                 FUSE_HANDLE_KILLPRIV | FUSE_ALLOW_IDMAP},
                {{.allow_mmap = true}, FUSE_DIRECT_IO_ALLOW_MMAP, 0},
                {{.xattr = true}, FUSE_SETXATTR_EXT, FUSE_POSIX_ACL | FUSE_DONT_MASK},
                {{.xattr = true, .posix_acl = FS_AUTO}, FUSE_SETXATTR_EXT | FUSE_POSIX_ACL | FUSE_DONT_MASK, 0},
                {{.xattr = true, .security_label = FS_AUTO}, FUSE_SECURITY_CTX, FUSE_POSIX_ACL},
                {{.posix_lock = true}, FUSE_POSIX_LOCKS, FUSE_FLOCK_LOCKS},
                {{.flock = true}, FUSE_FLOCK_LOCKS, FUSE_POSIX_LOCKS},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct client client;

                client_begin(&client, &rows[i].options);
                if ((client.flags & rows[i].with) != rows[i].with || client.flags & rows[i].without)
                        fail_msg("row %zu: %" PRIx64, i, client.flags);
                /* Flags that were not offered are not in the answer. */
                assert_true(client_init_as(&client, FUSE_INIT_EXT) > 0);
                assert_int_equal(client.flags & ~(uint64_t)FUSE_INIT_EXT, 0);
                client_end(&client);
        }
}

/* A guest that does not tell who truncates a file by OPEN truncates by a request of its own. */
static void test_truncation_by_open(void **state)
{
        struct client client;

        client_begin(&client, &(struct fs_options){.killpriv_v2 = true});
        assert_true(client_init_as(&client, UINT64_MAX & ~(uint64_t)FUSE_HANDLE_KILLPRIV_V2) > 0);
        assert_false(client.flags & FUSE_ATOMIC_O_TRUNC);
        client_end(&client);
}

/* Flags that access lists need are all there or none is; an option that insists makes the mount fail without. */
static void test_insisting(void **state)
{
        static const uint64_t needed[] = {FUSE_POSIX_ACL, FUSE_DONT_MASK, FUSE_SETXATTR_EXT};
        struct client client;

        client_begin(&client, &(struct fs_options){.xattr = true, .posix_acl = FS_AUTO});
        for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
                assert_true(client_init_as(&client, UINT64_MAX & ~needed[i]) > 0);
                assert_false(client.flags & (FUSE_POSIX_ACL | FUSE_DONT_MASK));
        }
        client_end(&client);
        client_begin(&client, &(struct fs_options){.xattr = true, .posix_acl = FS_ALWAYS});
        assert_true(client.flags & FUSE_POSIX_ACL);
        for (size_t i = 0; i < ARRAY_SIZE(needed); i++) {
                assert_int_equal(client_init_as(&client, UINT64_MAX & ~needed[i]), -EOPNOTSUPP);
                assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "x", NULL), -EIO);
        }
        client_end(&client);
        client_begin(&client, &(struct fs_options){.xattr = true, .security_label = FS_ALWAYS});
        assert_int_equal(client_init_as(&client, UINT64_MAX & ~(uint64_t)FUSE_SECURITY_CTX), -EOPNOTSUPP);
        client_end(&client);
}

/* A guest that delays writes reads the rest of a page first, and appends by itself. */
static void test_writeback(void **state)
{
        struct client client;
        char got[16] = "";

        for (int writeback = 0; writeback < 2; writeback++) {
                client_begin(&client, &(struct fs_options){.writeback = writeback});
                client_make_file(&client, "f", "hello");

                const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f"),
                               fh = client_handle(&client, f, O_WRONLY | O_APPEND);

                assert_int_equal(client_read(&client, FUSE_READ, fh, 0, got, 5), writeback ? 5 : -EBADF);
                assert_int_equal(client_write(&client, fh, 1, "E", 1, O_WRONLY | O_APPEND, FUSE_WRITE_CACHE), 1);
                assert_int_equal(client_write(&client, fh, 1, "!", 1, O_WRONLY | O_APPEND, 0), 1);
                assert_int_equal(client_read(&client, FUSE_READ, client_handle(&client, f, O_RDONLY), 0, got, 16), 6);
                assert_string_equal(got, "hEllo!");
                client_end(&client);
        }
}

/* Whether a descriptor of this process is open with @flag. */
static bool any_has(int flag)
{
        for (int fd = 0; fd < 1024; fd++) {
                int flags = fcntl(fd, F_GETFL);

                if (flags >= 0 && flags & flag)
                        return true;
        }
        return false;
}

static void test_direct(void **state)
{
        static _Alignas(4096) char page[4096];
        struct client client;

        for (int allowed = 0; allowed < 2; allowed++) {
                client_begin(&client, &(struct fs_options){.allow_direct_io = allowed});
                client.chunk = 65536;
                client_make_file(&client, "f", "hello");

                const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f"),
                               fh = client_handle(&client, f, O_RDWR | O_DIRECT);
                const int before = client_fds();

                assert_int_equal(any_has(O_DIRECT), allowed);
                /* Pages of the guest's cache end where the file ends, and begin at any offset. */
                assert_int_equal(client_write(&client, fh, 0, "HELLO, world", 12, 0, FUSE_WRITE_CACHE), 12);
                assert_int_equal(client_write(&client, fh, 7, "W", 1, 0, FUSE_WRITE_CACHE), 1);
                assert_int_equal(client_fds(), before);
                assert_int_equal(client_read(&client, FUSE_READ, client_handle(&client, f, O_RDONLY), 0, page, 4096),
                                 12);
                assert_memory_equal(page, "HELLO, World", 12);
                client_end(&client);
        }
}

/* In a child, because it becomes a user who does not own the file. */
static int open_as_other(const char *share, bool preserve)
{
        struct client client = {.chunk = 4096};
        const struct fs_options options = {.shared_dir = share, .preserve_noatime = preserve};
        uint64_t f, fh;

        if (setresgid(1234, 1234, 1234) < 0 || setresuid(1234, 1234, 1234) < 0 || fs_new(&options, -1, &client.fs) < 0)
                return 99;
        client_init(&client);
        if (client_lookup(&client, FUSE_ROOT_ID, "f", &f) < 0)
                return 98;

        ssize_t r = client_open(&client, FUSE_OPEN, f, O_RDONLY | O_NOATIME, &fh);

        fs_free(client.fs);
        return r < 0 ? (int)-r : 0;
}

static void test_noatime(void **state)
{
        struct client client;

        client_begin(&client, NULL);
        client_make_file(&client, "f", "hello");

        const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f");

        assert_false(any_has(O_NOATIME));
        client_handle(&client, f, O_RDONLY | O_NOATIME);
        assert_true(any_has(O_NOATIME));
        assert_int_equal(chmod(client.top, 0755), 0);
        for (int preserve = 0; preserve < 2 && geteuid() == 0; preserve++) {
                int status;
                pid_t pid = fork();

                assert_true(pid >= 0);
                if (pid == 0)
                        _exit(open_as_other(client.share, preserve));
                assert_int_equal(waitpid(pid, &status, 0), pid);
                assert_true(WIFEXITED(status));
                assert_int_equal(WEXITSTATUS(status), preserve ? EPERM : 0);
        }
        client_end(&client);
}

static void check_time(const struct fuse_sx_time *got, const struct statx_timestamp *expected)
{
        assert_int_equal(got->tv_sec, expected->tv_sec);
        assert_int_equal(got->tv_nsec, expected->tv_nsec);
}

static void check_statx(struct client *client, const char *name)
{
        struct statx host;
        struct fuse_statx got;

        assert_true(request_statx(client, client_node(client, FUSE_ROOT_ID, name), &got) > 0);
        assert_int_equal(statx(client->share_fd, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, &host), 0);
        assert_int_equal(got.mask, host.stx_mask & (STATX_BASIC_STATS | STATX_BTIME));
        assert_int_equal(got.mask & STATX_BTIME, host.stx_mask & STATX_BTIME);
        assert_int_equal(got.blksize, host.stx_blksize);
        assert_int_equal(got.attributes, host.stx_attributes);
        assert_int_equal(got.attributes_mask, host.stx_attributes_mask);
        assert_int_equal(got.nlink, host.stx_nlink);
        assert_int_equal(got.uid, host.stx_uid);
        assert_int_equal(got.gid, host.stx_gid);
        assert_int_equal(got.mode, host.stx_mode);
        assert_int_equal(got.ino, host.stx_ino);
        assert_int_equal(got.size, host.stx_size);
        assert_int_equal(got.blocks, host.stx_blocks);
        check_time(&got.atime, &host.stx_atime);
        check_time(&got.btime, &host.stx_btime);
        check_time(&got.ctime, &host.stx_ctime);
        check_time(&got.mtime, &host.stx_mtime);
        assert_int_equal(got.rdev_major, host.stx_rdev_major);
        assert_int_equal(got.rdev_minor, host.stx_rdev_minor);
        assert_int_equal(got.dev_major, host.stx_dev_major);
        assert_int_equal(got.dev_minor, host.stx_dev_minor);
}

static void test_statx(void **state)
{
        const struct timespec times[2] = {{-5, 1}, {5000000000, 999999999}};
        struct client client;

        client_begin(&client, NULL);
        client_make_file(&client, "f", "hello");
        assert_int_equal(utimensat(client.share_fd, "f", times, 0), 0);
        assert_int_equal(symlinkat("x", client.share_fd, "l"), 0);
        assert_int_equal(mkdirat(client.share_fd, "d", 01711), 0);
        assert_int_equal(mkfifoat(client.share_fd, "p", 0600), 0);
        check_statx(&client, "f");
        check_statx(&client, "l");
        check_statx(&client, "d");
        check_statx(&client, "p");
        if (mknodat(client.share_fd, "c", S_IFCHR | 0600, makedev(4000, 1000000)) == 0)
                check_statx(&client, "c");
        client_end(&client);
}

static void test_tmpfile(void **state)
{
        struct client client;
        struct test_created created;
        struct fuse_entry_out entry;
        char got[8] = "";

        client_begin(&client, NULL);

        const int before = client_fds();

        assert_true(request_tmpfile(&client, FUSE_ROOT_ID, O_RDWR | O_TRUNC, 0640, &created) > 0);
        assert_int_equal(created.entry.attr.mode, S_IFREG | 0640);
        assert_int_equal(created.entry.attr.nlink, 0);
        assert_int_equal(client_write(&client, created.open.fh, 0, "hello", 5, 0, 0), 5);
        assert_true(request_link(&client, created.entry.nodeid, FUSE_ROOT_ID, "named", &entry) > 0);
        assert_int_equal(entry.nodeid, created.entry.nodeid);
        assert_int_equal(entry.attr.nlink, 1);
        assert_int_equal(entry.attr.size, 5);
        assert_int_equal(client_release(&client, FUSE_RELEASE, created.open.fh), 0);
        assert_int_equal(client_read(&client, FUSE_READ, client_handle(&client, entry.nodeid, O_RDONLY), 0, got, 8), 5);

        /* With O_EXCL it can't be linked; it can't be opened for reading alone, nor in a file that is no directory. */
        assert_true(request_tmpfile(&client, FUSE_ROOT_ID, O_RDWR | O_EXCL, 0600, &created) > 0);
        assert_int_equal(request_link(&client, created.entry.nodeid, FUSE_ROOT_ID, "other", &entry), -ENOENT);
        assert_int_equal(client_release(&client, FUSE_RELEASE, created.open.fh), 0);
        assert_int_equal(request_tmpfile(&client, FUSE_ROOT_ID, O_RDONLY, 0600, &created), -EINVAL);
        assert_int_equal(request_tmpfile(&client, client_node(&client, FUSE_ROOT_ID, "named"), O_RDWR, 0600, &created),
                         -ENOTDIR);
        fs_reset(client.fs);
        assert_int_equal(client_fds(), before);
        client_end(&client);
}

static ssize_t copy_64(struct client *client, struct fuse_copy_file_range_in in, uint64_t *copied)
{
        struct fuse_copy_file_range_out out = {0};
        ssize_t r = client_call(client, FUSE_COPY_FILE_RANGE_64, 0, BODY(START(in)), &out, sizeof(out));

        *copied = out.bytes_copied;
        return r;
}

static void test_copy_64(void **state)
{
        struct client client;
        uint64_t copied;
        char got[16] = "";

        client_begin(&client, NULL);
        client_make_file(&client, "from", "0123456789");
        client_make_file(&client, "to", "");

        const uint64_t from = client_handle(&client, client_node(&client, FUSE_ROOT_ID, "from"), O_RDONLY),
                       to = client_handle(&client, client_node(&client, FUSE_ROOT_ID, "to"), O_RDWR);
        struct fuse_copy_file_range_in in = {.fh_in = from, .off_in = 3, .fh_out = to, .off_out = 1, .len = UINT64_MAX};

        assert_int_equal(copy_64(&client, in, &copied), sizeof(struct fuse_copy_file_range_out));
        assert_int_equal(copied, 7);
        assert_int_equal(client_read(&client, FUSE_READ, to, 0, got, 16), 8);
        assert_memory_equal(got, "\0003456789", 8);
        in.off_in = 10;
        assert_true(copy_64(&client, in, &copied) > 0);
        assert_int_equal(copied, 0);
        in.flags = 1;
        assert_int_equal(copy_64(&client, in, &copied), -EINVAL);
        in = (struct fuse_copy_file_range_in){.fh_in = from, .off_in = UINT64_MAX, .fh_out = to, .len = 1};
        assert_int_equal(copy_64(&client, in, &copied), -EINVAL);
        in = (struct fuse_copy_file_range_in){.fh_in = to, .fh_out = from, .len = 1};
        assert_int_equal(copy_64(&client, in, &copied), -EBADF);
        in.fh_out = 12345;
        assert_int_equal(copy_64(&client, in, &copied), -EBADF);
        client_end(&client);
}

static void test_syncfs(void **state)
{
        const struct fuse_syncfs_in in = {0};
        struct client client;

        client_begin(&client, &(struct fs_options){.readonly = true});
        client_make_file(&client, "f", "");
        assert_int_equal(symlinkat("x", client.share_fd, "l"), 0);
        assert_int_equal(client_call(&client, FUSE_SYNCFS, FUSE_ROOT_ID, BODY(START(in)), NULL, 0), 0);
        assert_int_equal(
                client_call(&client, FUSE_SYNCFS, client_node(&client, FUSE_ROOT_ID, "f"), BODY(START(in)), NULL, 0),
                0);
        assert_int_equal(
                client_call(&client, FUSE_SYNCFS, client_node(&client, FUSE_ROOT_ID, "l"), BODY(START(in)), NULL, 0),
                -ELOOP);
        assert_int_equal(client_call(&client, FUSE_SYNCFS, 999, BODY(START(in)), NULL, 0), -ESTALE);
        client_end(&client);
}

static ssize_t rename_with(struct client *client, uint32_t flags, const char *from, const char *to)
{
        const struct fuse_rename2_in in = {.newdir = FUSE_ROOT_ID, .flags = flags};

        return client_call(client, FUSE_RENAME2, FUSE_ROOT_ID, BODY(START(in), .name = from, .second_name = to), NULL,
                           0);
}

static void test_rename_flags(void **state)
{
        struct client client;
        struct stat stat;

        client_begin(&client, NULL);
        client_make_file(&client, "a", "1");
        client_make_file(&client, "b", "22");
        assert_int_equal(rename_with(&client, RENAME_NOREPLACE | RENAME_EXCHANGE, "a", "b"), -EINVAL);
        assert_int_equal(rename_with(&client, UINT32_MAX, "a", "b"), -EINVAL);
        assert_int_equal(rename_with(&client, RENAME_NOREPLACE, "a", "c"), 0);
        assert_int_equal(rename_with(&client, RENAME_EXCHANGE, "a", "b"), -ENOENT);
        assert_int_equal(rename_with(&client, RENAME_EXCHANGE, "c", "b"), 0);
        assert_int_equal(client_stat(&client, "c").st_size, 2);
        if (geteuid() == 0 && rename_with(&client, RENAME_WHITEOUT, "c", "d") == 0) {
                assert_int_equal(client_stat(&client, "c").st_mode & S_IFMT, S_IFCHR);
                assert_int_equal(client_stat(&client, "c").st_rdev, 0);
                assert_int_equal(client_stat(&client, "d").st_size, 2);
        }
        assert_int_equal(fstatat(client.share_fd, "a", &stat, 0), -1);
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_resumed),
                counted_test(test_cache_policies),
                counted_test(test_flags_of_options),
                counted_test(test_truncation_by_open),
                counted_test(test_insisting),
                counted_test(test_writeback),
                counted_test(test_direct),
                counted_test(test_noatime),
                counted_test(test_statx),
                counted_test(test_tmpfile),
                counted_test(test_copy_64),
                counted_test(test_syncfs),
                counted_test(test_rename_flags),
        };

        return run_counted("fs-options", tests);
}
