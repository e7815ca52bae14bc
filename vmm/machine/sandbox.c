/* SPDX-License-Identifier: BSD-2-Clause */

/* Restricts the machine's process once its guest runs. Connections, files and programs are the broker's
 * (cli/run/broker.c). What comes from a back-end or a guest is served by this process, so it is given effects and not
 * calls: it uses the descriptors that it has or is sent, makes threads and maps memory that can't be run. */

#include "vmm/machine/sandbox.h"

#include "base/cleanup.h"
#include "seccomp/filter.h"

#include <asm/termbits.h>
#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <linux/kvm.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>

static const struct syscall_row rows[] = {
        /* Sockets to back-ends, the broker and QMP's clients, eventfds, the console. */
        SYSCALL(read),
        SYSCALL(write),
        SYSCALL(readv),
        SYSCALL(writev),
        SYSCALL(preadv2),
        SYSCALL(pwritev2),
        SYSCALL(close),
        SYSCALL(poll),
        SYSCALL(ppoll),
        SYSCALL(recvmsg),
        SYSCALL(sendmsg),
        SYSCALL(recvfrom),
        SYSCALL_WITH(sendto, 4, UINT64_MAX, 0), /* to nobody who has a name */
        SYSCALL(shutdown),
        SYSCALL(getsockopt),
        SYSCALL(setsockopt),
        SYSCALL(accept4),
        SYSCALL(epoll_wait),
        SYSCALL(epoll_pwait),
        SYSCALL(epoll_ctl),
        SYSCALL(eventfd2),
        SYSCALL(io_setup), /* src/base/eventfd.c */
        SYSCALL(io_submit),
        SYSCALL(io_getevents),
        SYSCALL(io_destroy),
        SYSCALL(timer_create), /* without them: a timer of this process's signals nobody else */
        SYSCALL(timer_settime),
        SYSCALL(timer_delete),
        SYSCALL(timerfd_settime), /* the guest's clock */
        SYSCALL_FCNTL(F_DUPFD_CLOEXEC),
        SYSCALL_FCNTL(F_GETFD),
        SYSCALL_FCNTL(F_GETFL),
        SYSCALL_FCNTL(F_GET_SEALS),
        SYSCALL_FCNTL(F_ADD_SEALS),
        SYSCALL_SET_FLAGS,
        /* A back-end channel: a stream, since a datagram can be sent to any socket that has a name. */
        SYSCALL_WITH_BOTH(socketpair, 0, UINT32_MAX, AF_UNIX, 1, 0xf, SOCK_STREAM),
        /* The kernel and the initrd, for a reset; files that are mapped, and their names. */
        SYSCALL(pread64),
        SYSCALL(sendfile),
        SYSCALL(lseek),
        SYSCALL(fstat),
        SYSCALL_WITH(newfstatat, 3, AT_EMPTY_PATH, AT_EMPTY_PATH),
        SYSCALL(fstatfs),
        SYSCALL_WITH(statx, 2, AT_EMPTY_PATH, AT_EMPTY_PATH),
        SYSCALL_WITH(ioctl, 1, UINT32_MAX, FS_IOC_FIEMAP),
        SYSCALL(readlink),
        SYSCALL(readlinkat),
        /* Windows and guest memory: nothing that can be run. */
        SYSCALL_WITH(mmap, 2, PROT_EXEC, 0),
        SYSCALL_WITH(mprotect, 2, PROT_EXEC, 0),
        SYSCALL(munmap),
        SYSCALL(mremap),
        SYSCALL(madvise),
        SYSCALL(brk),
        SYSCALL(fallocate),
        /* Threads of vcpus, which a reset makes anew, and what the C library does for threads. */
        SYSCALL(futex),
        SYSCALL(set_robust_list),
        SYSCALL(rseq),
        SYSCALL(exit),
        SYSCALL(exit_group),
        SYSCALL(gettid),
        SYSCALL(getpid),
        SYSCALL(sched_yield),
        SYSCALL(sched_getaffinity),
        SYSCALL(rt_sigaction),
        SYSCALL(rt_sigprocmask),
        SYSCALL(rt_sigreturn),
        SYSCALL(sigaltstack),
        SYSCALL(restart_syscall),
        SYSCALL(clock_gettime),
        SYSCALL(gettimeofday),
        SYSCALL(time),
        SYSCALL(clock_nanosleep),
        SYSCALL(nanosleep),
        SYSCALL(getrandom),
        SYSCALL_WITH(prlimit64, 0, UINT32_MAX, 0),
        /* KVM, by its letter, and the terminal's mode, which C libraries set in two ways. */
        SYSCALL_WITH(ioctl, 1, 0xff00, KVMIO << 8),
        SYSCALL_WITH(ioctl, 1, UINT32_MAX, TCGETS),
        SYSCALL_WITH(ioctl, 1, UINT32_MAX, TCSETS),
        SYSCALL_WITH(ioctl, 1, UINT32_MAX, TCGETS2),
        SYSCALL_WITH(ioctl, 1, UINT32_MAX, TCSETS2),
};

int machine_sandbox_enter(void)
{
        return filter_enter(FILTER_KILL, rows, ARRAY_SIZE(rows));
}
