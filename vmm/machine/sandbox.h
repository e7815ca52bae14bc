/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_MACHINE_SANDBOX_H
#define VMM_MACHINE_SANDBOX_H

/* From now on this process, all its threads included, gains no privileges, and makes only the system calls that a
 * machine needs while it runs: it opens no file by name, starts no program, and makes no socket but a pair of streams.
 * Other calls fail or end it by SIGSYS, see filter_enter(). 0 or a negative errno; -EINVAL: a kernel without seccomp
 * filters. */
int machine_sandbox_enter(void);

#endif
