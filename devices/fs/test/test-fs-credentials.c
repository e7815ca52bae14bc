/* SPDX-License-Identifier: BSD-2-Clause */

/* The owners and the umask of new files, and who clears set-user-ID bits. */

#include "base/cleanup.h"
#include "devices/fs/core/credentials.h"
#include "devices/fs/test/test-requests.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

static const struct test_user user = {1234, 1235};

static ssize_t mkdir_with(struct client *client, uint64_t parent, const char *name, uint32_t umask)
{
        const struct fuse_mkdir_in in = {.mode = 0777, .umask = umask};
        struct fuse_entry_out out;

        return client_call(client, FUSE_MKDIR, parent, BODY(START(in), .name = name), &out, sizeof(out));
}

static ssize_t create_with(struct client *client, uint64_t parent, const char *name, uint32_t umask)
{
        const struct fuse_create_in in = {.mode = S_IFREG | 0666, .umask = umask, .flags = O_RDWR};
        struct test_created out;

        return client_call(client, FUSE_CREATE, parent, BODY(START(in), .name = name), &out, sizeof(out));
}

static ssize_t mknod_with(struct client *client, uint64_t parent, const char *name, uint32_t umask)
{
        const struct fuse_mknod_in in = {.mode = S_IFIFO | 0666, .umask = umask};
        struct fuse_entry_out out;

        return client_call(client, FUSE_MKNOD, parent, BODY(START(in), .name = name), &out, sizeof(out));
}

static void check_modes(struct client *client, const char *directory, uint32_t directory_mode, uint32_t file_mode)
{
        const uint64_t parent = client_node(client, FUSE_ROOT_ID, directory);
        char path[64];
        static const char *const names[] = {"d", "f", "p"};

        assert_true(mkdir_with(client, parent, "d", 027) > 0);
        assert_true(create_with(client, parent, "f", 027) > 0);
        assert_true(mknod_with(client, parent, "p", 027) > 0);
        for (size_t i = 0; i < 3; i++) {
                snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
                assert_int_equal(client_stat(client, path).st_mode & 0777, i == 0 ? directory_mode : file_mode);
        }
}

/* The guest's kernel applies it, unless access lists may take its place. */
static void test_umask(void **state)
{
        /* user::rwx, group::rwx, other::r-x */
        static const char acl[] = "\2\0\0\0\1\0\7\0\xff\xff\xff\xff\4\0\7\0\xff\xff\xff\xff\x20\0\5\0\xff\xff\xff\xff";
        struct client client;

        client_begin(&client, NULL);
        assert_false(client.flags & FUSE_DONT_MASK);
        assert_int_equal(mkdirat(client.share_fd, "plain", 0777), 0);
        check_modes(&client, "plain", 0777, 0666);
        client_end(&client);

        client_begin(&client, &(struct fs_options){.xattr = true, .posix_acl = FS_AUTO});
        assert_true(client.flags & FUSE_DONT_MASK);
        assert_int_equal(mkdirat(client.share_fd, "plain", 0777), 0);
        assert_int_equal(mkdirat(client.share_fd, "listed", 0777), 0);
        check_modes(&client, "plain", 0750, 0640);
        if (setxattr(client_path(&client, "listed").text, "system.posix_acl_default", acl, sizeof(acl) - 1, 0) == 0)
                check_modes(&client, "listed", 0775, 0664);
        else
                assert_int_equal(errno, EOPNOTSUPP);
        /* Afterwards the thread has no umask. */
        assert_int_equal(mkdirat(client.share_fd, "after", 0777), 0);
        assert_int_equal(client_stat(&client, "after").st_mode, S_IFDIR | 0777);
        client_end(&client);
}

/* Changes the contents of "f" as @uid, and with the flag for the kind of request, if @kill. */
typedef void change_function(struct client *client, uint32_t uid, bool kill, uint64_t f, uint64_t fh);

static void change_by_write(struct client *client, uint32_t uid, bool kill, uint64_t f, uint64_t fh)
{
        assert_int_equal(client_write(client, fh, 0, "x", 1, 0, kill ? FUSE_WRITE_KILL_SUIDGID : 0), 1);
}

static void change_by_size(struct client *client, uint32_t uid, bool kill, uint64_t f, uint64_t fh)
{
        struct fuse_setattr_in in = {.valid = FATTR_SIZE | (kill ? FATTR_KILL_SUIDGID : 0), .size = 3};
        struct fuse_attr attr;

        assert_true(request_setattr(client, f, in, &attr) > 0);
        in.valid |= FATTR_FH;
        in.fh = fh;
        in.size = 2;
        assert_true(request_setattr(client, f, in, &attr) > 0);
}

static void change_by_open(struct client *client, uint32_t uid, bool kill, uint64_t f, uint64_t fh)
{
        const struct fuse_open_in in = {.flags = O_WRONLY | O_TRUNC, .open_flags = kill ? FUSE_OPEN_KILL_SUIDGID : 0};
        struct fuse_open_out out;

        assert_true(client_call_as(client, uid, uid, FUSE_OPEN, f, BODY(START(in)), &out, sizeof(out)) > 0);
        assert_int_equal(client_release(client, FUSE_RELEASE, out.fh), 0);
}

static void change_by_create(struct client *client, uint32_t uid, bool kill, uint64_t f, uint64_t fh)
{
        const struct fuse_create_in in = {.flags = O_WRONLY | O_TRUNC | O_CREAT,
                                          .mode = S_IFREG | 0600,
                                          .open_flags = kill ? FUSE_OPEN_KILL_SUIDGID : 0};
        struct test_created out;

        assert_true(client_call_as(client, uid, uid, FUSE_CREATE, FUSE_ROOT_ID, BODY(START(in), .name = "f"), &out,
                                   sizeof(out)) > 0);
        assert_int_equal(client_release(client, FUSE_RELEASE, out.open.fh), 0);
        client_forget(client, out.entry.nodeid, 1);
}

static void change_by_fallocate(struct client *client, uint32_t uid, bool kill, uint64_t f, uint64_t fh)
{
        const struct fuse_fallocate_in in = {.fh = fh, .length = 100};

        assert_int_equal(client_call_as(client, uid, uid, FUSE_FALLOCATE, 0, BODY(START(in)), NULL, 0), 0);
}

static void change_by_copy(struct client *client, uint32_t uid, bool kill, uint64_t f, uint64_t fh)
{
        const uint64_t from = client_handle(client, client_node(client, FUSE_ROOT_ID, "from"), O_RDONLY);
        const struct fuse_copy_file_range_in in = {.fh_in = from, .fh_out = fh, .len = 2};
        struct fuse_write_out out;

        assert_true(client_call_as(client, uid, uid, FUSE_COPY_FILE_RANGE, 0, BODY(START(in)), &out, sizeof(out)) > 0);
        assert_int_equal(client_release(client, FUSE_RELEASE, from), 0);
}

static const struct {
        change_function *change;
        bool by_flag; /* otherwise by user */
} changes[] = {
        {change_by_write, true},  {change_by_size, true},       {change_by_open, true},
        {change_by_create, true}, {change_by_fallocate, false}, {change_by_copy, false},
};

static void check_change(struct client *client, size_t which, uint32_t uid, bool kill, mode_t before, mode_t after)
{
        client_make_file(client, "f", "text");
        assert_int_equal(fchownat(client->share_fd, "f", 4000, 4000, 0), 0);

        const uint64_t f = client_node(client, FUSE_ROOT_ID, "f"), fh = client_handle(client, f, O_RDWR);

        assert_int_equal(fchmodat(client->share_fd, "f", before, 0), 0);
        changes[which].change(client, uid, kill, f, fh);

        const mode_t mode = client_stat(client, "f").st_mode & 07777;

        if (mode != after)
                fail_msg("change %zu by %u, %d: %o becomes %o, not %o", which, uid, kill, before, mode, after);
        assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
        client_forget(client, f, 1);
}

static void test_killpriv(void **state)
{
        struct client client;

        if (geteuid() != 0)
                skip();
        client_begin(&client, &(struct fs_options){.killpriv_v2 = true});
        assert_true(client.flags & FUSE_HANDLE_KILLPRIV_V2);
        client_make_file(&client, "from", "text");
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                const uint32_t uid = changes[i].by_flag ? 0 : 1234;

                check_change(&client, i, uid, true, 06755, 0755);
                check_change(&client, i, uid, true, 04644, 0644);
                check_change(&client, i, uid, true, 02755, 0755);
                /* Without the right to execute, set-group-ID used to mean mandatory locking. */
                check_change(&client, i, uid, true, 02644, 02644);
                check_change(&client, i, uid, true, 06644, 02644);
                check_change(&client, i, uid, true, 06654, 0654);
                /* Root's changes leave the bits, before and after others' have cleared them. */
                check_change(&client, i, 0, false, 06755, 06755);
        }
        client_end(&client);
}

/* Without killpriv_v2, the guest sets the mode itself, except for an OPEN with O_TRUNC. */
static void test_no_killpriv(void **state)
{
        struct client client;

        if (geteuid() != 0)
                skip();
        client_begin(&client, NULL);
        assert_false(client.flags & FUSE_HANDLE_KILLPRIV_V2);
        client_make_file(&client, "from", "text");
        for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
                const bool opens = changes[i].change == change_by_open || changes[i].change == change_by_create;

                check_change(&client, i, 1234, false, 06755, opens ? 0755 : 06755);
                check_change(&client, i, 0, false, 06755, 06755);
        }
        client_end(&client);
}

/* A store into the window comes with a SETATTR that changes nothing. */
static void test_killpriv_by_nothing(void **state)
{
        static const struct {
                mode_t before, after;
        } rows[] = {{04755, 0755}, {06755, 0755}, {06644, 02644}, {02644, 02644}, {01755, 01755}};
        static const uint32_t nothing[] = {0, FATTR_FH, FATTR_CTIME};
        struct client client;
        struct fuse_attr attr;

        for (int killpriv = 0; killpriv < 2; killpriv++) {
                client_begin(&client, &(struct fs_options){.killpriv_v2 = killpriv});
                client_make_file(&client, "f", "text");
                assert_int_equal(mkdirat(client.share_fd, "d", 0755), 0);
                assert_int_equal(fchmodat(client.share_fd, "d", 02755, 0), 0);

                const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f"), d = client_node(&client, FUSE_ROOT_ID, "d");

                for (size_t i = 0; i < ARRAY_SIZE(rows) * ARRAY_SIZE(nothing); i++) {
                        const struct fuse_setattr_in in = {.valid = nothing[i % 3]};
                        const mode_t before = rows[i / 3].before;

                        assert_int_equal(fchmodat(client.share_fd, "f", before, 0), 0);
                        assert_true(request_setattr(&client, f, in, &attr) > 0);
                        assert_int_equal(attr.mode & 07777, killpriv ? rows[i / 3].after : before);
                        assert_int_equal(client_stat(&client, "f").st_mode & 07777, attr.mode & 07777);
                }
                assert_true(request_setattr(&client, d, (struct fuse_setattr_in){0}, &attr) > 0);
                assert_int_equal(attr.mode & 07777, 02755);
                client_end(&client);
        }
}

static uint64_t valid_of_lookup(struct client *client, const char *name)
{
        struct fuse_entry_out entry;

        assert_true(request_entry(client, FUSE_ROOT_ID, name, &entry) > 0);
        return entry.attr_valid;
}

static uint64_t valid_of_getattr(struct client *client, const char *name)
{
        const struct fuse_getattr_in in = {0};
        struct fuse_attr_out out;

        assert_true(client_call(client, FUSE_GETATTR, client_node(client, FUSE_ROOT_ID, name), BODY(START(in)), &out,
                                sizeof(out)) > 0);
        return out.attr_valid;
}

static uint64_t valid_of_setattr(struct client *client, const char *name)
{
        const struct fuse_setattr_in in = {.valid = FATTR_ATIME_NOW};
        struct fuse_attr_out out;

        assert_true(client_call(client, FUSE_SETATTR, client_node(client, FUSE_ROOT_ID, name), BODY(START(in)), &out,
                                sizeof(out)) > 0);
        return out.attr_valid;
}

static uint64_t valid_of_statx(struct client *client, const char *name)
{
        const struct fuse_statx_in in = {.sx_mask = UINT32_MAX};
        struct fuse_statx_out out;

        assert_true(client_call(client, FUSE_STATX, client_node(client, FUSE_ROOT_ID, name), BODY(START(in)), &out,
                                sizeof(out)) > 0);
        return out.attr_valid;
}

/* The time for which @name's attributes are valid in a listing. */
static uint64_t valid_of_listing(struct client *client, const char *name)
{
        char list[4096];
        uint64_t fh, valid = UINT64_MAX;

        assert_true(client_open(client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, &fh) > 0);

        ssize_t size = client_read(client, FUSE_READDIRPLUS, fh, 0, list, sizeof(list));

        for (ssize_t at = 0; at < size;) {
                struct fuse_direntplus entry;

                memcpy(&entry, list + at, FUSE_NAME_OFFSET_DIRENTPLUS);
                if (entry.dirent.namelen == strlen(name) &&
                    memcmp(list + at + FUSE_NAME_OFFSET_DIRENTPLUS, name, strlen(name)) == 0)
                        valid = entry.entry_out.attr_valid;
                at += (ssize_t)FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + entry.dirent.namelen);
        }
        assert_int_equal(client_release(client, FUSE_RELEASEDIR, fh), 0);
        return valid;
}

/* Bits that are cleared must be gone for the next program that executes the file. */
static void test_setuid_is_not_believed(void **state)
{
        static uint64_t (*const asks[])(struct client * client, const char *name) = {
                valid_of_lookup, valid_of_getattr, valid_of_setattr, valid_of_statx, valid_of_listing,
        };
        static const enum fs_cache caches[] = {FS_CACHE_AUTO, FS_CACHE_ALWAYS, FS_CACHE_METADATA};
        static const struct {
                const char *name;
                mode_t mode;
                bool believed;
        } files[] = {{"plain", 0755, true},
                     {"sticky", 01755, true},
                     {"u", 04755, false},
                     {"g", 02755, false},
                     {"both", 06644, false}};
        struct client client;

        for (size_t i = 0; i < ARRAY_SIZE(caches); i++) {
                client_begin(&client, &(struct fs_options){.cache = caches[i]});
                /* On a directory the bit only gives new files its group, so its attributes may be cached. */
                assert_int_equal(mkdirat(client.share_fd, "d", 0755), 0);
                assert_int_equal(fchmodat(client.share_fd, "d", 02755, 0), 0);
                for (size_t j = 0; j < ARRAY_SIZE(files); j++) {
                        client_make_file(&client, files[j].name, "");
                        assert_int_equal(fchmodat(client.share_fd, files[j].name, files[j].mode, 0), 0);
                }
                for (size_t k = 0; k < ARRAY_SIZE(asks); k++) {
                        assert_int_not_equal(asks[k](&client, "d"), 0);
                        for (size_t j = 0; j < ARRAY_SIZE(files); j++)
                                if ((asks[k](&client, files[j].name) != 0) != files[j].believed)
                                        fail_msg("policy %zu, request %zu: %s", i, k, files[j].name);
                }
                client_end(&client);
        }
}

/* Each request that makes a file, for a user who could not write there on the host: the guest has checked its
 * rights. */
static void test_owners(void **state)
{
        const struct fuse_mknod_in mknod = {.mode = S_IFSOCK | 0600};
        struct client client;
        struct test_created created;
        struct fuse_entry_out entry;

        if (geteuid() != 0)
                skip();
        client_begin(&client, NULL);
        assert_int_equal(chmod(client.share, 0700), 0);
        assert_true(request_create(&client, user, FUSE_ROOT_ID, "f", O_RDWR, 0600, &created) > 0);
        assert_true(request_mkdir(&client, user, FUSE_ROOT_ID, "d", 0700, &entry) > 0);
        assert_true(client_call_as(&client, user.uid, user.gid, FUSE_SYMLINK, FUSE_ROOT_ID,
                                   BODY(.name = "l", .second_name = "x"), &entry, sizeof(entry)) > 0);
        assert_true(client_call_as(&client, user.uid, user.gid, FUSE_MKNOD, FUSE_ROOT_ID,
                                   BODY(START(mknod), .name = "s"), &entry, sizeof(entry)) > 0);
        for (size_t i = 0; i < 4; i++) {
                const char name[] = {"fdls"[i], '\0'};
                const struct stat stat = client_stat(&client, name);

                assert_int_equal(stat.st_uid, user.uid);
                assert_int_equal(stat.st_gid, user.gid);
        }

        const struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 0600};

        assert_true(client_call_as(&client, user.uid, user.gid, FUSE_TMPFILE, FUSE_ROOT_ID, BODY(START(in), .name = ""),
                                   &created, sizeof(created)) > 0);
        assert_int_equal(created.entry.attr.uid, user.uid);
        assert_int_equal(created.entry.attr.gid, user.gid);
        /* Afterwards this thread is root, with all rights of root. */
        client_make_file(&client, "after", "");
        assert_int_equal(client_stat(&client, "after").st_uid, 0);
        assert_int_equal(fchownat(client.share_fd, "after", 1, 1, 0), 0);
        client_end(&client);
}

static uint32_t effective(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};

        syscall(SYS_capget, &header, data);
        return data[0].effective;
}

/* A user other than root with root's capabilities and groups, as a service manager may start oriel-fs. */
static int act_as_service(void)
{
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
        const struct credentials_wanted wanted[] = {
                {.uid = 0, .gid = 0}, {.uid = 1001, .gid = 1002}, {.uid = 0, .has_group = true, .group = 1003}};
        const gid_t groups[] = {2001, 2002};
        struct credentials saved;
        gid_t found[4];

        prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0);
        if (setgroups(2, groups) < 0 || setresgid(1000, 1000, 1000) < 0 || setresuid(1000, 1000, 1000) < 0)
                return 1;
        syscall(SYS_capget, &header, data);
        data[0].effective = data[0].permitted;
        if (syscall(SYS_capset, &header, data) < 0 || !credentials_init())
                return 2;
        for (int i = 0; i < 3; i++) {
                if (credentials_take(&wanted[i], true, &saved) < 0)
                        return 3;
                credentials_restore(&saved);
                if (effective() != data[0].effective)
                        return 4;
                if (getgroups(4, found) != 2 || memcmp(found, groups, sizeof(groups)) != 0)
                        return 5;
        }
        return 0;
}

static void test_service_keeps_its_rights(void **state)
{
        int status;

        if (geteuid() != 0)
                skip();

        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0)
                _exit(act_as_service());
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_umask),
                counted_test(test_owners),
                counted_test(test_killpriv),
                counted_test(test_service_keeps_its_rights),
                counted_test(test_no_killpriv),
                counted_test(test_setuid_is_not_believed),
                counted_test(test_killpriv_by_nothing),
        };

        return run_counted("fs-credentials", tests);
}
