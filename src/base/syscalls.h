/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_SYSCALLS_H
#define BASE_SYSCALLS_H

#include <stdint.h>
#include <sys/syscall.h>

/* Each file names the system calls it makes, beside the code that makes them; a program's filter is made of what the
 * files have that it consists of. The linker brings the rows together. */
struct syscall_row {
        uint32_t number;
        uint32_t argument;    /* whose value must be @value, */
        uint64_t mask, value; /* in the bits of @mask: none, any value will do */
};

#define SYSCALL(name) ((struct syscall_row){.number = __NR_##name})
#define SYSCALL_WITH(name, place, bits, wanted) \
        ((struct syscall_row){.number = __NR_##name, .argument = (place), .mask = (bits), .value = (wanted)})

/* Aligned by name, so that no compiler makes gaps between one file's rows and another's. */
#define SYSCALL_ROWS       __attribute__((used, section("oriel_syscalls"), aligned(8))) static const struct syscall_row
#define USES_SYSCALLS(...) SYSCALL_ROWS syscalls_used[] = {__VA_ARGS__}

#endif
