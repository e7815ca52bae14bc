/* SPDX-License-Identifier: BSD-2-Clause */

/* Owners of locks, and deadlocks, which the kernel does not tell for open file descriptions. */

#include "base/cleanup.h"
#include "devices/fs/files/held.h"
#include "devices/fs/test/test-lock.h"
#include "program/sanitized.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define LOCKS ((struct fs_options){.posix_lock = true, .flock = true})

/* ---- held locks ---- */

enum { BYTES = 64, SETTINGS = 200000 };

/* Byte by byte; the last one stands for all behind it. */
struct model {
        short types[BYTES + 1];
};

static void model_set(struct model *model, const struct held_lock *lock)
{
        for (uint64_t i = lock->start; i <= BYTES && i <= lock->last; i++)
                model->types[i] = lock->type;
}

static void compare(const struct model *model, const struct held_locks *held)
{
        size_t runs = 0;

        for (uint64_t i = 0; i <= BYTES; i++) {
                const struct held_lock write = {.start = i, .last = i, .type = F_WRLCK},
                                       read = {.start = i, .last = i, .type = F_RDLCK};
                const struct held_lock *any = held_conflict(held, &write), *written = held_conflict(held, &read);

                assert_int_equal(any ? any->type : F_UNLCK, model->types[i]);
                assert_int_equal(written != NULL, model->types[i] == F_WRLCK);
                runs += model->types[i] != F_UNLCK && (i == 0 || model->types[i] != model->types[i - 1]);
        }
        assert_int_equal(held->n, runs);
        assert_true(held->n <= held->room);
}

static struct held_lock random_lock(void)
{
        static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
        uint64_t a = (uint64_t)rand() % BYTES, b = (uint64_t)rand() % BYTES;

        return (struct held_lock){
                .start = a < b ? a : b,
                .last = rand() % 8 == 0 ? INT64_MAX
                        : a < b         ? b
                                        : a,
                .type = types[rand() % 3],
        };
}

static void test_held(void **state)
{
        struct held_locks held = {0};
        struct model model;

        srand(1);
        model_set(&model, &(struct held_lock){0, BYTES, F_UNLCK, 0});
        for (int i = 0; i < SETTINGS; i++) {
                struct held_lock lock = random_lock();

                assert_int_equal(held_make_room(&held), 0);
                held_set(&held, lock);
                model_set(&model, &lock);
                compare(&model, &held);
        }
        held_clear(&held);
        assert_int_equal(held.n, 0);
}

/* ---- owners ---- */

static struct fuse_lk_in lock_by(uint32_t pid, uint64_t owner, uint32_t type, uint64_t start, uint64_t end)
{
        struct fuse_lk_in in = lock_part(owner, type, start, end);

        in.lk.pid = pid;
        return in;
}

static uint64_t begin(struct lock_guest *guest)
{
        lock_guest_begin(guest, LOCKS, true);
        client_make_file(&guest->client, "f", "");
        client_make_file(&guest->client, "g", "");
        return client_node(&guest->client, FUSE_ROOT_ID, "f");
}

static uint32_t pid_of(struct lock_guest *guest, uint64_t f, uint64_t asking, uint32_t type, uint64_t at)
{
        struct fuse_file_lock found;

        assert_true(lock_get(guest, f, lock_part(asking, type, at, at), &found) > 0);
        return found.type == F_UNLCK ? UINT32_MAX : found.pid;
}

static void test_pids(void **state)
{
        struct lock_guest guest;
        struct lock_request request;

        const uint64_t f = begin(&guest);

        assert_int_equal(lock_set(&guest, f, lock_by(100, 1, F_WRLCK, 10, 19)), 0);
        assert_int_equal(lock_set(&guest, f, lock_by(200, 2, F_RDLCK, 20, 29)), 0);
        assert_int_equal(lock_set(&guest, f, lock_by(300, 3, F_RDLCK, 20, INT64_MAX)), 0);
        assert_int_equal(pid_of(&guest, f, 9, F_RDLCK, 10), 100);
        assert_int_equal(pid_of(&guest, f, 9, F_RDLCK, 20), UINT32_MAX);
        assert_int_equal(pid_of(&guest, f, 2, F_WRLCK, 20), 300);
        assert_int_equal(pid_of(&guest, f, 3, F_WRLCK, 29), 200);
        assert_int_equal(pid_of(&guest, f, 9, F_WRLCK, INT64_MAX), 300);
        assert_int_equal(pid_of(&guest, f, 1, F_WRLCK, 10), UINT32_MAX);

        /* A lock that was waited for, one that another process of the same owner has taken, and one that is given
         * back. */
        assert_int_equal(lock_wait(&guest, &request, NULL, 1, f, lock_by(400, 4, F_WRLCK, 10, 19)), -EINPROGRESS);
        assert_int_equal(lock_set(&guest, f, lock_by(100, 1, F_UNLCK, WHOLE)), 0);
        assert_int_equal(lock_answer(&request), 0);
        assert_int_equal(pid_of(&guest, f, 1, F_WRLCK, 10), 400);
        assert_int_equal(lock_set(&guest, f, lock_by(401, 4, F_WRLCK, 12, 13)), 0);
        assert_int_equal(pid_of(&guest, f, 1, F_WRLCK, 12), 401);
        assert_int_equal(lock_set(&guest, f, lock_by(0, 4, F_UNLCK, 11, 12)), 0);
        assert_int_equal(pid_of(&guest, f, 1, F_WRLCK, 12), UINT32_MAX);

        /* A lock of a process that is not the guest's. */
        struct lock_host host = lock_host_begin(&guest.client, "f", F_SETLK, F_WRLCK, 5, 1);

        assert_int_equal(pid_of(&guest, f, 1, F_WRLCK, 5), 0);
        lock_host_end(&host);
        lock_guest_end(&guest);
}

enum { OWNERS = 3, PLACES = 16, CHANGES = 3000 };

/* For each byte the pid is that of the lock that was granted, whoever asks. */
static void compare_pids(struct lock_guest *guest, uint64_t f, short held[OWNERS][PLACES])
{
        for (uint64_t at = 0; at < PLACES; at++)
                for (uint64_t asking = 0; asking <= OWNERS; asking++) {
                        struct fuse_file_lock found;
                        bool some = false, right = false;

                        assert_true(lock_get(guest, f, lock_part(asking, F_WRLCK, at, at), &found) > 0);
                        for (uint64_t i = 0; i < OWNERS; i++) {
                                bool in_the_way = i != asking && held[i][at] != F_UNLCK;

                                some = some || in_the_way;
                                right = right ||
                                        (in_the_way && found.type == (uint32_t)held[i][at] && found.pid == 100 + i);
                        }
                        assert_int_equal(found.type != F_UNLCK, some);
                        assert_int_equal(right, some);
                }
}

static void test_pids_at_random(void **state)
{
        static const short types[] = {F_RDLCK, F_WRLCK, F_UNLCK};
        short held[OWNERS][PLACES];
        struct lock_guest guest;
        unsigned granted = 0;

        const uint64_t f = begin(&guest);

        srand(2);
        for (unsigned i = 0; i < OWNERS * PLACES; i++)
                held[i / PLACES][i % PLACES] = F_UNLCK;
        for (unsigned i = 0; i < CHANGES; i++) {
                uint64_t owner = (uint64_t)rand() % OWNERS, a = (uint64_t)rand() % PLACES,
                         b = (uint64_t)rand() % PLACES, start = a < b ? a : b, end = a < b ? b : a;
                short type = types[rand() % 3];

                if (lock_set(&guest, f, lock_by((uint32_t)(100 + owner), owner, (uint32_t)type, start, end)) == 0) {
                        for (uint64_t at = start; at <= end; at++)
                                held[owner][at] = type;
                        granted++;
                }
                if (i % 10 == 0)
                        compare_pids(&guest, f, held);
        }
        assert_true(granted > CHANGES / 4);
        lock_guest_end(&guest);
}

/* ---- deadlocks ---- */

static void test_two(void **state)
{
        struct lock_guest guest;
        struct lock_request first, second;

        const uint64_t f = begin(&guest), g = client_node(&guest.client, FUSE_ROOT_ID, "g");
        const int before = client_fds();

        /* In one file, and in two; only the cycle's last request is refused. */
        for (int i = 0; i < 2; i++) {
                const uint64_t other = i == 0 ? f : g;

                assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 0, 0)), 0);
                assert_int_equal(lock_set(&guest, other, lock_part(2, F_WRLCK, 1, 1)), 0);
                assert_int_equal(lock_wait(&guest, &first, NULL, 10, other, lock_part(1, F_RDLCK, 1, 1)), -EINPROGRESS);
                assert_int_equal(lock_wait(&guest, &second, NULL, 11, f, lock_part(2, F_RDLCK, 0, 9)), -EDEADLK);
                assert_false(atomic_load(&first.done));
                assert_int_equal(lock_set(&guest, f, lock_part(2, F_RDLCK, 0, 0)), -EAGAIN);
                assert_int_equal(lock_set(&guest, other, lock_part(2, F_UNLCK, WHOLE)), 0);
                assert_int_equal(lock_answer(&first), 0);
                assert_int_equal(lock_set(&guest, f, lock_part(1, F_UNLCK, WHOLE)), 0);
                assert_int_equal(lock_set(&guest, other, lock_part(1, F_UNLCK, WHOLE)), 0);
                assert_int_equal(lock_set(&guest, f, lock_part(2, F_UNLCK, WHOLE)), 0);
        }
        assert_int_equal(client_fds(), before);
        lock_guest_end(&guest);
}

/* Both have it for reading, and neither can write while the other has it. */
static void test_upgrade(void **state)
{
        struct lock_guest guest;
        struct lock_request request, refused;

        const uint64_t f = begin(&guest);

        assert_int_equal(lock_set(&guest, f, lock_part(1, F_RDLCK, WHOLE)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_RDLCK, WHOLE)), 0);
        assert_int_equal(lock_wait(&guest, &request, NULL, 1, f, lock_part(1, F_WRLCK, WHOLE)), -EINPROGRESS);
        assert_int_equal(lock_wait(&guest, &refused, NULL, 2, f, lock_part(2, F_WRLCK, WHOLE)), -EDEADLK);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_UNLCK, WHOLE)), 0);
        assert_int_equal(lock_answer(&request), 0);
        lock_guest_end(&guest);
}

enum { CHAIN = 50 };

/* Each has a byte and waits for the next one's; the last one waits for the first one's. */
static void test_chain(void **state)
{
        static struct lock_request requests[CHAIN];
        struct lock_guest guest;

        const uint64_t f = begin(&guest);

        for (uint64_t i = 0; i < CHAIN; i++)
                assert_int_equal(lock_set(&guest, f, lock_part(i, F_WRLCK, i, i)), 0);
        for (uint64_t i = 0; i < CHAIN - 1; i++)
                assert_int_equal(lock_wait(&guest, &requests[i], NULL, i, f, lock_part(i, F_WRLCK, i + 1, i + 1)),
                                 -EINPROGRESS);
        assert_int_equal(lock_wait(&guest, &requests[CHAIN - 1], NULL, CHAIN, f, lock_part(CHAIN - 1, F_WRLCK, 0, 0)),
                         -EDEADLK);
        for (uint64_t i = CHAIN; i-- > 0;) {
                assert_int_equal(lock_set(&guest, f, lock_part(i, F_UNLCK, WHOLE)), 0);
                if (i > 0)
                        assert_int_equal(lock_answer(&requests[i - 1]), 0);
        }
        lock_guest_end(&guest);
}

/* Waits that end by themselves are not deadlocks. */
static void test_none(void **state)
{
        struct lock_guest guest;
        struct lock_request requests[4];

        const uint64_t f = begin(&guest), fh = client_handle(&guest.client, f, O_RDWR),
                       other = client_handle(&guest.client, f, O_RDWR);

        /* 2 and 3 wait for 1, who only has a byte of 2's that nobody waits for. */
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 0, 0)), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_RDLCK, 5, 6)), 0);
        assert_int_equal(lock_wait(&guest, &requests[0], NULL, 1, f, lock_part(2, F_WRLCK, 0, 0)), -EINPROGRESS);
        assert_int_equal(lock_wait(&guest, &requests[1], NULL, 2, f, lock_part(3, F_WRLCK, 0, 6)), -EINPROGRESS);
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_RDLCK, 5, 5)), 0);

        /* A request that was interrupted waits no more. */
        assert_int_equal(lock_wait(&guest, &requests[2], NULL, 3, f, lock_part(1, F_WRLCK, 6, 6)), -EDEADLK);
        lock_interrupt(&guest, 1);
        assert_int_equal(lock_answer(&requests[0]), -EINTR);
        assert_int_equal(lock_wait(&guest, &requests[2], NULL, 4, f, lock_part(1, F_WRLCK, 6, 6)), -EINPROGRESS);
        assert_int_equal(lock_set(&guest, f, lock_part(2, F_UNLCK, WHOLE)), 0);
        assert_int_equal(lock_answer(&requests[2]), 0);
        assert_int_equal(lock_set(&guest, f, lock_part(1, F_UNLCK, WHOLE)), 0);
        assert_int_equal(lock_answer(&requests[1]), 0);

        /* Locks of open files are not checked, as in Linux. */
        assert_int_equal(lock_set(&guest, f, lock_flock(fh, F_WRLCK)), 0);
        assert_int_equal(lock_wait(&guest, &requests[0], NULL, 5, f, lock_flock(other, F_WRLCK)), -EINPROGRESS);
        assert_int_equal(lock_wait(&guest, &requests[1], NULL, 6, f, lock_part(1, F_WRLCK, 0, 0)), -EINPROGRESS);
        assert_int_equal(lock_set(&guest, f, lock_part(3, F_UNLCK, WHOLE)), 0);
        assert_int_equal(lock_set(&guest, f, lock_flock(fh, F_UNLCK)), 0);
        assert_int_equal(lock_answer(&requests[0]), 0);
        assert_int_equal(lock_answer(&requests[1]), 0);
        lock_guest_end(&guest);
}

/* All requests of an owner count, and no lock that it had before a FLUSH, even if it still waits. */
static void test_several_of_one(void **state)
{
        struct lock_guest guest;
        struct lock_request requests[3];

        const uint64_t f = begin(&guest), fh = client_handle(&guest.client, f, O_RDWR);
        const struct fuse_flush_in flush = {.fh = fh, .lock_owner = 2};

        for (uint64_t way = 0; way < 2; way++) {
                const uint64_t unique = 10 * way;

                assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 0, 0)), 0);
                assert_int_equal(lock_set(&guest, f, lock_part(3, F_WRLCK, 3, 3)), 0);
                assert_int_equal(lock_set(&guest, f, lock_part(2, F_WRLCK, 1, 1)), 0);
                /* The first request is the one that matters, or the second. */
                for (uint64_t i = 0; i < 2; i++)
                        assert_int_equal(
                                lock_wait(&guest, &requests[i], NULL, unique + i + 1, f,
                                          i == way ? lock_part(2, F_WRLCK, 0, 0) : lock_part(2, F_WRLCK, 3, 3)),
                                -EINPROGRESS);
                assert_int_equal(lock_wait(&guest, &requests[2], NULL, unique + 3, f, lock_part(1, F_WRLCK, 1, 1)),
                                 -EDEADLK);
                assert_int_equal(client_call(&guest.client, FUSE_FLUSH, f, BODY(START(flush)), NULL, 0), 0);
                assert_int_equal(pid_of(&guest, f, 1, F_WRLCK, 1), UINT32_MAX);

                struct lock_host host = lock_host_begin(&guest.client, "f", F_OFD_SETLK, F_WRLCK, 1, 1);

                assert_int_equal(lock_wait(&guest, &requests[2], NULL, unique + 4, f, lock_part(1, F_WRLCK, 1, 1)),
                                 -EINPROGRESS);
                lock_host_end(&host);
                assert_int_equal(lock_answer(&requests[2]), 0);
                for (uint64_t owner = 1; owner <= 3; owner += 2)
                        assert_int_equal(lock_set(&guest, f, lock_part(owner, F_UNLCK, WHOLE)), 0);
                for (uint64_t i = 0; i < 2; i++)
                        assert_int_equal(lock_answer(&requests[i]), 0);
                assert_int_equal(lock_set(&guest, f, lock_part(2, F_UNLCK, WHOLE)), 0);
        }
        lock_guest_end(&guest);
}

enum { FORGOTTEN = SANITIZED ? 30 : 100, CROWD = 200 };

/* A thread that asks again and again for a lock of owner 2. */
struct asker {
        struct lock_guest *guest;
        uint64_t file;
        atomic_bool stop;
};

static void *ask_again(void *userdata)
{
        struct asker *asker = userdata;
        struct lock_request request;

        for (uint64_t unique = 1000000; !atomic_load(&asker->stop); unique++)
                if (lock_wait(asker->guest, &request, NULL, unique, asker->file, lock_part(5, F_WRLCK, 0, 0)) ==
                    -EINPROGRESS) {
                        lock_interrupt(asker->guest, unique);
                        lock_answer(&request);
                }
        return NULL;
}

/* A file is forgotten while an owner waits for a part of it, and others search for deadlocks through that owner. */
static void test_forgotten(void **state)
{
        struct lock_guest guest;
        struct lock_request request;
        pthread_t thread;

        const uint64_t first = begin(&guest), g = client_node(&guest.client, FUSE_ROOT_ID, "g");
        struct asker asker = {.guest = &guest, .file = g};

        client_forget(&guest.client, first, 1);
        assert_int_equal(lock_set(&guest, g, lock_part(2, F_WRLCK, 0, 0)), 0);
        assert_int_equal(pthread_create(&thread, NULL, ask_again, &asker), 0);
        for (uint64_t i = 1; i <= FORGOTTEN; i++) {
                const uint64_t f = client_node(&guest.client, FUSE_ROOT_ID, "f");

                assert_int_equal(lock_set(&guest, f, lock_part(1, F_WRLCK, 0, 0)), 0);
                assert_int_equal(lock_wait(&guest, &request, NULL, i, f, lock_part(2, F_WRLCK, 0, 0)), -EINPROGRESS);
                for (uint64_t owner = 0; owner < CROWD; owner++)
                        assert_int_equal(lock_set(&guest, f, lock_part(100 + owner, F_WRLCK, 10 + owner, 10 + owner)),
                                         0);
                client_forget(&guest.client, f, 1);
                lock_interrupt(&guest, i);
                lock_answer(&request);
        }
        atomic_store(&asker.stop, true);
        pthread_join(thread, NULL);
        lock_guest_end(&guest);
}

/* ---- many ---- */

enum { THREADS = 4, PARTS = 3, ROUNDS = 300 };

struct philosopher {
        pthread_t thread;
        struct lock_guest *guest;
        uint64_t f, number;
        unsigned refused;
        int failure;
};

static int take(struct philosopher *philosopher, unsigned round, uint64_t part)
{
        struct lock_request request;
        ssize_t r = lock_wait(philosopher->guest, &request, NULL, philosopher->number * 1000000 + round * 10 + part + 1,
                              philosopher->f, lock_part(philosopher->number, F_WRLCK, part, part));

        return r == -EINPROGRESS ? lock_answer(&request) : (int)r;
}

/* Takes two of three, in any order, and gives them back on a deadlock. */
static void *dine(void *userdata)
{
        struct philosopher *philosopher = userdata;
        unsigned seed = (unsigned)philosopher->number;

        for (unsigned round = 0; round < ROUNDS && philosopher->failure == 0; round++) {
                uint64_t first = (uint64_t)rand_r(&seed) % PARTS,
                         second = (first + 1 + (uint64_t)rand_r(&seed) % 2) % PARTS;
                int r = take(philosopher, round, first);

                if (r == 0)
                        r = take(philosopher, round, second);
                philosopher->refused += r == -EDEADLK;
                if (r != 0 && r != -EDEADLK)
                        philosopher->failure = r;
                lock_set(philosopher->guest, philosopher->f, lock_part(philosopher->number, F_UNLCK, WHOLE));
        }
        return NULL;
}

static void test_philosophers(void **state)
{
        struct philosopher philosophers[THREADS];
        struct lock_guest guest;
        unsigned refused = 0;

        const uint64_t f = begin(&guest);

        for (uint64_t i = 0; i < THREADS; i++) {
                philosophers[i] = (struct philosopher){.guest = &guest, .f = f, .number = i + 1};
                assert_int_equal(pthread_create(&philosophers[i].thread, NULL, dine, &philosophers[i]), 0);
        }
        for (unsigned i = 0; i < THREADS; i++) {
                pthread_join(philosophers[i].thread, NULL);
                assert_int_equal(philosophers[i].failure, 0);
                refused += philosophers[i].refused;
        }
        print_message("%u of %d gave way\n", refused, THREADS * ROUNDS);
        lock_guest_end(&guest);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_held),         counted_test(test_pids),           counted_test(test_pids_at_random),
                counted_test(test_two),          counted_test(test_upgrade),        counted_test(test_chain),
                counted_test(test_none),         counted_test(test_several_of_one), counted_test(test_forgotten),
                counted_test(test_philosophers),
        };

        return run_counted("fs-deadlock", tests);
}
