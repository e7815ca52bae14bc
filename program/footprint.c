/* SPDX-License-Identifier: BSD-2-Clause */
#include "program/footprint.h"
#include "base/syscalls.h"

#include <link.h>
#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

USES_SYSCALLS(SYSCALL(madvise));

/* Only read-only segments: others may have been changed since they were loaded. The main program, which has no name
 * here, is left alone: a debugger may have changed it. */
static int trim(struct dl_phdr_info *info, size_t size, void *userdata)
{
        uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

        for (unsigned i = 0; info->dlpi_name[0] && i < info->dlpi_phnum; i++) {
                const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
                uintptr_t start = (info->dlpi_addr + segment->p_vaddr) & ~(page - 1);
                uintptr_t end = info->dlpi_addr + segment->p_vaddr + segment->p_memsz;

                if (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W))
                        madvise((void *)start, end - start, MADV_DONTNEED); /* NOLINT(performance-no-int-to-ptr) */
        }
        return 0;
}

void footprint_trim(void)
{
        malloc_trim(0);
        dl_iterate_phdr(trim, NULL);
}
