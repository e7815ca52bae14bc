/* SPDX-License-Identifier: BSD-2-Clause */

/* Several threads handle one guest's requests, while another process changes the directory. */

#include "base/cleanup.h"
#include "devices/fs/test/test-client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
        ROUNDS = 20000,
        THREADS = 3,
        MANY = 150, /* files, more than descriptors */
};

static const char *const names[] = {"a", "b", "c"};

struct worker {
        pthread_t thread;
        struct client *client;
        unsigned number;
        unsigned failures; /* cmocka's asserts work on its own thread only */
};

static void start(struct worker *workers, unsigned n, struct client *client, void *(*run)(void *))
{
        for (unsigned i = 0; i < n; i++) {
                workers[i] = (struct worker){.client = client, .number = i};
                assert_int_equal(pthread_create(&workers[i].thread, NULL, run, &workers[i]), 0);
        }
}

static unsigned join(struct worker *workers, unsigned n)
{
        unsigned failures = 0;

        for (unsigned i = 0; i < n; i++) {
                pthread_join(workers[i].thread, NULL);
                failures += workers[i].failures;
        }
        return failures;
}

static bool is_one_of(ssize_t r, ssize_t a, ssize_t b)
{
        return r >= 0 || r == a || r == b;
}

static void *look_and_forget(void *userdata)
{
        struct worker *worker = userdata;
        struct client *client = worker->client;

        for (unsigned i = 0; i < ROUNDS / THREADS; i++) {
                const char *name = names[(i + worker->number) % ARRAY_SIZE(names)];
                const struct fuse_create_in in = {.flags = O_RDWR | O_CREAT, .mode = S_IFREG | 0600};
                struct {
                        struct fuse_entry_out entry;
                        struct fuse_open_out open;
                } out;
                uint64_t nodeid, fh;
                ssize_t r;

                r = client_call(client, FUSE_CREATE, FUSE_ROOT_ID, BODY(START(in), .name = name), &out, sizeof(out));
                if (r > 0) {
                        worker->failures += client_write(client, out.open.fh, 0, name, 1, 0, 0) != 1;
                        worker->failures += client_release(client, FUSE_RELEASE, out.open.fh) != 0;
                        client_forget(client, out.entry.nodeid, 1);
                }
                worker->failures += !is_one_of(r, -ENOENT, -EEXIST);
                r = client_lookup(client, FUSE_ROOT_ID, name, &nodeid);
                worker->failures += !is_one_of(r, -ENOENT, -ENOENT);
                if (r > 0) {
                        /* The lookup keeps the node, whatever other threads forget; its file may be removed. */
                        r = client_open(client, FUSE_OPEN, nodeid, O_RDONLY, &fh);
                        worker->failures += !is_one_of(r, -ESTALE, -ESTALE);
                        worker->failures += r > 0 && client_release(client, FUSE_RELEASE, fh) < 0;
                        client_forget(client, nodeid, 1);
                }
                r = client_call(client, FUSE_UNLINK, FUSE_ROOT_ID, BODY(.name = name), NULL, 0);
                worker->failures += !is_one_of(r, -ENOENT, -ENOENT);
        }
        return NULL;
}

static void test_lookup_forget_unlink(void **state)
{
        struct worker workers[THREADS];
        struct client client;

        client_begin(&client, NULL);

        int before = client_fds();

        start(workers, THREADS, &client, look_and_forget);
        assert_int_equal(join(workers, THREADS), 0);
        assert_int_equal(client_fds(), before);
        client_end(&client);
}

/* One thread forgets nodes that another one is using: the guest's fault, and at most an error. */
static void *use_while_forgotten(void *userdata)
{
        struct worker *worker = userdata;
        struct client *client = worker->client;

        for (unsigned i = 0; i < ROUNDS; i++) {
                const struct fuse_getattr_in in = {0};
                struct fuse_attr_out out;
                uint64_t nodeid, fh;

                if (client_lookup(client, FUSE_ROOT_ID, "a", &nodeid) < 0)
                        worker->failures++;
                ssize_t r = client_call(client, FUSE_GETATTR, nodeid, BODY(START(in)), &out, sizeof(out));

                worker->failures += !is_one_of(r, -ESTALE, -ESTALE);
                r = client_open(client, FUSE_OPEN, nodeid, O_RDONLY, &fh);
                worker->failures += !is_one_of(r, -ESTALE, -ESTALE);
                if (r > 0)
                        worker->failures += client_release(client, FUSE_RELEASE, fh) < 0;
                client_forget(client, nodeid, UINT64_MAX);
        }
        return NULL;
}

static void test_forgotten_in_use(void **state)
{
        struct worker workers[THREADS];
        struct client client;

        client_begin(&client, NULL);
        client_make_file(&client, "a", "");

        int before = client_fds();

        start(workers, THREADS, &client, use_while_forgotten);
        assert_int_equal(join(workers, THREADS), 0);
        assert_int_equal(client_fds(), before);
        client_end(&client);
}

/* Swaps the directory "d" with a link to the outside, again and again. */
static atomic_bool swapping;

static void *swap_directory(void *userdata)
{
        struct worker *worker = userdata;

        while (swapping)
                worker->failures +=
                        renameat2(worker->client->share_fd, "d", worker->client->share_fd, "l", RENAME_EXCHANGE) != 0;
        return NULL;
}

static void look_for_secret(struct client *client, unsigned *entered)
{
        const struct fuse_mkdir_in in = {.mode = 0700};
        struct fuse_entry_out out;
        uint64_t directory;

        if (client_lookup(client, FUSE_ROOT_ID, "d", &directory) < 0)
                return;

        ssize_t r = client_lookup(client, directory, "secret", NULL);

        assert_true(r == -ENOENT || r == -ENOTDIR);
        *entered += r == -ENOENT;
        r = client_call(client, FUSE_MKDIR, directory, BODY(START(in), .name = "made"), &out, sizeof(out));
        if (r > 0) {
                client_forget(client, out.nodeid, 1);
                r = client_call(client, FUSE_RMDIR, directory, BODY(.name = "made"), NULL, 0);
                assert_int_equal(r, 0);
        }
        client_forget(client, directory, 1);
}

static void test_swapped_for_link(void **state)
{
        struct worker swapper;
        struct client client;
        struct stat stat;
        unsigned entered = 0;

        client_begin(&client, NULL);
        client_make_file(&client, "../outside/secret", "secret");
        assert_int_equal(mkdirat(client.share_fd, "d", 0700), 0);
        assert_int_equal(symlinkat("../outside", client.share_fd, "l"), 0);
        swapping = true;
        start(&swapper, 1, &client, swap_directory);
        for (unsigned i = 0; i < ROUNDS; i++)
                look_for_secret(&client, &entered);
        swapping = false;
        assert_int_equal(join(&swapper, 1), 0);
        assert_true(entered > 0);
        assert_int_equal(fstatat(client.share_fd, "../outside/made", &stat, 0), -1);
        client_end(&client);
}

/* All threads map, remap and unmap the same few places, each with its own file. */
static void *map_and_unmap(void *userdata)
{
        struct worker *worker = userdata;
        struct client *client = worker->client;
        uint64_t nodeid;

        if (client_lookup(client, FUSE_ROOT_ID, names[worker->number], &nodeid) < 0) {
                worker->failures++;
                return NULL;
        }
        for (unsigned i = 0; i < ROUNDS; i++) {
                const uint64_t page = 4096, place = (i * 7 + worker->number) % 16 * page;

                if (client_setupmapping(client, nodeid, 0, page * (1 + (uint64_t)i % 3), place, 1) < 0)
                        worker->failures++;
                if (i % 2 && client_removemapping(client, place / 2, page * 4) < 0)
                        worker->failures += place / 2 % page == 0;
        }
        return NULL;
}

static void test_window(void **state)
{
        struct worker workers[THREADS];
        struct client client;

        client_begin(&client, &(struct fs_options){.window_size = 128 << 10});
        for (unsigned i = 0; i < THREADS; i++)
                client_make_file(&client, names[i], "");
        start(workers, THREADS, &client, map_and_unmap);
        assert_int_equal(join(workers, THREADS), 0);
        assert_int_equal(client_removemapping(&client, 0, UINT64_MAX), 0);
        assert_int_equal(client.window.n_live, 0);
        client_end(&client);
}

/* The node's descriptor may be taken back at any moment. */
static void *use_while_spared(void *userdata)
{
        struct worker *worker = userdata;
        struct client *client = worker->client;
        char name[16];

        for (unsigned i = 0; i < ROUNDS / THREADS; i++) {
                const unsigned file = (i * 7 + worker->number) % MANY;
                uint64_t nodeid, fh;

                snprintf(name, sizeof(name), "%u", file);
                if (client_lookup(client, FUSE_ROOT_ID, name, &nodeid) < 0) {
                        worker->failures++;
                        continue;
                }
                if (client_open(client, FUSE_OPEN, nodeid, O_RDONLY, &fh) > 0) {
                        char got[16] = "";

                        client_read(client, FUSE_READ, fh, 0, got, sizeof(got));
                        worker->failures += strcmp(got, name) != 0;
                        worker->failures += client_release(client, FUSE_RELEASE, fh) != 0;
                } else {
                        worker->failures++;
                }
                if (i % 3 == 0)
                        client_forget(client, nodeid, 1);
        }
        return NULL;
}

static void test_descriptors_taken_back(void **state)
{
        struct worker workers[THREADS];
        struct client client;
        uint64_t nodeid;
        char name[16];

        if (geteuid() != 0)
                skip();
        client_begin(&client, &(struct fs_options){
                                      .file_handles = FS_HANDLES_PREFER, .max_open = 2 * MANY / 3, .no_parked = true});
        for (unsigned i = 0; i < MANY; i++) {
                snprintf(name, sizeof(name), "%u", i);
                client_make_file(&client, name, name);
        }
        /* So many files are open that there is never room for those that are only known. */
        assert_true(client_lookup(&client, FUSE_ROOT_ID, "0", &nodeid) > 0);
        start(workers, THREADS, &client, use_while_spared);
        for (unsigned i = 0; i < 2 * MANY / 3 - 4 * THREADS; i++)
                client_open(&client, FUSE_OPEN, nodeid, O_RDONLY, NULL);
        assert_int_equal(join(workers, THREADS), 0);
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_lookup_forget_unlink),   counted_test(test_forgotten_in_use),
                counted_test(test_swapped_for_link),       counted_test(test_window),
                counted_test(test_descriptors_taken_back),
        };

        return run_counted("fs-race", tests);
}
