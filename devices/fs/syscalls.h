/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef DEVICES_FS_SYSCALLS_H
#define DEVICES_FS_SYSCALLS_H

/* What happens at a system call that no file of this program names. */
enum syscalls_action {
        SYSCALLS_ANY, /* it is made */
        SYSCALLS_KILL,
        SYSCALLS_LOG,  /* it is made, and the kernel's log names it */
        SYSCALLS_TRAP, /* SIGSYS, which ends the process and leaves a core */
};

/* From now on, for this thread and those that it starts; new privileges are out of reach in any case. 0 or a negative
 * errno. */
int syscalls_limit(enum syscalls_action action);

#endif
