/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SECCOMP_FILTER_H
#define SECCOMP_FILTER_H

#include "base/syscalls.h"

#include <stddef.h>

/* A filter of system calls made of rows. It sorts calls into three kinds, and knows no C library:
 *
 * - those of a row are made;
 * - those that no library makes of its own accord and that a process has no use for once it serves (programs, other
 *   processes, mounts, namespaces, modules, memory that can be run) end the process by SIGSYS: table `fatal` in
 * filter.c;
 * - all others, also those that kernels and C libraries will only come to have, fail: with EACCES where a row allows
 * the call on a descriptor and it names a path from the working directory, else with ENOSYS, at which libraries do
 * without.
 */
enum filter_action {
        FILTER_NONE, /* no filter */
        FILTER_KILL,
        FILTER_LOG,  /* all calls are made, and the kernel's log names those that no row has */
        FILTER_TRAP, /* as FILTER_KILL, but SIGSYS can be caught and leaves a core */
};

/* The rows that USES_SYSCALLS() has in the files of this program. */
extern const struct syscall_row __start_oriel_syscalls[], __stop_oriel_syscalls[];
/* The same of USES_SYSCALLS_AT_END(). */
extern const struct syscall_row __start_oriel_syscalls_at_end[], __stop_oriel_syscalls_at_end[];

/* From now on, for all threads of this process, and no new privileges either. Threads can still be started, and
 * signalled. 0 or a negative errno; -EINVAL: a kernel without seccomp filters. */
int filter_enter(enum filter_action action, const struct syscall_row *rows, size_t n);

#endif
