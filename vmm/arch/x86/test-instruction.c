/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/cleanup.h"
#include "base/test.h"
#include "vmm/arch/x86/instruction.h"

#include <stdio.h>
#include <string.h>

/* Each register has a value of its own, with bits in both halves. */
static const struct kvm_regs regs = {
        .rax = 0x1000000a000,
        .rcx = 0x2000000c000,
        .rdx = 0xd000,
        .rbx = 0x3000000b000,
        .rsp = 0x7000e000,
        .rbp = 0x7000f000,
        .rsi = 0x5000000051,
        .rdi = 0x5000000d1,
        .r8 = 0x800000000008,
        .r9 = 0x90000,
        .r12 = 0x120000,
        .r13 = 0x130000,
        .r14 = (uint64_t)-0x10,
        .r15 = 0xf0000,
        .rip = 0x400000,
};

#define FS   UINT64_C(0x7f0000000000)
#define GS   UINT64_C(0x8000000000000000)
#define NONE UINT64_MAX

static const struct {
        const char *text;
        uint64_t address; /* or NONE */
        uint8_t code[16];
        uint8_t size;
} rows[] = {
#define ROW(text, address, ...)                                                \
        {                                                                      \
                text, address, {__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}) \
        }
        /* Forms of addresses. */
        ROW("mov [rax], ebx", 0x1000000a000, 0x89, 0x18),
        ROW("mov ebx, [rax]", 0x1000000a000, 0x8b, 0x18),
        ROW("mov [rcx-0x10], dl", 0x2000000bff0, 0x88, 0x51, 0xf0),
        ROW("mov [rbx+0x12345678], rax", 0x30012350678, 0x48, 0x89, 0x83, 0x78, 0x56, 0x34, 0x12),
        ROW("mov [rbx-0x80000000], rax", 0x2ff8000b000, 0x48, 0x89, 0x83, 0, 0, 0, 0x80),
        ROW("mov [r8], eax", 0x800000000008, 0x41, 0x89, 0x00),
        ROW("mov [rsp], eax", 0x7000e000, 0x89, 0x04, 0x24),
        ROW("mov [rbp+0], eax", 0x7000f000, 0x89, 0x45, 0x00),
        ROW("mov [r12], eax", 0x120000, 0x41, 0x89, 0x04, 0x24),
        ROW("mov [r13+0], eax", 0x130000, 0x41, 0x89, 0x45, 0x00),
        ROW("mov [r12+8], eax", 0x120008, 0x41, 0x89, 0x44, 0x24, 0x08),
        ROW("mov [rax+rdx*4], ecx", 0x1000003e000, 0x89, 0x0c, 0x90),
        ROW("mov [r9+r15*8+0x10], ecx", 0x810010, 0x43, 0x89, 0x4c, 0xf9, 0x10),
        ROW("mov [rdx+r12], ecx", 0x12d000, 0x42, 0x89, 0x0c, 0x22),
        ROW("mov [rdx*2+0x1000], ecx", 0x1b000, 0x89, 0x0c, 0x55, 0x00, 0x10, 0, 0),
        ROW("mov [0x12345678], ecx", 0x12345678, 0x89, 0x0c, 0x25, 0x78, 0x56, 0x34, 0x12),
        ROW("mov [-0x1000], ecx", UINT64_C(0xfffffffffffff000), 0x89, 0x0c, 0x25, 0x00, 0xf0, 0xff, 0xff),
        ROW("mov [rdx+r14], ecx", 0xcff0, 0x42, 0x89, 0x0c, 0x32),
        ROW("mov [rip+0x10], eax", 0x400016, 0x89, 0x05, 0x10, 0, 0, 0),
        ROW("mov dword [rip+0x10], 7", 0x40001a, 0xc7, 0x05, 0x10, 0, 0, 0, 7, 0, 0, 0),
        ROW("mov word [rip-6], 7", 0x400003, 0x66, 0xc7, 0x05, 0xfa, 0xff, 0xff, 0xff, 7, 0),
        ROW("mov qword [rip+0x10], 7", 0x40001c, 0x66, 0x48, 0xc7, 0x05, 0x10, 0, 0, 0, 7, 0, 0, 0),
        ROW("mov byte [rip+0x10], 7", 0x400017, 0xc6, 0x05, 0x10, 0, 0, 0, 7),
        ROW("add dword [rip+0x10], 7", 0x400017, 0x83, 0x05, 0x10, 0, 0, 0, 7),
        /* Prefixes. */
        ROW("mov [eax], ebx", 0xa000, 0x67, 0x89, 0x18),
        ROW("mov [edx+r14d], ecx", 0xcff0, 0x67, 0x42, 0x89, 0x0c, 0x32),
        ROW("mov [eip+0x10], eax", 0x400017, 0x67, 0x89, 0x05, 0x10, 0, 0, 0),
        ROW("mov fs:[0x28], rax", FS + 0x28, 0x64, 0x48, 0x89, 0x04, 0x25, 0x28, 0, 0, 0),
        ROW("mov gs:[rdx], eax", GS + 0xd000, 0x65, 0x89, 0x02),
        ROW("mov gs:[eax], eax", GS + 0xa000, 0x65, 0x67, 0x89, 0x00),
        ROW("mov ds:[rdx], eax", 0xd000, 0x3e, 0x89, 0x02),
        ROW("a REX that something follows", 0x1000000a000, 0x41, 0x66, 0x89, 0x00),
        ROW("fifteen bytes", 0xd000, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x89,
            0x02),
        ROW("sixteen bytes", NONE, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e, 0x3e,
            0x89, 0x02),
        ROW("only prefixes", NONE, 0x66, 0x67, 0x48),
        /* Opcodes. */
        ROW("add [rdx], eax", 0xd000, 0x01, 0x02),
        ROW("cmp al, [rdx]", 0xd000, 0x3a, 0x02),
        ROW("add eax, 0x02", NONE, 0x05, 0x02, 0, 0, 0),
        ROW("and dword [rdx], 1", 0xd000, 0x81, 0x22, 1, 0, 0, 0),
        ROW("imul eax, [rip+0x10], 300", 0x40001a, 0x69, 0x05, 0x10, 0, 0, 0, 44, 1, 0, 0),
        ROW("xchg [rdx], eax", 0xd000, 0x87, 0x02),
        ROW("lock cmpxchg [rdx], ecx", 0xd000, 0xf0, 0x0f, 0xb1, 0x0a),
        ROW("lock xadd [rdx], ecx", 0xd000, 0xf0, 0x0f, 0xc1, 0x0a),
        ROW("cmpxchg8b [rdx]", 0xd000, 0x0f, 0xc7, 0x0a),
        ROW("lock cmpxchg16b [r9]", 0x90000, 0xf0, 0x49, 0x0f, 0xc7, 0x09),
        ROW("movzx eax, byte [rdx]", 0xd000, 0x0f, 0xb6, 0x02),
        ROW("sete [rdx]", 0xd000, 0x0f, 0x94, 0x02),
        ROW("shl byte [rip+0x10], 3", 0x400017, 0xc0, 0x25, 0x10, 0, 0, 0, 3),
        ROW("test byte [rip+0x10], 3", 0x400017, 0xf6, 0x05, 0x10, 0, 0, 0, 3),
        ROW("not byte [rip+0x10]", 0x400016, 0xf6, 0x15, 0x10, 0, 0, 0),
        ROW("inc dword [rdx]", 0xd000, 0xff, 0x02),
        ROW("jmp [rdx]", 0xd000, 0xff, 0x22),
        ROW("fstp qword [rdx]", 0xd000, 0xdd, 0x1a),
        ROW("bts dword [rip+0x10], 3", 0x400018, 0x0f, 0xba, 0x2d, 0x10, 0, 0, 0, 3),
        ROW("movaps [rdx], xmm0", 0xd000, 0x0f, 0x29, 0x02),
        ROW("movaps [r8+rdx*2], xmm8", 0x80000001a008, 0x45, 0x0f, 0x29, 0x04, 0x50),
        ROW("movdqu [rip+0x10], xmm0", 0x400018, 0xf3, 0x0f, 0x7f, 0x05, 0x10, 0, 0, 0),
        ROW("movnti [rdx], eax", 0xd000, 0x0f, 0xc3, 0x02),
        ROW("movbe [rdx], eax", 0xd000, 0x0f, 0x38, 0xf1, 0x02),
        ROW("pextrd [rip+0x10], xmm0, 1", 0x40001a, 0x66, 0x0f, 0x3a, 0x16, 0x05, 0x10, 0, 0, 0, 1),
        ROW("fxsave [rdx]", 0xd000, 0x0f, 0xae, 0x02),
        /* Without ModRM. */
        ROW("mov [0x123456789abcdef0], al", 0x123456789abcdef0, 0xa2, 0xf0, 0xde, 0xbc, 0x9a, 0x78, 0x56, 0x34, 0x12),
        ROW("mov [0x1122334455667788], rax", 0x1122334455667788, 0x48, 0xa3, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22,
            0x11),
        ROW("mov fs:[0x88776655], eax", FS + 0x88776655, 0x64, 0x67, 0xa3, 0x55, 0x66, 0x77, 0x88),
        ROW("stosb", 0x5000000d1, 0xaa),
        ROW("rep stosq", 0x5000000d1, 0xf3, 0x48, 0xab),
        ROW("rep stosd [edi]", 0xd1, 0xf3, 0x67, 0xab),
        ROW("rep movsb", 0x5000000d1, 0xf3, 0xa4),
        ROW("movsq fs", 0x5000000d1, 0x64, 0x48, 0xa5),
        ROW("lodsb fs", FS + 0x5000000051, 0x64, 0xac),
        ROW("cmpsb", NONE, 0xa6),
        /* VEX. */
        ROW("vmovaps [rdx], ymm0", 0xd000, 0xc5, 0xfc, 0x29, 0x02),
        ROW("vmovdqu [rdx+0x10], ymm8", 0xd010, 0xc5, 0x7e, 0x7f, 0x42, 0x10),
        ROW("vmovaps [r8], ymm0", 0x800000000008, 0xc4, 0xc1, 0x7c, 0x29, 0x00),
        ROW("vmovaps [r9+r15], xmm0", 0x180000, 0xc4, 0x81, 0x78, 0x29, 0x04, 0x39),
        ROW("vextracti128 [rip+0x10], ymm0, 1", 0x40001a, 0xc4, 0xe3, 0x7d, 0x39, 0x05, 0x10, 0, 0, 0, 1),
        ROW("vpbroadcastb ymm0, [rdx]", 0xd000, 0xc4, 0xe2, 0x7d, 0x78, 0x02),
        ROW("vzeroupper", NONE, 0xc5, 0xf8, 0x77),
        ROW("vmaskmovps [rdx], xmm1, xmm0", NONE, 0xc4, 0xe2, 0x71, 0x2e, 0x02),
        ROW("vgatherdps xmm0, [rdx+xmm1], xmm2", NONE, 0xc4, 0xe2, 0x69, 0x92, 0x04, 0x0a),
        ROW("VEX of no map", NONE, 0xc4, 0xe0, 0x7c, 0x29, 0x02),
        ROW("VEX of a map that is not known", NONE, 0xc4, 0xe8, 0x7c, 0x29, 0x02),
        /* EVEX. */
        ROW("vmovups [rdx], zmm0", 0xd000, 0x62, 0xf1, 0x7c, 0x48, 0x11, 0x02),
        ROW("vmovups [rdx+0x40], zmm0", 0xd040, 0x62, 0xf1, 0x7c, 0x48, 0x11, 0x42, 0x01),
        ROW("vmovups [rdx-0x20], ymm0", 0xcfe0, 0x62, 0xf1, 0x7c, 0x28, 0x11, 0x42, 0xff),
        ROW("vmovdqu8 [rdx+0x20], xmm16", 0xd020, 0x62, 0xe1, 0x7f, 0x08, 0x7f, 0x42, 0x02),
        ROW("vmovdqa64 [r9+r15*8+0x40], zmm0", 0x810040, 0x62, 0x91, 0xfd, 0x48, 0x7f, 0x44, 0xf9, 0x01),
        ROW("vmovntdq [rdx+0x40], zmm0", 0xd040, 0x62, 0xf1, 0x7d, 0x48, 0xe7, 0x42, 0x01),
        ROW("vmovups [rdx+0x12345], zmm0", 0x1f345, 0x62, 0xf1, 0x7c, 0x48, 0x11, 0x82, 0x45, 0x23, 0x01, 0),
        ROW("vmovss [rdx+4], xmm16", NONE, 0x62, 0xe1, 0x7e, 0x08, 0x11, 0x42, 0x01),
        ROW("vmovss [rdx], xmm16", 0xd000, 0x62, 0xe1, 0x7e, 0x08, 0x11, 0x02),
        ROW("vpaddd zmm0, zmm0, [rdx+0x40]", NONE, 0x62, 0xf1, 0x7d, 0x48, 0xfe, 0x42, 0x01),
        ROW("vmovups [rdx]{k1}, zmm0", NONE, 0x62, 0xf1, 0x7c, 0x49, 0x11, 0x02),
        ROW("vpaddd zmm0, zmm0, [rdx]{1to16}", NONE, 0x62, 0xf1, 0x7d, 0x58, 0xfe, 0x02),
        ROW("vmovups of no length", NONE, 0x62, 0xf1, 0x7c, 0x68, 0x11, 0x42, 0x01),
        ROW("EVEX of a map that is not known", NONE, 0x62, 0xf5, 0x7c, 0x48, 0x11, 0x02),
        ROW("EVEX with a bit that is reserved", NONE, 0x62, 0xf9, 0x7c, 0x48, 0x11, 0x02),
        /* No memory operand, two of them, or one that is not accessed. */
        ROW("mov eax, ebx", NONE, 0x89, 0xd8),
        ROW("lea eax, [rdx]", NONE, 0x8d, 0x02),
        ROW("push [rdx]", NONE, 0xff, 0x32),
        ROW("call [rdx]", NONE, 0xff, 0x12),
        ROW("pop [rdx]", NONE, 0x8f, 0x02),
        ROW("push rax", NONE, 0x50),
        ROW("bts [rdx], eax", NONE, 0x0f, 0xab, 0x02),
        ROW("nop [rdx]", NONE, 0x0f, 0x1f, 0x02),
        ROW("prefetcht0 [rdx]", NONE, 0x0f, 0x18, 0x0a),
        ROW("invlpg [rdx]", NONE, 0x0f, 0x01, 0x3a),
        ROW("movdir64b rax, [rdx]", NONE, 0x66, 0x0f, 0x38, 0xf8, 0x02),
        ROW("3DNow!", NONE, 0x0f, 0x0f, 0x02, 0x9e),
        ROW("ud2", NONE, 0x0f, 0x0b),
        ROW("hlt", NONE, 0xf4),
        ROW("jmp", NONE, 0xeb, 0xfe),
};

static struct instruction_operand look(const uint8_t *code, size_t size, const struct kvm_regs *with)
{
        return instruction_operand(code, size, with, FS, GS);
}

static void test_rows(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                struct instruction_operand operand = look(rows[i].code, rows[i].size, &regs);

                if (operand.found != (rows[i].address != NONE) || (operand.found && operand.address != rows[i].address))
                        fail_msg("%s: found %d, 0x%llx", rows[i].text, operand.found,
                                 (unsigned long long)operand.address);
        }
}

/* Nothing is read behind the end, which the sanitizers see, and nothing is found in half an instruction. */
static void test_truncated(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
                for (size_t size = 0; size < rows[i].size; size++) {
                        uint8_t *code = malloc(size + 1);

                        assert_non_null(code);
                        memcpy(code + 1, rows[i].code, size);
                        if (look(code + 1, size, &regs).found)
                                fail_msg("%s: found in %zu bytes", rows[i].text, size);
                        free(code);
                }
}

static void test_longer(void **state)
{
        for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
                uint8_t code[32];

                memset(code, 0x90, sizeof(code));
                memcpy(code, rows[i].code, rows[i].size);
                assert_int_equal(look(code, sizeof(code), &regs).found, rows[i].address != NONE);
        }
}

static void test_repeat_none(void **state)
{
        static const uint8_t stos[] = {0xf3, 0xaa}, stos32[] = {0xf3, 0x67, 0xaa}, once[] = {0xaa};
        struct kvm_regs with = regs;

        with.rcx = UINT64_C(1) << 32;
        assert_true(look(stos, sizeof(stos), &with).found);
        assert_false(look(stos32, sizeof(stos32), &with).found);
        with.rcx = 0;
        assert_false(look(stos, sizeof(stos), &with).found);
        assert_true(look(once, sizeof(once), &with).found);
}

/* Any bytes: all of two, and many of fifteen. */
static void test_any(void **state)
{
        uint64_t random = 1;

        for (unsigned i = 0; i < 1000000; i++) {
                uint8_t code[15];

                for (unsigned j = 0; j < sizeof(code); j++) {
                        random = random * UINT64_C(6364136223846793005) + 1;
                        code[j] = (uint8_t)(random >> 56);
                }
                if (i < 65536) {
                        code[0] = (uint8_t)i;
                        code[1] = (uint8_t)(i >> 8);
                }
                look(code, i % 16, &regs);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                counted_test(test_rows),        counted_test(test_truncated), counted_test(test_longer),
                counted_test(test_repeat_none), counted_test(test_any),
        };

        return run_counted("instruction", tests);
}
