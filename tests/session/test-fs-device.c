/* SPDX-License-Identifier: BSD-2-Clause */

/* oriel-fs's device with a driver: what its queues' threads do when a queue is stopped. */

#include "base/cleanup.h"
#include "base/range.h"
#include "base/test.h"
#include "clients/fs/client.h"
#include "devices/fs/device.h"
#include "tests/session/session.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ring.h>
#include <oriel/frontend.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define WAITING  FUSE_CLIENT_QUEUE
#define AT_ONCE  (WAITING + 1)
#define WAITERS  16
#define ROUNDS   100
#define WINDOW   (UINT64_C(4) << 20)
#define PATIENCE 20000

/* A request about a lock, in the guest's memory. */
struct ask {
        struct {
                struct fuse_in_header header;
                struct fuse_lk_in in;
        } * request;
        struct fuse_out_header *answer;
        unsigned answers;
};

struct guest {
        char path[32];
        uint16_t queue_size; /* 0: as the driver has it, and with its features alone */
        uint64_t features;
        enum fs_when posix_acl;
        struct log_budget budget;
        atomic_uint lines; /* that were logged */
        struct fs_device *device;
        pthread_t thread;
        struct oriel_driver *driver;
        struct fuse_client fuse;
        uint64_t unique, node, fh;
        struct ask waiters[WAITERS], at_once, between; /* the last is for the queue of those who wait */
};

static void *serve(void *userdata)
{
        struct oriel_backend *backend = userdata;
        struct pollfd connection = {.fd = oriel_backend_get_fd(backend), .events = POLLIN};

        while (oriel_backend_dispatch(backend) == 0)
                poll(&connection, 1, -1);
        oriel_backend_disconnect(backend);
        return NULL;
}

static void count_line(void *userdata, enum oriel_log_level level, const char *line)
{
        struct guest *guest = userdata;

        atomic_fetch_add(&guest->lines, 1);
}

static void open_device(struct guest *guest, unsigned threads)
{
        int proc_fd = -1;
        const struct fs_options fs = {.shared_dir = guest->path,
                                      .posix_lock = true,
                                      .flock = true,
                                      .posix_acl = guest->posix_acl,
                                      .window_size = WINDOW};
        const struct daemon_start start = {
                .root = guest->path,
                .proc_fd = &proc_fd,
                .log = {sizeof(struct oriel_log), count_line, guest, ORIEL_LOG_WARNING},
                .lines = &guest->budget,
        };
        const struct device_options options = {
                .fs = &fs,
                .start = &start,
                .tag = "files",
                .request_queues = 2,
                .threads = threads,
                .poll_us = 50,
        };
        const struct oriel_driver_options driver = {.struct_size = sizeof(driver),
                                                    .queues = 3,
                                                    .queue_size = guest->queue_size,
                                                    .features = guest->features};
        int fds[2];

        assert_int_equal(make_socketpair(fds), 0);
        assert_int_equal(device_new(&options, &guest->device), 0);
        assert_int_equal(oriel_backend_attach(device_backend(guest->device), fds[1]), 0);
        assert_int_equal(pthread_create(&guest->thread, NULL, serve, device_backend(guest->device)), 0);
        assert_int_equal(oriel_driver_new(&driver, fds[0], &guest->driver), 0);
}

static void open_session(struct guest *guest)
{
        const struct fuse_init_in init = {.major = FUSE_KERNEL_VERSION,
                                          .minor = FUSE_KERNEL_MINOR_VERSION,
                                          .flags = FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS};
        struct fuse_init_out agreed = {0};
        struct fuse_entry_out entry;

        assert_int_equal(fuse_client_init(&guest->fuse, guest->driver), 0);
        assert_true(fuse_call(&guest->fuse, FUSE_INIT, 0, &init, sizeof(init), NULL, 0, &agreed, sizeof(agreed)) > 0);
        assert_true(agreed.flags & FUSE_POSIX_LOCKS);
        assert_int_equal(fuse_lookup(&guest->fuse, FUSE_ROOT_ID, "f", &entry), 0);
        guest->node = entry.nodeid;
        assert_int_equal(fuse_open(&guest->fuse, guest->node, O_RDWR, &guest->fh), 0);
}

static void make_ask(struct guest *guest, struct ask *ask)
{
        ask->request = oriel_driver_alloc(guest->driver, sizeof(*ask->request));
        ask->answer = oriel_driver_alloc(guest->driver, sizeof(*ask->answer));
        assert_non_null(ask->request);
        assert_non_null(ask->answer);
}

static void begin_with(struct guest *guest, unsigned threads, uint16_t queue_size, uint64_t features)
{
        char file[64];

        *guest = (struct guest){.path = "/tmp/oriel-device-XXXXXX", .queue_size = queue_size, .features = features};
        assert_non_null(mkdtemp(guest->path));
        snprintf(file, sizeof(file), "%s/f", guest->path);
        close(open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        open_device(guest, threads);
        open_session(guest);
        for (unsigned i = 0; i < WAITERS; i++)
                make_ask(guest, &guest->waiters[i]);
        make_ask(guest, &guest->at_once);
        make_ask(guest, &guest->between);
}

static void begin(struct guest *guest, unsigned threads)
{
        begin_with(guest, threads, 0, 0);
}

static void end(struct guest *guest)
{
        char file[64];

        oriel_driver_free(guest->driver);
        pthread_join(guest->thread, NULL);
        device_free(guest->device);
        snprintf(file, sizeof(file), "%s/f", guest->path);
        unlink(file);
        assert_int_equal(rmdir(guest->path), 0);
}

static void prepare(struct guest *guest, struct ask *ask, struct fuse_lk_in in, uint32_t opcode)
{
        ask->answers = 0;
        ask->request->header = (struct fuse_in_header){
                .len = sizeof(*ask->request),
                .opcode = opcode,
                .unique = ++guest->unique,
                .nodeid = guest->node,
        };
        ask->request->in = in;
}

/* The device is not told yet. */
static void submit(struct guest *guest, unsigned queue, struct ask *ask)
{
        const struct iovec send = {ask->request, sizeof(*ask->request)}, take = {ask->answer, sizeof(*ask->answer)};

        assert_int_equal(oriel_driver_submit(guest->driver, queue, &send, 1, &take, 1, ask), 0);
}

/* The number of answers so far. */
static unsigned collect(struct guest *guest, unsigned queue)
{
        unsigned n = 0;
        uint32_t written;
        void *token;
        int r;

        while ((r = oriel_driver_collect(guest->driver, queue, &token, &written)) == 1) {
                struct ask *ask = token;

                assert_int_equal(written, sizeof(*ask->answer));
                assert_int_equal(ask->answer->unique, ask->request->header.unique);
                ask->answers++;
                n++;
        }
        assert_int_equal(r, 0);
        return n;
}

/* Of all of the file, which waits for nothing. */
static void begin_lock(struct guest *guest, uint64_t owner, uint32_t type, uint32_t opcode, unsigned queue,
                       struct ask *ask)
{
        prepare(guest, ask,
                (struct fuse_lk_in){.fh = guest->fh, .owner = owner, .lk = {.end = INT64_MAX, .type = type}}, opcode);
        submit(guest, queue, ask);
        assert_int_equal(oriel_driver_kick(guest->driver, queue), 0);
}

static int end_lock(struct guest *guest)
{
        while (collect(guest, AT_ONCE) == 0)
                assert_int_equal(oriel_driver_wait(guest->driver, AT_ONCE, PATIENCE), 0);
        return guest->at_once.answer->error;
}

static int set_lock(struct guest *guest, uint64_t owner, uint32_t type)
{
        begin_lock(guest, owner, type, FUSE_SETLK, AT_ONCE, &guest->at_once);
        return end_lock(guest);
}

/* Waiter i is owner 2 + i. */
static void wait_for_locks(struct guest *guest)
{
        for (unsigned i = 0; i < WAITERS; i++)
                begin_lock(guest, 2 + i, F_WRLCK, FUSE_SETLKW, WAITING, &guest->waiters[i]);
}

/* Locks that are waited for are given up, as the guest is told, and nothing is left of them. */
static void test_stop_while_waiting(void **state)
{
        struct guest guest;

        for (unsigned threads = 1; threads <= 3; threads += 2) {
                begin(&guest, threads);
                assert_int_equal(set_lock(&guest, 1, F_WRLCK), 0);
                wait_for_locks(&guest);
                /* Those that were not taken from the ring before are there for the next time. */
                for (unsigned done = 0; done < WAITERS;) {
                        usleep(20000);
                        assert_int_equal(oriel_driver_stop_queue(guest.driver, WAITING), 0);
                        done += collect(&guest, WAITING);
                        assert_int_equal(oriel_driver_start_queue(guest.driver, WAITING), 0);
                }
                for (unsigned i = 0; i < WAITERS; i++)
                        assert_int_equal(guest.waiters[i].answer->error, -ENOLCK);
                assert_int_equal(set_lock(&guest, 1, F_UNLCK), 0);
                assert_int_equal(set_lock(&guest, 100, F_WRLCK), 0);
                end(&guest);
        }
}

/* Releases the locks that were granted. */
static void give_back(struct guest *guest)
{
        for (unsigned i = 0; i < WAITERS; i++)
                if (guest->waiters[i].answers == 1 && guest->waiters[i].answer->error == 0)
                        assert_int_equal(set_lock(guest, 2 + i, F_UNLCK), 0);
}

/* The one who has the lock gives it back while the queue stops: each of those who wait hears once of what it got, also
 * those whose requests were not taken from the ring before. */
static void test_unlocked_while_stopping(void **state)
{
        struct guest guest;
        unsigned granted = 0;

        begin(&guest, 1);
        for (unsigned round = 0; round < ROUNDS; round++) {
                assert_int_equal(set_lock(&guest, 1, F_WRLCK), 0);
                wait_for_locks(&guest);
                if (round % 2)
                        usleep(round * 20);
                begin_lock(&guest, 1, F_UNLCK, FUSE_SETLK, AT_ONCE, &guest.at_once);
                assert_int_equal(oriel_driver_stop_queue(guest.driver, WAITING), 0);
                assert_int_equal(end_lock(&guest), 0);
                assert_int_equal(oriel_driver_start_queue(guest.driver, WAITING), 0);
                for (unsigned done = collect(&guest, WAITING); done < WAITERS; done += collect(&guest, WAITING)) {
                        give_back(&guest);
                        assert_int_equal(oriel_driver_wait(guest.driver, WAITING, PATIENCE), 0);
                }
                give_back(&guest);
                for (unsigned i = 0; i < WAITERS; i++) {
                        assert_int_equal(guest.waiters[i].answers, 1);
                        if (guest.waiters[i].answer->error)
                                assert_int_equal(guest.waiters[i].answer->error, -ENOLCK);
                        else
                                granted++;
                }
        }
        print_message("# %u of %d granted\n", granted, ROUNDS * WAITERS);
        end(&guest);
}

/* A request in the queue of those who wait. It is answered after those before it that don't wait. */
static int set_lock_between(struct guest *guest, uint64_t owner, uint32_t type)
{
        begin_lock(guest, owner, type, FUSE_SETLK, WAITING, &guest->between);
        while (collect(guest, WAITING), guest->between.answers == 0)
                assert_int_equal(oriel_driver_wait(guest->driver, WAITING, PATIENCE), 0);
        return guest->between.answer->error;
}

/* One more waits for the lock, as far as the ring takes that. Whatever else is asked is answered: and then, as the one
 * thread takes one after the other, it has begun to wait or been refused. */
static void wait_and_ask(struct guest *guest, unsigned i)
{
        begin_lock(guest, 2 + i, F_WRLCK, FUSE_SETLKW, WAITING, &guest->waiters[i]);
        assert_int_equal(set_lock_between(guest, 100, F_RDLCK), -EAGAIN);
}

static unsigned count_answers(const struct guest *guest)
{
        unsigned n = 0;

        for (unsigned i = 0; i < WAITERS; i++)
                n += guest->waiters[i].answers;
        return n;
}

static void check_ring_stays_usable(uint16_t size, uint64_t features, unsigned expected)
{
        struct guest guest;

        begin_with(&guest, 1, size, features);
        assert_int_equal(set_lock(&guest, 1, F_WRLCK), 0);
        for (unsigned i = 0; i < WAITERS; i++) {
                wait_and_ask(&guest, i);
                assert_int_equal(guest.waiters[i].answers, i >= expected);
                if (i >= expected)
                        assert_int_equal(guest.waiters[i].answer->error, -ENOLCK);
        }
        /* Through the same ring: all who wait get the lock in turn, and then others may wait. */
        assert_int_equal(set_lock_between(&guest, 1, F_UNLCK), 0);
        while (collect(&guest, WAITING), count_answers(&guest) < WAITERS) {
                give_back(&guest);
                assert_int_equal(oriel_driver_wait(guest.driver, WAITING, PATIENCE), 0);
        }
        give_back(&guest);
        assert_int_equal(set_lock(&guest, 1, F_WRLCK), 0);
        for (unsigned i = 0; i <= expected; i++)
                wait_and_ask(&guest, i);
        assert_int_equal(guest.waiters[0].answers, 0);
        assert_int_equal(guest.waiters[expected].answer->error, -ENOLCK);
        end(&guest);
}

/* However many wait for locks, a ring has room for what gives them back. */
static void test_waits_leave_room(void **state)
{
        const uint64_t indirect = ORIEL_FEATURE(VIRTIO_RING_F_INDIRECT_DESC),
                       packed = ORIEL_FEATURE(VIRTIO_F_RING_PACKED);

        check_ring_stays_usable(16, indirect, 12);
        check_ring_stays_usable(16, indirect | packed, 12);
        /* Two entries for each request. */
        check_ring_stays_usable(16, 0, 4);
        check_ring_stays_usable(32, packed, 12);
        check_ring_stays_usable(8, indirect, 4);
}

/* A guest that opens all it can leaves what each thread needs for a request, which is told by the limit's errno. */
static void test_descriptors_that_are_left(void **state)
{
        const rlim_t limit = 600;
        const unsigned left = 128 + 3 * 2 * 8;
        struct rlimit before;
        struct guest guest;
        struct fuse_entry_out entry;
        uint64_t fh, last = 0;
        unsigned n = 0;
        int r;

        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){limit, before.rlim_max}), 0);
        begin(&guest, 8);
        while ((r = fuse_open(&guest.fuse, guest.node, O_RDWR, &fh)) == 0) {
                last = fh;
                n++;
        }
        assert_int_equal(r, -ENFILE);
        assert_between(n, limit - left - 8, limit - left);
        assert_int_equal(fuse_lookup(&guest.fuse, FUSE_ROOT_ID, "f", &entry), 0);
        assert_int_equal(set_lock(&guest, 1, F_WRLCK), -ENOLCK);

        struct fuse_release_in release = {.fh = last};

        assert_int_equal(fuse_call(&guest.fuse, FUSE_RELEASE, guest.node, &release, sizeof(release), NULL, 0, NULL, 0),
                         0);
        assert_int_equal(set_lock(&guest, 1, F_WRLCK), 0);
        assert_int_equal(fuse_open(&guest.fuse, guest.node, O_RDWR, &fh), -ENFILE);
        assert_true((rlim_t)test_count_fds() < limit - 2 * 2 * 8);
        end(&guest);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

/* Of answers that come together the driver hears of all. */
static void test_all_are_told_of(void **state)
{
        struct guest guest;

        for (unsigned threads = 1; threads <= 3; threads += 2) {
                begin(&guest, threads);
                for (unsigned round = 0; round < 1000; round++) {
                        unsigned n = round % WAITERS + 1, done = 0;

                        for (unsigned i = 0; i < n; i++)
                                begin_lock(&guest, 2 + i, F_UNLCK, FUSE_SETLK, WAITING, &guest.waiters[i]);
                        while (done < n) {
                                assert_int_equal(oriel_driver_wait(guest.driver, WAITING, PATIENCE), 0);
                                done += collect(&guest, WAITING);
                        }
                        for (unsigned i = 0; i < n; i++)
                                assert_int_equal(guest.waiters[i].answer->error, 0);
                }
                end(&guest);
        }
}

/* Of two at a time, and no more, however many there are. */
static void test_no_more_than_one_is_held_back(void **state)
{
        struct guest guest;

        begin(&guest, 1);
        for (unsigned round = 0; round < 100; round++) {
                int call_fd = oriel_driver_call_fd(guest.driver, WAITING);
                unsigned done = 0;
                uint64_t calls = 0, some;

                assert_false(oriel_driver_rearm(guest.driver, WAITING));
                for (unsigned i = 0; i < WAITERS; i++) {
                        prepare(&guest, &guest.waiters[i],
                                (struct fuse_lk_in){.fh = guest.fh, .owner = 2 + i, .lk = {.type = F_UNLCK}},
                                FUSE_SETLK);
                        submit(&guest, WAITING, &guest.waiters[i]);
                }
                assert_int_equal(oriel_driver_kick(guest.driver, WAITING), 0);
                while (done < WAITERS || calls < WAITERS / 2) {
                        struct pollfd call = {.fd = call_fd, .events = POLLIN};

                        assert_int_equal(poll(&call, 1, PATIENCE), 1);
                        assert_int_equal(read(call_fd, &some, sizeof(some)), sizeof(some));
                        calls += some;
                        done += collect(&guest, WAITING);
                }
                assert_int_equal(done, WAITERS);
        }
        end(&guest);
}

/* An answer that is there is not held back by a request that waits for the front-end, which this thread is. */
static void test_told_before_what_lasts(void **state)
{
        struct guest guest;
        struct setup {
                struct fuse_in_header header;
                struct fuse_setupmapping_in in;
        } * request;
        struct fuse_out_header *answer;

        begin(&guest, 1);
        request = oriel_driver_alloc(guest.driver, sizeof(*request));
        answer = oriel_driver_alloc(guest.driver, sizeof(*answer));
        assert_true(request && answer);
        for (unsigned round = 0; round < 50; round++) {
                struct pollfd call = {.fd = oriel_driver_call_fd(guest.driver, WAITING), .events = POLLIN};
                const struct iovec send = {request, sizeof(*request)}, take = {answer, sizeof(*answer)};

                *request = (struct setup){
                        .header = {.len = sizeof(*request), .opcode = FUSE_SETUPMAPPING, .nodeid = guest.node},
                        .in = {.fh = guest.fh, .foffset = round * WINDOW, .len = WINDOW},
                };
                assert_false(oriel_driver_rearm(guest.driver, WAITING));
                prepare(&guest, &guest.waiters[0], (struct fuse_lk_in){.fh = guest.fh, .lk = {.type = F_UNLCK}},
                        FUSE_SETLK);
                submit(&guest, WAITING, &guest.waiters[0]);
                assert_int_equal(oriel_driver_submit(guest.driver, WAITING, &send, 1, &take, 1, request), 0);
                assert_int_equal(oriel_driver_kick(guest.driver, WAITING), 0);
                assert_int_equal(poll(&call, 1, PATIENCE), 1);
                assert_int_equal(collect(&guest, WAITING), 1);

                void *token = NULL;
                uint32_t written;

                while (!token) {
                        assert_int_equal(oriel_driver_wait(guest.driver, WAITING, PATIENCE), 0);
                        assert_true(oriel_driver_collect(guest.driver, WAITING, &token, &written) >= 0);
                }
                assert_ptr_equal(token, request);
                assert_int_equal(answer->error, 0);
        }
        end(&guest);
}

/* "5.11.4 Device configuration layout", in pieces. */
static void test_config(void **state)
{
        struct guest guest;
        struct virtio_fs_config config = {.tag = ""};
        uint8_t bytes[64];

        begin(&guest, 1);

        struct oriel_frontend *frontend = oriel_driver_frontend(guest.driver);

        assert_int_equal(oriel_frontend_get_config(frontend, 0, &config, sizeof(config)), 0);
        assert_string_equal((const char *)config.tag, "files");
        assert_int_equal(le32toh(config.num_request_queues), 2);
        assert_int_equal(oriel_frontend_get_config(frontend, 2, bytes, 3), 0);
        assert_memory_equal(bytes, "les", 3);
        assert_true(oriel_frontend_get_config(frontend, 40, bytes, 5) < 0);
        end(&guest);
}

/* A guest can have the same refused for ever. */
static void test_lines_without_end(void **state)
{
        const struct fuse_init_in init = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};
        struct guest guest = {.path = "/tmp/oriel-device-XXXXXX", .posix_acl = FS_ALWAYS};

        assert_non_null(mkdtemp(guest.path));
        open_device(&guest, 1);
        assert_int_equal(fuse_client_init(&guest.fuse, guest.driver), -EOPNOTSUPP);
        for (int i = 0; i < 300; i++)
                assert_int_equal(fuse_call(&guest.fuse, FUSE_INIT, 0, &init, sizeof(init), NULL, 0, NULL, 0),
                                 -EOPNOTSUPP);
        assert_true(atomic_load(&guest.lines) > 1 && atomic_load(&guest.lines) <= 201);
        end(&guest);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_stop_while_waiting),
                counted_test(test_unlocked_while_stopping),
                counted_test(test_waits_leave_room),
                counted_test(test_descriptors_that_are_left),
                counted_test(test_all_are_told_of),
                counted_test(test_told_before_what_lasts),
                counted_test(test_no_more_than_one_is_held_back),
                counted_test(test_config),
                counted_test(test_lines_without_end),
        };

        return run_counted("fs-device", tests);
}
