/* SPDX-License-Identifier: BSD-2-Clause */
#include "daemon/syscalls.h"

#include <fcntl.h>
#include <sys/mman.h>

/* What the C library does by itself, that it can't do without. */
USES_SYSCALLS(SYSCALL_WITH(mmap, 2, PROT_EXEC, 0), SYSCALL_WITH(mprotect, 2, PROT_EXEC, 0), SYSCALL(munmap),
              SYSCALL(mremap), SYSCALL(madvise), SYSCALL(brk), SYSCALL(futex), SYSCALL(set_robust_list), SYSCALL(rseq),
              SYSCALL(exit), SYSCALL(exit_group), SYSCALL(gettid), SYSCALL(getpid), SYSCALL(sched_yield),
              SYSCALL(sched_getaffinity), SYSCALL(rt_sigaction), SYSCALL(rt_sigprocmask), SYSCALL(rt_sigreturn),
              SYSCALL(sigaltstack), SYSCALL(restart_syscall), SYSCALL(clock_gettime), SYSCALL(gettimeofday),
              SYSCALL(nanosleep), SYSCALL(clock_nanosleep), SYSCALL(getrandom), SYSCALL(close), SYSCALL(read),
              SYSCALL(write), SYSCALL(writev), SYSCALL(lseek), SYSCALL(fstat), SYSCALL_AT(newfstatat, 0),
              SYSCALL_WITH(prlimit64, 0, UINT32_MAX, 0));

/* What a C library may make of calls that files name in their older form. */
SYSCALL_ROWS newer_forms[] = {SYSCALL(ppoll),           SYSCALL(epoll_pwait), SYSCALL(preadv), SYSCALL(pwritev),
#ifdef __NR_fchmodat2
                              SYSCALL_AT(fchmodat2, 0),
#endif
                              SYSCALL_AT(statx, 0)};

int syscalls_limit(enum filter_action action)
{
        /* One array, to the linker. */
        // cppcheck-suppress comparePointers
        return filter_enter(action, __start_oriel_syscalls, (size_t)(__stop_oriel_syscalls - __start_oriel_syscalls));
}
