/* SPDX-License-Identifier: BSD-2-Clause */

/* The guest's locks, which are shared with the host. */

#include "base/cleanup.h"
#include "devices/fs/test/test-lock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define LOCKS ((struct fs_options){.posix_lock = true, .flock = true})

static void test_not_offered(void **state)
{
        static const uint32_t opcodes[] = {FUSE_GETLK, FUSE_SETLK, FUSE_SETLKW};
        struct client client;
        struct fuse_lk_out out;

        for (int i = 0; i < 4; i++) {
                const struct fs_options options = {.posix_lock = i & 1, .flock = i & 2};

                client_begin(&client, &options);
                client_make_file(&client, "f", "");

                const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f");
                const struct fuse_lk_in part = lock_part(1, F_RDLCK, WHOLE),
                                        whole = lock_flock(client_handle(&client, f, O_RDWR), F_RDLCK);

                assert_int_equal(!(client.flags & FUSE_POSIX_LOCKS), !options.posix_lock);
                assert_int_equal(!(client.flags & FUSE_FLOCK_LOCKS), !options.flock);
                for (size_t j = 0; j < ARRAY_SIZE(opcodes); j++) {
                        ssize_t r = client_call(&client, opcodes[j], f, BODY(START(part)), &out, sizeof(out));

                        assert_int_equal(r < 0 ? r : 0, options.posix_lock ? 0 : -ENOSYS);
                        r = client_call(&client, opcodes[j], f, BODY(START(whole)), &out, sizeof(out));
                        if (opcodes[j] != FUSE_GETLK)
                                assert_int_equal(r, options.flock ? 0 : -ENOSYS);
                }
                client_end(&client);
        }
}

static void test_owners(void **state)
{
        struct lock_guest guest;
        struct fuse_file_lock found;

        lock_guest_begin(&guest, LOCKS, false);
        client_make_file(&guest.client, "f", "");

        const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f");
        const int before = client_fds();

        assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 0, 99)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_RDLCK, 99, 200)), -EAGAIN);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_WRLCK, 100, 200)), 0);
        assert_true(lock_get(&guest, f, lock_part(2, F_RDLCK, 50, 99), &found) > 0);
        assert_int_equal(found.type, F_WRLCK);
        assert_int_equal(found.start, 0);
        assert_int_equal(found.end, 99);
        assert_int_equal(found.pid, 0);
        /* An owner's own lock does not conflict. */
        assert_true(lock_get(&guest, f, lock_part(1, F_WRLCK, 0, 99), &found) > 0);
        assert_int_equal(found.type, F_UNLCK);

        /* A part is released, and the rest stays. */
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_UNLCK, 40, 49)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_WRLCK, 40, 49)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_WRLCK, 39, 39)), -EAGAIN);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_WRLCK, 50, 50)), -EAGAIN);
        assert_int_equal(lock_set(&guest, f, lock_part(3, F_UNLCK, WHOLE)), 0);

        /* All of it, up to a file's largest offset. */
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_UNLCK, WHOLE)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_UNLCK, WHOLE)), 0);
        assert_int_equal(client_fds(), before);
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 1000, INT64_MAX)), 0);
        assert_true(lock_get(&guest, f, lock_part(2, F_WRLCK, INT64_MAX, INT64_MAX), &found) > 0);
        assert_int_equal(found.start, 1000);
        assert_int_equal(found.end, INT64_MAX);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_WRLCK, INT64_MAX - 1, INT64_MAX - 1)), -EAGAIN);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_WRLCK, 0, 999)), 0);
        lock_guest_end(&guest);
}

static void test_upgrades(void **state)
{
        struct lock_guest guest;

        lock_guest_begin(&guest, LOCKS, false);
        client_make_file(&guest.client, "f", "");

        const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f");

        assert_int_equal(lock_set(&guest, f, lock_part(1, F_RDLCK, 0, 9)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_RDLCK, 0, 9)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 5, 5)), -EAGAIN);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_UNLCK, 5, 5)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 5, 5)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_RDLCK, 5, 5)), -EAGAIN);
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_RDLCK, 5, 5)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_RDLCK, 5, 5)), 0);
        lock_guest_end(&guest);
}

static void check_host_has(struct lock_guest *guest, uint64_t f, int command)
{
        struct fuse_file_lock found;
        struct lock_host host = lock_host_begin(&guest->client, "f", command, F_WRLCK, 10, 10);

        assert_int_equal(lock_set(guest, f, lock_part(1, F_RDLCK, 0, 10)), -EAGAIN);
        assert_int_equal(lock_set(guest, f, lock_part(1, F_RDLCK, 0, 9)), 0);
        assert_true(lock_get(guest, f, lock_part(2, F_RDLCK, 0, INT64_MAX), &found) > 0);
        assert_int_equal(found.type, F_WRLCK);
        assert_int_equal(found.start, 10);
        assert_int_equal(found.end, 19);
        /* A process of the host has no pid in the guest. */
        assert_int_equal(found.pid, 0);
        lock_host_end(&host);
        assert_int_equal(lock_set(guest, f, lock_part(1, F_WRLCK, 0, 10)), 0);
        assert_int_equal(lock_host_try(&guest->client, "f", command, F_RDLCK, 5, 1), EAGAIN);
        assert_int_equal(lock_host_try(&guest->client, "f", command, F_WRLCK, 11, 1), 0);
        assert_int_equal(lock_set(guest, f, lock_part(1, F_UNLCK, WHOLE)), 0);
        assert_int_equal(lock_set(guest, f, lock_part(2, F_UNLCK, WHOLE)), 0);
        assert_int_equal(lock_host_try(&guest->client, "f", command, F_WRLCK, 0, 0), 0);
}

static void test_host(void **state)
{
        struct lock_guest guest;

        lock_guest_begin(&guest, LOCKS, false);
        client_make_file(&guest.client, "f", "");

        const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f");

        check_host_has(&guest, f, F_SETLK);
        check_host_has(&guest, f, F_OFD_SETLK);
        lock_guest_end(&guest);
}

/* A process that closes a file loses its locks on it, whatever other handles there are; other owners keep theirs. */
static void test_flush(void **state)
{
        struct lock_guest guest;

        lock_guest_begin(&guest, LOCKS, false);
        client_make_file(&guest.client, "f", "");

        const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f"), fh = client_handle(&guest.client, f, O_RDWR),
                       other = client_handle(&guest.client, f, O_RDWR);
        const struct fuse_flush_in flush = {.fh = fh, .lock_owner = 1}, of_none = {.fh = other, .lock_owner = 77};

        assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 0, 9)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_WRLCK, 10, 19)), 0);
        assert_int_equal(client_call(&guest.client, FUSE_FLUSH, f, BODY(START(of_none)), NULL, 0), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_RDLCK, 0, 1), EAGAIN);
        assert_int_equal(client_call(&guest.client, FUSE_FLUSH, f, BODY(START(flush)), NULL, 0), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_WRLCK, 0, 10), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_RDLCK, 10, 1), EAGAIN);
        /* A release alone does not: the owner may have other handles. */
        assert_int_equal(client_release(&guest.client, FUSE_RELEASE, other), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_RDLCK, 10, 1), EAGAIN);
        lock_guest_end(&guest);
}

/* Locks end with the node, and with the session. */
static void test_ends(void **state)
{
        struct lock_guest guest;

        lock_guest_begin(&guest, LOCKS, false);
        client_make_file(&guest.client, "f", "");

        const int before = client_fds();

        for (int i = 0; i < 3; i++) {
                const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f");

                assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 0, 9)), 0);
                assert_int_equal(lock_set(&guest, f, lock_part(2, F_WRLCK, 10, 19)), 0);
                assert_int_equal(lock_set(&guest, f, lock_flock(client_handle(&guest.client, f, O_RDWR), F_WRLCK)), 0);
                assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_RDLCK, 0, 0), EAGAIN);
                assert_int_equal(lock_host_try(&guest.client, "f", 0, F_RDLCK, 0, 0), EAGAIN);
                if (i == 0)
                        client_forget(&guest.client, f, 1);
                if (i == 0)
                        assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_WRLCK, 0, 0), 0);
                if (i < 2)
                        fs_reset(guest.client.fs);
                else
                        assert_int_equal(client_call(&guest.client, FUSE_DESTROY, 0, NULL, NULL, 0), 0);
                assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_WRLCK, 0, 0), 0);
                assert_int_equal(lock_host_try(&guest.client, "f", 0, F_WRLCK, 0, 0), 0);
                assert_int_equal(client_fds(), before);
                assert_true(client_init(&guest.client) > 0);
        }
        lock_guest_end(&guest);
}

static void test_flock(void **state)
{
        struct lock_guest guest;

        lock_guest_begin(&guest, LOCKS, false);
        client_make_file(&guest.client, "f", "");

        const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f"), a = client_handle(&guest.client, f, O_RDONLY),
                       b = client_handle(&guest.client, f, O_RDONLY);

        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_WRLCK)), 0);
        assert_int_equal(lock_set(&guest, f, lock_flock(b, F_RDLCK)), -EAGAIN);
        assert_int_equal(lock_host_try(&guest.client, "f", 0, F_RDLCK, 0, 0), EAGAIN);
        /* The two kinds of locks don't conflict. */
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, WHOLE)), 0);
        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_RDLCK)), 0);
        assert_int_equal(lock_set(&guest, f, lock_flock(b, F_RDLCK)), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", 0, F_RDLCK, 0, 0), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", 0, F_WRLCK, 0, 0), EAGAIN);
        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_UNLCK)), 0);
        assert_int_equal(client_release(&guest.client, FUSE_RELEASE, b), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", 0, F_WRLCK, 0, 0), 0);

        struct lock_host host = lock_host_begin(&guest.client, "f", 0, F_WRLCK, 0, 0);

        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_RDLCK)), -EAGAIN);
        lock_host_end(&host);
        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_RDLCK)), 0);
        assert_int_equal(lock_set(&guest, f, lock_flock(b, F_RDLCK)), -EBADF);
        lock_guest_end(&guest);
}

static void test_nonsense(void **state)
{
        struct lock_guest guest;
        struct fuse_file_lock found;
        const struct fuse_lk_in wrong[] = {
                lock_part(1, F_WRLCK, 10, 9),
                lock_part(1, F_WRLCK, 0, UINT64_MAX),
                lock_part(1, F_WRLCK, UINT64_MAX, UINT64_MAX),
                lock_part(1, F_WRLCK, (uint64_t)INT64_MAX + 1, (uint64_t)INT64_MAX + 2),
                lock_part(1, 77, WHOLE),
                lock_part(1, UINT32_MAX, WHOLE),
                lock_part(1, 65536 + F_WRLCK, WHOLE),
        };

        lock_guest_begin(&guest, LOCKS, false);
        client_make_file(&guest.client, "f", "");
        assert_int_equal(mkfifoat(guest.client.share_fd, "p", 0600), 0);
        assert_int_equal(symlinkat("f", guest.client.share_fd, "l"), 0);

        const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f"), fh = client_handle(&guest.client, f, O_RDWR);
        const int before = client_fds();
        struct lock_request request;

        for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
                assert_int_equal(lock_set(&guest, f, wrong[i]), -EINVAL);
                assert_int_equal(lock_get(&guest, f, wrong[i], &found), -EINVAL);
                assert_int_equal(lock_wait(&guest, &request, NULL, 5000, f, wrong[i]), -EINVAL);
        }
        assert_int_equal(lock_set(&guest, f, lock_flock(fh, 77)), -EINVAL);
        assert_int_equal(lock_set(&guest, f, lock_flock(fh + 1, F_WRLCK)), -EBADF);
        assert_int_equal(lock_host_try(&guest.client, "f", 0, F_WRLCK, 0, 0), 0);
        assert_int_equal(lock_set(&guest, f + 1000, lock_part(1, F_WRLCK, WHOLE)), -ESTALE);
        assert_int_equal(lock_set(&guest, client_node(&guest.client, FUSE_ROOT_ID, "p"), lock_part(1, F_RDLCK, WHOLE)),
                         -ENXIO);
        assert_int_equal(lock_set(&guest, client_node(&guest.client, FUSE_ROOT_ID, "l"), lock_part(1, F_RDLCK, WHOLE)),
                         -ELOOP);
        assert_int_equal(client_fds(), before + 2);
        lock_guest_end(&guest);
}

/* On a read-only share a file can be locked in the ways in which it can be opened. */
static void test_readonly(void **state)
{
        struct lock_guest guest;

        lock_guest_begin(&guest, (struct fs_options){.posix_lock = true, .readonly = true}, false);
        client_make_file(&guest.client, "f", "");

        const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f");

        assert_int_equal(lock_set(&guest, f, lock_part(1, F_RDLCK, WHOLE)), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_WRLCK, 0, 0), EAGAIN);
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, WHOLE)), -EBADF);
        lock_guest_end(&guest);
}

/* The lock of an open file ends with it: Linux names no owner then. A range that another file has locked again stays
 * locked. */
static void test_released(void **state)
{
        struct lock_guest guest;

        lock_guest_begin(&guest, (struct fs_options){.posix_lock = true}, false);
        client_make_file(&guest.client, "f", "");

        const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f"), a = client_handle(&guest.client, f, O_RDWR),
                       b = client_handle(&guest.client, f, O_RDWR);
        const int before = client_fds();
        struct fuse_lk_in in = lock_part(1, F_WRLCK, WHOLE);

        in.fh = a;
        assert_int_equal(lock_set(&guest, f, in), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_RDLCK, 0, 0)), -EAGAIN);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_UNLCK, WHOLE)), 0);
        in.fh = b;
        assert_int_equal(lock_set(&guest, f, in), 0);
        assert_int_equal(client_release(&guest.client, FUSE_RELEASE, a), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_RDLCK, 0, 0), EAGAIN);
        assert_int_equal(client_release(&guest.client, FUSE_RELEASE, b), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_WRLCK, 0, 0), 0);
        assert_int_equal(client_fds(), before - 2);
        lock_guest_end(&guest);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_not_offered), counted_test(test_owners),   counted_test(test_upgrades),
                counted_test(test_host),        counted_test(test_flush),    counted_test(test_ends),
                counted_test(test_flock),       counted_test(test_nonsense), counted_test(test_released),
                counted_test(test_readonly),
        };

        return run_counted("fs-lock", tests);
}
