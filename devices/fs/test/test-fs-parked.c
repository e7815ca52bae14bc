/* SPDX-License-Identifier: BSD-2-Clause */

/* Files that stay open after their release, and all that must not depend on it. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "devices/fs/files/parked.h"
#include "devices/fs/test/test-requests.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static void open_and_release(struct client *client, uint64_t node, uint32_t flags)
{
        assert_int_equal(client_release(client, FUSE_RELEASE, client_handle(client, node, flags)), 0);
}

static uint64_t make(struct client *client, const char *name)
{
        client_make_file(client, name, "text");
        return client_node(client, FUSE_ROOT_ID, name);
}

static void test_stays_open(void **state)
{
        struct client client;

        client_begin(&client, NULL);

        const uint64_t f = make(&client, "f");
        const int before = client_fds();

        open_and_release(&client, f, O_RDONLY);
        assert_int_equal(client_fds(), before + 1);
        /* One for each node. */
        const uint64_t a = client_handle(&client, f, O_RDONLY), b = client_handle(&client, f, O_RDONLY);

        assert_int_equal(client_fds(), before + 2);
        assert_int_equal(client_release(&client, FUSE_RELEASE, a), 0);
        assert_int_equal(client_release(&client, FUSE_RELEASE, b), 0);
        assert_int_equal(client_fds(), before + 1);
        client_forget(&client, f, 1);
        assert_int_equal(client_fds(), before - 1);
        client_end(&client);
}

/* Only on file systems where it is harmless, of which ramfs is not known to be one. */
static void test_local_alone(void **state)
{
        struct client client;

        if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0)
                skip();
        client_begin(&client, NULL);
        assert_int_equal(mkdirat(client.share_fd, "other", 0755), 0);
        assert_int_equal(mount("none", client_path(&client, "other").text, "ramfs", 0, NULL), 0);

        const uint64_t f = make(&client, "f"), other = client_node(&client, FUSE_ROOT_ID, "other");

        client_make_file(&client, "other/f", "text");

        const uint64_t g = client_node(&client, other, "f");
        const int before = client_fds();

        for (int i = 0; i < 2; i++) {
                open_and_release(&client, g, O_RDONLY);
                assert_int_equal(client_fds(), before + i);
                open_and_release(&client, f, O_RDONLY);
                assert_int_equal(client_fds(), before + 1);
        }
        fs_reset(client.fs);
        assert_int_equal(umount(client_path(&client, "other").text), 0);
        client_end(&client);
}

/* Only files that were open for reading and nothing else. */
static void test_others_are_closed(void **state)
{
        static const uint32_t flags[] = {O_WRONLY, O_RDWR, O_RDONLY | O_NOATIME, O_RDONLY | O_SYNC, O_RDONLY | O_TRUNC};
        struct client client;
        struct test_created created;
        uint64_t fh;

        client_begin(&client, NULL);

        const uint64_t f = make(&client, "f");
        const int before = client_fds();

        for (size_t i = 0; i < ARRAY_SIZE(flags); i++) {
                open_and_release(&client, f, flags[i]);
                assert_int_equal(client_fds(), before);
        }
        assert_true(client_open(&client, FUSE_OPENDIR, FUSE_ROOT_ID, 0, &fh) > 0);
        assert_int_equal(client_release(&client, FUSE_RELEASEDIR, fh), 0);
        assert_int_equal(client_fds(), before);
        assert_true(request_create(&client, test_root, FUSE_ROOT_ID, "g", O_RDONLY, 0600, &created) > 0);
        assert_int_equal(client_release(&client, FUSE_RELEASE, created.open.fh), 0);
        client_forget(&client, created.entry.nodeid, 1);
        assert_int_equal(client_fds(), before);
        client_end(&client);

        /* The descriptor may have a lock. */
        client_begin(&client, &(struct fs_options){.flock = true});
        const uint64_t locked = make(&client, "f");
        const int then = client_fds();

        open_and_release(&client, locked, O_RDONLY);
        assert_int_equal(client_fds(), then);
        client_end(&client);
}

/* A read returns the file's current contents, under any name. */
static void test_contents(void **state)
{
        struct client client;
        char got[16] = "";

        client_begin(&client, NULL);

        const uint64_t f = make(&client, "f");

        open_and_release(&client, f, O_RDONLY);
        client_make_file(&client, "f", "changed");
        uint64_t fh = client_handle(&client, f, O_RDONLY);

        assert_int_equal(client_read(&client, FUSE_READ, fh, 0, got, sizeof(got)), 7);
        assert_string_equal(got, "changed");
        assert_int_equal(client_write(&client, fh, 0, "x", 1, 0, 0), -EBADF);
        assert_int_equal(client_release(&client, FUSE_RELEASE, fh), 0);

        /* Another file in its place is a different one. */
        assert_int_equal(unlinkat(client.share_fd, "f", 0), 0);
        const uint64_t other = make(&client, "f");

        assert_int_not_equal(f, other);
        fh = client_handle(&client, other, O_RDONLY);
        memset(got, 0, sizeof(got));
        assert_int_equal(client_read(&client, FUSE_READ, fh, 0, got, sizeof(got)), 4);
        assert_string_equal(got, "text");
        client_end(&client);
}

static void test_ends_with_the_session(void **state)
{
        struct client client;

        client_begin(&client, NULL);

        const int before = client_fds();

        open_and_release(&client, make(&client, "f"), O_RDONLY);
        fs_reset(client.fs);
        assert_int_equal(client_fds(), before);
        assert_true(client_init(&client) > 0);
        open_and_release(&client, make(&client, "f"), O_RDONLY);
        assert_int_equal(client_call(&client, FUSE_DESTROY, 0, NULL, NULL, 0), 0);
        assert_int_equal(client_fds(), before);
        client_end(&client);
}

/* There is room for 1024; the oldest make room for new ones. */
static void test_many(void **state)
{
        enum {
                PARKED = 1024, /* a quarter of the descriptors */
                FILES = PARKED + 200,
        };
        static uint64_t nodes[FILES];
        struct client client;
        char name[16];

        client_begin(&client, &(struct fs_options){.max_open = 4 * PARKED});

        const int before = client_fds();

        for (unsigned i = 0; i < FILES; i++) {
                snprintf(name, sizeof(name), "f%u", i);
                nodes[i] = make(&client, name);
                open_and_release(&client, nodes[i], O_RDONLY);
        }
        assert_int_equal(client_fds(), before + FILES + PARKED);
        for (unsigned i = 0; i < FILES; i++)
                open_and_release(&client, nodes[FILES - 1 - i], O_RDONLY);
        assert_int_equal(client_fds(), before + FILES + PARKED);
        for (unsigned i = 0; i < FILES; i++)
                client_forget(&client, nodes[i], 1);
        assert_int_equal(client_fds(), before);
        client_end(&client);
}

/* Parked files take nothing from the descriptors that the guest may hold. */
static void test_room(void **state)
{
        enum {
                MAX = 40,
        };
        struct client client;
        char name[16];
        unsigned n = 0;
        uint64_t node;

        client_begin(&client, &(struct fs_options){.max_open = MAX, .posix_lock = true});

        const uint64_t first = make(&client, "first");

        for (unsigned i = 0; i < 2 * MAX; i++) {
                snprintf(name, sizeof(name), "f%u", i);
                client_make_file(&client, name, "");
                if (client_lookup(&client, FUSE_ROOT_ID, name, &node) < 0)
                        break;
                n++;
                if (client_open(&client, FUSE_OPEN, node, O_RDONLY, &node) > 0)
                        client_release(&client, FUSE_RELEASE, node);
        }
        /* All but the root and the first. */
        assert_int_equal(n, MAX - 2);
        client_forget(&client, client_node(&client, FUSE_ROOT_ID, "f0"), 2);
        /* One is free: handles can have it, again and again, and so can a lock. */
        open_and_release(&client, first, O_RDONLY);
        const uint64_t f1 = client_node(&client, FUSE_ROOT_ID, "f1");

        open_and_release(&client, f1, O_RDONLY);
        open_and_release(&client, first, O_RDONLY);
        const struct fuse_lk_in lock = {.owner = 1, .lk = {.type = F_RDLCK, .end = INT64_MAX}};

        assert_int_equal(client_call(&client, FUSE_SETLK, first, BODY(START(lock)), NULL, 0), 0);
        assert_int_equal(client_open(&client, FUSE_OPEN, first, O_RDONLY, NULL), -ENFILE);
        client_end(&client);
}

/* At most from one check to the second one after it. */
static void test_for_a_short_time(void **state)
{
        struct client client;

        client_begin(&client, NULL);

        const uint64_t f = make(&client, "f"), g = make(&client, "g");
        const int before = client_fds();

        open_and_release(&client, f, O_RDONLY);
        assert_true(fs_expire(client.fs) > 0);
        assert_int_equal(client_fds(), before + 1);
        open_and_release(&client, g, O_RDONLY);
        assert_true(fs_expire(client.fs) > 0);
        assert_int_equal(client_fds(), before + 1);
        /* It was used again. */
        open_and_release(&client, g, O_RDONLY);
        fs_expire(client.fs);
        assert_int_equal(client_fds(), before + 1);
        fs_expire(client.fs);
        assert_int_equal(client_fds(), before);
        /* After that a host program can get a lease. */
        open_and_release(&client, f, O_RDONLY);

        _cleanup_(fd_closep) int fd = openat(client.share_fd, "f", O_RDWR | O_CLOEXEC);

        assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), -1);
        for (int i = 0; i < 2; i++)
                fs_expire(client.fs);
        assert_int_equal(fcntl(fd, F_SETLEASE, F_WRLCK), 0);
        assert_int_equal(fcntl(fd, F_SETLEASE, F_UNLCK), 0);
        /* Without a session nothing is checked, and a session that begins wakes the check. */
        fs_reset(client.fs);
        assert_int_equal(fs_expire(client.fs), -1);
        fd_event_clear(fs_expire_fd(client.fs));
        assert_true(client_init(&client) > 0);
        assert_int_equal(fd_event_clear(fs_expire_fd(client.fs)), 1);
        assert_true(fs_expire(client.fs) > 0);
        assert_int_equal(fd_event_clear(fs_expire_fd(client.fs)), 0);
        open_and_release(&client, make(&client, "f"), O_RDONLY);
        assert_int_equal(fd_event_clear(fs_expire_fd(client.fs)), 1);
        client_end(&client);
}

static void test_limits(void **state)
{
        struct client client;
        char name[16];

        for (unsigned most = 0; most < 3; most++) {
                client_begin(&client, &(struct fs_options){.no_parked = most == 0, .max_parked = most});

                const int before = client_fds();

                for (unsigned i = 0; i < 5; i++) {
                        snprintf(name, sizeof(name), "f%u", i);
                        open_and_release(&client, make(&client, name), O_RDONLY);
                }
                assert_int_equal(client_fds(), before + 5 + (int)most);
                client_end(&client);
        }
}

static void look_at_all(struct client *client)
{
        for (int i = 0; i < 20; i++)
                fs_expire(client->fs);
}

/* A file that the host deletes gives its space back, though the guest still knows it and has had it open. */
static void test_deleted_is_let_go(void **state)
{
        struct client client;
        struct fuse_attr attr;
        uint64_t fh;

        client_begin(&client, &(struct fs_options){.posix_lock = true, .cache = FS_CACHE_ALWAYS});

        const int before = client_fds();
        const uint64_t f = make(&client, "f"), kept = make(&client, "kept"), open = make(&client, "open");

        assert_int_equal(mkdirat(client.share_fd, "d", 0700), 0);

        const uint64_t d = client_node(&client, FUSE_ROOT_ID, "d");
        const ino_t number = client_stat(&client, "f").st_ino;

        open_and_release(&client, f, O_RDONLY);
        fh = client_handle(&client, open, O_RDWR);
        assert_int_equal(unlinkat(client.share_fd, "f", 0), 0);
        assert_int_equal(unlinkat(client.share_fd, "open", 0), 0);
        assert_int_equal(unlinkat(client.share_fd, "d", AT_REMOVEDIR), 0);
        look_at_all(&client);
        /* The other file, the open one twice, and the directory, which may be where a process is. */
        assert_int_equal(client_fds(), before + 4);
        assert_int_equal(request_getattr(&client, f, &attr), -ESTALE);
        assert_int_equal(client_open(&client, FUSE_OPEN, f, O_RDONLY, NULL), -ESTALE);
        assert_true(request_getattr(&client, open, &attr) > 0);
        assert_true(request_getattr(&client, d, &attr) > 0);
        assert_int_equal(client_write(&client, fh, 0, "x", 1, 0, 0), 1);
        assert_int_equal(client_release(&client, FUSE_RELEASE, fh), 0);
        look_at_all(&client);
        assert_int_equal(client_fds(), before + 2);

        /* Another file may have its inode number, and is not forgotten with it. */
        for (int i = 0; i < 1000; i++) {
                client_make_file(&client, "f", "new");
                if (client_stat(&client, "f").st_ino == number)
                        break;
                assert_int_equal(unlinkat(client.share_fd, "f", 0), 0);
        }
        client_make_file(&client, "f", "new");
        if (client_stat(&client, "f").st_ino != number)
                print_message("the file system did not use the inode number again\n");

        const uint64_t new = client_node(&client, FUSE_ROOT_ID, "f");

        assert_int_not_equal(new, f);
        client_forget(&client, f, 1);
        assert_int_equal(client_node(&client, FUSE_ROOT_ID, "f"), new);
        assert_int_equal(client_node(&client, FUSE_ROOT_ID, "kept"), kept);
        look_at_all(&client);
        assert_true(request_getattr(&client, kept, &attr) > 0);
        client_forget(&client, new, 2);
        client_forget(&client, kept, 2);
        client_forget(&client, open, 1);
        client_forget(&client, d, 1);
        assert_int_equal(client_fds(), before);
        client_end(&client);
}

/* All of many deleted files, after some rounds, and no existing one. */
static void test_many_deleted(void **state)
{
        enum { FILES = 1000 };
        static uint64_t nodes[FILES];
        struct client client;
        struct fuse_attr attr;
        char name[16];

        client_begin(&client, NULL);

        const int before = client_fds();

        for (unsigned i = 0; i < FILES; i++) {
                snprintf(name, sizeof(name), "f%u", i);
                nodes[i] = make(&client, name);
                if (i % 2)
                        assert_int_equal(unlinkat(client.share_fd, name, 0), 0);
        }
        look_at_all(&client);
        assert_int_equal(client_fds(), before + FILES / 2);
        for (unsigned i = 0; i < FILES; i++)
                assert_int_equal(request_getattr(&client, nodes[i], &attr) > 0, i % 2 == 0);
        client_end(&client);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_stays_open),
                counted_test(test_local_alone),
                counted_test(test_others_are_closed),
                counted_test(test_contents),
                counted_test(test_ends_with_the_session),
                counted_test(test_many),
                counted_test(test_room),
                counted_test(test_for_a_short_time),
                counted_test(test_limits),
                counted_test(test_deleted_is_let_go),
                counted_test(test_many_deleted),
        };

        return run_counted("fs-parked", tests);
}
