/* SPDX-License-Identifier: BSD-2-Clause */

/* SETUPMAPPING and REMOVEMAPPING, against a window that records them. */

#include "base/cleanup.h"
#include "devices/fs/test/test-client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
        READ_FLAG = FUSE_SETUPMAPPING_FLAG_READ,
        WRITE_FLAG = FUSE_SETUPMAPPING_FLAG_WRITE,
};

static const uint64_t PAGE = 4096, RANGE = 2 << 20, WINDOW = 8 << 20;

static void begin(struct client *client, bool readonly, uint64_t *a, uint64_t *b)
{
        client_begin(client, &(struct fs_options){.window_size = WINDOW, .readonly = readonly});
        /* INIT has probed the front-end. */
        assert_int_equal(client->window.maps, 2);
        assert_int_equal(client->window.n_live, 0);
        client->window.maps = client->window.unmaps = client->window.waits = 0;
        client_make_file(client, "a", "hello");
        client_make_file(client, "b", "");
        assert_true(client_lookup(client, FUSE_ROOT_ID, "a", a) > 0);
        assert_true(client_lookup(client, FUSE_ROOT_ID, "b", b) > 0);
}

static void test_init(void **state)
{
        struct client client;
        struct fuse_entry_out out;
        uint64_t a, b;

        begin(&client, false, &a, &b);
        assert_true(client.flags & FUSE_MAP_ALIGNMENT);
        assert_true(client.flags & FUSE_HAS_INODE_DAX);
        assert_int_equal(1 << client.map_alignment, sysconf(_SC_PAGESIZE));
        assert_true(client_call(&client, FUSE_LOOKUP, FUSE_ROOT_ID, BODY(.name = "a"), &out, sizeof(out)) > 0);
        assert_true(out.attr.flags & FUSE_ATTR_DAX);
        client_end(&client);
}

/* A guest that maps all files keeps them mapped from one open to the next; one that may read some does not. */
static void test_what_is_kept_at_an_open(void **state)
{
        static const struct {
                enum fs_cache cache;
                uint64_t dax_from, window_size, offered;
                bool kept;
        } rows[] = {
                {FS_CACHE_AUTO, 0, 8 << 20, FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX, true},
                {FS_CACHE_AUTO, 0, 8 << 20, FUSE_MAP_ALIGNMENT, true},
                {FS_CACHE_METADATA, 0, 8 << 20, FUSE_MAP_ALIGNMENT, true},
                {FS_CACHE_NEVER, 0, 8 << 20, FUSE_MAP_ALIGNMENT, true},
                {FS_CACHE_AUTO, 4096, 8 << 20, FUSE_MAP_ALIGNMENT, true},
                {FS_CACHE_AUTO, 4096, 8 << 20, FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX, false},
                {FS_CACHE_AUTO, 0, 8 << 20, 0, false},
                {FS_CACHE_AUTO, 0, 0, FUSE_MAP_ALIGNMENT | FUSE_HAS_INODE_DAX, false},
        };

        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                const struct fuse_open_in open_in = {.flags = O_RDONLY};
                struct fuse_open_out open;
                struct client client;

                client_begin(&client, &(struct fs_options){.cache = rows[i].cache,
                                                           .dax_from = rows[i].dax_from,
                                                           .window_size = rows[i].window_size});
                assert_true(client_init_as(&client, FUSE_INIT_EXT | rows[i].offered) > 0);
                client_make_file(&client, "a", "hello");

                uint64_t a;

                assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &a) > 0);
                client_call(&client, FUSE_OPEN, a, BODY(START(open_in)), &open, sizeof(open));
                assert_int_equal((open.open_flags & FOPEN_KEEP_CACHE) != 0, rows[i].kept);
                client_call(&client, FUSE_OPENDIR, FUSE_ROOT_ID, BODY(START(open_in)), &open, sizeof(open));
                assert_int_equal(open.open_flags & FOPEN_KEEP_CACHE, 0);
                client_end(&client);
        }
}

/* A mapping that was set up for reading can be written already. */
static void test_read_then_write(void **state)
{
        struct client client;
        uint64_t a, b;

        begin(&client, false, &a, &b);
        assert_int_equal(client_setupmapping(&client, a, RANGE, RANGE, RANGE, READ_FLAG), 0);
        assert_int_equal(client.window.maps, 1);
        assert_true(client.window.last_writable);
        assert_int_equal(client.window.offsets[0], RANGE);
        assert_int_equal(client.window.live[0].start, RANGE);
        assert_int_equal(client.window.live[0].size, RANGE);
        assert_int_equal(client_setupmapping(&client, a, RANGE, RANGE, RANGE, READ_FLAG | WRITE_FLAG), 0);
        assert_int_equal(client_setupmapping(&client, a, RANGE + PAGE, PAGE, RANGE + PAGE, WRITE_FLAG), 0);
        assert_int_equal(client.window.maps, 1);
        assert_int_equal(client.window.unmaps, 0);
        client_end(&client);
}

static void test_replace(void **state)
{
        struct client client;
        uint64_t a, b;

        begin(&client, false, &a, &b);
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG), 0);
        assert_int_equal(client_setupmapping(&client, b, 0, RANGE, 0, READ_FLAG), 0);
        assert_int_equal(client.window.unmaps, 1);
        assert_int_equal(client.window.maps, 2);
        /* The same file from another offset. */
        assert_int_equal(client_setupmapping(&client, b, RANGE, RANGE, 0, READ_FLAG), 0);
        assert_int_equal(client.window.unmaps, 2);
        assert_int_equal(client.window.offsets[0], RANGE);
        /* Over the ends of two mappings. */
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, RANGE, READ_FLAG), 0);
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, RANGE / 2, READ_FLAG), 0);
        assert_int_equal(client.window.unmaps, 4);
        assert_int_equal(client.window.n_live, 1);
        client_end(&client);
}

static void test_remove(void **state)
{
        struct client client;
        uint64_t a, b;

        begin(&client, false, &a, &b);
        for (unsigned i = 0; i < 200; i++)
                assert_int_equal(client_setupmapping(&client, a, 0, PAGE, i * PAGE, READ_FLAG), 0);
        assert_int_equal(client_removemapping(&client, 200 * PAGE, PAGE), 0);
        assert_int_equal(client.window.unmaps, 0);
        assert_int_equal(client_removemapping(&client, 3 * PAGE, 100), 0);
        assert_int_equal(client.window.unmaps, 1);
        client.window.most_outstanding = 0;
        assert_int_equal(client_removemapping(&client, 0, WINDOW), 0);
        assert_int_equal(client.window.unmaps, 200);
        assert_int_equal(client.window.n_live, 0);
        /* As many as allowed are submitted at once. */
        assert_int_equal(client.window.most_outstanding, FS_WINDOW_BATCH);
        assert_int_equal(client.window.waits, 400);

        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG), 0);
        assert_int_equal(client_removemapping(&client, RANGE / 2, UINT64_MAX), 0);
        assert_int_equal(client.window.n_live, 0);
        client_end(&client);
}

static void test_remove_many(void **state)
{
        const struct fuse_removemapping_in in = {.count = 100};
        struct fuse_removemapping_one ones[100];
        struct client client;
        uint64_t a, b;

        begin(&client, false, &a, &b);
        for (unsigned i = 0; i < 100; i++) {
                assert_int_equal(client_setupmapping(&client, a, 0, PAGE, PAGE * i * 2, READ_FLAG), 0);
                ones[i] = (struct fuse_removemapping_one){PAGE * i * 2, PAGE};
        }
        client.window.most_outstanding = 0;
        assert_int_equal(client_call(&client, FUSE_REMOVEMAPPING, a,
                                     BODY(START(in), .data = ones, .data_size = sizeof(ones)), NULL, 0),
                         0);
        assert_int_equal(client.window.n_live, 0);
        assert_int_equal(client.window.most_outstanding, FS_WINDOW_BATCH);
        client_end(&client);
}

static void test_failures(void **state)
{
        struct client client;
        uint64_t a, b;

        begin(&client, false, &a, &b);
        client.window.fail_submit = -ENOSPC;
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG), -ENOSPC);
        client.window.fail_submit = 0;
        client.window.fail_wait = -EIO;
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG), -EIO);
        client.window.fail_wait = 0;
        /* Neither has left a mapping that would have to be unmapped, or that counts. */
        assert_int_equal(client_removemapping(&client, 0, WINDOW), 0);
        assert_int_equal(client.window.unmaps, 0);
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG), 0);
        assert_int_equal(client.window.n_live, 1);
        /* An unmap that fails is over nevertheless. */
        client.window.fail_wait = -EIO;
        assert_int_equal(client_removemapping(&client, 0, RANGE), 0);
        client.window.fail_wait = 0;
        assert_int_equal(client_removemapping(&client, 0, RANGE), 0);
        assert_int_equal(client.window.unmaps, 1);
        /* So is one that can't be submitted: another try would not help. */
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG), 0);
        client.window.fail_submit = -EPIPE;
        assert_int_equal(client_removemapping(&client, 0, RANGE), 0);
        client.window.fail_submit = 0;
        assert_int_equal(client_removemapping(&client, 0, RANGE), 0);
        assert_int_equal(client.window.unmaps, 1);
        client_end(&client);
}

static void test_readonly(void **state)
{
        struct client client;
        uint64_t a, b;

        begin(&client, true, &a, &b);
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG), 0);
        assert_false(client.window.last_writable);
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG), 0);
        assert_int_equal(client.window.maps, 1);
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG | WRITE_FLAG), -EROFS);
        assert_int_equal(client.window.n_live, 1);
        client_end(&client);
}

/* A running program can only be mapped for reading; when it has ended, that mapping is replaced by a writable one. */
static void test_busy_program(void **state)
{
        struct client client;
        uint64_t a, b, running;
        pid_t pid;

        begin(&client, false, &a, &b);
        pid = client_run_program(&client, "running");
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "running", &running) > 0);
        assert_int_equal(client_setupmapping(&client, running, 0, RANGE, 0, READ_FLAG), 0);
        assert_false(client.window.last_writable);
        assert_int_equal(client_setupmapping(&client, running, 0, RANGE, 0, WRITE_FLAG), -ETXTBSY);
        assert_int_equal(client.window.n_live, 1);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        assert_int_equal(client_setupmapping(&client, running, 0, RANGE, 0, WRITE_FLAG), 0);
        assert_true(client.window.last_writable);
        assert_int_equal(client.window.unmaps, 1);
        client_end(&client);
}

static void test_refused(void **state)
{
        const struct {
                uint64_t file_offset, size, window_offset, flags;
        } cases[] = {
                {0, 0, 0, READ_FLAG},                           /* empty */
                {0, PAGE, 100, READ_FLAG},                      /* unaligned */
                {100, PAGE, 0, READ_FLAG},                      /* unaligned */
                {0, PAGE, WINDOW, READ_FLAG},                   /* outside */
                {0, WINDOW + 1, 0, READ_FLAG},                  /* partly outside */
                {0, 2 * PAGE, WINDOW - PAGE, READ_FLAG},        /* partly outside */
                {0, UINT64_MAX, PAGE, READ_FLAG},               /* overflows when rounded */
                {0, UINT64_MAX - PAGE + 1, PAGE, READ_FLAG},    /* ends at 0 */
                {INT64_MAX - PAGE + 1, 2 * PAGE, 0, READ_FLAG}, /* beyond the largest file */
                {UINT64_MAX - PAGE + 1, PAGE, 0, READ_FLAG},
                {0, PAGE, 0, 4}, /* unknown flag */
        };
        struct client client;
        uint64_t a, b, link;

        begin(&client, false, &a, &b);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
                assert_int_equal(client_setupmapping(&client, a, cases[i].file_offset, cases[i].size,
                                                     cases[i].window_offset, cases[i].flags),
                                 -EINVAL);
        assert_int_equal(client_setupmapping(&client, FUSE_ROOT_ID, 0, PAGE, 0, READ_FLAG), -EINVAL);
        assert_int_equal(symlinkat("a", client.share_fd, "link"), 0);
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "link", &link) > 0);
        assert_int_equal(client_setupmapping(&client, link, 0, PAGE, 0, READ_FLAG), -EINVAL);
        client_forget(&client, a, 1);
        assert_int_equal(client_setupmapping(&client, a, 0, PAGE, 0, READ_FLAG), -ESTALE);

        assert_int_equal(client_removemapping(&client, 0, 0), -EINVAL);
        assert_int_equal(client_removemapping(&client, 100, PAGE), -EINVAL);
        assert_int_equal(client_removemapping(&client, WINDOW, PAGE), -EINVAL);
        assert_int_equal(client.window.maps + client.window.unmaps, 0);
        client_end(&client);
}

static void test_remove_lies(void **state)
{
        const uint32_t counts[] = {0, 2, 1000000, UINT32_MAX, 0x10000001};
        const struct fuse_removemapping_one one = {.len = PAGE};
        struct client client;
        uint64_t a, b;

        begin(&client, false, &a, &b);
        for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
                const struct fuse_removemapping_in in = {.count = counts[i]};

                assert_int_equal(client_call(&client, FUSE_REMOVEMAPPING, a,
                                             BODY(START(in), .data = &one, .data_size = sizeof(one)), NULL, 0),
                                 -EINVAL);
        }
        /* A million that are in the request. */
        const struct fuse_removemapping_in in = {.count = 1000000};
        struct fuse_removemapping_one *many = calloc(in.count, sizeof(*many));

        for (uint32_t i = 0; many && i < in.count; i++)
                many[i].len = PAGE;

        assert_non_null(many);
        client.chunk = 1 << 20;
        assert_int_equal(client_call(&client, FUSE_REMOVEMAPPING, a,
                                     BODY(START(in), .data = many, .data_size = in.count * sizeof(*many)), NULL, 0),
                         -EINVAL);
        free(many);
        client_end(&client);
}

/* Which files dax=inode maps. */
static void test_marked_from(void **state)
{
        static const struct {
                const char *name, *content;
                bool marked;
        } files[] = {{"none", "", false}, {"short", "abc", false}, {"enough", "abcd", true}, {"more", "abcde", true}};
        struct client client;

        client_begin(&client, &(struct fs_options){.window_size = WINDOW, .dax_from = 4});
        for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
                struct fuse_entry_out out;

                client_make_file(&client, files[i].name, files[i].content);
                assert_true(client_call(&client, FUSE_LOOKUP, FUSE_ROOT_ID, BODY(.name = files[i].name), &out,
                                        sizeof(out)) > 0);
                assert_int_equal(out.attr.flags & FUSE_ATTR_DAX, files[i].marked ? FUSE_ATTR_DAX : 0);
        }
        client_end(&client);
}

static void test_no_window(void **state)
{
        struct client client;

        client_begin(&client, NULL);
        assert_int_equal(client_setupmapping(&client, FUSE_ROOT_ID, 0, PAGE, 0, READ_FLAG), -ENOSYS);
        assert_int_equal(client_removemapping(&client, 0, PAGE), -ENOSYS);
        client_end(&client);
}

static void test_session_ends(void **state)
{
        struct client client;
        uint64_t a, b;

        begin(&client, false, &a, &b);
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG), 0);
        assert_int_equal(client_call(&client, FUSE_DESTROY, 0, NULL, NULL, 0), 0);
        assert_int_equal(client.window.n_live, 0);

        /* After a device reset the mappings are gone already. */
        assert_true(client_init(&client) > 0);
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "a", &a) > 0);
        assert_int_equal(client_setupmapping(&client, a, 0, RANGE, 0, READ_FLAG), 0);
        fs_reset(client.fs);
        client.window.n_live = 0;
        assert_true(client_init(&client) > 0);
        /* One at the end of the first session, and four probes. */
        assert_int_equal(client.window.unmaps, 5);
        client_end(&client);
}

static void test_options(void **state)
{
        struct fs *fs;

        assert_int_equal(fs_new(&(struct fs_options){.shared_dir = "/tmp", .window_size = PAGE}, -1, &fs), -EINVAL);
        assert_int_equal(
                fs_new(&(struct fs_options){.shared_dir = "/tmp", .window_size = 100, .window_ops = &test_window_ops},
                       -1, &fs),
                -EINVAL);
        assert_int_equal(fs_new(&(struct fs_options){.shared_dir = "/dev/null"}, -1, &fs), -ENOTDIR);
        assert_int_equal(fs_new(&(struct fs_options){.shared_dir = "/nonexistent"}, -1, &fs), -ENOENT);
        fs_free(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_init),
                counted_test(test_read_then_write),
                counted_test(test_replace),
                counted_test(test_remove),
                counted_test(test_remove_many),
                counted_test(test_failures),
                counted_test(test_readonly),
                counted_test(test_busy_program),
                counted_test(test_refused),
                counted_test(test_remove_lies),
                counted_test(test_no_window),
                counted_test(test_session_ends),
                counted_test(test_options),
                counted_test(test_marked_from),
                counted_test(test_what_is_kept_at_an_open),
        };

        return run_counted("fs-window", tests);
}
