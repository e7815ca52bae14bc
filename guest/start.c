/* SPDX-License-Identifier: BSD-2-Clause */
#include "guest.h"

#include <xen/arch-x86/hvm/start_info.h>

void guest_begin(const struct hvm_start_info *info) __attribute__((noreturn));

/* The note of vmm/arch/x86/load.h: its name, BOOT_NOTE_USER_ENTRY, and the entry. */
__asm__(".pushsection .note.oriel, \"a\", @note\n"
        ".balign 4\n"
        ".long 6, 8, 1\n"
        ".asciz \"Oriel\"\n"
        ".balign 4\n"
        ".quad guest_start\n"
        ".popsection\n"
        ".pushsection .text\n"
        ".globl guest_start\n"
        "guest_start:\n"
        "        mov %rsi, %rdi\n"
        "        call guest_begin\n"
        "        ud2\n"
        ".popsection\n");

void guest_begin(const struct hvm_start_info *info)
{
        if (info->magic == XEN_HVM_START_MAGIC_VALUE && info->cmdline_paddr)
                guest_cmdline = (const char *)info->cmdline_paddr;
        guest_main();
        power_off();
}
