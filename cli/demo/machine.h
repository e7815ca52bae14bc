/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CLI_DEMO_MACHINE_H
#define CLI_DEMO_MACHINE_H

#include <stdint.h>

/* The demonstration in a virtual machine: a guest reads each file below @dir through its own window and says what it
 * has found, which is compared with the files. Returns an exit status; where there is no KVM, or no guest, it says so
 * and succeeds. */
int demo_machine(const char *dir, uint64_t window_size);

#endif
