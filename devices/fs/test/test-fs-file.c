/* SPDX-License-Identifier: BSD-2-Clause */

/* A well-behaved guest that works on the contents of files. */

#include "base/cleanup.h"
#include "devices/fs/test/test-client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

        /* Beyond the size of any file; -1 does not mean "the current position". */
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

        client_begin(&client, NULL);
        client_make_file(&client, "a", "hello");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &nodeid) > 0);
        assert_true(client_open(&client, FUSE_OPEN, nodeid, O_RDWR | O_APPEND, &fh) > 0);
        assert_int_equal(client_write(&client, fh, 0, "!", 1, O_APPEND, 0), 1);
        /* Pages that are written back go to their own offset. */
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

/* Made for the caller, who may have rights by a group that is unknown here; afterwards the thread is itself again. */
static void test_credentials(void **state)
{
        struct client client;
        const struct fuse_create_in in = {.flags = O_RDWR, .mode = S_IFREG | 0600};
        const struct fuse_mkdir_in mkdir_in = {.mode = 0700};
        struct create_out out;
        struct fuse_entry_out entry;
        uint64_t nodeid;

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

static void test_space(void **state)
{
        struct client client;
        struct fuse_statfs_out statfs;
        struct fuse_lseek_out lseek_out;
        struct fuse_write_out copied;
        struct create_out a, b;
        char got[4] = "";

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

        static const uint64_t nowhere[] = {UINT64_MAX, UINT64_MAX - 4095, UINT64_C(1) << 63, INT64_MAX, 1 << 20};

        for (size_t i = 0; i < ARRAY_SIZE(nowhere) * 2; i++) {
                lseek_in.offset = nowhere[i / 2];
                lseek_in.whence = i % 2 ? SEEK_DATA : SEEK_HOLE;
                assert_int_equal(
                        client_call(&client, FUSE_LSEEK, 0, BODY(START(lseek_in)), &lseek_out, sizeof(lseek_out)),
                        -ENXIO);
        }

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

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_read_write),  counted_test(test_append), counted_test(test_create),
                counted_test(test_credentials), counted_test(test_space),  counted_test(test_readonly),
        };

        return run_counted("fs-file", tests);
}
