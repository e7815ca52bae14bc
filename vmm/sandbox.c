/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/sandbox.h"

#include "base/cleanup.h"

#include <errno.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* A condition on one argument; none where the mask is 0 and the comparison SCMP_CMP_MASKED_EQ. */
struct rule {
        int call;
        unsigned argument;
        uint64_t mask, value;
};

#define ANY(name)                         ((struct rule){SCMP_SYS(name), 0, 0, 0})
#define WITH(name, argument, mask, value) ((struct rule){SCMP_SYS(name), argument, mask, value})

static const struct rule rules[] = {
        /* Sockets to back-ends, the broker and QMP's clients, eventfds, the console. */
        ANY(read),
        ANY(write),
        ANY(readv),
        ANY(writev),
        ANY(preadv2),
        ANY(pwritev2),
        ANY(close),
        ANY(poll),
        ANY(ppoll),
        ANY(recvmsg),
        ANY(sendmsg),
        ANY(recvfrom),
        ANY(sendto),
        ANY(shutdown),
        ANY(getsockopt),
        ANY(setsockopt),
        ANY(accept4),
        ANY(epoll_wait),
        ANY(epoll_pwait),
        ANY(epoll_ctl),
        ANY(eventfd2),
        ANY(fcntl),
        WITH(socketpair, 0, UINT32_MAX, AF_UNIX), /* a back-end channel */
        /* The kernel and the initrd, for a reset; files that are mapped, and their names. */
        ANY(pread64),
        ANY(sendfile),
        ANY(lseek),
        ANY(fstat),
        ANY(newfstatat),
        ANY(fstatfs),
        ANY(readlink),
        ANY(readlinkat),
        /* Windows and guest memory: nothing that can be run. */
        WITH(mmap, 2, PROT_EXEC, 0),
        WITH(mprotect, 2, PROT_EXEC, 0),
        ANY(munmap),
        ANY(mremap),
        ANY(madvise),
        ANY(brk),
        ANY(fallocate),
        /* Threads of vcpus, which a reset makes anew, and what the C library does for threads. */
        WITH(clone, 0, CLONE_THREAD, CLONE_THREAD),
        ANY(futex),
        ANY(set_robust_list),
        ANY(rseq),
        ANY(exit),
        ANY(exit_group),
        ANY(gettid),
        ANY(getpid),
        ANY(sched_yield),
        ANY(sched_getaffinity),
        ANY(rt_sigaction),
        ANY(rt_sigprocmask),
        ANY(rt_sigreturn),
        ANY(sigaltstack),
        ANY(restart_syscall),
        ANY(clock_gettime),
        ANY(gettimeofday),
        ANY(time),
        ANY(clock_nanosleep),
        ANY(nanosleep),
        ANY(getrandom),
        WITH(prlimit64, 0, UINT32_MAX, 0),
        ANY(wait4),
        /* KVM, by its letter, and the terminal's mode. */
        WITH(ioctl, 1, 0xff00, KVMIO << 8),
        WITH(ioctl, 1, UINT32_MAX, TCGETS),
        WITH(ioctl, 1, UINT32_MAX, TCSETS),
};

DEFINE_CLEANUP(scmp_filter_ctx, seccomp_release);

static int add(scmp_filter_ctx filter, const struct rule *rule)
{
        if (rule->mask == 0)
                return seccomp_rule_add(filter, SCMP_ACT_ALLOW, rule->call, 0);
        return seccomp_rule_add(filter, SCMP_ACT_ALLOW, rule->call, 1,
                                SCMP_CMP64(rule->argument, SCMP_CMP_MASKED_EQ, rule->mask, rule->value));
}

int sandbox_enter(void)
{
        _cleanup_(seccomp_releasep) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
        int r = filter ? 0 : -ENOMEM;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(rules); i++)
                r = add(filter, &rules[i]);
        /* To its own threads. */
        if (r == 0)
                r = add(filter, &WITH(tgkill, 0, UINT32_MAX, (uint64_t)getpid()));
        /* Its flags can't be looked at: the C library then uses clone(). */
        if (r == 0)
                r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
        if (r == 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
        if (r == 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 1);
        return r == 0 ? seccomp_load(filter) : r;
}
