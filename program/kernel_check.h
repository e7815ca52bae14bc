/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_KERNEL_CHECK_H
#define PROGRAM_KERNEL_CHECK_H

/* 0, or -ENOSYS after a report if this Linux is older than KERNEL_LEAST_* (base/kernel.h). Called at a program's
 * start. */
int kernel_check(void);

#endif
