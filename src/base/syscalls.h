/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BASE_SYSCALLS_H
#define BASE_SYSCALLS_H

#include <stdint.h>
#include <sys/syscall.h>

/* Newer architectures have only the more general calls; C libraries use these there. */
#ifndef __NR_poll
#define __NR_poll       __NR_ppoll
#define __NR_epoll_wait __NR_epoll_pwait
#endif
#ifndef __NR_renameat
#define __NR_renameat __NR_renameat2
#endif

/* Each file lists the system calls it makes, beside the code that makes them. The linker collects the rows of a
 * program's files in one section, and the program's filter is built from them (seccomp/filter.h). */
struct syscall_condition {
        uint32_t argument;    /* index of the argument whose value must be @value */
        uint64_t mask, value; /* compared in the bits of @mask; no bits: any value */
};

/* As @value, with a mask that it can't match: stands for the process's own pid. */
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

/* The path is looked up from a descriptor and not from the working directory: AT_FDCWD is negative. Files that a
 * library opens on its own use AT_FDCWD. */
#define FROM_DESCRIPTOR                   (UINT32_C(1) << 31)
#define SYSCALL_AT(name, place)           SYSCALL_WITH(name, place, FROM_DESCRIPTOR, 0)
#define SYSCALL_BETWEEN(name, one, other) SYSCALL_WITH_BOTH(name, one, FROM_DESCRIPTOR, 0, other, FROM_DESCRIPTOR, 0)

/* F_SETFL changes the open file description, which its other holders share. All flags but O_ASYNC are allowed: with it
 * the kernel sends signals to the process that F_SETOWN names. */
#define SYSCALL_FCNTL(command) SYSCALL_WITH(fcntl, 1, UINT32_MAX, command)
#define SYSCALL_SET_FLAGS      SYSCALL_WITH_BOTH(fcntl, 1, UINT32_MAX, F_SETFL, 2, O_ASYNC, 0)

/* Aligned explicitly, so that compilers leave no gaps between the rows of two files. */
#define SYSCALL_ROWS       __attribute__((used, section("oriel_syscalls"), aligned(8))) static const struct syscall_row
#define USES_SYSCALLS(...) SYSCALL_ROWS syscalls_used[] = {__VA_ARGS__}
/* For a process alone that has to remove files of its own at its end: a path that is absolute needs no descriptor. */
#define USES_SYSCALLS_AT_END(...)                              \
        __attribute__((used, section("oriel_syscalls_at_end"), \
                       aligned(8))) static const struct syscall_row syscalls_at_end[] = {__VA_ARGS__}

#endif
