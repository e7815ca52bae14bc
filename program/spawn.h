/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_SPAWN_H
#define PROGRAM_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Where @name is beside this program, if it may be used by @mode of access(2). */
bool find_beside(const char *name, int mode, char *path, size_t size);

/* Start @program, which is looked for beside this program and then in PATH, with @arguments (NULL-terminated, without
 * argv[0]) and "--fd=N" for its end of a socket. Our end is in *socket, the caller's. It is ended when this process
 * ends. The pid, or a negative errno. */
pid_t spawn_with_socket(const char *program, const char *const *arguments, int *socket);

/* Start @argv, whose program is looked for likewise, with what it prints going to @log. 127 is its exit status if there
 * is no such program. */
pid_t spawn_logged(char *const *argv, int log);

/* Wait until it has ended by itself after its socket was closed, or after two seconds end it. False: one second later
 * it still has not, since it waits for a disk perhaps. */
bool spawn_wait(pid_t pid);

#endif
