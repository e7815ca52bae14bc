/* SPDX-License-Identifier: BSD-2-Clause */

/* The window of a front-end with the limits of QEMU 11.1: requests, full disks, slow files and races. */

#include "base/cleanup.h"
#include "devices/fs/test/test-limited.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- requests on a file that the guest has stored to ---- */

static void do_read(struct world *world)
{
        char byte = 0;

        assert_int_equal(client_read(&world->client, FUSE_READ, world->fh, 9000, &byte, 1), 1);
        assert_int_equal(byte, 'G');
}

static void do_write(struct world *world)
{
        write_it(world, 9500, "w", 1);
}

static void do_release(struct world *world)
{
        assert_int_equal(client_release(&world->client, FUSE_RELEASE, world->fh), 0);
}

static void do_flush(struct world *world)
{
        const struct fuse_flush_in in = {.fh = world->fh};

        assert_int_equal(client_call(&world->client, FUSE_FLUSH, world->node, BODY(START(in)), NULL, 0), 0);
}

static void do_open(struct world *world)
{
        uint64_t fh;

        assert_true(client_open(&world->client, FUSE_OPEN, world->node, O_RDONLY, &fh) > 0);
}

static void do_lookup(struct world *world)
{
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "f", &world->node) > 0);
}

static void do_lseek(struct world *world)
{
        const struct fuse_lseek_in in = {.fh = world->fh, .whence = SEEK_DATA};
        struct fuse_lseek_out out;

        assert_true(client_call(&world->client, FUSE_LSEEK, world->node, BODY(START(in)), &out, sizeof(out)) > 0);
}

static void do_set_size(struct world *world)
{
        truncate_it(world, 9900);
}

static void do_punch(struct world *world)
{
        const struct fuse_fallocate_in in = {
                .fh = world->fh, .offset = 9600, .length = 10, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};

        assert_int_equal(client_call(&world->client, FUSE_FALLOCATE, world->node, BODY(START(in)), NULL, 0), 0);
}

static void copy_range(struct world *world, uint64_t from, uint64_t to, uint64_t from_offset, uint64_t to_offset,
                       uint64_t size)
{
        const struct fuse_copy_file_range_in in = {.fh_in = from,
                                                   .off_in = from_offset,
                                                   .nodeid_out = world->node,
                                                   .fh_out = to,
                                                   .off_out = to_offset,
                                                   .len = size};
        struct fuse_write_out out;

        assert_true(client_call(&world->client, FUSE_COPY_FILE_RANGE, world->node, BODY(START(in)), &out, sizeof(out)) >
                    0);
        assert_int_equal(out.size, size);
}

static void do_copy(struct world *world)
{
        uint64_t node, fh;

        make(world, "to", 0, 0);
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "to", &node) > 0);
        assert_true(client_open(&world->client, FUSE_OPEN, node, O_WRONLY, &fh) > 0);
        copy_range(world, world->fh, fh, 9000, 0, 1);
        assert_int_equal(host_byte(world, "to", 0), 'G');
}

/* With any request, the guest's store is in the file before, and the host's is shown afterwards. */
static void test_each_request(void **state)
{
        void (*const requests[])(struct world *) = {do_read,  do_write,    do_release, do_flush, fsync_it, do_open,
                                                    do_lseek, do_set_size, do_punch,   do_copy,  look_at,  do_lookup};

        for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
                struct world *world = begin();

                make(world, "f", 10000, 'f');
                open_mapped(world, "f");
                world->frontend.memory[9000] = 'G';
                host_put(world, "f", 9100, "H");
                requests[i](world);
                assert_int_equal(host_byte(world, "f", 9000), 'G');
                assert_int_equal(world->frontend.memory[9000], 'G');
                assert_int_equal(world->frontend.memory[9100], 'H');
                end(world);
        }
}

/* The same when a parked file is opened again. */
static void test_open_again(void **state)
{
        struct world *world = begin();
        uint64_t fh;

        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        for (int i = 0; i < 3; i++) {
                world->frontend.memory[9000] = (uint8_t)('a' + i);
                host_put(world, "f", 9100, (char[]){(char)('A' + i), '\0'});
                assert_true(client_open(&world->client, FUSE_OPEN, world->node, O_RDONLY, &fh) > 0);
                assert_int_equal(host_byte(world, "f", 9000), 'a' + i);
                assert_int_equal(world->frontend.memory[9100], 'A' + i);
                assert_int_equal(client_release(&world->client, FUSE_RELEASE, fh), 0);
        }
        end(world);
}

/* A request that overwrites an earlier store wins. */
static void test_later_wins(void **state)
{
        struct world *world = begin();
        const struct fuse_fallocate_in punch = {
                .offset = 8500, .length = 1000, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};
        struct fuse_fallocate_in in = punch;

        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        in.fh = world->fh;
        world->frontend.memory[9000] = 'G';
        assert_int_equal(client_call(&world->client, FUSE_FALLOCATE, world->node, BODY(START(in)), NULL, 0), 0);
        assert_int_equal(world->frontend.memory[9000], 0);
        world->frontend.memory[9000] = 'G';
        copy_range(world, world->fh, world->fh, 0, 9000, 10);
        assert_int_equal(world->frontend.memory[9000], 'f');
        world->frontend.memory[9000] = 'G';
        truncate_it(world, 8900);
        truncate_it(world, 10000);
        assert_int_equal(world->frontend.memory[9000], 0);
        world->frontend.memory[9000] = 'G';
        assert_true(client_open(&world->client, FUSE_OPEN, world->node, O_RDWR | O_TRUNC, &world->fh) > 0);
        truncate_it(world, 10000);
        fs_sync(world->client.fs);
        assert_int_equal(world->frontend.memory[9000], 0);
        assert_int_equal(host_byte(world, "f", 9000), 0);
        end(world);
}

/* Times that are set are not changed by earlier stores. */
static void test_times(void **state)
{
        const struct fuse_setattr_in in = {.valid = FATTR_MTIME, .mtime = 1000};
        struct world *world = begin();
        struct fuse_attr_out out;
        struct stat stat;

        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        world->frontend.memory[9000] = 'G';
        assert_true(client_call(&world->client, FUSE_SETATTR, world->node, BODY(START(in)), &out, sizeof(out)) > 0);
        assert_int_equal(out.attr.mtime, 1000);
        fs_sync(world->client.fs);
        assert_int_equal(fstatat(world->client.share_fd, "f", &stat, 0), 0);
        assert_int_equal(stat.st_mtime, 1000);
        assert_int_equal(host_byte(world, "f", 9000), 'G');
        end(world);
}

static void test_two_mappings(void **state)
{
        struct world *world = begin();

        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        world->frontend.memory[9000] = 'G';
        assert_int_equal(client_setupmapping(&world->client, world->node, 0, RANGE, RANGE, FUSE_SETUPMAPPING_FLAG_READ),
                         0);
        assert_int_equal(world->frontend.memory[RANGE + 9000], 'G');
        world->frontend.memory[RANGE + 9000] = 'H';
        fsync_it(world);
        assert_int_equal(host_byte(world, "f", 9000), 'H');
        end(world);
}

/* The front-end has an fd of a shadow, and can't cut it short under this process. */
static void test_sealed(void **state)
{
        struct world *world = begin();

        make(world, "f", 100, 'f');
        open_mapped(world, "f");
        assert_int_equal(ftruncate(world->frontend.last_fd, 0), -1);
        assert_int_equal(errno, EPERM);
        assert_int_equal(ftruncate(world->frontend.last_fd, RANGE * 2), -1);
        end(world);
}

/* A disk of 256 KiB in place of /tmp, for this process alone. */
static bool small_disk(bool on)
{
        if (!on)
                return umount2("/tmp", MNT_DETACH) == 0;
        return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
               mount("tmpfs", "/tmp", "tmpfs", 0, "size=256k") == 0;
}

/* A file of 10000 bytes without a block, on a disk that is full, with a store in it. */
static void fill_disk(struct world *world)
{
        static const char byte[64];
        int fd = openat(world->client.share_fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0666);

        assert_int_equal(ftruncate(fd, 10000), 0);
        close(fd);
        fd = openat(world->client.share_fd, "filling", O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
        while (write(fd, byte, sizeof(byte)) > 0)
                ;
        close(fd);
        open_mapped(world, "f");
        world->frontend.memory[9000] = 'G';
}

static ssize_t call_fsync(struct world *world)
{
        const struct fuse_fsync_in in = {.fh = world->fh};

        return client_call(&world->client, FUSE_FSYNC, world->node, BODY(START(in)), NULL, 0);
}

/* Stores that can't be written are reported: fsync(), close() and read() fail, until there is room. */
static void test_full_disk(void **state)
{
        struct fuse_lseek_in seek = {.whence = SEEK_DATA};
        struct fuse_copy_file_range_in copy = {.len = 10000};
        struct world *world;
        char bytes[100];

        if (!small_disk(true))
                skip();
        world = begin();
        fill_disk(world);
        assert_int_equal(call_fsync(world), -ENOSPC);
        assert_int_equal(client_read(&world->client, FUSE_READ, world->fh, 9000, bytes, 1), -ENOSPC);
        seek.fh = copy.fh_in = copy.fh_out = world->fh;
        assert_int_equal(client_call(&world->client, FUSE_LSEEK, world->node, BODY(START(seek)), bytes, sizeof(bytes)),
                         -ENOSPC);
        assert_int_equal(
                client_call(&world->client, FUSE_COPY_FILE_RANGE, world->node, BODY(START(copy)), bytes, sizeof(bytes)),
                -ENOSPC);
        assert_int_equal(world->frontend.memory[9000], 'G');
        assert_int_equal(unlinkat(world->client.share_fd, "filling", 0), 0);
        fsync_it(world);
        assert_int_equal(host_byte(world, "f", 9000), 'G');
        end(world);

        /* Stores that are lost at the unmap are reported by the next fsync(), once. */
        world = begin();
        fill_disk(world);
        assert_int_equal(client_removemapping(&world->client, 0, RANGE), 0);
        assert_int_equal(call_fsync(world), -ENOSPC);
        assert_int_equal(call_fsync(world), 0);
        end(world);

        /* A hole that is punched over stores that could not be written makes room, and stays a hole. */
        world = begin();
        fill_disk(world);
        const struct fuse_fallocate_in punch = {
                .fh = world->fh, .length = 10000, .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE};

        assert_int_equal(unlinkat(world->client.share_fd, "filling", 0), 0);
        assert_int_equal(client_call(&world->client, FUSE_FALLOCATE, world->node, BODY(START(punch)), NULL, 0), 0);
        assert_int_equal(host_byte(world, "f", 9000), 0);
        assert_int_equal(world->frontend.memory[9000], 0);
        end(world);
        assert_true(small_disk(false));
}

/* Each store that is merged into the file changes its time. */
static void test_time_of_stores(void **state)
{
        const struct fuse_setattr_in in = {.valid = FATTR_MTIME, .mtime = 1000};
        struct world *world = begin();
        struct fuse_attr_out out;
        struct stat stat;

        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        for (char byte = 'a'; byte < 'd'; byte++) {
                assert_true(client_call(&world->client, FUSE_SETATTR, world->node, BODY(START(in)), &out, sizeof(out)) >
                            0);
                world->frontend.memory[9000] = (uint8_t)byte;
                fsync_it(world);
                assert_int_equal(fstatat(world->client.share_fd, "f", &stat, 0), 0);
                assert_true(stat.st_mtime > 1000);
        }
        end(world);
}

/* ---- a slow file, beside one with a shadow ---- */

struct slow {
        struct world *world;
        uint64_t node;
        atomic_bool done;
};

static void *open_slowly(void *userdata)
{
        struct slow *slow = userdata;
        uint64_t fh;

        client_open(&slow->world->client, FUSE_OPEN, slow->node, O_RDWR, &fh);
        atomic_store(&slow->done, true);
        return NULL;
}

/* A process with a lease on @name: an open for writing waits for it, up to 45 seconds. */
static pid_t hold_lease(struct world *world, const char *name)
{
        int ready[2];
        char byte;
        pid_t pid;

        assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
        pid = fork();
        if (pid == 0) {
                int fd = openat(world->client.share_fd, name, O_RDONLY | O_CLOEXEC);

                signal(SIGIO, SIG_IGN);
                byte = fcntl(fd, F_SETLEASE, F_RDLCK) == 0;
                if (write(ready[1], &byte, 1) == 1)
                        pause();
                _exit(0);
        }
        close(ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        close(ready[0]);
        assert_int_equal(byte, 1);
        return pid;
}

static void test_slow_neighbour(void **state)
{
        struct world *world = begin();
        struct slow slow = {.world = world};
        pthread_t thread;
        pid_t pid;

        make(world, "f", 10000, 'f');
        make(world, "g", 10000, 'g');
        make(world, "slow", 10, 's');
        open_mapped(world, "f");
        assert_true(client_lookup(&world->client, FUSE_ROOT_ID, "slow", &slow.node) > 0);
        pid = hold_lease(world, "slow");
        assert_int_equal(pthread_create(&thread, NULL, open_slowly, &slow), 0);
        usleep(100000);
        /* All of this while the other open waits. */
        fs_sync(world->client.fs);
        world->frontend.memory[9000] = 'G';
        look_at(world);
        fsync_it(world);
        assert_int_equal(client_removemapping(&world->client, 0, RANGE), 0);
        open_mapped(world, "g");
        assert_int_equal(host_byte(world, "f", 9000), 'G');
        assert_false(atomic_load(&slow.done));
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        pthread_join(thread, NULL);
        end(world);
}

/* ---- stores during a merge ---- */

struct storer {
        uint8_t *at;
        atomic_uint turn; /* odd: the storer's */
};

#define STORES 3000

static void *store_in_turns(void *userdata)
{
        struct storer *storer = userdata;

        for (unsigned i = 0; i < STORES; i++) {
                while (atomic_load(&storer->turn) != 2 * i + 1)
                        ;
                __atomic_store_n(storer->at, (uint8_t)(1 + i % 200), __ATOMIC_RELAXED);
                atomic_store(&storer->turn, 2 * i + 2);
        }
        return NULL;
}

/* The host has changed a byte, and the guest stores there at the moment in which the change is to be shown. */
static void test_store_in_the_moment(void **state)
{
        struct world *world = begin();
        struct storer storer = {0};
        pthread_t thread;

        make(world, "f", 10000, 'f');
        open_mapped(world, "f");
        storer.at = world->frontend.memory + 9000;
        assert_int_equal(pthread_create(&thread, NULL, store_in_turns, &storer), 0);
        for (unsigned i = 0; i < STORES; i++) {
                host_put(world, "f", 9000, i % 2 ? "\xff" : "\xfe");
                atomic_store(&storer.turn, 2 * i + 1);
                fs_sync(world->client.fs);
                while (atomic_load(&storer.turn) != 2 * i + 2)
                        ;
                fs_sync(world->client.fs);
                assert_int_equal(*storer.at, 1 + i % 200);
                assert_int_equal((uint8_t)host_byte(world, "f", 9000), 1 + i % 200);
        }
        pthread_join(thread, NULL);
        end(world);
}

/* ---- sessions that begin while the last one is still used ---- */

static void *init_again_and_again(void *userdata)
{
        const struct fuse_init_in in = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION};
        struct slow *slow = userdata;
        struct fuse_init_out out;

        while (!atomic_load(&slow->done))
                client_call(&slow->world->client, FUSE_INIT, 0, BODY(START(in)), &out, sizeof(out));
        return NULL;
}

/* The front-end is never asked for something that it can't do. */
static void test_init_races(void **state)
{
        struct world *world = begin();
        struct slow slow = {.world = world};
        pthread_t threads[2];
        uint64_t node;

        make(world, "f", 0, 0);
        for (unsigned i = 0; i < 2; i++)
                assert_int_equal(pthread_create(&threads[i], NULL, init_again_and_again, &slow), 0);
        for (unsigned i = 0; i < 3000; i++)
                if (client_lookup(&world->client, FUSE_ROOT_ID, "f", &node) > 0)
                        client_setupmapping(&world->client, node, 0, RANGE, 0, FUSE_SETUPMAPPING_FLAG_READ);
        atomic_store(&slow.done, true);
        for (unsigned i = 0; i < 2; i++)
                pthread_join(threads[i], NULL);
        assert_int_equal(host_size(world, "f"), 0);
        end(world);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_each_request),   counted_test(test_open_again),
                counted_test(test_later_wins),     counted_test(test_times),
                counted_test(test_two_mappings),   counted_test(test_sealed),
                counted_test(test_full_disk),      counted_test(test_time_of_stores),
                counted_test(test_slow_neighbour), counted_test(test_store_in_the_moment),
                counted_test(test_init_races),
        };

        return run_counted("fs-shadow-requests", tests);
}
