/* SPDX-License-Identifier: BSD-2-Clause */

/* The input is an instruction and the registers before it: the code as it is, or made of prefixes, an encoding, an
 * opcode and operands, of which each is chosen. What is found must not depend on bytes behind the instruction. */

#include "base/cleanup.h"
#include "fuzz/input.h"
#include "vmm/arch/x86/instruction.h"

enum { CODE_MAX = 40 };

static size_t put(uint8_t *code, size_t at, uint64_t value, size_t size)
{
        memcpy(code + at, &value, size);
        return at + size;
}

static size_t make_prefixes(struct input *input, uint8_t *code)
{
        static const uint8_t prefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};
        size_t at = 0, n = take_choice(input, 5);

        for (size_t i = 0; i < n; i++)
                at = put(code, at, prefixes[take_choice(input, ARRAY_SIZE(prefixes))], 1);
        if (take_byte(input) & 1)
                at = put(code, at, 0x40 | (take_byte(input) & 15), 1);
        return at;
}

/* Everything up to the opcode. The bits of VEX and EVEX are any, but for those that say what it is. */
static size_t make_encoding(struct input *input, uint8_t *code, size_t at)
{
        static const struct {
                uint8_t bytes[3], size, more;
        } encodings[] = {
                {{0}, 0, 0},          {{0x0f}, 1, 0},
                {{0x0f, 0x38}, 2, 0}, {{0x0f, 0x3a}, 2, 0},
                {{0xc5}, 1, 1},       {{0xc4}, 1, 2},
                {{0xc4, 0xe1}, 2, 1}, {{0xc4, 0xe2}, 2, 1},
                {{0xc4, 0xe3}, 2, 1}, {{0x62}, 1, 3},
                {{0x62, 0xf1}, 2, 2}, {{0x62, 0xf2}, 2, 2},
                {{0x62, 0xf3}, 2, 2}, {{0x62, 0xf1, 0x7c}, 3, 1},
        };
        unsigned i = take_choice(input, ARRAY_SIZE(encodings));

        memcpy(code + at, encodings[i].bytes, encodings[i].size);
        at += encodings[i].size;
        for (unsigned more = 0; more < encodings[i].more; more++)
                at = put(code, at, take_byte(input), 1);
        return at;
}

static size_t make_code(struct input *input, uint8_t *code)
{
        size_t at = make_encoding(input, code, make_prefixes(input, code));

        for (unsigned i = 0; i < 3; i++) /* the opcode, ModRM, and SIB or the first byte of what follows */
                at = put(code, at, take_byte(input), 1);
        at = put(code, at, take_number(input), 4);
        return put(code, at, take_number(input), 4);
}

static struct instruction_operand decode(const uint8_t *code, size_t size, const struct kvm_regs *regs)
{
        uint8_t *copy = malloc(size ? size : 1);
        struct instruction_operand operand;

        need(copy);
        memcpy(copy, code, size);
        operand = instruction_operand(copy, size, regs, regs->r8, regs->r9);
        free(copy);
        return operand;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct input input = {data, size};
        struct instruction_operand found = {0}, next;
        uint8_t code[CODE_MAX] = {0};
        struct kvm_regs regs;
        bool raw = take_byte(&input) & 1;

        memset(&regs, 0, sizeof(regs));
        for (size_t i = 0; i < sizeof(regs) / sizeof(uint64_t); i++) {
                uint64_t value = take_number(&input);

                memcpy((uint8_t *)&regs + i * sizeof(value), &value, sizeof(value));
        }
        size = raw ? take(&input, code, sizeof(code)) : make_code(&input, code);
        for (size_t n = 0; n <= size; n++) {
                next = decode(code, n, &regs);
                need(!found.found || (next.found && next.address == found.address));
                need(next.found || next.address == 0);
                found = next;
        }
        return 0;
}
