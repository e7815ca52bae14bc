/* SPDX-License-Identifier: BSD-2-Clause */

/* Filters of system calls, made by libseccomp from the rows beside the code.
 *
 * The default is an error and not the end of the process, since the calls that a library makes by itself differ from
 * one C library to the next: free() may read /proc/sys/vm/overcommit_memory, a terminal's mode is set by TCSETS or
 * TCSETS2, a new system call is tried before the one it replaces. After ENOSYS a library does what it does on a kernel
 * that lacks the call. Only calls that no library makes by itself end the process, so an attacker who has taken it over
 * has one try. */

#include "seccomp/filter.h"

#include "base/cleanup.h"
#include "program/sanitized.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

DEFINE_CLEANUP(scmp_filter_ctx, seccomp_release);

/* By libseccomp's numbers, which has one for each name whatever the architecture. A row of the program's own goes
 * before: then the call is not looked for here. */
static const int fatal[] = {
        /* Programs and processes. */
        SCMP_SYS(execve),
        SCMP_SYS(execveat),
        SCMP_SYS(fork),
        SCMP_SYS(vfork),
        SCMP_SYS(ptrace),
        SCMP_SYS(process_vm_readv),
        SCMP_SYS(process_vm_writev),
        SCMP_SYS(process_madvise),
        SCMP_SYS(pidfd_open),
        SCMP_SYS(pidfd_getfd),
        SCMP_SYS(pidfd_send_signal),
        SCMP_SYS(kill),
        SCMP_SYS(tkill),
        SCMP_SYS(rt_sigqueueinfo),
        SCMP_SYS(rt_tgsigqueueinfo),
        SCMP_SYS(setpgid),
        SCMP_SYS(setsid),
        /* Connections. */
        SCMP_SYS(bind),
        SCMP_SYS(listen),
        SCMP_SYS(accept),
        /* Mounts and namespaces. */
        SCMP_SYS(mount),
        SCMP_SYS(umount2),
        SCMP_SYS(pivot_root),
        SCMP_SYS(chroot),
        SCMP_SYS(setns),
        SCMP_SYS(unshare),
        SCMP_SYS(open_tree),
        SCMP_SYS(move_mount),
        SCMP_SYS(fsopen),
        SCMP_SYS(fsmount),
        SCMP_SYS(fspick),
        SCMP_SYS(fsconfig),
        SCMP_SYS(mount_setattr),
        /* Files by other ways than by name. */
        SCMP_SYS(open_by_handle_at),
        SCMP_SYS(fanotify_init),
        /* The kernel. */
        SCMP_SYS(init_module),
        SCMP_SYS(finit_module),
        SCMP_SYS(delete_module),
        SCMP_SYS(kexec_load),
        SCMP_SYS(kexec_file_load),
        SCMP_SYS(bpf),
        SCMP_SYS(perf_event_open),
        SCMP_SYS(io_uring_setup),
        SCMP_SYS(io_uring_enter),
        SCMP_SYS(io_uring_register),
        SCMP_SYS(userfaultfd),
        SCMP_SYS(keyctl),
        SCMP_SYS(add_key),
        SCMP_SYS(request_key),
        SCMP_SYS(reboot),
        SCMP_SYS(swapon),
        SCMP_SYS(swapoff),
        SCMP_SYS(acct),
        SCMP_SYS(quotactl),
        SCMP_SYS(syslog),
        SCMP_SYS(sethostname),
        SCMP_SYS(setdomainname),
        SCMP_SYS(settimeofday),
        SCMP_SYS(clock_settime),
        SCMP_SYS(adjtimex),
        SCMP_SYS(clock_adjtime),
        SCMP_SYS(iopl),
        SCMP_SYS(ioperm),
        SCMP_SYS(modify_ldt),
        SCMP_SYS(personality),
        SCMP_SYS(seccomp),
};

/* Threads, and signals to them, as pthread_create(), abort() and raise() make and send them. */
static const struct syscall_row own_threads[] = {
        SYSCALL_WITH(clone, 0, CLONE_THREAD, CLONE_THREAD),
        SYSCALL_WITH(tgkill, 0, UINT32_MAX, SYSCALL_OWN_PID),
};

/* Rows that allow a fatal call with other arguments. */
static const struct syscall_row fatal_ways[] = {
        SYSCALL_WITH(mmap, 2, PROT_EXEC, PROT_EXEC),
        SYSCALL_WITH(mprotect, 2, PROT_EXEC, PROT_EXEC),
        SYSCALL_WITH(pkey_mprotect, 2, PROT_EXEC, PROT_EXEC),
        SYSCALL_WITH(clone, 0, CLONE_THREAD, 0),
};

static int filter_add_row(scmp_filter_ctx filter, uint32_t action, const struct syscall_row *row)
{
        struct scmp_arg_cmp conditions[ARRAY_SIZE(row->conditions)];
        unsigned n = 0;

        for (size_t i = 0; i < ARRAY_SIZE(row->conditions); i++) {
                const struct syscall_condition *wanted = &row->conditions[i];
                uint64_t value = wanted->value == SYSCALL_OWN_PID ? (uint64_t)getpid() : wanted->value;

                if (wanted->mask)
                        conditions[n++] = SCMP_CMP64(wanted->argument, SCMP_CMP_MASKED_EQ, wanted->mask, value);
        }
        return seccomp_rule_add_array(filter, action, (int)row->number, n, conditions);
}

/* Refuses, with EACCES, the same call from the working directory. */
static int refuse_paths(scmp_filter_ctx filter, const struct syscall_row *row)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(row->conditions); i++) {
                const struct syscall_condition *condition = &row->conditions[i];
                struct syscall_row from_here = {.number = row->number, .conditions = {*condition}};

                from_here.conditions[0].value = condition->mask;
                if (condition->mask == FROM_DESCRIPTOR && condition->value == 0)
                        r = filter_add_row(filter, SCMP_ACT_ERRNO(EACCES), &from_here);
        }
        return r;
}

static int add_rows(scmp_filter_ctx filter, uint32_t action, const struct syscall_row *rows, size_t n)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = filter_add_row(filter, action, &rows[i]);
        return r;
}

static bool has_row(const struct syscall_row *rows, size_t n, int number)
{
        for (size_t i = 0; i < n; i++)
                if ((int)rows[i].number == number)
                        return true;
        return false;
}

static int add_denied(scmp_filter_ctx filter, uint32_t kill, const struct syscall_row *rows, size_t n)
{
        int r = 0;

        for (size_t i = 0; r == 0 && i < n; i++)
                r = refuse_paths(filter, &rows[i]);
        for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fatal); i++)
                if (!has_row(rows, n, fatal[i]))
                        r = seccomp_rule_add(filter, kill, fatal[i], 0);
        return r == 0 ? add_rows(filter, kill, fatal_ways, ARRAY_SIZE(fatal_ways)) : r;
}

int filter_enter(enum filter_action action, const struct syscall_row *rows, size_t n)
{
        if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
                return -errno;
        if (action == FILTER_NONE || SANITIZED)
                return 0;

        _cleanup_(seccomp_releasep) scmp_filter_ctx filter =
                seccomp_init(action == FILTER_LOG ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(ENOSYS));
        int r = filter ? add_rows(filter, SCMP_ACT_ALLOW, own_threads, ARRAY_SIZE(own_threads)) : -ENOMEM;

        if (r == 0)
                r = add_rows(filter, SCMP_ACT_ALLOW, rows, n);
        if (r == 0 && action != FILTER_LOG)
                r = add_denied(filter, action == FILTER_TRAP ? SCMP_ACT_TRAP : SCMP_ACT_KILL_PROCESS, rows, n);
        if (r == 0)
                r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
        return r == 0 ? seccomp_load(filter) : r;
}
