/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef PROGRAM_SPAWN_H
#define PROGRAM_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* In a process that @parent has just started: it gets @number when @parent ends, and ends at once if it has ended. */
void spawn_follow(pid_t parent, int number);

/* The path of @name in this program's directory, if access(2) allows @mode. */
bool find_beside(const char *name, int mode, char *path, size_t size);

/* Starts @program, which is looked for beside this program and then in PATH, with @arguments (NULL-terminated, without
 * argv[0]) and "--fd=N" for its end of a socket. Our end is in *socket, the caller's. The program gets SIGTERM when
 * this process ends. The pid, or a negative errno. */
pid_t spawn_with_socket(const char *program, const char *const *arguments, int *socket);

/* Whether there is such a program, beside this one or in PATH. */
bool program_is_there(const char *program);

/* As spawn_with_socket(), for a program that gets no socket. */
pid_t spawn_program(const char *program, const char *const *arguments);

/* Starts @argv, whose program is looked for likewise, with stdout and stderr going to @log. If there is no such
 * program, its exit status is 127. */
pid_t spawn_logged(char *const *argv, int log);

/* The first @size - 1 bytes, NUL-terminated, that a program, looked for likewise, prints on stdout and stderr if it is
 * started with @option, such as --version; up to @until, where it is not NULL. It is ended then. False: it has said
 * no more within three seconds, or could not be started. */
bool spawn_ask(const char *program, const char *option, const char *until, char *said, size_t size);
/* Whether its --help lacks @option; false also where it says nothing in time. */
bool program_lacks(const char *program, const char *option);

/* Waits until the process has ended after its socket was closed, and kills it after two seconds. False: it has not
 * ended a second later, perhaps because it waits for a disk. */
bool spawn_wait(pid_t pid);

#endif
