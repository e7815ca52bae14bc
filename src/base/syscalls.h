/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_SYSCALLS_H
#define BASE_SYSCALLS_H

#include <stdint.h>
#include <sys/syscall.h>

/* Newer architectures lack the calls that others can stand for: there C libraries make these instead. */
#ifndef __NR_poll
#define __NR_poll       __NR_ppoll
#define __NR_epoll_wait __NR_epoll_pwait
#endif
#ifndef __NR_renameat
#define __NR_renameat __NR_renameat2
#endif

/* Each file names the system calls it makes, beside the code that makes them; a program's filter is made of what the
 * files have that it consists of (seccomp/filter.h). The linker brings the rows together. */
struct syscall_condition {
        uint32_t argument;    /* whose value must be @value, */
        uint64_t mask, value; /* in the bits of @mask: none, any value will do */
};

/* For @value, with a mask that no such value fits in: the process's own number. */
#define SYSCALL_OWN_PID UINT64_MAX

struct syscall_row {
        uint32_t number;
        struct syscall_condition conditions[2]; /* both hold */
};

#define SYSCALL(name) ((struct syscall_row){.number = __NR_##name})
#define SYSCALL_WITH(name, place, bits, wanted) \
        ((struct syscall_row){.number = __NR_##name, .conditions = {{(place), (bits), (wanted)}}})
#define SYSCALL_WITH_BOTH(name, place, bits, wanted, place2, bits2, wanted2) \
        ((struct syscall_row){.number = __NR_##name,                         \
                              .conditions = {{(place), (bits), (wanted)}, {(place2), (bits2), (wanted2)}}})

/* A path is looked up from a descriptor, never from the working directory: AT_FDCWD is negative. Nothing that a library
 * opens of its own accord begins at a descriptor. */
#define FROM_DESCRIPTOR                   (UINT32_C(1) << 31)
#define SYSCALL_AT(name, place)           SYSCALL_WITH(name, place, FROM_DESCRIPTOR, 0)
#define SYSCALL_BETWEEN(name, one, other) SYSCALL_WITH_BOTH(name, one, FROM_DESCRIPTOR, 0, other, FROM_DESCRIPTOR, 0)

/* Flags of an open file description, which its other holders share: all but O_ASYNC, which has the kernel send signals
 * to whom F_SETOWN names. */
#define SYSCALL_FCNTL(command) SYSCALL_WITH(fcntl, 1, UINT32_MAX, command)
#define SYSCALL_SET_FLAGS      SYSCALL_WITH_BOTH(fcntl, 1, UINT32_MAX, F_SETFL, 2, O_ASYNC, 0)

/* Aligned by name, so that no compiler makes gaps between one file's rows and another's. */
#define SYSCALL_ROWS       __attribute__((used, section("oriel_syscalls"), aligned(8))) static const struct syscall_row
#define USES_SYSCALLS(...) SYSCALL_ROWS syscalls_used[] = {__VA_ARGS__}

#endif
