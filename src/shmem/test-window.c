/* SPDX-License-Identifier: BSD-2-Clause */

/* Tests of a window: which files and accesses it takes, that another thread never sees a gap while a mapping comes or
 * goes or an orphan is replaced, and what happens at the limits of descriptors, mappings and sizes. They look at
 * the memory of the window itself. */

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <oriel/shmem.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)
#define SIZE (UINT64_C(64) << 20)

struct setup {
        struct oriel_window *window;
        struct oriel_region *region;
        uint8_t *at;
};

static void open_window(struct setup *setup, uint64_t size, enum oriel_hole hole)
{
        assert_int_equal(oriel_window_new(size, hole, &setup->window), 0);

        const struct oriel_region_options options = {
                .struct_size = sizeof(options),
                .size = size,
                .placement = oriel_window_placement(),
                .userdata = setup->window,
        };

        assert_int_equal(oriel_region_new(&options, &setup->region), 0);
        setup->at = oriel_window_address(setup->window);
        assert_int_equal((uintptr_t)setup->at % (2 << 20), 0);
}

static void close_window(struct setup *setup)
{
        oriel_region_free(setup->region);
        oriel_window_free(setup->window);
}

static int map(struct setup *setup, uint64_t offset, uint64_t size, int fd, uint64_t fd_offset, bool writable)
{
        return oriel_region_map(setup->region, (struct oriel_range){offset, size}, fd, fd_offset,
                                writable ? ORIEL_ACCESS_READ_WRITE : ORIEL_ACCESS_READ);
}

static int make_file(const char *text, size_t size)
{
        FILE *file = tmpfile();
        int fd = fd_dup(fileno(file));

        fclose(file);
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        assert_int_equal(pwrite(fd, text, strlen(text), 0), strlen(text));
        return fd;
}

/* Whether a write to @at ends the process. */
static bool write_is_refused(volatile uint8_t *at)
{
        pid_t pid = fork();
        int status;

        if (pid == 0) {
                signal(SIGSEGV, SIG_DFL);
                *at = 1;
                _exit(0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_files_show_in_the_window(void **state)
{
        struct setup s;
        int fd = make_file("hello", 10000), memfd = memfd_create("t", MFD_CLOEXEC);
        char byte;

        open_window(&s, SIZE, ORIEL_HOLE_SINK);
        assert_int_equal(map(&s, 8 * PAGE, 10000, fd, 0, true), 0);
        assert_memory_equal(s.at + 8 * PAGE, "hello", 5);
        s.at[8 * PAGE] = 'J';
        assert_int_equal(pread(fd, &byte, 1, 0), 1);
        assert_int_equal(byte, 'J');
        assert_int_equal(pwrite(fd, "!", 1, 9999), 1);
        assert_int_equal(s.at[8 * PAGE + 9999], '!');

        /* A range longer than the file, and an empty file: mapping does not grow them. */
        assert_int_equal(map(&s, 2 << 20, 2 << 20, memfd, 0, true), 0);
        assert_int_equal(lseek(memfd, 0, SEEK_END), 0);

        assert_int_equal(oriel_region_unmap(s.region, (struct oriel_range){8 * PAGE, 10000}), 0);
        assert_int_equal(s.at[8 * PAGE], 0);
        s.at[8 * PAGE] = 'x';
        assert_int_equal(pread(fd, &byte, 1, 0), 1);
        assert_int_equal(byte, 'J');
        close_window(&s);
        fd_close(fd);
        fd_close(memfd);
}

static void test_permissions(void **state)
{
        struct setup s;
        int fd = make_file("hello", 4096);
        char path[64];

        snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);

        int readonly = open(path, O_RDONLY | O_CLOEXEC), writeonly = open(path, O_WRONLY | O_CLOEXEC);
        int opath = open(path, O_PATH | O_CLOEXEC);

        open_window(&s, SIZE, ORIEL_HOLE_ZERO);
        assert_int_equal(map(&s, 0, PAGE, readonly, 0, true), -EACCES);
        assert_int_equal(map(&s, 0, PAGE, writeonly, 0, true), -EACCES);
        assert_int_equal(map(&s, 0, PAGE, writeonly, 0, false), -EACCES);
        assert_int_equal(map(&s, 0, PAGE, opath, 0, false), -EBADF);
        assert_int_equal(map(&s, 0, PAGE, readonly, 0, false), 0);
        assert_int_equal(map(&s, PAGE, PAGE, fd, 0, false), 0);
        assert_int_equal(map(&s, 2 * PAGE, PAGE, fd, 0, true), 0);
        assert_memory_equal(s.at, "hello", 5);
        assert_true(write_is_refused(s.at));
        assert_true(write_is_refused(s.at + PAGE));
        assert_false(write_is_refused(s.at + 2 * PAGE));
        assert_true(write_is_refused(s.at + 3 * PAGE));
        assert_int_equal(s.at[3 * PAGE], 0);
        close_window(&s);
        fd_close(opath);
        fd_close(writeonly);
        fd_close(readonly);
        fd_close(fd);
}

static void test_what_is_no_file(void **state)
{
        struct setup s;
        int fds[8], pipes[2], sockets[2], n = 0;

        assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
        fds[n++] = pipes[0];
        fds[n++] = pipes[1];
        fds[n++] = sockets[0];
        fds[n++] = sockets[1];
        fds[n++] = eventfd(0, EFD_CLOEXEC);
        fds[n++] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        fds[n++] = open("/dev/zero", O_RDWR | O_CLOEXEC);
        open_window(&s, SIZE, ORIEL_HOLE_ZERO);
        for (int i = 0; i < n; i++)
                assert_int_equal(map(&s, 0, PAGE, fds[i], 0, false), -ENODEV);
        assert_int_equal(map(&s, 0, PAGE, -1, 0, false), -EBADF);
        assert_int_equal(oriel_region_count(s.region), 0);
        close_window(&s);
        fd_close_all(fds, (size_t)n);
}

/* ---- files that refuse to be mapped ---- */

struct mapper {
        const uint8_t *window;
        atomic_bool ready, stop;
        atomic_uint inside;
};

/* Smaller than a huge page: for larger sizes the kernel looks for an aligned address. */
#define BLOCK ((2 << 20) - PAGE)

static uint8_t *take_block(void)
{
        uint8_t *got = mmap(NULL, BLOCK, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        return got == MAP_FAILED ? NULL : got;
}

/* Another thread that maps and unmaps all the time, as malloc() does. The kernel takes the highest free address, so
 * those above the window are taken first: only a gap in the window would be left. */
static void *map_all_the_time(void *userdata)
{
        struct mapper *mapper = userdata;
        uint8_t *above[4096], *got;
        unsigned n = 0;

        while ((got = take_block()) > mapper->window && n < ARRAY_SIZE(above))
                above[n++] = got;
        munmap(got, BLOCK);
        atomic_store(&mapper->ready, true);
        while (!atomic_load(&mapper->stop)) {
                got = take_block();
                if (got + BLOCK > mapper->window && got < mapper->window + SIZE)
                        atomic_fetch_add(&mapper->inside, 1);
                munmap(got, BLOCK);
        }
        while (n > 0)
                munmap(above[--n], BLOCK);
        return NULL;
}

/* The kernel asks a file whether it can be mapped after it has removed the old mapping. A hole must be a hole at every
 * moment, and a neighbour must stay unchanged. */
static void expect_no_gap(enum oriel_hole hole, int fd, bool writable)
{
        struct mapper mapper = {0};
        struct setup s;
        int file = make_file("neighbour", 4096);
        pthread_t thread;
        unsigned refused = 0;

        open_window(&s, SIZE, hole);
        mapper.window = s.at;
        assert_int_equal(map(&s, 2 << 20, PAGE, file, 0, false), 0);
        assert_int_equal(pthread_create(&thread, NULL, map_all_the_time, &mapper), 0);
        while (!atomic_load(&mapper.ready))
                sched_yield();
        for (unsigned i = 0; i < 20000; i++)
                refused += map(&s, (4 << 20) + (uint64_t)i % 30 * (2 << 20), 2 << 20, fd, 0, writable) < 0;
        atomic_store(&mapper.stop, true);
        pthread_join(thread, NULL);
        assert_int_equal(refused, 20000);
        assert_int_equal(atomic_load(&mapper.inside), 0);
        assert_int_equal(oriel_region_count(s.region), 1);
        assert_memory_equal(s.at + (2 << 20), "neighbour", 9);
        for (uint64_t at = 4 << 20; at < SIZE; at += PAGE)
                assert_int_equal(s.at[at], 0);
        close_window(&s);
        fd_close(file);
}

static void test_files_that_refuse(void **state)
{
        int proc = open("/proc/version", O_RDONLY | O_CLOEXEC);
        int sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        assert_int_equal(ftruncate(sealed, 2 << 20), 0);
        assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
        expect_no_gap(ORIEL_HOLE_ZERO, proc, false);
        expect_no_gap(ORIEL_HOLE_SINK, proc, false);
        expect_no_gap(ORIEL_HOLE_ZERO, sealed, true);
        fd_close(sealed);
        fd_close(proc);
}

/* A region that is larger than its window is its owner's mistake; other memory of the process is not touched. */
static void test_window_that_is_too_small(void **state)
{
        struct oriel_region *region;
        struct oriel_window *window;
        int fd = make_file("behind", 8192);

        assert_int_equal(oriel_window_new(2 << 20, ORIEL_HOLE_ZERO, &window), 0);

        const struct oriel_region_options options = {
                .struct_size = sizeof(options),
                .size = 4 << 20,
                .placement = oriel_window_placement(),
                .userdata = window,
        };
        const struct oriel_range last = {(2 << 20) - PAGE, PAGE}, over = {(2 << 20) - PAGE, 2 * PAGE},
                                 behind = {3 << 20, PAGE};
        uint8_t *next = (uint8_t *)oriel_window_address(window) + (2 << 20);
        uint8_t *got =
                mmap(next, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

        if (got == next)
                memset(next, 'n', 2 << 20);
        assert_int_equal(oriel_region_new(&options, &region), 0);
        assert_int_equal(oriel_region_map(region, over, fd, 0, ORIEL_ACCESS_READ), -ERANGE);
        assert_int_equal(oriel_region_map(region, behind, fd, 0, ORIEL_ACCESS_READ), -ERANGE);
        assert_int_equal(oriel_region_map(region, last, fd, 0, ORIEL_ACCESS_READ), 0);
        assert_int_equal(oriel_region_unmap_all(region), 1);
        for (size_t i = 0; got == next && i < 2 << 20; i++)
                assert_int_equal(next[i], 'n');
        oriel_region_free(region);
        oriel_window_free(window);
        if (got != MAP_FAILED)
                munmap(got, 2 << 20);
        fd_close(fd);
}

struct looker {
        const volatile uint8_t *at;
        atomic_bool end;
        atomic_uint looks, holes;
};

static void *look_on(void *userdata)
{
        struct looker *looker = userdata;

        while (!atomic_load(&looker->end)) {
                atomic_fetch_add(&looker->holes, *looker->at != 't');
                atomic_fetch_add(&looker->looks, 1);
        }
        return NULL;
}

/* A new back-end maps what the last one had mapped; a program that runs from there finds its code at each moment. */
static void test_orphans_are_replaced_in_one_step(void **state)
{
        int fd = make_file("the file", 2 * PAGE);
        struct looker looker = {.at = NULL};
        struct setup s;
        pthread_t thread;

        open_window(&s, SIZE, ORIEL_HOLE_SINK);
        assert_int_equal(map(&s, 0, 2 * PAGE, fd, 0, true), 0);
        looker.at = s.at;
        assert_int_equal(pthread_create(&thread, NULL, look_on, &looker), 0);
        while (atomic_load(&looker.looks) == 0)
                sched_yield();
        for (unsigned i = 0; i < 5000; i++) {
                assert_int_equal(oriel_region_orphan_all(s.region), 1);
                assert_int_equal(map(&s, 0, 2 * PAGE, fd, 0, true), 0);
                assert_int_equal(oriel_region_count(s.region), 1);
        }
        atomic_store(&looker.end, true);
        pthread_join(thread, NULL);
        assert_int_equal(atomic_load(&looker.holes), 0);
        assert_int_equal(oriel_region_orphan_all(s.region), 1);
        /* A refused mapping leaves the orphan in place. */
        assert_int_equal(map(&s, 0, 2 * PAGE, fd, PAGE + 1, true), -EINVAL);
        assert_int_equal(s.at[0], 't');
        assert_int_equal(oriel_region_unmap_all(s.region), 1);
        assert_int_equal(s.at[0], 0);
        close_window(&s);
        fd_close(fd);
}

/* A mapping that replaces another has its descriptor kept, even at the limit. */
static void test_replaced_at_the_limit_of_descriptors(void **state)
{
        int fd = make_file("the file", PAGE);
        struct oriel_window *window;
        struct oriel_region *region;

        assert_int_equal(oriel_window_new(SIZE, ORIEL_HOLE_SINK, &window), 0);

        const struct oriel_region_options options = {.struct_size = sizeof(options),
                                                     .size = SIZE,
                                                     .placement = oriel_window_placement(),
                                                     .userdata = window,
                                                     .keep_fds = 3};

        assert_int_equal(oriel_region_new(&options, &region), 0);
        for (unsigned round = 0; round < 3; round++) {
                for (unsigned i = 0; i < 3; i++) {
                        const struct oriel_range range = {i * PAGE, PAGE};

                        assert_int_equal(oriel_region_map(region, range, fd, 0, ORIEL_ACCESS_READ), 0);

                        struct oriel_mapping *mapping = oriel_region_find(region, range.start);

                        assert_true(oriel_mapping_fd(mapping) >= 0);
                        oriel_mapping_unref(mapping);
                }
                assert_int_equal(oriel_region_orphan_all(region), 3);
        }
        oriel_region_free(region);
        oriel_window_free(window);
        fd_close(fd);
}

/* The number of huge pages that the kernel reserves; -1 where that can't be read or changed. */
static int huge_pages(int set)
{
        FILE *file = fopen("/proc/sys/vm/nr_hugepages", set >= 0 ? "we" : "re");
        int n = -1;

        if (!file)
                return -1;
        if (set >= 0)
                n = fprintf(file, "%d\n", set) > 0 ? set : -1;
        else if (fscanf(file, "%d", &n) != 1)
                n = -1;
        return fclose(file) == 0 ? n : -1;
}

/* The kernel would round a short mapping of huge pages up, over its neighbour. */
static void test_huge_pages(void **state)
{
        const uint64_t huge = 2 << 20;
        struct setup s;
        int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB), small = make_file("s", 4096);

        if (fd < 0) {
                fd_close(small);
                skip();
        }
        int kept = huge_pages(-1);

        huge_pages(kept + 2);
        assert_int_equal(ftruncate(fd, (off_t)huge), 0);
        open_window(&s, SIZE, ORIEL_HOLE_SINK);
        assert_int_equal(map(&s, PAGE, PAGE, small, 0, true), 0);
        assert_int_equal(map(&s, 0, PAGE, fd, 0, true), -EINVAL);
        assert_int_equal(map(&s, huge + PAGE, huge, fd, 0, true), -EINVAL);
        assert_int_equal(s.at[PAGE], 's');

        /* Without huge pages, and without the right to reserve some, the kernel refuses the mapping. */
        int r = map(&s, huge, huge, fd, 0, true);

        assert_true(r == 0 || r == -ENOSPC);
        if (r == 0) {
                s.at[huge] = 1;
                assert_int_equal(oriel_region_unmap(s.region, (struct oriel_range){huge, huge}), 0);
                assert_int_equal(s.at[huge], 0);
        }
        print_message("mapping a huge page: %d\n", r);
        close_window(&s);
        fd_close(small);
        fd_close(fd);
        if (kept >= 0)
                huge_pages(kept);
}

/* At the process's limit maps are refused, and everything mapped still reads back correctly. */
static void test_map_limit(void **state)
{
        const uint64_t size = UINT64_C(1) << 30;
        struct setup s;
        int fd = memfd_create("t", MFD_CLOEXEC);
        uint64_t n = 0;
        int r;

        assert_int_equal(ftruncate(fd, (off_t)(1024 * PAGE)), 0);
        for (uint64_t i = 0; i < 1024; i++)
                assert_int_equal(pwrite(fd, &i, sizeof(i), (off_t)(i * PAGE)), sizeof(i));
        open_window(&s, size, ORIEL_HOLE_ZERO);
        for (r = 0; r == 0 && n < size / (2 * PAGE); n += r == 0)
                r = map(&s, n * 2 * PAGE, PAGE, fd, n * 7 % 1024 * PAGE, true);
        print_message("refused after %" PRIu64 " isolated mappings: %d\n", n, r);
        assert_int_equal(r, -ENOSPC);
        assert_int_equal(oriel_region_count(s.region), n);
        for (uint64_t i = 0; i < n; i++) {
                uint64_t value;

                memcpy(&value, s.at + i * 2 * PAGE, sizeof(value));
                assert_int_equal(value, i * 7 % 1024);
        }
        /* The rest of the process can still map, and after an unmap so can the window. */
        void *other = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        assert_ptr_not_equal(other, MAP_FAILED);
        munmap(other, PAGE);
        assert_int_equal(oriel_region_unmap(s.region, (struct oriel_range){0, PAGE}), 0);
        assert_int_equal(map(&s, 0, PAGE, fd, 0, true), 0);
        assert_int_equal(oriel_region_unmap_all(s.region), n);
        assert_int_equal(map(&s, 0, PAGE, fd, 0, true), 0);
        close_window(&s);
        fd_close(fd);
}

static void test_window_sizes(void **state)
{
        struct oriel_window *window = NULL;

        assert_int_equal(oriel_window_new(0, ORIEL_HOLE_ZERO, &window), -EINVAL);
        assert_int_equal(oriel_window_new(5000, ORIEL_HOLE_ZERO, &window), -EINVAL);
        assert_int_equal(oriel_window_new(UINT64_MAX - 4095, ORIEL_HOLE_ZERO, &window), -ENOMEM);
        assert_int_equal(oriel_window_new(UINT64_C(1) << 47, ORIEL_HOLE_SINK, &window), -ENOMEM);
        assert_null(window);
        /* So large that a sink of 2 MiB, repeated, would need more entries than a process may have. */
        assert_int_equal(oriel_window_new(UINT64_C(1) << 36, ORIEL_HOLE_SINK, &window), 0);
        memcpy(oriel_window_address(window), "sunk", 4);
        assert_memory_equal((uint8_t *)oriel_window_address(window) + (UINT64_C(1) << 36) - (16 << 20), "sunk", 4);
        oriel_window_free(window);
        oriel_window_free(NULL);
        assert_int_equal(oriel_window_new(PAGE, ORIEL_HOLE_SINK, &window), 0);
        assert_int_equal(oriel_window_size(window), PAGE);
        oriel_window_free(window);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_files_show_in_the_window),
                counted_test(test_permissions),
                counted_test(test_what_is_no_file),
                counted_test(test_files_that_refuse),
                counted_test(test_window_that_is_too_small),
                counted_test(test_orphans_are_replaced_in_one_step),
                counted_test(test_replaced_at_the_limit_of_descriptors),
                counted_test(test_huge_pages),
                counted_test(test_map_limit),
                counted_test(test_window_sizes),
        };

        return run_counted("window", tests);
}
