/* SPDX-License-Identifier: BSD-2-Clause */

/* A guest that looks up, opens and forgets all day long, and leaves nothing behind. */

#include "base/cleanup.h"
#include "devices/fs/test-requests.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
        LOOKUPS = 50000,
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
        LOOKUPS = 50000,
#else
        LOOKUPS = 1000000,
#endif
#else
        LOOKUPS = 1000000,
#endif
        FILES = 16,
};

/* How many descriptors may be parked, one for each file; none else may stay. */
static const int slack = FILES;

/* What a round has looked up, for BATCH_FORGET. */
struct looked_up {
        struct fuse_forget_one ones[2 * FILES];
        uint32_t n;
        unsigned lookups;
};

static void add(struct looked_up *looked_up, uint64_t node)
{
        assert_true(looked_up->n < ARRAY_SIZE(looked_up->ones));
        looked_up->ones[looked_up->n++] = (struct fuse_forget_one){node, 1};
        looked_up->lookups++;
}

static void forget(struct client *client, struct looked_up *looked_up)
{
        const struct fuse_batch_forget_in in = {.count = looked_up->n};

        client_call(client, FUSE_BATCH_FORGET, 0,
                    BODY(START(in), .data = looked_up->ones, .data_size = looked_up->n * sizeof(looked_up->ones[0])),
                    NULL, 0);
        looked_up->n = 0;
}

static const char *name_of(unsigned i)
{
        static char name[16];

        snprintf(name, sizeof(name), "f%u", i);
        return name;
}

static void look_up_all(struct client *client, struct looked_up *looked_up)
{
        for (unsigned i = 0; i < FILES; i++)
                add(looked_up, client_node(client, FUSE_ROOT_ID, name_of(i)));
        for (unsigned i = 0; i < FILES; i++)
                add(looked_up, client_node(client, FUSE_ROOT_ID, name_of(i)));
}

static void open_some(struct client *client, const struct looked_up *looked_up, unsigned round)
{
        for (unsigned i = 0; i < 4; i++) {
                const uint64_t node = looked_up->ones[(round + i) % looked_up->n].nodeid;
                const uint64_t fh = client_handle(client, node, i % 2 ? O_RDWR : O_RDONLY);

                assert_int_equal(client_release(client, FUSE_RELEASE, fh), 0);
        }
}

static void list(struct client *client, struct looked_up *looked_up)
{
        static char got[32768];
        uint64_t fh;

        assert_true(client_open(client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, &fh) > 0);

        ssize_t size = client_read(client, FUSE_READDIRPLUS, fh, 0, got, sizeof(got));

        assert_true(size > 0);
        for (ssize_t at = 0; at < size;) {
                const struct fuse_direntplus *plus = (const void *)(got + at);

                if (plus->entry_out.nodeid)
                        add(looked_up, plus->entry_out.nodeid);
                at += (ssize_t)FUSE_DIRENTPLUS_SIZE(plus);
        }
        assert_int_equal(client_release(client, FUSE_RELEASEDIR, fh), 0);
}

static void create_and_unlink(struct client *client, struct looked_up *looked_up)
{
        struct test_created created;

        assert_true(request_create(client, (struct test_user){getuid(), getgid()}, FUSE_ROOT_ID, "new", O_RDWR, 0600,
                                   &created) > 0);
        assert_int_equal(request_unlink(client, FUSE_ROOT_ID, "new"), 0);
        assert_int_equal(client_release(client, FUSE_RELEASE, created.open.fh), 0);
        add(looked_up, created.entry.nodeid);
        assert_int_equal(client_lookup(client, FUSE_ROOT_ID, "new", NULL), -ENOENT);
        looked_up->lookups++;
}

/* One after the other forgotten before it is looked up again, so that it is never known. */
static void look_up_unknown(struct client *client, struct looked_up *looked_up)
{
        for (unsigned i = 0; i < 2 * FILES; i++) {
                client_forget(client, client_node(client, FUSE_ROOT_ID, name_of(i % FILES)), 1);
                looked_up->lookups++;
        }
}

static void check(enum fs_handles handles, unsigned lookups)
{
        struct looked_up looked_up = {.n = 0};
        struct client client;

        client_begin(&client, &(struct fs_options){.file_handles = handles, .max_open = 1000});
        client.chunk = 65536;
        for (unsigned i = 0; i < FILES; i++)
                client_make_file(&client, name_of(i), "text");

        const int before = client_fds();

        for (unsigned round = 0; looked_up.lookups < lookups; round++) {
                look_up_all(&client, &looked_up);
                open_some(&client, &looked_up, round);
                forget(&client, &looked_up);
                if (round % 8 == 0)
                        create_and_unlink(&client, &looked_up);
                if (round % 8 == 4)
                        list(&client, &looked_up);
                forget(&client, &looked_up);
                look_up_unknown(&client, &looked_up);
                if (round % 1024 == 0)
                        assert_int_equal(client_fds(), before);
        }
        assert_int_equal(client_fds(), before);
        /* With everything known, it is no more than that, and what is parked. */
        look_up_all(&client, &looked_up);
        open_some(&client, &looked_up, 0);
        assert_true(client_fds() <= before + FILES + slack);
        forget(&client, &looked_up);
        assert_int_equal(client_fds(), before);
        client_end(&client);
}

static void test_descriptors(void **state)
{
        (void)state;
        check(FS_HANDLES_PREFER, LOOKUPS);
}

static void test_handles(void **state)
{
        (void)state;
        if (geteuid() != 0)
                skip();
        check(FS_HANDLES_MANDATORY, LOOKUPS / 10);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_descriptors),
                counted_test(test_handles),
        };

        return run_counted("fs-many", tests);
}
