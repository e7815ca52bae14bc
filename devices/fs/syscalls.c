/* SPDX-License-Identifier: BSD-2-Clause */
#include "devices/fs/syscalls.h"

#include "base/cleanup.h"
#include "base/sanitized.h"
#include "base/syscalls.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

/* What the C library does by itself. */
USES_SYSCALLS(SYSCALL_WITH(mmap, 2, PROT_EXEC, 0), SYSCALL_WITH(mprotect, 2, PROT_EXEC, 0), SYSCALL(munmap),
              SYSCALL(mremap), SYSCALL(madvise), SYSCALL(brk), SYSCALL(futex), SYSCALL(set_robust_list), SYSCALL(rseq),
              SYSCALL(exit), SYSCALL(exit_group), SYSCALL(gettid), SYSCALL(getpid), SYSCALL(sched_yield),
              SYSCALL(sched_getaffinity), SYSCALL(rt_sigaction), SYSCALL(rt_sigprocmask), SYSCALL(rt_sigreturn),
              SYSCALL(sigaltstack), SYSCALL(restart_syscall), SYSCALL(clock_gettime), SYSCALL(gettimeofday),
              SYSCALL(nanosleep), SYSCALL(clock_nanosleep), SYSCALL(getrandom), SYSCALL(close), SYSCALL(read),
              SYSCALL(write), SYSCALL(writev), SYSCALL(lseek), SYSCALL(fstat), SYSCALL(newfstatat), SYSCALL(openat),
              SYSCALL_WITH(prlimit64, 0, UINT32_MAX, 0),
              /* Threads, and nothing but threads. */
              SYSCALL_WITH(clone, 0, CLONE_THREAD, CLONE_THREAD));

/* What a C library may make of calls that files name in their older form. */
SYSCALL_ROWS newer_forms[] = {SYSCALL(ppoll),     SYSCALL(epoll_pwait), SYSCALL(preadv), SYSCALL(pwritev),
#ifdef __NR_fchmodat2
                              SYSCALL(fchmodat2),
#endif
                              SYSCALL(statx)};

/* The linker's names for where the rows are. */
extern const struct syscall_row __start_oriel_syscalls[], __stop_oriel_syscalls[];

DEFINE_CLEANUP(scmp_filter_ctx, seccomp_release);

static uint32_t denial(enum syscalls_action action)
{
        switch (action) {
        case SYSCALLS_LOG:
                return SCMP_ACT_LOG;
        case SYSCALLS_TRAP:
                return SCMP_ACT_TRAP;
        default:
                return SCMP_ACT_KILL_PROCESS;
        }
}

static int add(scmp_filter_ctx filter, const struct syscall_row *row)
{
        if (row->mask == 0)
                return seccomp_rule_add(filter, SCMP_ACT_ALLOW, (int)row->number, 0);
        return seccomp_rule_add(filter, SCMP_ACT_ALLOW, (int)row->number, 1,
                                SCMP_CMP64(row->argument, SCMP_CMP_MASKED_EQ, row->mask, row->value));
}

static int make_filter(scmp_filter_ctx filter)
{
        int r = 0;

        /* One array, to the linker. */
        // cppcheck-suppress comparePointers
        for (const struct syscall_row *row = __start_oriel_syscalls; r == 0 && row < __stop_oriel_syscalls; row++)
                r = add(filter, row);
        /* Signals to its own threads, as abort() and raise() send them. */
        if (r == 0)
                r = add(filter, &SYSCALL_WITH(tgkill, 0, UINT32_MAX, (uint64_t)getpid()));
        /* Into its own memory, where a mapped page may be gone (shadow.c). */
        if (r == 0)
                r = add(filter, &SYSCALL_WITH(process_vm_writev, 0, UINT32_MAX, (uint64_t)getpid()));
        /* Its flags can't be looked at: the C library then uses clone(). */
        if (r == 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        return r;
}

int syscalls_limit(enum syscalls_action action)
{
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        if (action == SYSCALLS_ANY || SANITIZED)
                return 0;

        _cleanup_(seccomp_releasep) scmp_filter_ctx filter = seccomp_init(denial(action));
        int r = filter ? make_filter(filter) : -ENOMEM;

        return r == 0 ? seccomp_load(filter) : r;
}
