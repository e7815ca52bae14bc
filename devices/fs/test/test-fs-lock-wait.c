/* SPDX-License-Identifier: BSD-2-Clause */

/* Requests that wait for locks. */

#include "base/cleanup.h"
#include "devices/fs/test/test-lock.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define LOCKS ((struct fs_options){.posix_lock = true, .flock = true})

static uint64_t begin(struct lock_guest *guest, struct fs_options options, bool polls)
{
        lock_guest_begin(guest, options, polls);
        client_make_file(&guest->client, "f", "");
        return client_node(&guest->client, FUSE_ROOT_ID, "f");
}

/* Without periodic retries: every release of a lock wakes the waiting requests. */
static void test_granted_when_free(void **state)
{
        struct lock_guest guest;
        struct lock_request request;

        const uint64_t f = begin(&guest, LOCKS, false), fh = client_handle(&guest.client, f, O_RDWR);
        const struct fuse_flush_in flush = {.fh = fh, .lock_owner = 1};

        for (int i = 0; i < 4; i++) {
                assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 10, 19)), 0);
                assert_int_equal(lock_wait(&guest, &request, NULL, 1000, f, lock_part(2, F_WRLCK, WHOLE)),
                                 -EINPROGRESS);
                usleep(10000);
                assert_false(atomic_load(&request.done));
                if (i == 0)
                        assert_int_equal(lock_set(&guest, f, lock_part(1, F_UNLCK, WHOLE)), 0);
                else if (i == 1)
                        assert_int_equal(lock_set(&guest, f, lock_part(1, F_UNLCK, 10, 19)), 0);
                else if (i == 2)
                        assert_int_equal(client_call(&guest.client, FUSE_FLUSH, f, BODY(START(flush)), NULL, 0), 0);
                else
                        assert_int_equal(lock_set(&guest, f, lock_part(1, F_UNLCK, 0, 19)), 0);
                assert_int_equal(lock_answer(&request), 0);
                assert_int_equal(lock_set(&guest, f, lock_part(1, F_RDLCK, 0, 0)), -EAGAIN);
                assert_int_equal(lock_set(&guest, f, lock_part(2, F_UNLCK, WHOLE)), 0);
        }
        /* A free lock is granted at once. */
        assert_int_equal(lock_wait(&guest, &request, NULL, 1001, f, lock_part(2, F_WRLCK, WHOLE)), 0);
        lock_guest_end(&guest);
}

static void test_weaker_is_enough(void **state)
{
        struct lock_guest guest;
        struct lock_request request;

        const uint64_t f = begin(&guest, LOCKS, false), a = client_handle(&guest.client, f, O_RDWR),
                       b = client_handle(&guest.client, f, O_RDWR);

        assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, WHOLE)), 0);
        assert_int_equal(lock_wait(&guest, &request, NULL, 1, f, lock_part(2, F_RDLCK, WHOLE)), -EINPROGRESS);
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_RDLCK, WHOLE)), 0);
        assert_int_equal(lock_answer(&request), 0);

        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_WRLCK)), 0);
        assert_int_equal(lock_wait(&guest, &request, NULL, 2, f, lock_flock(b, F_RDLCK)), -EINPROGRESS);
        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_RDLCK)), 0);
        assert_int_equal(lock_answer(&request), 0);
        lock_guest_end(&guest);
}

static void test_flock(void **state)
{
        struct lock_guest guest;
        struct lock_request request;

        const uint64_t f = begin(&guest, LOCKS, false), b = client_handle(&guest.client, f, O_RDWR);

        for (int i = 0; i < 2; i++) {
                const uint64_t a = client_handle(&guest.client, f, O_RDWR);

                assert_int_equal(lock_set(&guest, f, lock_flock(a, F_WRLCK)), 0);
                assert_int_equal(lock_wait(&guest, &request, NULL, 7, f, lock_flock(b, F_WRLCK)), -EINPROGRESS);
                usleep(10000);
                assert_false(atomic_load(&request.done));
                if (i == 0)
                        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_UNLCK)), 0);
                assert_int_equal(client_release(&guest.client, FUSE_RELEASE, a), 0);
                assert_int_equal(lock_answer(&request), 0);
                assert_int_equal(lock_host_try(&guest.client, "f", 0, F_RDLCK, 0, 0), EAGAIN);
                assert_int_equal(lock_set(&guest, f, lock_flock(b, F_UNLCK)), 0);
        }
        /* Released while it waits: its answer comes nevertheless, and the lock ends with the handle. */
        const uint64_t a = client_handle(&guest.client, f, O_RDWR);

        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_WRLCK)), 0);
        assert_int_equal(lock_wait(&guest, &request, NULL, 8, f, lock_flock(b, F_WRLCK)), -EINPROGRESS);
        assert_int_equal(client_release(&guest.client, FUSE_RELEASE, b), 0);
        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_UNLCK)), 0);
        assert_int_equal(lock_answer(&request), 0);
        assert_int_equal(lock_host_try(&guest.client, "f", 0, F_WRLCK, 0, 0), 0);
        lock_guest_end(&guest);
}

/* Another thread of the waiting process closes the file, or unlocks all of it: a lock that is granted later is held
 * nevertheless. */
static void test_let_go_while_waiting(void **state)
{
        struct lock_guest guest;
        struct lock_request request;

        const uint64_t f = begin(&guest, LOCKS, false), fh = client_handle(&guest.client, f, O_RDWR);
        const struct fuse_flush_in flush = {.fh = fh, .lock_owner = 2};
        const int before = client_fds();

        for (int i = 0; i < 2; i++) {
                assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 10, 19)), 0);
                assert_int_equal(lock_set(&guest, f, lock_part(2, F_WRLCK, 20, 29)), 0);
                assert_int_equal(lock_wait(&guest, &request, NULL, 9, f, lock_part(2, F_WRLCK, 10, 19)), -EINPROGRESS);
                if (i == 0)
                        assert_int_equal(client_call(&guest.client, FUSE_FLUSH, f, BODY(START(flush)), NULL, 0), 0);
                else
                        assert_int_equal(lock_set(&guest, f, lock_part(2, F_UNLCK, WHOLE)), 0);
                assert_false(atomic_load(&request.done));
                assert_int_equal(lock_set(&guest, f, lock_part(3, F_WRLCK, 20, 29)), 0);
                assert_int_equal(lock_set(&guest, f, lock_part(1, F_UNLCK, WHOLE)), 0);
                assert_int_equal(lock_answer(&request), 0);
                assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_WRLCK, 10, 10), EAGAIN);
                assert_int_equal(lock_set(&guest, f, lock_part(1, F_RDLCK, 10, 10)), -EAGAIN);
                for (uint64_t owner = 1; owner < 4; owner++)
                        assert_int_equal(lock_set(&guest, f, lock_part(owner, F_UNLCK, WHOLE)), 0);
                assert_int_equal(lock_host_try(&guest.client, "f", F_SETLK, F_WRLCK, 0, 0), 0);
                assert_int_equal(client_fds(), before);
        }
        lock_guest_end(&guest);
}

static void test_host_gives_back(void **state)
{
        struct lock_guest guest;
        struct lock_request part, whole;

        const uint64_t f = begin(&guest, LOCKS, true), fh = client_handle(&guest.client, f, O_RDWR);
        struct lock_host posix = lock_host_begin(&guest.client, "f", F_SETLK, F_WRLCK, 0, 0),
                         flock = lock_host_begin(&guest.client, "f", 0, F_WRLCK, 0, 0);

        assert_int_equal(lock_wait(&guest, &part, NULL, 1, f, lock_part(2, F_RDLCK, WHOLE)), -EINPROGRESS);
        assert_int_equal(lock_wait(&guest, &whole, NULL, 2, f, lock_flock(fh, F_RDLCK)), -EINPROGRESS);
        usleep(20000);
        assert_false(atomic_load(&part.done) || atomic_load(&whole.done));
        lock_host_end(&flock);
        assert_int_equal(lock_answer(&whole), 0);
        assert_false(atomic_load(&part.done));
        lock_host_end(&posix);
        assert_int_equal(lock_answer(&part), 0);
        lock_guest_end(&guest);
}

static void test_interrupt(void **state)
{
        struct lock_guest guest;
        struct lock_request request;

        const uint64_t f = begin(&guest, LOCKS, false);
        const int before = client_fds();

        assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, WHOLE)), 0);
        assert_int_equal(lock_wait(&guest, &request, NULL, 10, f, lock_part(2, F_WRLCK, WHOLE)), -EINPROGRESS);
        lock_interrupt(&guest, 11);
        assert_false(atomic_load(&request.done));
        lock_interrupt(&guest, 10);
        assert_true(atomic_load(&request.done));
        assert_int_equal(lock_answer(&request), -EINTR);
        lock_interrupt(&guest, 10);

        /* Before it has begun to wait; other requests are not interrupted. */
        lock_interrupt(&guest, 20);
        assert_int_equal(lock_wait(&guest, &request, NULL, 20, f, lock_part(2, F_WRLCK, WHOLE)), -EINTR);
        assert_int_equal(lock_wait(&guest, &request, NULL, 21, f, lock_part(2, F_WRLCK, WHOLE)), -EINPROGRESS);
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_UNLCK, WHOLE)), 0);
        assert_int_equal(lock_answer(&request), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_UNLCK, WHOLE)), 0);
        assert_int_equal(client_fds(), before);
        lock_guest_end(&guest);
}

/* Request numbers begin again with a session. */
static void test_interrupt_of_last_session(void **state)
{
        struct lock_guest guest;
        struct lock_request request;

        begin(&guest, LOCKS, false);
        lock_interrupt(&guest, 10);
        for (int i = 0; i < 2; i++) {
                if (i == 0)
                        fs_reset(guest.client.fs);
                assert_true(client_init(&guest.client) > 0);

                const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f");

                assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, WHOLE)), 0);
                assert_int_equal(lock_wait(&guest, &request, NULL, 10, f, lock_part(2, F_WRLCK, WHOLE)), -EINPROGRESS);
                lock_interrupt(&guest, 10);
                assert_int_equal(lock_answer(&request), -EINTR);
                lock_interrupt(&guest, 10);
        }
        lock_guest_end(&guest);
}

static void test_ends_of_session(void **state)
{
        struct lock_guest guest;
        struct lock_request requests[2];
        int queues[2];

        begin(&guest, LOCKS, false);
        for (int i = 0; i < 4; i++) {
                const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f");

                assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, WHOLE)), 0);
                for (uint64_t j = 0; j < 2; j++)
                        assert_int_equal(lock_wait(&guest, &requests[j], &queues[j], 30 + j, f,
                                                   lock_part(2 + j, F_WRLCK, WHOLE)),
                                         -EINPROGRESS);
                if (i == 0) {
                        fs_give_up_locks(guest.client.fs, &queues[1]);
                        assert_int_equal(lock_answer(&requests[1]), -ENOLCK);
                        assert_false(atomic_load(&requests[0].done));
                        fs_give_up_locks(guest.client.fs, &queues[1]);
                        assert_false(atomic_load(&requests[0].done));
                }
                if (i == 1)
                        assert_int_equal(client_call(&guest.client, FUSE_DESTROY, 0, NULL, NULL, 0), 0);
                else if (i < 3)
                        fs_reset(guest.client.fs);
                if (i < 3)
                        assert_true(atomic_load(&requests[0].done));
                assert_true(client_init(&guest.client) > 0);
                assert_int_equal(lock_answer(&requests[0]), -ENOLCK);
                assert_int_equal(lock_answer(&requests[1]), -ENOLCK);
        }
        lock_guest_end(&guest);
}

/* A guest can have as many locks as descriptors; all waiting requests are granted. */
static void test_many(void **state)
{
        enum {
                MAX = 40,
        };
        struct lock_guest guest;
        static struct lock_request requests[MAX];
        struct fs_options options = LOCKS;
        unsigned n = 0;
        ssize_t r;

        options.max_open = MAX;

        const uint64_t f = begin(&guest, options, false);
        const int before = client_fds();

        assert_int_equal(lock_set(&guest, f, lock_part(1000, F_WRLCK, WHOLE)), 0);
        while ((r = lock_wait(&guest, &requests[n], NULL, 100 + n, f, lock_part(n, F_RDLCK, WHOLE))) == -EINPROGRESS)
                assert_true(++n < MAX);
        assert_int_equal(r, -ENOLCK);
        /* The root and the file use the rest. */
        assert_int_equal(n, MAX - 3);
        assert_int_equal(client_fds(), before + (int)n + 1);
        assert_int_equal(lock_set(&guest, f, lock_part(n, F_WRLCK, WHOLE)), -ENOLCK);
        /* Known owners can still lock and unlock. */
        assert_int_equal(lock_set(&guest, f, lock_part(1000, F_UNLCK, WHOLE)), 0);
        for (unsigned i = 0; i < n; i++) {
                assert_int_equal(lock_answer(&requests[i]), 0);
                assert_int_equal(lock_set(&guest, f, lock_part(i, F_UNLCK, WHOLE)), 0);
        }
        assert_int_equal(client_fds(), before);

        /* The same handle waits many times. */
        const uint64_t a = client_handle(&guest.client, f, O_RDWR), b = client_handle(&guest.client, f, O_RDWR);

        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_WRLCK)), 0);
        for (unsigned i = 0; i < MAX; i++)
                assert_int_equal(lock_wait(&guest, &requests[i], NULL, i, f, lock_flock(b, F_WRLCK)), -EINPROGRESS);
        for (unsigned i = 0; i < MAX; i += 2) {
                lock_interrupt(&guest, i);
                assert_int_equal(lock_answer(&requests[i]), -EINTR);
        }
        assert_int_equal(lock_set(&guest, f, lock_flock(a, F_UNLCK)), 0);
        for (unsigned i = 1; i < MAX; i += 2)
                assert_int_equal(lock_answer(&requests[i]), 0);
        lock_guest_end(&guest);
}

/* Without options.answered nothing waits. */
static void test_cannot_wait(void **state)
{
        struct client client;
        const struct fuse_lk_in first = lock_part(1, F_WRLCK, WHOLE), second = lock_part(2, F_WRLCK, WHOLE);

        client_begin(&client, &LOCKS);
        client_make_file(&client, "f", "");

        const uint64_t f = client_node(&client, FUSE_ROOT_ID, "f");

        assert_int_equal(client_call(&client, FUSE_SETLKW, f, BODY(START(first)), NULL, 0), 0);
        assert_int_equal(client_call(&client, FUSE_SETLKW, f, BODY(START(second)), NULL, 0), -EAGAIN);
        client_end(&client);
}

enum {
        THREADS = 4,
        ROUNDS = 300,
};

struct contender {
        pthread_t thread;
        struct lock_guest *guest;
        uint64_t f, number;
        atomic_uint *inside;
        unsigned failures;
};

static void *contend(void *userdata)
{
        struct contender *contender = userdata;
        static _Thread_local struct lock_request request;

        for (unsigned i = 0; i < ROUNDS; i++) {
                const uint64_t unique = (contender->number + 1) * 1000000 + i;
                ssize_t r = lock_wait(contender->guest, &request, NULL, unique, contender->f,
                                      lock_part(contender->number, F_WRLCK, WHOLE));

                for (int j = 0; r == -EINPROGRESS && j < 100000 && !atomic_load(&request.done); j++)
                        usleep(100);
                contender->failures += r == -EINPROGRESS ? !atomic_load(&request.done) : r != 0;
                contender->failures += request.answer.error != 0;
                contender->failures += atomic_fetch_add(contender->inside, 1) != 0;
                atomic_fetch_sub(contender->inside, 1);
                contender->failures +=
                        lock_set(contender->guest, contender->f, lock_part(contender->number, F_UNLCK, WHOLE)) != 0;
        }
        return NULL;
}

/* Whichever comes first, an unlock or the decision to wait: no request is lost, and no two have the lock. */
static void test_contention(void **state)
{
        struct contender contenders[THREADS];
        struct lock_guest guest;
        atomic_uint inside = 0;

        const uint64_t f = begin(&guest, LOCKS, false);
        const int before = client_fds();

        for (uint64_t i = 0; i < THREADS; i++) {
                contenders[i] = (struct contender){.guest = &guest, .f = f, .number = i, .inside = &inside};
                assert_int_equal(pthread_create(&contenders[i].thread, NULL, contend, &contenders[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++)
                pthread_join(contenders[i].thread, NULL);
        for (unsigned i = 0; i < THREADS; i++)
                assert_int_equal(contenders[i].failures, 0);
        assert_int_equal(client_fds(), before);
        lock_guest_end(&guest);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_granted_when_free),
                counted_test(test_weaker_is_enough),
                counted_test(test_flock),
                counted_test(test_let_go_while_waiting),
                counted_test(test_host_gives_back),
                counted_test(test_interrupt),
                counted_test(test_interrupt_of_last_session),
                counted_test(test_ends_of_session),
                counted_test(test_many),
                counted_test(test_cannot_wait),
                counted_test(test_contention),
        };

        return run_counted("fs-lock-wait", tests);
}
