/* SPDX-License-Identifier: BSD-2-Clause */

/* What becomes of a process that makes a system call which none of its files names. */

#include "base/cleanup.h"
#include "base/sanitized.h"
#include "base/test.h"
#include "devices/fs/syscalls.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
        DONE = 7,
        REFUSED = 8,
};

typedef bool call_function(void);

static bool listed(void)
{
        return sched_yield() == 0 && write(-1, "", 1) < 0 && errno == EBADF;
}

static bool unlisted(void)
{
        return syscall(SYS_getppid) > 0;
}

static bool execute(void)
{
        char *const nothing[] = {NULL};

        return execve("/bin/true", nothing, nothing) < 0;
}

static bool new_socket(void)
{
        return socket(AF_UNIX, SOCK_STREAM, 0) >= 0;
}

static bool new_process(void)
{
        return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0) >= 0;
}

static bool new_program_memory(void)
{
        return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static bool limit_of_other(void)
{
        return syscall(SYS_prlimit64, getppid(), 0, NULL, NULL) == 0;
}

/* How a process ends that makes @call under @action. */
static int end_of(enum syscalls_action action, call_function *call)
{
        int status;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                /* cmocka catches it. */
                signal(SIGSYS, SIG_DFL);
                if (syscalls_limit(action) < 0)
                        _exit(REFUSED);
                _exit(call() ? DONE : 0);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        return status;
}

static void check_done(enum syscalls_action action, call_function *call)
{
        const int status = end_of(action, call);

        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), DONE);
}

static void check_killed(enum syscalls_action action, call_function *call)
{
        const int status = end_of(action, call);

        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void test_kill(void **state)
{
        static call_function *const calls[] = {
                unlisted, execute, new_socket, new_process, new_program_memory, limit_of_other,
        };

        (void)state;
        check_done(SYSCALLS_KILL, listed);
        if (SANITIZED)
                skip();
        for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
                check_killed(SYSCALLS_KILL, calls[i]);
}

static void test_other_actions(void **state)
{
        (void)state;
        check_done(SYSCALLS_ANY, unlisted);
        check_done(SYSCALLS_LOG, unlisted);
        if (!SANITIZED)
                check_killed(SYSCALLS_TRAP, unlisted);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_kill),
                counted_test(test_other_actions),
        };

        return run_counted("fs-syscalls", tests);
}
