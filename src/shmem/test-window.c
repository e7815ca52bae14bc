/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <oriel/shmem.h>
#include <signal.h>
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

/* Whether writing to @at ends a process. */
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

        (void)state;
        open_window(&s, SIZE, ORIEL_HOLE_SINK);
        assert_int_equal(map(&s, 8 * PAGE, 10000, fd, 0, true), 0);
        assert_memory_equal(s.at + 8 * PAGE, "hello", 5);
        s.at[8 * PAGE] = 'J';
        assert_int_equal(pread(fd, &byte, 1, 0), 1);
        assert_int_equal(byte, 'J');
        assert_int_equal(pwrite(fd, "!", 1, 9999), 1);
        assert_int_equal(s.at[8 * PAGE + 9999], '!');

        /* Longer than the file, and an empty one: nothing is grown. */
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

        (void)state;
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

        (void)state;
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

/* How many huge pages the kernel keeps; -1 where that can't be told or changed. */
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

        (void)state;
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

        /* Without huge pages to give, and without the right to ask for some, the kernel says so at the mapping. */
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

/* Growth ends by refusal at the process's limit, and all that is mapped still reads back right. */
static void test_map_limit(void **state)
{
        const uint64_t size = UINT64_C(1) << 30;
        struct setup s;
        int fd = memfd_create("t", MFD_CLOEXEC);
        uint64_t n = 0;
        int r;

        (void)state;
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
        /* There is room for the rest of the process, and after an unmap for another mapping. */
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

        (void)state;
        assert_int_equal(oriel_window_new(0, ORIEL_HOLE_ZERO, &window), -EINVAL);
        assert_int_equal(oriel_window_new(5000, ORIEL_HOLE_ZERO, &window), -EINVAL);
        assert_int_equal(oriel_window_new(UINT64_MAX - 4095, ORIEL_HOLE_ZERO, &window), -ENOMEM);
        assert_int_equal(oriel_window_new(UINT64_C(1) << 47, ORIEL_HOLE_SINK, &window), -ENOMEM);
        assert_null(window);
        /* So large that 2 MiB, repeated, would be more entries than a process may have. */
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
                counted_test(test_huge_pages),
                counted_test(test_map_limit),
                counted_test(test_window_sizes),
        };

        return run_counted("window", tests);
}
