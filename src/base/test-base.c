/* SPDX-License-Identifier: BSD-2-Clause */
/* Tests of src/base: clean-up by scope, checked sums, ranges, file descriptors, maps, events, the log, and the guard of
 * mapped files once its table is full. */
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/guard.h"
#include "base/log.h"
#include "base/map.h"
#include "base/range.h"
#include "base/test.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

static void test_checked(void **state)
{
        uint64_t out = 7;

        assert_false(checked_add(UINT64_MAX, 1, &out));
        assert_false(checked_mul(UINT64_MAX, 2, &out));
        assert_false(checked_round_up(UINT64_MAX, 4096, &out));
        assert_int_equal(out, 7);
        assert_true(checked_round_up(4097, 4096, &out));
        assert_int_equal(out, 8192);
}

static void test_ranges(void **state)
{
        const struct oriel_range top = {UINT64_MAX, 1}, over = {UINT64_MAX, 2}, empty = {5, 0};

        assert_true(range_valid(top));
        assert_false(range_valid(over));
        assert_false(range_valid(empty));
        assert_true(range_within((struct oriel_range){4096, 4096}, 8192));
        assert_false(range_within((struct oriel_range){4097, 4096}, 8192));
        assert_false(range_within((struct oriel_range){UINT64_MAX, 4096}, 8192));
        assert_true(range_overlaps((struct oriel_range){0, 10}, (struct oriel_range){9, 1}));
        assert_false(range_overlaps((struct oriel_range){0, 10}, (struct oriel_range){10, 1}));
        assert_false(range_overlaps((struct oriel_range){0, 10}, empty));
        assert_true(range_contains((struct oriel_range){0, 10}, (struct oriel_range){9, 1}));
        assert_false(range_contains((struct oriel_range){0, 10}, (struct oriel_range){9, 2}));
}

static void test_fds(void **state)
{
        int fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        int slots[2] = {fd_dup(fd), -1};

        assert_int_equal(fd_event_clear(fd), 0);
        assert_int_equal(fd_event_signal(fd), 0);
        assert_int_equal(fd_event_clear(slots[0]), 1);
        assert_int_equal(fcntl(fd, F_SETFL, O_RDWR | O_ASYNC), 0);
        assert_int_equal(fd_set_nonblocking(fd, 1), 0);
        assert_int_equal(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ASYNC), O_NONBLOCK);
        /* A holder of the same eventfd can make it blocking; clearing is not affected. */
        assert_int_equal(fd_set_nonblocking(fd, 0), 0);
        assert_int_equal(fd_event_clear(fd), 0);
        assert_int_equal(write(fd, &(uint64_t){UINT64_MAX - 1}, sizeof(uint64_t)), sizeof(uint64_t));
        assert_int_equal(fd_event_signal(fd), 0);
        assert_int_equal(fd_event_clear(fd), 1);
        fd_close_all(slots, 2);
        assert_int_equal(slots[0], -1);

        int taken = fd_take(&fd);

        assert_int_equal(fd, -1);
        assert_int_equal(fd_close(taken), -1);
        assert_int_equal(fd_dup(taken), -EBADF);
}

/* ---- memory ---- */

static int proc_file(void)
{
        return open("/proc/version", O_RDONLY | O_CLOEXEC);
}

static int huge_file(void)
{
        int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);

        return fd < 0 || ftruncate(fd, 2 << 20) == 0 ? fd : fd_close(fd);
}

static int sealed_file(void)
{
        int fd = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
        return fd;
}

/* Files that refuse to be mapped only after the kernel has removed the old mapping. */
static const struct {
        int (*open)(void);
        size_t size;
        int protection;
        bool may_map; /* where there are huge pages to have */
} refusing[] = {
        {proc_file, 4096, PROT_READ, false},
        {huge_file, 2 << 20, PROT_READ | PROT_WRITE, true},
        {sealed_file, 4096, PROT_READ | PROT_WRITE, false},
};

static void test_map_over(void **state)
{
        const size_t room = 4 << 20, huge = 2 << 20;
        uint8_t *memory = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        uint8_t *at = memory + (-(uintptr_t)memory & (huge - 1));
        int file = memfd_create("file", MFD_CLOEXEC);

        assert_ptr_not_equal(memory, MAP_FAILED);
        memset(at, 'o', huge);
        for (size_t i = 0; i < ARRAY_SIZE(refusing); i++) {
                int fd = refusing[i].open();
                int r = fd < 0 ? -ENOSYS : map_over(at, refusing[i].size, refusing[i].protection, MAP_SHARED, fd, 0);

                assert_true(r < 0 || refusing[i].may_map);
                if (r == 0)
                        assert_int_equal(map_over(at, huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
                                         0);
                for (size_t n = 0; r < 0 && n < huge; n++)
                        assert_int_equal(at[n], 'o');
                memset(at, 'o', huge);
                fd_close(fd);
        }
        assert_int_equal(pwrite(file, "new", 3, 4096), 3);
        assert_int_equal(map_over(at, 4096, PROT_READ, MAP_SHARED, file, 4096), 0);
        assert_memory_equal(at, "new", 3);
        assert_int_equal(at[4096], 'o');
        assert_int_equal(map_over(at, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), 0);
        assert_int_equal(at[0], 0);
        assert_int_equal(map_over(at + 1, 4096, PROT_READ, MAP_SHARED, file, 0), -EINVAL);
        munmap(memory, room);
        fd_close(file);
}

/* A file of huge pages that are not available: each becomes separate zeros when it is touched. */
static void test_zeros_in_huge_pages(void **state)
{
        const size_t huge = 2 << 20;
        int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);

        if (fd < 0)
                skip();
        assert_int_equal(ftruncate(fd, 4 << 20), 0);

        uint8_t *memory = mmap(NULL, 4 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

        assert_ptr_not_equal(memory, MAP_FAILED);
        assert_int_equal(guard_add(memory, 4 << 20), 0);
        assert_int_equal(guard_install(), 0);
        assert_int_equal(memory[huge + 12345], 0);
        memory[huge + 5] = 5;
        assert_int_equal(memory[17], 0);
        assert_int_equal(memory[huge + 5], 5);
        guard_remove(memory);
        munmap(memory, 4 << 20);
        fd_close(fd);
}

/* In this process from now on. */
static void load_filter(struct sock_filter *code, size_t n)
{
        const struct sock_fprog program = {(unsigned short)n, code};

        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
                _exit(3);
}

/* A guard that could not be installed takes part in nothing, so its full table is no error. In a child: here it is
 * installed by other tests. */
static int guard_without_a_handler(void)
{
        uint8_t *const address = (uint8_t *)(uintptr_t)(1 << 20);
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_rt_sigaction, 0, 3),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 1, 0),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };

        load_filter(code, ARRAY_SIZE(code));
        if (guard_install() != -EPERM)
                return 1;
        for (unsigned i = 0; i < 10000; i++)
                if (guard_add(address + i * 4096, 4096) != 0)
                        return 2;
        return 0;
}

static void test_guard_that_is_not_installed(void **state)
{
        pid_t child = fork();
        int status;

        assert_true(child >= 0);
        if (child == 0)
                _exit(guard_without_a_handler());
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
}

/* Pages of a file that has none: an access to them is SIGBUS. */
static uint8_t *map_nothing(size_t size)
{
        int fd = memfd_create("empty", MFD_CLOEXEC);
        uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        fd_close(fd);
        return memory;
}

static struct sigaction handed_back_to;

static void hand_back(int number, siginfo_t *info, void *context)
{
        sigaction(SIGBUS, &handed_back_to, NULL);
}

static void call_back(int number, siginfo_t *info, void *context)
{
        handed_back_to.sa_sigaction(number, info, context);
}

/* Handlers of a program that was there before the guard was installed again, and hand on to the guard's own. */
static void test_guard_ends_a_circle(void **state)
{
        void (*const handlers[])(int, siginfo_t *, void *) = {hand_back, call_back};

        for (size_t i = 0; i < ARRAY_SIZE(handlers); i++) {
                pid_t child = fork();
                int status;

                assert_true(child >= 0);
                if (child == 0) {
                        struct sigaction action = {.sa_sigaction = handlers[i], .sa_flags = SA_SIGINFO};
                        const volatile uint8_t *memory = map_nothing(4096);

                        signal(SIGBUS, SIG_DFL);
                        signal(SIGALRM, SIG_DFL);
                        alarm(60);
                        if (guard_install() < 0 || sigaction(SIGBUS, &action, &handed_back_to) < 0 ||
                            guard_install() < 0)
                                _exit(1);
                        _exit(memory[0] + 2);
                }
                assert_int_equal(waitpid(child, &status, 0), child);
                assert_true(WIFSIGNALED(status));
                assert_int_equal(WTERMSIG(status), SIGBUS);
        }
}

/* guard_add() fails while the table is full, and works again after a removal. */
static void test_guard_is_full(void **state)
{
        uint8_t *const address = (uint8_t *)(uintptr_t)(1 << 20);
        unsigned n = 0;

        assert_int_equal(guard_install(), 0);
        while (guard_add(address + n * 4096, 4096) == 0)
                n++;
        assert_between(n, 8000, 1 << 20);
        assert_int_equal(guard_add(address + n * 4096, 4096), -ENOSPC);
        guard_remove(address);
        assert_int_equal(guard_add(address, 4096), 0);
        for (unsigned i = 0; i < n; i++)
                guard_remove(address + i * 4096);
}

/* ---- eventfds ---- */

static const uint64_t nearly_full = UINT64_MAX - 1;

static int full_eventfd(void)
{
        int fd = eventfd(0, EFD_CLOEXEC);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, &nearly_full, sizeof(nearly_full)), sizeof(nearly_full));
        return fd;
}

struct flipper {
        int fd;
        atomic_bool stop;
};

static void *make_blocking(void *userdata)
{
        struct flipper *flipper = userdata;

        while (!atomic_load(&flipper->stop))
                fcntl(flipper->fd, F_SETFL, O_RDWR);
        return NULL;
}

/* Another thread keeps the eventfd full and blocking; signalling does not wait. */
static void test_event_that_is_made_to_block(void **state)
{
        struct flipper flipper = {.fd = full_eventfd()};
        pthread_t thread;

        /* Without AIO, as in QEMU's user mode, each may take a millisecond: so many as there is time for. */
        const int64_t enough = now_ms() + 10000;

        alarm(60);
        assert_int_equal(pthread_create(&thread, NULL, make_blocking, &flipper), 0);
        for (int i = 0; i < 100000 && now_ms() < enough; i++)
                assert_int_equal(fd_event_signal(flipper.fd), 0);
        for (int i = 0; i < 1000; i++)
                assert_int_equal(fd_event_check(flipper.fd), 0);
        assert_int_equal(fd_event_clear(flipper.fd), 1);
        for (int i = 0; i < 1000; i++)
                assert_int_equal(fd_event_clear(flipper.fd), 0);
        assert_int_equal(fd_event_check(flipper.fd), 0);
        assert_int_equal(fd_event_clear(flipper.fd), 0);
        atomic_store(&flipper.stop, true);
        pthread_join(thread, NULL);
        alarm(0);
        fd_close(flipper.fd);
}

static void test_event_check(void **state)
{
        sigset_t none;
        int pipe_fds[2];

        sigemptyset(&none);
        assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);

        const int others[] = {
                pipe_fds[0],
                pipe_fds[1],
                memfd_create("file", MFD_CLOEXEC),
                open("/", O_PATH | O_CLOEXEC),
                open("/dev/null", O_RDWR | O_CLOEXEC),
                epoll_create1(EPOLL_CLOEXEC),
                timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC),
                signalfd(-1, &none, SFD_CLOEXEC),
                socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
        };

        for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
                assert_true(others[i] >= 0);
                assert_int_equal(fd_event_check(others[i]), -EINVAL);
                fd_close(others[i]);
        }
        assert_int_equal(fd_event_check(-1), -EINVAL);
        assert_int_equal(fd_event_signal(-1), -EBADF);
}

/* Every operation on an eventfd. */
static bool event_works(void)
{
        int fd = eventfd(0, EFD_CLOEXEC), file = memfd_create("file", MFD_CLOEXEC);
        bool works = fd_event_check(fd) == 0 && fd_event_check(file) == -EINVAL && fd_event_clear(fd) == 0;

        works = works && fd_event_signal(fd) == 0 && fd_event_signal(fd) == 0;
        works = works && fd_event_clear(fd) == 1 && fd_event_clear(fd) == 0;
        fd_close(fd);
        fd_close(file);
        return works;
}

/* Makes @call fail with @error in this process from now on. */
static void deny(uint32_t call, uint32_t error)
{
        struct sock_filter code[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };

        load_filter(code, ARRAY_SIZE(code));
}

/* System calls that sandboxes and replacements of Linux do not support. */
static const struct {
        uint32_t call, error;
} lacking[] = {
        {UINT32_MAX, 0}, /* none fails: a child has to do without its parent's context */
        {__NR_preadv2, EOPNOTSUPP},
        {__NR_preadv2, ENOSYS},
        {__NR_io_setup, ENOSYS},
        {__NR_io_setup, EAGAIN},
        {__NR_io_submit, EPERM},
};

/* The limits of the user and of the system are used up, as other processes can do. */
static bool own_event_works(void)
{
        int fd = eventfd(0, EFD_CLOEXEC);
        bool works;

        deny(__NR_io_setup, EAGAIN);
        deny(__NR_timer_create, EAGAIN);
        works = fd_event_signal(fd) == -ENOMEM;
        fd_event_wake(fd);
        works = works && fd_event_clear(fd) == 1 && fd_event_clear(fd) == 0;
        fd_close(fd);
        return works;
}

static void test_events_without_what_they_are_made_with(void **state)
{
        assert_true(event_works());
        for (size_t i = 0; i <= ARRAY_SIZE(lacking); i++) {
                pid_t child = fork();
                int status;

                assert_true(child >= 0);
                if (child == 0) {
                        alarm(60);
                        if (i == ARRAY_SIZE(lacking))
                                _exit(own_event_works() ? 0 : 1);
                        deny(lacking[i].call, lacking[i].error);
                        _exit(event_works() ? 0 : 1);
                }
                assert_int_equal(waitpid(child, &status, 0), child);
                if (status != 0)
                        fail_msg("case %zu: status 0x%x", i, status);
        }
}

static void keep_line(void *userdata, enum oriel_log_level level, const char *line)
{
        strcpy(userdata, line);
}

static void test_log(void **state)
{
        char line[512] = "";
        struct oriel_log log = {sizeof(log), keep_line, line, ORIEL_LOG_INFO};

        log_error(NULL, "nobody");
        log_debug(&log, "too fine");
        assert_string_equal(line, "");
        log_info(&log, "%d of %s", 3, "four");
        assert_string_equal(line, "3 of four");
}

static void test_log_to_stderr(void **state)
{
        const struct oriel_log log = oriel_log_stderr(ORIEL_LOG_WARNING);
        const int saved = fd_dup(STDERR_FILENO);
        char text[200] = "";
        int ends[2];

        assert_true(saved >= 0);
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
        log_error(&log, "%s", "lost");
        log_warning(&log, "%s", "slow");
        log_info(&log, "%s", "begun");
        assert_int_equal(dup2(saved, STDERR_FILENO), STDERR_FILENO);
        fd_close(saved);
        fd_close(ends[1]);
        assert_true(read(ends[0], text, sizeof(text) - 1) > 0);
        fd_close(ends[0]);
        assert_string_equal(text, "oriel: error: lost\noriel: warning: slow\n");
}

static void test_error_texts(void **state)
{
        assert_string_equal(oriel_error_text(-EREMOTEIO), "the other end refused the request");
        assert_string_equal(oriel_error_text(-ENOENT), strerror(ENOENT));
        assert_string_equal(oriel_error_text(0), strerror(0));
        assert_non_null(oriel_error_text(INT32_MIN));
        for (int error = -200; error <= 200; error++)
                assert_non_null(oriel_error_text(error));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_checked),
                counted_test(test_ranges),
                counted_test(test_fds),
                counted_test(test_map_over),
                counted_test(test_guard_that_is_not_installed),
                counted_test(test_zeros_in_huge_pages),
                counted_test(test_guard_ends_a_circle),
                counted_test(test_guard_is_full),
                counted_test(test_event_that_is_made_to_block),
                counted_test(test_event_check),
                counted_test(test_events_without_what_they_are_made_with),
                counted_test(test_log),
                counted_test(test_log_to_stderr),
                counted_test(test_error_texts),
        };

        return run_counted("base", tests);
}
