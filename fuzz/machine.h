/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef FUZZ_MACHINE_H
#define FUZZ_MACHINE_H

#include "fuzz/input.h"
#include "vmm/machine/machine.h"

/* vmm/machine/machine.h without a machine: its functions, and those of its devices and windows, say what @input wants,
 * which is taken from until the next call. */
void machine_stand_in(struct input *input);

#endif
