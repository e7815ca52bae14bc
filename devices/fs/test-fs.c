/* SPDX-License-Identifier: BSD-2-Clause */

/* What a guest that means well does. */

#include "devices/fs/test-client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void test_init(void **state)
{
        struct client client;
        struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION + 1};
        struct fuse_init_out out;

        (void)state;
        client_begin(&client, NULL);
        assert_true(client.flags & FUSE_ATOMIC_O_TRUNC);
        assert_false(client.flags & (FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX | FUSE_HANDLE_KILLPRIV_V2));

        assert_int_equal(client_call(&client, FUSE_INIT, 0, BODY(START(in)), &out, sizeof(out)), sizeof(out));
        assert_int_equal(out.major, FUSE_KERNEL_VERSION);

        in.major = FUSE_KERNEL_VERSION;
        in.minor = 30;
        assert_int_equal(client_call(&client, FUSE_INIT, 0, BODY(START(in)), &out, sizeof(out)), -EPROTO);

        /* A kernel of 7.31 has a shorter request, and gets no flag that it did not offer. */
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

        (void)state;
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

static void test_attributes(void **state)
{
        struct client client;
        const struct fuse_getattr_in in = {0};
        struct fuse_attr_out out;
        struct stat stat;
        uint64_t nodeid;

        (void)state;
        client_begin(&client, &(struct fs_options){.cache_seconds = 7});
        client_make_file(&client, "a", "hello");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_int_equal(client_call(&client, FUSE_GETATTR, nodeid, BODY(START(in)), &out, sizeof(out)), sizeof(out));
        assert_int_equal(fstatat(client.share_fd, "a", &stat, 0), 0);
        assert_int_equal(out.attr_valid, 7);
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

        (void)state;
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

        (void)state;
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

        (void)state;
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

static void test_names(void **state)
{
        struct client client;
        const struct fuse_mkdir_in mkdir_in = {.mode = 0751};
        struct fuse_link_in link_in;
        struct fuse_rename_in rename_in;
        struct fuse_rename2_in rename2_in;
        struct fuse_entry_out out;
        char target[64] = "";
        struct stat stat;
        uint64_t d;

        (void)state;
        client_begin(&client, NULL);
        assert_true(client_call(&client, FUSE_MKDIR, FUSE_ROOT_ID, BODY(START(mkdir_in), .name = "d"), &out,
                                sizeof(out)) > 0);
        assert_int_equal(out.attr.mode, S_IFDIR | 0751);
        d = out.nodeid;
        assert_int_equal(
                client_call(&client, FUSE_MKDIR, FUSE_ROOT_ID, BODY(START(mkdir_in), .name = "d"), &out, sizeof(out)),
                -EEXIST);

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

        rename_in.newdir = d;
        assert_int_equal(client_call(&client, FUSE_RENAME, FUSE_ROOT_ID,
                                     BODY(START(rename_in), .name = "s2", .second_name = "s3"), NULL, 0),
                         0);
        assert_int_equal(fstatat(client.share_fd, "d/s3", &stat, AT_SYMLINK_NOFOLLOW), 0);
        client_make_file(&client, "f", "");
        rename2_in = (struct fuse_rename2_in){.newdir = d, .flags = RENAME_EXCHANGE};
        assert_int_equal(client_call(&client, FUSE_RENAME2, FUSE_ROOT_ID,
                                     BODY(START(rename2_in), .name = "f", .second_name = "s3"), NULL, 0),
                         0);
        assert_int_equal(fstatat(client.share_fd, "f", &stat, AT_SYMLINK_NOFOLLOW), 0);
        assert_true(S_ISLNK(stat.st_mode));
        rename2_in.flags = RENAME_NOREPLACE;
        assert_int_equal(client_call(&client, FUSE_RENAME2, FUSE_ROOT_ID,
                                     BODY(START(rename2_in), .name = "f", .second_name = "s3"), NULL, 0),
                         -EEXIST);
        rename2_in.flags = 64;
        assert_int_equal(client_call(&client, FUSE_RENAME2, FUSE_ROOT_ID,
                                     BODY(START(rename2_in), .name = "f", .second_name = "x"), NULL, 0),
                         -EINVAL);

        assert_int_equal(client_call(&client, FUSE_RMDIR, FUSE_ROOT_ID, BODY(.name = "d"), NULL, 0), -ENOTEMPTY);
        assert_int_equal(client_call(&client, FUSE_UNLINK, d, BODY(.name = "s"), NULL, 0), 0);
        assert_int_equal(client_call(&client, FUSE_UNLINK, d, BODY(.name = "s"), NULL, 0), -ENOENT);
        assert_int_equal(client_call(&client, FUSE_UNLINK, d, BODY(.name = "s3"), NULL, 0), 0);
        assert_int_equal(client_call(&client, FUSE_RMDIR, FUSE_ROOT_ID, BODY(.name = "d"), NULL, 0), 0);
        client_end(&client);
}

static void test_mknod(void **state)
{
        struct client client;
        struct fuse_mknod_in in = {.mode = S_IFREG | 0604};
        struct fuse_entry_out out;

        (void)state;
        client_begin(&client, NULL);
        assert_true(client_call(&client, FUSE_MKNOD, FUSE_ROOT_ID, BODY(START(in), .name = "r"), &out, sizeof(out)) >
                    0);
        assert_int_equal(out.attr.mode, S_IFREG | 0604);
        in.mode = S_IFIFO | 0600;
        assert_true(client_call(&client, FUSE_MKNOD, FUSE_ROOT_ID, BODY(START(in), .name = "p"), &out, sizeof(out)) >
                    0);
        assert_int_equal(out.attr.mode, S_IFIFO | 0600);
        /* It would block. */
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

static void fill(unsigned char *bytes, size_t size)
{
        for (size_t i = 0; i < size; i++)
                bytes[i] = (unsigned char)(i * 31 + i / 251);
}

static void test_read_write(void **state)
{
        struct client client;
        static unsigned char wrote[100000], got[120000];
        uint64_t nodeid, fh;

        (void)state;
        client_begin(&client, NULL);
        fill(wrote, sizeof(wrote));
        client_make_file(&client, "a", "");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_true(client_open(&client, FUSE_OPEN, nodeid, O_RDWR, &fh) > 0);
        assert_int_equal(client_write(&client, fh, 10, wrote, sizeof(wrote), 0, 0), sizeof(wrote));
        assert_int_equal(client_read(&client, FUSE_READ, fh, 10, got, sizeof(got)), sizeof(wrote));
        assert_memory_equal(got, wrote, sizeof(wrote));
        client.chunk = 4096;
        assert_int_equal(client_read(&client, FUSE_READ, fh, 11, got, 5000), 5000);
        assert_memory_equal(got, wrote + 1, 5000);
        assert_int_equal(client_read(&client, FUSE_READ, fh, 1000000, got, 10), 0);
        assert_int_equal(client_write(&client, fh, 0, NULL, 0, 0, 0), 0);

        /* Past what a file can have; and -1 is not "where it was". */
        assert_int_equal(client_read(&client, FUSE_READ, fh, UINT64_MAX, got, 10), -EINVAL);
        assert_int_equal(client_write(&client, fh, UINT64_MAX, wrote, 10, 0, 0), -EINVAL);
        assert_int_equal(client_write(&client, fh, INT64_MAX - 5, wrote, 10, 0, 0), -EINVAL);

        const struct fuse_flush_in flush = {.fh = fh};
        const struct fuse_fsync_in fsync = {.fh = fh, .fsync_flags = FUSE_FSYNC_FDATASYNC};

        assert_int_equal(client_call(&client, FUSE_FLUSH, nodeid, BODY(START(flush)), NULL, 0), 0);
        assert_int_equal(client_call(&client, FUSE_FSYNC, nodeid, BODY(START(fsync)), NULL, 0), 0);
        assert_int_equal(client_release(&client, FUSE_RELEASEDIR, fh), -EBADF);
        assert_int_equal(client_release(&client, FUSE_RELEASE, fh), 0);
        assert_int_equal(client_release(&client, FUSE_RELEASE, fh), -EBADF);
        assert_int_equal(client_read(&client, FUSE_READ, fh, 0, got, 10), -EBADF);
        client_end(&client);
}

static void test_append(void **state)
{
        struct client client;
        char got[16] = "";
        uint64_t nodeid, fh;

        (void)state;
        client_begin(&client, NULL);
        client_make_file(&client, "a", "hello");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_true(client_open(&client, FUSE_OPEN, nodeid, O_RDWR | O_APPEND, &fh) > 0);
        assert_int_equal(client_write(&client, fh, 0, "!", 1, O_APPEND, 0), 1);
        /* Pages that are written back know their place. */
        assert_int_equal(client_write(&client, fh, 0, "j", 1, O_APPEND, FUSE_WRITE_CACHE), 1);
        assert_int_equal(client_read(&client, FUSE_READ, fh, 0, got, 16), 6);
        assert_string_equal(got, "jello!");

        assert_true(client_open(&client, FUSE_OPEN, nodeid, O_WRONLY | O_TRUNC, &fh) > 0);
        assert_int_equal(client_read(&client, FUSE_READ, fh, 0, got, 16), -EBADF);
        assert_true(client_open(&client, FUSE_OPEN, nodeid, O_RDONLY | O_DIRECT | O_CREAT | O_EXCL | O_PATH, &fh) > 0);
        assert_int_equal(client_read(&client, FUSE_READ, fh, 0, got, 16), 0);
        assert_int_equal(client_open(&client, FUSE_OPEN, nodeid, O_ACCMODE, &fh), -EINVAL);
        client_end(&client);
}

struct create_out {
        struct fuse_entry_out entry;
        struct fuse_open_out open;
};

static ssize_t create(struct client *client, const char *name, uint32_t flags, struct create_out *out)
{
        const struct fuse_create_in in = {.flags = flags, .mode = S_IFREG | 0640};

        return client_call(client, FUSE_CREATE, FUSE_ROOT_ID, BODY(START(in), .name = name), out, sizeof(*out));
}

static void test_create(void **state)
{
        struct client client;
        struct create_out out, again;
        uint64_t nodeid;

        (void)state;
        client_begin(&client, NULL);
        assert_int_equal(create(&client, "a", O_RDWR | O_CREAT | O_EXCL, &out), sizeof(out));
        assert_int_equal(out.entry.attr.mode, S_IFREG | 0640);
        assert_int_equal(client_write(&client, out.open.fh, 0, "abc", 3, 0, 0), 3);
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_int_equal(nodeid, out.entry.nodeid);

        assert_int_equal(create(&client, "a", O_RDWR | O_CREAT | O_EXCL, &again), -EEXIST);
        assert_int_equal(create(&client, "a", O_RDWR | O_CREAT, &again), sizeof(again));
        assert_int_equal(again.entry.nodeid, nodeid);
        assert_int_equal(again.entry.attr.size, 3);
        assert_int_equal(create(&client, "a", O_RDWR | O_CREAT | O_TRUNC, &again), sizeof(again));
        assert_int_equal(client_read(&client, FUSE_READ, again.open.fh, 0, &out, 4), 0);

        assert_int_equal(mkdirat(client.share_fd, "d", 0755), 0);
        assert_int_equal(create(&client, "d", O_RDWR | O_CREAT, &again), -EISDIR);
        assert_int_equal(mkfifoat(client.share_fd, "p", 0755), 0);
        assert_int_equal(create(&client, "p", O_RDONLY | O_CREAT, &again), -ENXIO);
        assert_int_equal(symlinkat("../outside/made", client.share_fd, "l"), 0);
        assert_int_equal(create(&client, "l", O_RDWR | O_CREAT, &again), -ELOOP);
        client_end(&client);
}

/* Made for the caller, who may use a group's rights that we don't know of; and afterwards we are ourselves. */
static void test_credentials(void **state)
{
        struct client client;
        const struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 0600};
        const struct fuse_mkdir_in mkdir_in = {.mode = 0700};
        struct create_out out;
        struct fuse_entry_out entry;
        uint64_t nodeid;

        (void)state;
        if (geteuid() != 0)
                skip();
        client_begin(&client, NULL);
        assert_int_equal(client_call_as(&client, 1234, 5678, FUSE_CREATE, FUSE_ROOT_ID, BODY(START(in), .name = "a"),
                                        &out, sizeof(out)),
                         sizeof(out));
        assert_int_equal(out.entry.attr.uid, 1234);
        assert_int_equal(out.entry.attr.gid, 5678);
        assert_true(client_call_as(&client, 1234, 5678, FUSE_MKDIR, FUSE_ROOT_ID, BODY(START(mkdir_in), .name = "d"),
                                   &entry, sizeof(entry)) > 0);
        assert_int_equal(entry.attr.uid, 1234);
        nodeid = entry.nodeid;
        assert_true(client_call_as(&client, 4321, 5, FUSE_SYMLINK, nodeid, BODY(.name = "l", .second_name = "x"),
                                   &entry, sizeof(entry)) > 0);
        assert_int_equal(entry.attr.uid, 4321);
        assert_int_equal(client_call_as(&client, UINT32_MAX, 5, FUSE_MKDIR, nodeid, BODY(START(mkdir_in), .name = "e"),
                                        &entry, sizeof(entry)),
                         -EPERM);
        assert_true(client_call(&client, FUSE_MKDIR, FUSE_ROOT_ID, BODY(START(mkdir_in), .name = "mine"), &entry,
                                sizeof(entry)) > 0);
        assert_int_equal(entry.attr.uid, 0);
        assert_int_equal(entry.attr.gid, getegid());
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

/* All entries, @size bytes of answer at a time. With @nodeids, one lookup for each entry that has one is given back. */
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

        (void)state;
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

static void test_space(void **state)
{
        struct client client;
        struct fuse_statfs_out statfs;
        struct fuse_lseek_out lseek_out;
        struct fuse_write_out copied;
        struct create_out a, b;
        char got[4] = "";

        (void)state;
        client_begin(&client, NULL);
        assert_int_equal(client_call(&client, FUSE_STATFS, FUSE_ROOT_ID, NULL, &statfs, sizeof(statfs)),
                         sizeof(statfs));
        assert_true(statfs.st.bsize > 0);
        assert_int_equal(create(&client, "a", O_RDWR, &a), sizeof(a));
        assert_int_equal(create(&client, "b", O_RDWR, &b), sizeof(b));

        struct fuse_fallocate_in fallocate_in = {.fh = a.open.fh, .length = 8192};

        assert_int_equal(client_call(&client, FUSE_FALLOCATE, 0, BODY(START(fallocate_in)), NULL, 0), 0);
        fallocate_in.mode = FALLOC_FL_COLLAPSE_RANGE;
        assert_int_equal(client_call(&client, FUSE_FALLOCATE, 0, BODY(START(fallocate_in)), NULL, 0), -EOPNOTSUPP);
        fallocate_in = (struct fuse_fallocate_in){.fh = a.open.fh, .offset = 8, .length = INT64_MAX};
        assert_int_equal(client_call(&client, FUSE_FALLOCATE, 0, BODY(START(fallocate_in)), NULL, 0), -EINVAL);
        assert_int_equal(client_write(&client, a.open.fh, 4096, "xyz", 3, 0, 0), 3);

        struct fuse_lseek_in lseek_in = {.fh = a.open.fh, .offset = 100, .whence = SEEK_DATA};

        assert_true(client_call(&client, FUSE_LSEEK, 0, BODY(START(lseek_in)), &lseek_out, sizeof(lseek_out)) > 0);
        lseek_in.offset = 5000;
        lseek_in.whence = SEEK_HOLE;
        assert_true(client_call(&client, FUSE_LSEEK, 0, BODY(START(lseek_in)), &lseek_out, sizeof(lseek_out)) > 0);
        assert_int_equal(lseek_out.offset, 8192);
        lseek_in.whence = SEEK_SET;
        assert_int_equal(client_call(&client, FUSE_LSEEK, 0, BODY(START(lseek_in)), &lseek_out, sizeof(lseek_out)),
                         -EINVAL);

        struct fuse_copy_file_range_in copy = {
                .fh_in = a.open.fh, .off_in = 4096, .fh_out = b.open.fh, .len = UINT64_MAX};

        assert_true(client_call(&client, FUSE_COPY_FILE_RANGE, 0, BODY(START(copy)), &copied, sizeof(copied)) > 0);
        assert_int_equal(copied.size, 4096);
        assert_int_equal(client_read(&client, FUSE_READ, b.open.fh, 0, got, 3), 3);
        assert_string_equal(got, "xyz");
        client_end(&client);
}

static void test_readonly(void **state)
{
        struct client client;
        const struct fuse_mkdir_in mkdir_in = {.mode = 0755};
        const struct fuse_setattr_in setattr = {.valid = FATTR_MODE, .mode = 0};
        struct fuse_entry_out entry;
        struct create_out out;
        struct fuse_attr_out attr;
        char got[8] = "";
        uint64_t nodeid, fh;

        (void)state;
        client_begin(&client, &(struct fs_options){.readonly = true});
        client_make_file(&client, "a", "hello");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_int_equal(client_open(&client, FUSE_OPEN, nodeid, O_RDWR, &fh), -EROFS);
        assert_int_equal(client_open(&client, FUSE_OPEN, nodeid, O_RDONLY | O_TRUNC, &fh), -EROFS);
        assert_true(client_open(&client, FUSE_OPEN, nodeid, O_RDONLY, &fh) > 0);
        assert_int_equal(client_read(&client, FUSE_READ, fh, 0, got, 8), 5);
        assert_string_equal(got, "hello");
        assert_int_equal(client_write(&client, fh, 0, "x", 1, 0, 0), -EROFS);
        assert_int_equal(create(&client, "a", O_RDONLY, &out), -EROFS);
        assert_int_equal(client_call(&client, FUSE_MKDIR, FUSE_ROOT_ID, BODY(START(mkdir_in), .name = "d"), &entry,
                                     sizeof(entry)),
                         -EROFS);
        assert_int_equal(client_call(&client, FUSE_UNLINK, FUSE_ROOT_ID, BODY(.name = "a"), NULL, 0), -EROFS);
        assert_int_equal(client_call(&client, FUSE_SETATTR, nodeid, BODY(START(setattr)), &attr, sizeof(attr)), -EROFS);
        client_end(&client);
}

static void test_reset(void **state)
{
        struct client client;
        uint64_t nodeid, fh, again;

        (void)state;
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
                counted_test(test_init),    counted_test(test_lookup),        counted_test(test_attributes),
                counted_test(test_setattr), counted_test(test_setattr_owner), counted_test(test_setattr_symlink),
                counted_test(test_names),   counted_test(test_mknod),         counted_test(test_read_write),
                counted_test(test_append),  counted_test(test_create),        counted_test(test_credentials),
                counted_test(test_readdir), counted_test(test_space),         counted_test(test_readonly),
                counted_test(test_reset),
        };

        return run_counted("fs", tests);
}
