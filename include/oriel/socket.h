/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef ORIEL_SOCKET_H
#define ORIEL_SOCKET_H

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* Unix stream sockets for the ends to talk over. Each returns an fd that is close-on-exec and the caller's, or a
 * negative errno. */

/* Connect to @path. Never waits for a listener: -ENOENT, -ECONNREFUSED, -EAGAIN: too many are waiting. -ENAMETOOLONG:
 * @path is over 107 bytes. */
int oriel_socket_connect(const char *path);

/* Listen at @path. A socket file that nobody listens on any more is replaced, anything else is -EADDRINUSE. Who has
 * created the file removes it again. */
int oriel_socket_listen(const char *path);

/* Take the socket that a service manager listens on for this process, by LISTEN_PID and LISTEN_FDS, as sd_listen_fds(3)
 * has it: the first one; all of them are close-on-exec from now on. -EBADF: they are not open. -ENOENT: there is none,
 * or it is another process's. The variables stay, so each call returns the same descriptor; only the first caller owns
 * it. */
int oriel_socket_inherited(void);

/* Accept the next connection; blocks unless @listener is non-blocking (-EAGAIN). */
int oriel_socket_accept(int listener);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
