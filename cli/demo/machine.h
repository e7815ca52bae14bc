/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_DEMO_MACHINE_H
#define CLI_DEMO_MACHINE_H

#include <stdint.h>

/* Starts a virtual machine whose guest reads each file below @dir through its own window, and compares the guest's
 * sums with the files. Returns an exit status. Without KVM, or without the guest's binary, it prints so and returns
 * success. */
int demo_machine(const char *dir, uint64_t window_size);

#endif
