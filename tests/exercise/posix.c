/* SPDX-License-Identifier: BSD-2-Clause */
/* The cases of POSIX for files, one after the other, on a directory of any file system. Prints TAP. */
#include "posix.h"

#include <ftw.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* Seconds, for one case. It ends a wait that nothing else would end. */
#define TIME_LIMIT  150
#define SKIP_STATUS 77

static const char *only = ""; /* the cases whose id begins so */
static bool read_only;        /* nothing can be made in the directory: only cases that know so, and in it as it is */

static struct posix_case *first;
static struct posix_case **last = &first;

/* Shared with the process that runs a case. */
static char *skip_reason;
#define SKIP_REASON_SIZE 256

void posix_add(struct posix_case *new_case)
{
        *last = new_case;
        last = &new_case->next;
}

/* ---- in the case's process ---- */

void posix_fail(const char *format, ...)
{
        char text[1024];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof(text), format, args);
        va_end(args);
        dprintf(STDOUT_FILENO, "# %.1000s\n", text);
        _exit(1);
}

void posix_skip(const char *format, ...)
{
        va_list args;

        va_start(args, format);
        vsnprintf(skip_reason, SKIP_REASON_SIZE, format, args);
        va_end(args);
        _exit(SKIP_STATUS);
}

void posix_equal(const char *file, int line, const char *what, long long a, long long b)
{
        if (a != b)
                posix_fail("%s:%d: not so: %s: %lld (%#llo) and %lld (%#llo)", file, line, what, a, a, b, b);
}

long long posix_ok(const char *file, int line, const char *call, long long result)
{
        if (result == -1)
                posix_fail("%s:%d: %.200s: %s", file, line, call, strerrorname_np(errno));
        return result;
}

long long posix_ok_if_there(const char *file, int line, const char *call, long long result)
{
        if (result == -1 && (errno == EOPNOTSUPP || errno == ENOSYS || errno == ENODEV))
                posix_skip("%.200s: %s", call, strerrorname_np(errno));
        return posix_ok(file, line, call, result);
}

void posix_fails(const char *file, int line, const char *call, long long result, const int *errors)
{
        int error = errno;

        if (result != -1)
                posix_fail("%s:%d: %.200s: succeeded, but %s is expected", file, line, call, strerrorname_np(*errors));
        for (const int *expected = errors; *expected; expected++)
                if (*expected == error)
                        return;
        posix_fail("%s:%d: %.200s: %s, but %s is expected", file, line, call, strerrorname_np(error),
                   strerrorname_np(*errors));
}

pid_t posix_fork(void)
{
        return OK(fork());
}

void posix_join(pid_t pid)
{
        int status;

        OK(waitpid(pid, &status, 0));
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

static void __attribute__((noreturn)) run_case(const struct posix_case *one, const char *folder)
{
        setpgid(0, 0);
        alarm(TIME_LIMIT);
        umask(022);
        OK(chdir(folder));
        one->check(one->argument);
        _exit(0);
}

/* ---- in the program's ---- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
        if (kind == FTW_DP || kind == FTW_D || kind == FTW_DNR)
                return rmdir(path);
        return unlink(path);
}

static int allow_one(const char *path, const struct stat *st, int kind, struct FTW *where)
{
        if (kind == FTW_D || kind == FTW_DNR)
                chmod(path, 0700);
        return 0;
}

static void remove_folder(const char *folder)
{
        if (geteuid() != 0)
                nftw(folder, allow_one, 16, FTW_PHYS);
        nftw(folder, remove_one, 16, FTW_PHYS | FTW_DEPTH);
        if (access(folder, F_OK) == 0)
                printf("# %s can't be removed\n", folder);
}

/* Until it has ended; false: it has not, in @seconds. */
static bool wait_for_end(pid_t pid, time_t seconds, int *status)
{
        sigset_t set;

        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        for (;;) {
                if (waitpid(pid, status, WNOHANG) == pid)
                        return true;
                if (sigtimedwait(&set, NULL, &(struct timespec){seconds, 0}) < 0 && errno == EAGAIN)
                        return false;
        }
}

/* The exit status, or -1. */
static int run_in_process(const struct posix_case *one, const char *folder)
{
        int status;
        pid_t pid = fork();

        if (pid == 0)
                run_case(one, folder);
        if (pid < 0)
                return -1;

        bool ended = wait_for_end(pid, TIME_LIMIT + 5, &status);

        /* Whom it has started, and not waited for; or whom it waits for so that no signal reaches it. */
        kill(-pid, SIGKILL);
        if (!ended && !wait_for_end(pid, TIME_LIMIT, &status)) {
                printf("Bail out! %s can't be killed\n", one->id);
                exit(1);
        }
        if (WIFSIGNALED(status))
                printf("# ended by signal %d%s\n", WTERMSIG(status),
                       WTERMSIG(status) == SIGALRM ? ": it took too long" : "");
        return ended && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool run_and_print(const struct posix_case *one, int number, const char *dir)
{
        char folder[PATH_MAX];
        int status = -1;

        skip_reason[0] = '\0';
        if (read_only)
                snprintf(folder, sizeof(folder), "%s", dir);
        else
                snprintf(folder, sizeof(folder), "%s/case-%d", dir, number);
        if (read_only || mkdir(folder, 0755) == 0)
                status = run_in_process(one, folder);
        else
                printf("# %s: %s\n", folder, strerror(errno));
        if (status == 0)
                printf("ok %d - %s\n", number, one->id);
        else if (status == SKIP_STATUS)
                printf("ok %d - %s # SKIP %s\n", number, one->id, skip_reason);
        else
                printf("# expected: %s\nnot ok %d - %s\n", one->rule, number, one->id);
        fflush(stdout);
        if (!read_only)
                remove_folder(folder);
        return status == 0 || status == SKIP_STATUS;
}

static bool begins_with(const char *text, const char *start)
{
        return strncmp(text, start, strlen(start)) == 0;
}

static bool is_chosen(const struct posix_case *one)
{
        return begins_with(one->id, only) && begins_with(one->id, "readonly.") == read_only;
}

static int run_all(const char *dir)
{
        int n = 0, number = 0, failed = 0;
        sigset_t set;

        /* wait_for_end() takes them. */
        sigemptyset(&set);
        sigaddset(&set, SIGCHLD);
        sigprocmask(SIG_BLOCK, &set, NULL);

        for (const struct posix_case *one = first; one; one = one->next)
                n += is_chosen(one);
        printf("1..%d\n", n);
        fflush(stdout);
        for (const struct posix_case *one = first; one; one = one->next)
                if (is_chosen(one))
                        failed += !run_and_print(one, ++number, dir);
        return failed ? 1 : 0;
}

static void list_all(void)
{
        for (const struct posix_case *one = first; one; one = one->next)
                if (is_chosen(one))
                        printf("%-44s %s\n", one->id, one->rule);
}

int main(int argc, char **argv)
{
        static const struct option options[] = {
                {"list", no_argument, NULL, 'l'},
                {"only", required_argument, NULL, 'o'},
                {"read-only", no_argument, NULL, 'r'},
                {0},
        };
        bool list = false;
        int option;

        while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
                if (option == 'l')
                        list = true;
                else if (option == 'r')
                        read_only = true;
                else if (option == 'o')
                        only = optarg;
                else
                        argc = 0;
        if (argc - optind != (list ? 0 : 1)) {
                fprintf(stderr, "Usage: posix [--only=PREFIX] [--read-only] --list | DIR\n");
                return 2;
        }
        if (list) {
                list_all();
                return 0;
        }
        skip_reason = mmap(NULL, SKIP_REASON_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        return skip_reason == MAP_FAILED ? 1 : run_all(argv[optind]);
}
