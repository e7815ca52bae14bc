/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_ARCH_X86_INSTRUCTION_H
#define VMM_ARCH_X86_INSTRUCTION_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where an instruction of 64-bit mode reaches into memory. */
struct instruction_operand {
        uint64_t address; /* linear */
        bool found;       /* it has a memory operand that this decoder knows */
};

/* The memory operand of the instruction in @code, of which @size bytes are there (15 at most are looked at), with the
 * registers as they are before it runs. For a report, so a guess is worse than nothing: what is not known is not found.
 * Known are ModRM operands of the one-byte map, 0F, 0F 38, 0F 3A, VEX and EVEX, and of the string instructions the
 * destination. */
struct instruction_operand instruction_operand(const uint8_t *code, size_t size, const struct kvm_regs *regs,
                                               uint64_t fs_base, uint64_t gs_base);

#endif
