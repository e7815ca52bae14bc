/* SPDX-License-Identifier: BSD-2-Clause */

/* The results of system calls in a process with a filter: calls of a row are made, calls that a library may make on its
 * own fail, and the rest end the process. */

#include "seccomp/filter.h"

#include "base/cleanup.h"
#include "base/test.h"
#include "program/sanitized.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
        NO_FILTER = 255,
};

static const struct syscall_row rows[] = {
        SYSCALL(write),
        SYSCALL(getpid),
        SYSCALL(exit_group),
        SYSCALL(rt_sigprocmask),
        SYSCALL(rt_sigaction),
        SYSCALL(gettid),
        SYSCALL(futex),
        SYSCALL(sched_yield),
        SYSCALL_AT(openat, 0),
        SYSCALL_BETWEEN(linkat, 0, 2),
        SYSCALL_WITH(mmap, 2, PROT_EXEC, 0),
        SYSCALL_WITH(prlimit64, 0, UINT32_MAX, 0),
        SYSCALL_SET_FLAGS,
        SYSCALL_WITH(process_vm_writev, 0, UINT32_MAX, SYSCALL_OWN_PID),
        SYSCALL_WITH_BOTH(socketpair, 0, UINT32_MAX, AF_UNIX, 1, 0xf, SOCK_STREAM),
};

/* Returns 0, or the errno of the call. */
typedef int call_function(void);

static int error_of(long result)
{
        return result < 0 ? errno : 0;
}

static int listed(void)
{
        return error_of(sched_yield());
}

static int open_from_descriptor(void)
{
        return error_of(openat(INT32_MAX, "x", O_RDONLY | O_CLOEXEC)) == EBADF ? 0 : -1;
}

static int link_from_descriptors(void)
{
        return error_of(linkat(INT32_MAX, "a", INT32_MAX, "b", 0)) == EBADF ? 0 : -1;
}

static int set_flags(void)
{
        return error_of(fcntl(STDERR_FILENO, F_SETFL, O_APPEND)) == ENOSYS ? -1 : 0;
}

static int pair_of_streams(void)
{
        int fds[2];

        return error_of(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds));
}

static int write_own_memory(void)
{
        return error_of(syscall(SYS_process_vm_writev, getpid(), NULL, 0UL, NULL, 0UL, 0UL));
}

static int unlisted(void)
{
        return error_of(syscall(SYS_getppid));
}

/* A number that no kernel has. */
static int unknown(void)
{
        return error_of(syscall(2000));
}

static int open_file(void)
{
        return error_of(open("/proc/sys/vm/overcommit_memory", O_RDONLY | O_CLOEXEC));
}

static int open_file_the_old_way(void)
{
#ifdef SYS_open
        return error_of(syscall(SYS_open, "/dev/null", O_RDONLY | O_CLOEXEC));
#else
        return ENOSYS;
#endif
}

static int link_from_here(void)
{
        return error_of(linkat(AT_FDCWD, "/a", 0, "b", 0));
}

static int link_to_here(void)
{
        return error_of(linkat(0, "a", AT_FDCWD, "/b", 0));
}

static int look_at_file(void)
{
        struct stat st;

        return error_of(stat("/dev/null", &st));
}

static int new_socket(void)
{
        return error_of(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int pair_of_datagrams(void)
{
        int fds[2];

        return error_of(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
}

static int signals_by_flag(void)
{
        return error_of(fcntl(STDERR_FILENO, F_SETFL, O_ASYNC));
}

static int signals_to_another(void)
{
        return error_of(fcntl(STDERR_FILENO, F_SETOWN, getppid()));
}

static int limit_of_other(void)
{
        return error_of(syscall(SYS_prlimit64, 1, 0, NULL, NULL));
}

static int thread_of_other(void)
{
        return error_of(syscall(SYS_tgkill, 1, 1, 0));
}

static int new_way_to_clone(void)
{
        return error_of(syscall(SYS_clone3, NULL, 0));
}

static int execute(void)
{
        char *const nothing[] = {NULL};

        return error_of(execve("/bin/true", nothing, nothing));
}

static int new_process(void)
{
        return error_of(syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0));
}

static int new_program_memory(void)
{
        return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? errno : 0;
}

static int signal_other(void)
{
        return error_of(kill(1, 0));
}

static int new_mount(void)
{
        return error_of(syscall(SYS_mount, NULL, NULL, NULL, 0, NULL));
}

static int trace(void)
{
        return error_of(syscall(SYS_ptrace, 0, 0, 0, 0));
}

/* The way that a process ends which makes @call under @action. */
static int end_of(enum filter_action action, call_function *call)
{
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                /* cmocka has installed a handler. */
                signal(SIGSYS, SIG_DFL);
                if (filter_enter(action, rows, ARRAY_SIZE(rows)) < 0)
                        _exit(NO_FILTER);
                _exit(call());
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return status;
}

static void check_result(enum filter_action action, call_function *call, int error)
{
        const int status = end_of(action, call);

        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), error);
}

static void check_killed(enum filter_action action, call_function *call)
{
        const int status = end_of(action, call);

        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void test_made(void **state)
{
        static call_function *const calls[] = {listed,    open_from_descriptor, link_from_descriptors,
                                               set_flags, pair_of_streams,      write_own_memory};

        for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
                check_result(FILTER_KILL, calls[i], 0);
}

static void test_refused(void **state)
{
        static const struct {
                call_function *call;
                int error;
        } rows_of_calls[] = {
                {unlisted, ENOSYS},           {unknown, ENOSYS},
                {open_file, EACCES},          {open_file_the_old_way, ENOSYS},
                {link_from_here, EACCES},     {link_to_here, EACCES},
                {look_at_file, ENOSYS},       {new_socket, ENOSYS},
                {pair_of_datagrams, ENOSYS},  {signals_by_flag, ENOSYS},
                {signals_to_another, ENOSYS}, {limit_of_other, ENOSYS},
                {thread_of_other, ENOSYS},    {new_way_to_clone, ENOSYS},
        };

        if (SANITIZED)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(rows_of_calls); i++) {
                check_result(FILTER_KILL, rows_of_calls[i].call, rows_of_calls[i].error);
                check_result(FILTER_TRAP, rows_of_calls[i].call, rows_of_calls[i].error);
        }
}

static void test_fatal(void **state)
{
        static call_function *const calls[] = {execute,      new_process, new_program_memory,
                                               signal_other, new_mount,   trace};

        if (SANITIZED)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
                check_killed(FILTER_KILL, calls[i]);
                check_killed(FILTER_TRAP, calls[i]);
        }
}

static void test_other_actions(void **state)
{
        check_result(FILTER_NONE, unlisted, 0);
        check_result(FILTER_LOG, unlisted, 0);
        check_result(FILTER_LOG, open_file, 0);
        check_result(FILTER_LOG, execute, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_made),
                counted_test(test_refused),
                counted_test(test_fatal),
                counted_test(test_other_actions),
        };

        return run_counted("filter", tests);
}
