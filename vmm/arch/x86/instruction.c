/* SPDX-License-Identifier: BSD-2-Clause */

/* As much of x86's encoding as it takes to find an operand in memory: prefixes, which opcodes have a ModRM byte, and
 * how long what follows it is, since an operand may be relative to the instruction's end. AMD64 APM volume 3, chapter 1
 * and appendix A; Intel SDM volume 2, chapter 2. Addresses wrap around as they do in the CPU. */

#include "vmm/arch/x86/instruction.h"

#include "base/cleanup.h"

#include <string.h>

enum { LONGEST = 15 };
enum { REX_W = 8, REX_X = 2, REX_B = 1 };
/* The maps of opcodes, with the numbers of VEX and EVEX. */
enum { MAP_ONE_BYTE = 0, MAP_0F = 1, MAP_0F38 = 2, MAP_0F3A = 3 };

struct instruction_decoder {
        const uint8_t *code;
        size_t size, at;
        const struct kvm_regs *regs;
        uint64_t fs_base, gs_base;

        bool failed; /* the code ends too early, or it is not known */
        uint64_t segment;
        bool operand16, address32, repeat;
        uint8_t rex; /* or VEX's and EVEX's bits in the same places */
        uint8_t map, opcode;
        unsigned scale; /* of a displacement of one byte; 0: not known */
};

static uint64_t bytes_take(struct instruction_decoder *decoder, size_t size)
{
        uint64_t value = 0;

        if (decoder->failed || size > decoder->size - decoder->at) {
                decoder->failed = true;
                return 0;
        }
        memcpy(&value, decoder->code + decoder->at, size);
        decoder->at += size;
        return value;
}

static uint8_t take_byte(struct instruction_decoder *decoder)
{
        return (uint8_t)bytes_take(decoder, 1);
}

static uint8_t bytes_peek(const struct instruction_decoder *decoder)
{
        return decoder->at < decoder->size ? decoder->code[decoder->at] : 0;
}

static uint64_t reg(const struct instruction_decoder *decoder, unsigned number)
{
        const struct kvm_regs *regs = decoder->regs;
        const uint64_t values[] = {
                regs->rax, regs->rcx, regs->rdx, regs->rbx, regs->rsp, regs->rbp, regs->rsi, regs->rdi,
                regs->r8,  regs->r9,  regs->r10, regs->r11, regs->r12, regs->r13, regs->r14, regs->r15,
        };

        return values[number & 15];
}

static struct instruction_operand found_at(const struct instruction_decoder *decoder, uint64_t offset, uint64_t segment)
{
        if (decoder->failed)
                return (struct instruction_operand){0};
        if (decoder->address32)
                offset &= UINT32_MAX;
        return (struct instruction_operand){.address = segment + offset, .found = true};
}

/* False: @byte is no prefix. */
static bool apply_prefix(struct instruction_decoder *decoder, uint8_t byte)
{
        switch (byte) {
        case 0x26: /* ES, CS, SS, DS have no base */
        case 0x2e:
        case 0x36:
        case 0x3e:
        case 0xf0: /* LOCK */
                break;
        case 0x64:
                decoder->segment = decoder->fs_base;
                break;
        case 0x65:
                decoder->segment = decoder->gs_base;
                break;
        case 0x66:
                decoder->operand16 = true;
                break;
        case 0x67:
                decoder->address32 = true;
                break;
        case 0xf2:
        case 0xf3:
                decoder->repeat = true;
                break;
        default:
                return false;
        }
        return true;
}

/* REX counts only right before the opcode. */
static void take_prefixes(struct instruction_decoder *decoder)
{
        while (!decoder->failed) {
                uint8_t byte = bytes_peek(decoder);

                if ((byte & 0xf0) == 0x40)
                        decoder->rex = byte & 0xf;
                else if (apply_prefix(decoder, byte))
                        decoder->rex = 0;
                else
                        return;
                take_byte(decoder);
        }
}

/* Opcodes of one map that have something in common. */
struct opcodes {
        uint8_t first, last;
        int8_t value;
};

/* The value of @opcode's row, or @none. */
static int find_opcode(const struct opcodes *rows, size_t n, uint8_t opcode, int none)
{
        for (size_t i = 0; i < n; i++)
                if (opcode >= rows[i].first && opcode <= rows[i].last)
                        return rows[i].value;
        return none;
}

/* Opcodes whose operand is not one place beginning at its address: by a vector of indices, of a tile's rows, or under
 * a mask. */
static bool is_scattered(const struct instruction_decoder *decoder)
{
        static const struct opcodes rows[] = {
                {0x2c, 0x2f, 1},                  /* VMASKMOV */
                {0x4b, 0x4b, 1},                  /* TILELOADD, TILESTORED */
                {0x8c, 0x8c, 1}, {0x8e, 0x8e, 1}, /* VPMASKMOV */
                {0x90, 0x93, 1},                  /* VGATHER */
                {0xa0, 0xa3, 1},                  /* VSCATTER */
                {0xc6, 0xc7, 1},                  /* and their prefetches */
        };

        return decoder->map == MAP_0F38 && find_opcode(rows, ARRAY_SIZE(rows), decoder->opcode, 0);
}

/* The bits are stored inverted. */
static void take_vex(struct instruction_decoder *decoder)
{
        uint8_t first = take_byte(decoder), bits = 0;

        decoder->map = MAP_0F;
        decoder->rex = 0;
        if (first == 0xc4) {
                bits = take_byte(decoder);
                decoder->map = bits & 0x1f;
                decoder->rex = (uint8_t)(~bits >> 5 & (REX_X | REX_B));
        }
        take_byte(decoder);
        decoder->opcode = take_byte(decoder);
        if (decoder->map < MAP_0F || decoder->map > MAP_0F3A || is_scattered(decoder))
                decoder->failed = true;
}

/* Moves of whole vectors: for these alone it is known by what EVEX multiplies a displacement of one byte. */
static bool moves_vector(const struct instruction_decoder *decoder, unsigned prefix)
{
        enum { NONE = 0, P66 = 1 };

        if (decoder->map == MAP_0F38)
                return decoder->opcode == 0x2a && prefix == P66; /* VMOVNTDQA */
        if (decoder->map != MAP_0F)
                return false;
        switch (decoder->opcode) {
        case 0x10: /* VMOVUPS, VMOVUPD */
        case 0x11:
        case 0x28: /* VMOVAPS, VMOVAPD */
        case 0x29:
        case 0x2b: /* VMOVNTPS, VMOVNTPD */
                return prefix == NONE || prefix == P66;
        case 0x6f: /* VMOVDQA, VMOVDQU */
        case 0x7f:
                return prefix != NONE;
        case 0xe7: /* VMOVNTDQ */
                return prefix == P66;
        default:
                return false;
        }
}

static void take_evex(struct instruction_decoder *decoder)
{
        take_byte(decoder);

        uint8_t first = take_byte(decoder), second = take_byte(decoder), third = take_byte(decoder);
        unsigned length = third >> 5 & 3;

        decoder->map = first & 7;
        decoder->rex = (uint8_t)(~first >> 5 & (REX_X | REX_B));
        decoder->opcode = take_byte(decoder);
        decoder->scale = moves_vector(decoder, second & 3) && length < 3 ? 16u << length : 0;
        /* Bits that must be as they are here, but for newer extensions; a mask; a broadcast. */
        if ((first & 8) || !(second & 4) || (third & 0x97) || decoder->map < MAP_0F || decoder->map > MAP_0F3A ||
            is_scattered(decoder))
                decoder->failed = true;
}

static void take_escape(struct instruction_decoder *decoder)
{
        uint8_t byte = take_byte(decoder);

        decoder->map = MAP_0F;
        if (byte == 0x38 || byte == 0x3a) {
                decoder->map = byte == 0x38 ? MAP_0F38 : MAP_0F3A;
                byte = take_byte(decoder);
        }
        decoder->opcode = byte;
}

static void take_opcode(struct instruction_decoder *decoder)
{
        uint8_t byte = bytes_peek(decoder);

        decoder->scale = 1;
        decoder->map = MAP_ONE_BYTE;
        if (byte == 0x62)
                take_evex(decoder);
        else if (byte == 0xc4 || byte == 0xc5)
                take_vex(decoder);
        else {
                decoder->opcode = take_byte(decoder);
                if (byte == 0x0f)
                        take_escape(decoder);
        }
}

/* The size of the immediate after the operand; NOT_KNOWN also where there is no ModRM byte, where its operand is not
 * accessed (LEA, hints), and where memory elsewhere is accessed too (PUSH, CALL) or instead (BT by a register). */
enum { NOT_KNOWN = -1, FULL = -2 /* full_immediate() */ };

static int full_immediate(const struct instruction_decoder *decoder)
{
        return decoder->operand16 && !(decoder->rex & REX_W) ? 2 : 4;
}

/* Where it is more of the opcode: by ModRM's extension. */
static int immediate_of_group(const struct instruction_decoder *decoder, unsigned extension)
{
        switch (decoder->opcode) {
        case 0xc6: /* MOV */
                return extension == 0 ? 1 : NOT_KNOWN;
        case 0xc7:
                return extension == 0 ? full_immediate(decoder) : NOT_KNOWN;
        case 0xf6: /* TEST, and what has no immediate */
                return extension < 2 ? 1 : 0;
        case 0xf7:
                return extension < 2 ? full_immediate(decoder) : 0;
        case 0xfe:
                return extension < 2 ? 0 : NOT_KNOWN;
        case 0xff: /* INC, DEC, JMP */
                return extension < 2 || extension == 4 || extension == 5 ? 0 : NOT_KNOWN;
        default:
                return NOT_KNOWN;
        }
}

static int immediate_of_one_byte(const struct instruction_decoder *decoder, unsigned extension)
{
        static const struct opcodes rows[] = {
                {0x63, 0x63, 0}, /* MOVSXD */
                {0x69, 0x69, FULL}, {0x6b, 0x6b, 1}, {0x80, 0x80, 1}, {0x81, 0x81, FULL}, {0x83, 0x83, 1},
                {0x84, 0x8c, 0},    {0x8e, 0x8e, 0}, {0xc0, 0xc1, 1}, {0xd0, 0xd3, 0},    {0xd8, 0xdf, 0},
        };
        int size;

        if (decoder->opcode < 0x40) /* arithmetic */
                return (decoder->opcode & 7) < 4 ? 0 : NOT_KNOWN;
        size = find_opcode(rows, ARRAY_SIZE(rows), decoder->opcode, NOT_KNOWN);
        if (size == FULL)
                return full_immediate(decoder);
        return size == NOT_KNOWN ? immediate_of_group(decoder, extension) : size;
}

static int immediate_of_0f(const struct instruction_decoder *decoder, unsigned extension)
{
        static const struct opcodes rows[] = {
                {0x00, 0x03, 0}, {0x10, 0x17, 0}, {0x28, 0x2f, 0}, {0x40, 0x6f, 0}, {0x70, 0x73, 1},
                {0x74, 0x76, 0}, {0x78, 0x7f, 0}, {0x90, 0x9f, 0}, {0xa4, 0xa4, 1}, {0xa5, 0xa5, 0},
                {0xac, 0xac, 1}, {0xad, 0xb2, 0}, {0xb4, 0xb8, 0}, {0xba, 0xba, 1}, {0xbc, 0xc1, 0},
                {0xc2, 0xc2, 1}, {0xc3, 0xc3, 0}, {0xc4, 0xc6, 1}, {0xc7, 0xc7, 0}, {0xd0, 0xfe, 0},
        };

        if (decoder->opcode == 0x01 && extension == 7) /* INVLPG */
                return NOT_KNOWN;
        return find_opcode(rows, ARRAY_SIZE(rows), decoder->opcode, NOT_KNOWN);
}

static int immediate_size(const struct instruction_decoder *decoder, unsigned extension)
{
        switch (decoder->map) {
        case MAP_ONE_BYTE:
                return immediate_of_one_byte(decoder, extension);
        case MAP_0F:
                return immediate_of_0f(decoder, extension);
        case MAP_0F38: /* MOVDIR64B and ENQCMD have two operands in memory */
                return decoder->opcode == 0xf8 ? NOT_KNOWN : 0;
        default:
                return 1;
        }
}

/* The string instructions that reach one place, or have a destination. */
enum { NO_STRING, DESTINATION, SOURCE };
static const struct opcodes strings[] = {
        {0x6c, 0x6d, DESTINATION}, {0xa4, 0xa5, DESTINATION}, /* INS, MOVS */
        {0xaa, 0xab, DESTINATION}, {0xae, 0xaf, DESTINATION}, /* STOS, SCAS */
        {0x6e, 0x6f, SOURCE},      {0xac, 0xad, SOURCE},      /* OUTS, LODS */
};

static struct instruction_operand string_operand(const struct instruction_decoder *decoder, bool source)
{
        uint64_t count = decoder->address32 ? decoder->regs->rcx & UINT32_MAX : decoder->regs->rcx;

        if (decoder->repeat && count == 0)
                return (struct instruction_operand){0};
        return source ? found_at(decoder, decoder->regs->rsi, decoder->segment)
                      : found_at(decoder, decoder->regs->rdi, 0);
}

/* @no_base: the form without a base register, which has four bytes instead. */
static uint64_t take_displacement(struct instruction_decoder *decoder, unsigned mod, bool no_base)
{
        if (mod == 1) {
                if (decoder->scale == 0)
                        decoder->failed = true;
                return (uint64_t)(int8_t)take_byte(decoder) * decoder->scale;
        }
        if (mod == 2 || no_base)
                return (uint64_t)(int64_t)(int32_t)bytes_take(decoder, 4);
        return 0;
}

/* Base plus scaled index. */
static uint64_t take_sib(struct instruction_decoder *decoder, unsigned mod, bool *no_base)
{
        uint8_t sib = take_byte(decoder);
        unsigned index = (sib >> 3 & 7u) | (decoder->rex & REX_X ? 8u : 0), base = sib & 7u;
        uint64_t offset = index == 4 ? 0 : reg(decoder, index) << (sib >> 6);

        *no_base = mod == 0 && base == 5;
        return *no_base ? offset : offset + reg(decoder, base | (decoder->rex & REX_B ? 8u : 0));
}

static struct instruction_operand modrm_operand(struct instruction_decoder *decoder)
{
        uint8_t modrm = take_byte(decoder);
        unsigned mod = modrm >> 6, rm = modrm & 7;
        int immediate = immediate_size(decoder, modrm >> 3 & 7);
        bool no_base = mod == 0 && rm == 5, relative = no_base;
        uint64_t offset = 0;

        if (mod == 3 || immediate == NOT_KNOWN)
                return (struct instruction_operand){0};
        if (rm == 4)
                offset = take_sib(decoder, mod, &no_base);
        else if (!no_base)
                offset = reg(decoder, rm | (decoder->rex & REX_B ? 8u : 0));
        offset += take_displacement(decoder, mod, no_base);
        bytes_take(decoder, (size_t)immediate);
        if (relative)
                offset += decoder->regs->rip + decoder->at;
        return found_at(decoder, offset, decoder->segment);
}

struct instruction_operand instruction_operand(const uint8_t *code, size_t size, const struct kvm_regs *regs,
                                               uint64_t fs_base, uint64_t gs_base)
{
        struct instruction_decoder decoder = {
                .code = code,
                .size = size < LONGEST ? size : LONGEST,
                .regs = regs,
                .fs_base = fs_base,
                .gs_base = gs_base,
        };
        int string;

        take_prefixes(&decoder);
        take_opcode(&decoder);
        if (decoder.failed)
                return (struct instruction_operand){0};
        string = decoder.map == MAP_ONE_BYTE ? find_opcode(strings, ARRAY_SIZE(strings), decoder.opcode, NO_STRING)
                                             : NO_STRING;
        if (string != NO_STRING)
                return string_operand(&decoder, string == SOURCE);
        if (decoder.map == MAP_ONE_BYTE && decoder.opcode >= 0xa0 && decoder.opcode <= 0xa3) {
                uint64_t offset = bytes_take(&decoder, decoder.address32 ? 4 : 8);

                return found_at(&decoder, offset, decoder.segment);
        }
        return modrm_operand(&decoder);
}
