/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef VMM_PLATFORM_CONSOLE_H
#define VMM_PLATFORM_CONSOLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Where a serial port's other end is: this process's standard input and output, a pseudo-terminal, a file, who connects
 * to a socket, or nowhere. The guest never waits for who reads it: what nobody takes is kept up to a limit, then lost.
 */
struct console;

enum console_kind { CONSOLE_STDIO, CONSOLE_PTY, CONSOLE_FILE, CONSOLE_SOCKET, CONSOLE_NONE };

/* The key that ends the machine where standard input is a terminal: Ctrl-]. */
#define CONSOLE_ESCAPE 0x1d

/* A terminal on standard input is put into raw mode, until console_end(). @fd: the file, which is written only, or the
 * socket that listens, whose clients are served one after the other; it becomes the console's, also on failure. Else
 * -1.
 */
int console_new(enum console_kind kind, int fd, struct console **out);
/* Writes what is left, as long as somebody takes some within a second, and gives the terminal, the pseudo-terminal or
 * the file back. What the guest prints then is lost. NULL is accepted. */
void console_end(struct console *console);
/* console_end(), and gone. NULL is accepted. */
void console_free(struct console *console);
/* The pseudo-terminal's path, or NULL. */
const char *console_path(const struct console *console);
/* Whether there is a terminal whose keys go to the guest. */
bool console_is_terminal(const struct console *console);

/* From the guest: any thread, never waits. */
void console_output(struct console *console, const uint8_t *data, size_t size);

/* The owner's thread: poll @in for @in_events and @out for writing, each -1 where there is nothing to wait for; @wake
 * for reading always. */
struct console_fds {
        int in, out, wake;
        short in_events; /* for @in; 0 only asks whether its other end is there */
        bool pending;    /* console_read() has something to do without any input */
};
struct console_fds console_get_fds(struct console *console);
/* Write what can be written. */
void console_flush(struct console *console);
/* Read, or accept who connects, for @input, as much as it has said that it takes: 0 stops reading until
 * console_resume(). -ENODATA: the input has ended. -ECANCELED: the escape key. */
int console_read(struct console *console, size_t (*input)(void *userdata, const uint8_t *data, size_t size),
                 void *userdata);
/* There is room for input again. Any thread. */
void console_resume(struct console *console);

#endif
