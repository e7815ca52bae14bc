/* SPDX-License-Identifier: BSD-2-Clause */

/* A well-behaved guest that works on names, attributes and directories. */

#include "base/cleanup.h"
#include "devices/fs/test/test-client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void test_init(void **state)
{
        struct client client;
        struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION + 1};
        struct fuse_init_out out;

        client_begin(&client, NULL);
        assert_true(client.flags & FUSE_BIG_WRITES);
        assert_false(client.flags & (FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX | FUSE_HANDLE_KILLPRIV_V2));

        assert_int_equal(client_call(&client, FUSE_INIT, 0, BODY(START(in)), &out, sizeof(out)), sizeof(out));
        assert_int_equal(out.major, FUSE_KERNEL_VERSION);

        in.major = FUSE_KERNEL_VERSION;
        in.minor = 30;
        assert_int_equal(client_call(&client, FUSE_INIT, 0, BODY(START(in)), &out, sizeof(out)), -EPROTO);

        /* A kernel of 7.31 has a shorter request, and gets no flags that it did not offer. */
        in.minor = 31;
        in.flags = FUSE_ASYNC_READ;
        assert_int_equal(client_call(&client, FUSE_INIT, 0, BODY(.start = &in, .start_size = 16), &out, sizeof(out)),
                         sizeof(out));
        assert_int_equal(out.minor, 31);
        assert_int_equal(out.flags, FUSE_ASYNC_READ);

        assert_int_equal(client_call(&client, FUSE_DESTROY, 0, NULL, NULL, 0), 0);
        assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "x", NULL), -EIO);
        client_end(&client);
}

static void test_lookup(void **state)
{
        struct client client;
        uint64_t a, again, inside;

        client_begin(&client, NULL);
        client_make_file(&client, "a", "hello");
        assert_int_equal(mkdirat(client.share_fd, "d", 0755), 0);
        client_make_file(&client, "d/inside", "");
        assert_int_equal(linkat(client.share_fd, "a", client.share_fd, "d/link", 0), 0);

        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &a) > 0);
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "d", &inside) > 0);
        assert_true(client_lookup(&client, inside, "link", &again) > 0);
        assert_int_equal(a, again);
        assert_int_equal(client_lookup(&client, inside, "none", NULL), -ENOENT);
        assert_int_equal(client_lookup(&client, a, "none", NULL), -ENOTDIR);

        client_forget(&client, a, 1);
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &again) > 0);
        assert_int_equal(a, again);
        client_forget(&client, a, 2);
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &again) > 0);
        assert_int_not_equal(a, again);
        client_end(&client);
}

/* Every lookup of a known file counts, however it is found: each needs a FORGET. */
static void test_lookups_count(void **state)
{
        const struct fuse_getattr_in in = {0};
        struct fuse_attr_out out;
        struct client client;
        uint64_t a, again;

        client_begin(&client, NULL);
        client_make_file(&client, "a", "");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &a) > 0);
        for (int i = 0; i < 20; i++)
                assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &again) > 0);
        client_forget(&client, a, 20);
        assert_true(client_call(&client, FUSE_GETATTR, a, BODY(START(in)), &out, sizeof(out)) > 0);
        client_forget(&client, a, 1);
        assert_int_equal(client_call(&client, FUSE_GETATTR, a, BODY(START(in)), &out, sizeof(out)), -ESTALE);
        client_end(&client);
}

/* Another process may have made a file of any kind under that name first. */
static void test_create_existing(void **state)
{
        static const uint32_t flags[] = {O_RDONLY, O_RDWR};
        struct client client;
        char answer[256];

        client_begin(&client, NULL);
        assert_int_equal(mkdirat(client.share_fd, "d", 0755), 0);
        assert_int_equal(mkfifoat(client.share_fd, "p", 0600), 0);
        for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
                const struct fuse_create_in in = {.flags = flags[i], .mode = S_IFREG | 0600};

                assert_int_equal(client_call(&client, FUSE_CREATE, FUSE_ROOT_ID, BODY(START(in), .name = "d"), answer,
                                             sizeof(answer)),
                                 -EISDIR);
                assert_int_equal(client_call(&client, FUSE_CREATE, FUSE_ROOT_ID, BODY(START(in), .name = "p"), answer,
                                             sizeof(answer)),
                                 -ENXIO);
        }
        client_end(&client);
}

/* The guest does not see the number of the share's parent. */
static void test_above_the_root(void **state)
{
        struct client client;
        static char got[4096];
        uint64_t fh, numbers[2] = {0};

        client_begin(&client, NULL);
        assert_true(client_open(&client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, &fh) > 0);

        const ssize_t size = client_read(&client, FUSE_READDIR, fh, 0, got, sizeof(got));

        for (ssize_t at = 0; at < size;) {
                const struct fuse_dirent *entry = (const void *)(got + at);

                if (entry->namelen <= 2 && entry->name[0] == '.')
                        numbers[entry->namelen - 1] = entry->ino;
                at += (ssize_t)FUSE_DIRENT_SIZE(entry);
        }
        assert_int_not_equal(numbers[0], 0);
        assert_int_equal(numbers[0], numbers[1]);
        client_end(&client);
}

static void test_attributes(void **state)
{
        struct client client;
        const struct fuse_getattr_in in = {0};
        struct fuse_attr_out out;
        struct stat stat;
        uint64_t nodeid;

        client_begin(&client, &(struct fs_options){.cache = FS_CACHE_AUTO});
        client_make_file(&client, "a", "hello");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_int_equal(client_call(&client, FUSE_GETATTR, nodeid, BODY(START(in)), &out, sizeof(out)), sizeof(out));
        assert_int_equal(fstatat(client.share_fd, "a", &stat, 0), 0);
        assert_int_equal(out.attr_valid, 1);
        assert_int_equal(out.attr.size, 5);
        assert_int_equal(out.attr.ino, stat.st_ino);
        assert_int_equal(out.attr.mode, stat.st_mode);
        assert_int_equal(out.attr.mtime, stat.st_mtim.tv_sec);
        assert_int_equal(out.attr.mtimensec, stat.st_mtim.tv_nsec);
        assert_int_equal(out.attr.nlink, 1);
        client_end(&client);
}

static void test_setattr(void **state)
{
        struct client client;
        struct fuse_setattr_in in = {
                .valid = FATTR_MODE | FATTR_SIZE | FATTR_ATIME | FATTR_MTIME,
                .mode = 0640,
                .size = 3,
                .atime = 1000,
                .mtime = 2000,
                .mtimensec = 5,
        };
        struct fuse_attr_out out;
        uint64_t nodeid, fh;

        client_begin(&client, NULL);
        client_make_file(&client, "a", "hello");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_int_equal(client_call(&client, FUSE_SETATTR, nodeid, BODY(START(in)), &out, sizeof(out)), sizeof(out));
        assert_int_equal(out.attr.mode, S_IFREG | 0640);
        assert_int_equal(out.attr.size, 3);
        assert_int_equal(out.attr.atime, 1000);
        assert_int_equal(out.attr.mtime, 2000);
        assert_int_equal(out.attr.mtimensec, 5);

        /* By handle, with the file gone and no right to open it. */
        assert_true(client_open(&client, FUSE_OPEN, nodeid, O_RDWR, &fh) > 0);
        assert_int_equal(unlinkat(client.share_fd, "a", 0), 0);
        in = (struct fuse_setattr_in){.valid = FATTR_SIZE | FATTR_FH | FATTR_MTIME_NOW, .fh = fh, .size = 9000};
        assert_int_equal(client_call(&client, FUSE_SETATTR, nodeid, BODY(START(in)), &out, sizeof(out)), sizeof(out));
        assert_int_equal(out.attr.size, 9000);
        assert_true(out.attr.mtime > 2000);
        assert_int_equal(out.attr.nlink, 0);

        in.fh++;
        assert_int_equal(client_call(&client, FUSE_SETATTR, nodeid, BODY(START(in)), &out, sizeof(out)), -EBADF);
        in = (struct fuse_setattr_in){.valid = FATTR_SIZE, .size = UINT64_MAX};
        assert_int_equal(client_call(&client, FUSE_SETATTR, nodeid, BODY(START(in)), &out, sizeof(out)), -EINVAL);
        in = (struct fuse_setattr_in){.valid = FATTR_SIZE};
        assert_int_equal(client_call(&client, FUSE_SETATTR, FUSE_ROOT_ID, BODY(START(in)), &out, sizeof(out)), -EISDIR);
        client_end(&client);
}

static void test_setattr_owner(void **state)
{
        struct client client;
        const struct fuse_setattr_in in = {
                .valid = FATTR_UID | FATTR_GID | FATTR_MODE, .uid = 12, .gid = 34, .mode = 04755};
        struct fuse_attr_out out;
        uint64_t nodeid;

        if (geteuid() != 0)
                skip();
        client_begin(&client, NULL);
        client_make_file(&client, "a", "");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_int_equal(client_call(&client, FUSE_SETATTR, nodeid, BODY(START(in)), &out, sizeof(out)), sizeof(out));
        assert_int_equal(out.attr.uid, 12);
        assert_int_equal(out.attr.gid, 34);
        assert_int_equal(out.attr.mode, S_IFREG | 04755);
        client_end(&client);
}

/* A symbolic link's own times and owner change, never what it points to. */
static void test_setattr_symlink(void **state)
{
        struct client client;
        const struct fuse_setattr_in in = {
                .valid = FATTR_MTIME | FATTR_UID | FATTR_GID, .mtime = 77, .uid = geteuid(), .gid = getegid()};
        struct fuse_attr_out out;
        struct stat stat;
        uint64_t nodeid;

        client_begin(&client, NULL);
        client_make_file(&client, "a", "");
        assert_int_equal(symlinkat("a", client.share_fd, "link"), 0);
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "link", &nodeid) > 0);
        assert_int_equal(client_call(&client, FUSE_SETATTR, nodeid, BODY(START(in)), &out, sizeof(out)), sizeof(out));
        assert_int_equal(out.attr.mtime, 77);
        assert_true(S_ISLNK(out.attr.mode));
        assert_int_equal(fstatat(client.share_fd, "a", &stat, 0), 0);
        assert_int_not_equal(stat.st_mtim.tv_sec, 77);
        client_end(&client);
}

static ssize_t make_directory(struct client *client, const char *name, struct fuse_entry_out *out)
{
        const struct fuse_mkdir_in in = {.mode = 0751};

        return client_call(client, FUSE_MKDIR, FUSE_ROOT_ID, BODY(START(in), .name = name), out, sizeof(*out));
}

static ssize_t rename_to(struct client *client, uint64_t directory, uint32_t flags, const char *from, const char *to)
{
        const struct fuse_rename2_in in = {.newdir = directory, .flags = flags};
        const struct test_body body = {START(in), .name = from, .second_name = to};

        return client_call(client, FUSE_RENAME2, FUSE_ROOT_ID, &body, NULL, 0);
}

static void test_links(void **state)
{
        struct client client;
        struct fuse_link_in link_in;
        struct fuse_entry_out out;
        char target[64] = "";
        uint64_t d;

        client_begin(&client, NULL);
        assert_true(make_directory(&client, "d", &out) > 0);
        d = out.nodeid;
        assert_true(client_call(&client, FUSE_SYMLINK, d, BODY(.name = "s", .second_name = "../../nowhere"), &out,
                                sizeof(out)) > 0);
        assert_true(S_ISLNK(out.attr.mode));
        assert_int_equal(client_call(&client, FUSE_READLINK, out.nodeid, NULL, target, sizeof(target)), 13);
        assert_string_equal(target, "../../nowhere");
        assert_int_equal(client_call(&client, FUSE_READLINK, out.nodeid, NULL, target, 12), -EINVAL);
        assert_int_equal(client_call(&client, FUSE_READLINK, d, NULL, target, sizeof(target)), -EINVAL);

        link_in.oldnodeid = out.nodeid;
        assert_true(client_call(&client, FUSE_LINK, FUSE_ROOT_ID, BODY(START(link_in), .name = "s2"), &out,
                                sizeof(out)) > 0);
        assert_int_equal(out.nodeid, link_in.oldnodeid);
        assert_int_equal(out.attr.nlink, 2);
        client_end(&client);
}

static void test_rename(void **state)
{
        struct client client;
        struct fuse_rename_in in;
        struct fuse_entry_out out;
        struct stat stat;
        uint64_t d;

        client_begin(&client, NULL);
        assert_true(make_directory(&client, "d", &out) > 0);
        in.newdir = d = out.nodeid;
        client_make_file(&client, "a", "1");
        client_make_file(&client, "f", "22");
        assert_int_equal(client_call(&client, FUSE_RENAME, FUSE_ROOT_ID,
                                     BODY(START(in), .name = "a", .second_name = "b"), NULL, 0),
                         0);
        assert_int_equal(fstatat(client.share_fd, "d/b", &stat, 0), 0);

        assert_int_equal(rename_to(&client, d, RENAME_EXCHANGE, "f", "b"), 0);
        assert_int_equal(fstatat(client.share_fd, "d/b", &stat, 0), 0);
        assert_int_equal(stat.st_size, 2);
        assert_int_equal(rename_to(&client, d, RENAME_NOREPLACE, "f", "b"), -EEXIST);
        assert_int_equal(rename_to(&client, d, 64, "f", "x"), -EINVAL);
        assert_int_equal(rename_to(&client, d, 0, "f", "b"), 0);
        assert_int_equal(rename_to(&client, d, 0, "f", "b"), -ENOENT);
        client_end(&client);
}

static void test_remove(void **state)
{
        struct client client;
        struct fuse_entry_out out;
        uint64_t d;

        client_begin(&client, NULL);
        assert_true(make_directory(&client, "d", &out) > 0);
        assert_int_equal(out.attr.mode, S_IFDIR | 0751);
        d = out.nodeid;
        assert_int_equal(make_directory(&client, "d", &out), -EEXIST);
        client_make_file(&client, "d/a", "");
        assert_int_equal(client_call(&client, FUSE_RMDIR, FUSE_ROOT_ID, BODY(.name = "d"), NULL, 0), -ENOTEMPTY);
        assert_int_equal(client_call(&client, FUSE_RMDIR, d, BODY(.name = "a"), NULL, 0), -ENOTDIR);
        assert_int_equal(client_call(&client, FUSE_UNLINK, d, BODY(.name = "a"), NULL, 0), 0);
        assert_int_equal(client_call(&client, FUSE_UNLINK, d, BODY(.name = "a"), NULL, 0), -ENOENT);
        assert_int_equal(client_call(&client, FUSE_UNLINK, FUSE_ROOT_ID, BODY(.name = "d"), NULL, 0), -EISDIR);
        assert_int_equal(client_call(&client, FUSE_RMDIR, FUSE_ROOT_ID, BODY(.name = "d"), NULL, 0), 0);
        client_end(&client);
}

static void test_mknod(void **state)
{
        struct client client;
        struct fuse_mknod_in in = {.mode = S_IFREG | 0604};
        struct fuse_entry_out out;

        client_begin(&client, NULL);
        assert_true(client_call(&client, FUSE_MKNOD, FUSE_ROOT_ID, BODY(START(in), .name = "r"), &out, sizeof(out)) >
                    0);
        assert_int_equal(out.attr.mode, S_IFREG | 0604);
        in.mode = S_IFIFO | 0600;
        assert_true(client_call(&client, FUSE_MKNOD, FUSE_ROOT_ID, BODY(START(in), .name = "p"), &out, sizeof(out)) >
                    0);
        assert_int_equal(out.attr.mode, S_IFIFO | 0600);
        /* It would block, so it is refused. */
        assert_int_equal(client_open(&client, FUSE_OPEN, out.nodeid, O_RDONLY, NULL), -ENXIO);
        in.mode = S_IFSOCK | 0600;
        assert_true(client_call(&client, FUSE_MKNOD, FUSE_ROOT_ID, BODY(START(in), .name = "s"), &out, sizeof(out)) >
                    0);
        if (geteuid() == 0) {
                /* The null device, with more bits than it has in use. */
                in = (struct fuse_mknod_in){.mode = S_IFCHR | 0600, .rdev = 0x12345678};
                ssize_t r =
                        client_call(&client, FUSE_MKNOD, FUSE_ROOT_ID, BODY(START(in), .name = "c"), &out, sizeof(out));
                struct stat stat;

                if (r > 0) {
                        assert_int_equal(out.attr.rdev, 0x12345678);
                        assert_int_equal(fstatat(client.share_fd, "c", &stat, 0), 0);
                        assert_int_equal(major(stat.st_rdev), 0x456);
                        assert_int_equal(minor(stat.st_rdev), 0x12378);
                        assert_int_equal(client_open(&client, FUSE_OPEN, out.nodeid, O_RDONLY, NULL), -ENXIO);
                }
        }
        client_end(&client);
}

static void make_many(struct client *client, unsigned n)
{
        char name[64];

        for (unsigned i = 0; i < n; i++) {
                snprintf(name, sizeof(name), "a-file-with-a-name-of-some-length-%u", i);
                client_make_file(client, name, "");
        }
}

/* Lists all entries, with @size bytes for each answer. READDIRPLUS: forgets each entry's lookup. */
static unsigned count_entries(struct client *client, uint32_t opcode, uint64_t fh, uint32_t size)
{
        static char got[65536];
        const size_t before = opcode == FUSE_READDIRPLUS ? sizeof(struct fuse_entry_out) : 0;
        uint64_t offset = 0;
        unsigned n = 0;
        ssize_t r;

        while ((r = client_read(client, opcode, fh, offset, got, size)) > 0) {
                for (ssize_t at = 0; at < r;) {
                        struct fuse_entry_out entry = {0};
                        struct fuse_dirent dirent;

                        memcpy(&entry, got + at, before);
                        memcpy(&dirent, got + at + before, sizeof(dirent));
                        if (entry.nodeid) {
                                assert_int_equal(entry.attr.ino, dirent.ino);
                                client_forget(client, entry.nodeid, 1);
                        }
                        offset = dirent.off;
                        at += (ssize_t)(before + FUSE_DIRENT_SIZE(&dirent));
                        n++;
                }
        }
        assert_int_equal(r, 0);
        return n;
}

static void test_readdir(void **state)
{
        struct client client;
        char got[4096];
        uint64_t fh, nodeid;

        client_begin(&client, NULL);
        make_many(&client, 1000);
        assert_true(client_open(&client, FUSE_OPENDIR, FUSE_ROOT_ID, O_RDONLY, &fh) > 0);

        int before = client_fds();

        assert_int_equal(count_entries(&client, FUSE_READDIR, fh, 4096), 1002);
        assert_int_equal(count_entries(&client, FUSE_READDIR, fh, 65536), 1002);
        assert_int_equal(count_entries(&client, FUSE_READDIR, fh, 100), 1002);
        assert_int_equal(count_entries(&client, FUSE_READDIRPLUS, fh, 4096), 1002);
        assert_int_equal(count_entries(&client, FUSE_READDIRPLUS, fh, 65536), 1002);
        assert_int_equal(client_fds(), before);

        assert_int_equal(client_read(&client, FUSE_READDIR, fh, 0, got, 20), -EINVAL);
        for (uint64_t offset = 1; offset > 0; offset *= 3) {
                ssize_t r = client_read(&client, FUSE_READDIR, fh, offset, got, sizeof(got));

                assert_true(r >= -EINVAL && r <= (ssize_t)sizeof(got));
                if (offset > UINT64_MAX / 3)
                        break;
        }

        const struct fuse_fsync_in fsync = {.fh = fh};

        assert_int_equal(client_call(&client, FUSE_FSYNCDIR, 0, BODY(START(fsync)), NULL, 0), 0);
        assert_int_equal(client_read(&client, FUSE_READ, fh, 0, got, 20), -EBADF);
        assert_int_equal(client_release(&client, FUSE_RELEASE, fh), -EBADF);
        assert_int_equal(client_release(&client, FUSE_RELEASEDIR, fh), 0);
        client_make_file(&client, "a", "");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_int_equal(client_open(&client, FUSE_OPENDIR, nodeid, O_RDONLY, NULL), -ENOTDIR);
        assert_int_equal(client_open(&client, FUSE_OPEN, FUSE_ROOT_ID, O_RDONLY, NULL), -EISDIR);
        client_end(&client);
}

static void test_reset(void **state)
{
        struct client client;
        uint64_t nodeid, fh, again;

        client_begin(&client, NULL);

        int before = client_fds();

        client_make_file(&client, "a", "hello");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_true(client_open(&client, FUSE_OPEN, nodeid, O_RDONLY, &fh) > 0);
        fs_reset(client.fs);
        assert_int_equal(client_fds(), before);
        assert_int_equal(client_lookup(&client, FUSE_ROOT_ID, "a", &again), -EIO);
        assert_true(client_init(&client) > 0);
        assert_int_equal(client_open(&client, FUSE_OPEN, nodeid, O_RDONLY, NULL), -ESTALE);
        assert_int_equal(client_release(&client, FUSE_RELEASE, fh), -EBADF);
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &again) > 0);
        assert_int_not_equal(nodeid, again);
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_lookups_count),   counted_test(test_create_existing),
                counted_test(test_above_the_root),  counted_test(test_init),
                counted_test(test_lookup),          counted_test(test_attributes),
                counted_test(test_setattr),         counted_test(test_setattr_owner),
                counted_test(test_setattr_symlink), counted_test(test_links),
                counted_test(test_rename),          counted_test(test_remove),
                counted_test(test_mknod),           counted_test(test_readdir),
                counted_test(test_reset),
        };

        return run_counted("fs", tests);
}
