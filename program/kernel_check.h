/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_KERNEL_CHECK_H
#define PROGRAM_KERNEL_CHECK_H

/* 0, or -ENOSYS, reported in words: this Linux is older than the least (base/kernel.h). For a program's start. */
int kernel_check(void);

#endif
